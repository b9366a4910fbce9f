using Fabric.Protocol.Grpc;
using Fabric.Protocol.Proto;
using Google.Protobuf;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.Logging;

namespace Fabric.Cli.Tests;

/// <summary>An admin API on a unix socket with answers that are written down: for what the command line makes of them.</summary>
internal sealed class FakeGateway : IAsyncDisposable
{
    private readonly WebApplication _app;

    private FakeGateway(WebApplication app) => _app = app;

    /// <summary>What was asked to be drained or undrained, in order.</summary>
    public List<DrainRequest> Drains { get; } = [];

    /// <summary>How often a drain is asked until nothing is left.</summary>
    public int DrainAnswers { get; set; } = 2;

    /// <summary>What it says of itself.</summary>
    public Func<Status> Says { get; set; } = () => Status;

    /// <summary>Trust documents that were handed over, in order. What this throws is the answer.</summary>
    public Action<SignedTrust> Published { get; set; } = _ => { };

    /// <summary>Faults set, in order: link, peer, fault.</summary>
    public List<(string Link, string Peer, string Fault)> Faults { get; } = [];

    public static Status Status { get; } = JsonParser.Default.Parse<Status>(
        File.ReadAllText(Path.Combine(AppContext.BaseDirectory, "Scripts", "status.json")));

    public static async Task<FakeGateway> StartAsync(string socket)
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.ConfigureKestrel(k => k.ListenUnixSocket(socket, l => l.Protocols = HttpProtocols.Http2));
        var app = builder.Build();
        var gateway = new FakeGateway(app);
        var server = gateway.Server();
        app.Run(server.InvokeAsync);
        await app.StartAsync();
        return gateway;
    }

    public async ValueTask DisposeAsync()
    {
        await _app.StopAsync();
        await _app.DisposeAsync();
    }

    private GrpcServer Server() => new GrpcServer(TimeProvider.System)
        .Unary(AdminMethods.GetStatus, (_, _) => Task.FromResult(Says()))
        .Unary(AdminMethods.PublishTrust, (signed, _) =>
        {
            Published(signed);
            return Task.FromResult(new PublishTrustReply());
        })
        .ServerStreaming(AdminMethods.WatchStatus, (_, _) => Twice())
        .Unary(AdminMethods.Reload, (_, _) => throw new GrpcException(GrpcStatus.InvalidArgument,
            "fabric.yaml:3:1: error FAB0106: there is no key 'stes' (hint: did you mean 'sites'?)"))
        .Unary(AdminMethods.Drain, (request, _) => Task.FromResult(Drain(request)))
        .Unary(AdminMethods.ResolveName, (request, _) => Task.FromResult(DnsTests.Resolve(request)))
        .Unary(AdminMethods.SetFault, (request, _) =>
        {
            if (request.Link == "guarded")
            {
                throw new GrpcException(GrpcStatus.PermissionDenied,
                    "faults are not allowed: fabricd was started without --allow-faults");
            }

            Faults.Add((request.Link, request.Peer, request.Fault));
            return Task.FromResult(new SetFaultReply { Links = request.Link == "dx" ? 1u : 0 });
        });

    private DrainReply Drain(DrainRequest request)
    {
        Drains.Add(request);
        if (request.Gateway is not ("" or "paris-1"))
        {
            throw new GrpcException(GrpcStatus.NotFound, $"this is gateway paris-1: {request.Gateway} is drained on its own host");
        }

        if (request.Undo || Drains.Count >= DrainAnswers)
        {
            return new DrainReply();
        }

        var streams = new[]
        {
            new StreamsLeft { Service = "web.shop", Peer = "virginia-1", Direction = "out", Link = "dx", Streams = 5 },
            new StreamsLeft { Service = "db.[shop]", Peer = "virginia-1", Direction = "in", Link = "dx", Streams = 1 },
        };
        return new DrainReply
        {
            Remaining = 6,
            Streams = { streams },
            Cut = request.Force ? 6u : 0,
            Reason = request.Link.Length > 0 ? "no other link is left" : "",
        };
    }

    private static async IAsyncEnumerable<Status> Twice()
    {
        yield return Status;
        await Task.Yield();
        yield return new Status(Status) { State = "ready" };
    }
}
