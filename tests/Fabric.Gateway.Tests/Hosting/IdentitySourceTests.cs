using System.Security.Cryptography;
using System.Threading.Channels;
using Fabric.Gateway.Hosting;
using Fabric.Identity;
using Fabric.Identity.Authority;
using Fabric.Protocol.Grpc;
using Fabric.Protocol.Proto.Workload;
using Fabric.Testing;
using Google.Protobuf;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;
using static Fabric.Gateway.Tests.Hosting.LoopbackFabric;

namespace Fabric.Gateway.Tests.Hosting;

/// <summary>
/// A whole gateway whose identity comes from elsewhere: it starts with it, follows it, and says what is wrong with it. What every
/// source has to do is proven in <c>Fabric.Identity.Tests</c>.
/// </summary>
public sealed class IdentitySourceTests
{
    [Fact]
    public async Task Gateway_lives_from_files_and_status_says_what_is_wrong_with_them()
    {
        await using var fabric = LoopbackFabric.Joined();
        var folder = Directory.CreateDirectory(fabric.State("files")).FullName;
        Write(folder, Issue(fabric, Paris));
        await using var gateway = await StartAsync(fabric, $"files:{folder}");
        using var admin = new AdminClient(fabric.Options(Paris).Socket);

        var status = await admin.UntilAsync(s => s.Gateway == Paris);
        Assert.Equal($"files {Path.Combine(folder, "tls.crt")}", status.IdentitySource);
        Assert.DoesNotContain(status.Problems, p => p.Contains("could not be renewed", StringComparison.Ordinal));

        Write(folder, Issue(fabric, Virginia));
        status = await admin.UntilAsync(s => s.Problems.Any(p => p.Contains("could not be renewed from files", StringComparison.Ordinal)));
        Assert.Contains(status.Problems, p => p.Contains("names spiffe://acme.example/site/virginia/gateway/virginia-1", StringComparison.Ordinal));

        Write(folder, Issue(fabric, Paris));
        await admin.UntilAsync(s => !s.Problems.Any(p => p.Contains("could not be renewed", StringComparison.Ordinal)));
    }

    [Fact]
    public async Task Gateway_lives_from_a_Workload_API_that_grants_it_an_identity_late()
    {
        await using var fabric = LoopbackFabric.Joined();
        var messages = Channel.CreateUnbounded<X509SVIDResponse>();
        var socket = fabric.State("agent.sock");
        await using var agent = await AgentAsync(socket, messages.Reader);
        var starting = StartAsync(fabric, $"spiffe:unix://{socket}");
        await Task.Delay(TimeSpan.FromSeconds(1));
        Assert.False(starting.IsCompleted);

        messages.Writer.TryWrite(Message(Issue(fabric, Paris)));
        await using var gateway = await starting.WaitAsync(Wait.Limit);
        using var admin = new AdminClient(fabric.Options(Paris).Socket);
        var status = await admin.UntilAsync(s => s.Gateway == Paris);
        Assert.Equal($"spiffe unix:{socket}", status.IdentitySource);
        Assert.False(Directory.Exists(fabric.State("another", "identity")));

        await agent.DisposeAsync();
        await admin.UntilAsync(s => s.Problems.Any(p => p.Contains($"spiffe unix:{socket} cannot be reached", StringComparison.Ordinal)));
    }

    [Theory]
    [InlineData("magic", "identity 'magic' is none of embedded, files:DIR")]
    [InlineData("embedded:x", "is none of")]
    [InlineData("spiffe", "SPIFFE_ENDPOINT_SOCKET")]
    [InlineData("files:a,b", "names 2 paths")]
    [InlineData("vault:", "is none of")]
    public async Task Option_that_names_no_source_is_refused_at_the_start_and_by_the_check(string option, string because)
    {
        await using var fabric = LoopbackFabric.Joined();
        var options = fabric.Options(Paris) with { Identity = option };
        var refusal = await Assert.ThrowsAsync<InvalidDataException>(() =>
            GatewayProcess.StartAsync(options, TimeProvider.System, NullLoggerFactory.Instance, default));
        Assert.Contains(because, refusal.Message, StringComparison.Ordinal);

        using var error = new StringWriter();
        Assert.Equal(1, DaemonCheck.Run(options, TimeProvider.System, TextWriter.Null, error));
        Assert.Contains(because, error.ToString(), StringComparison.Ordinal);
        Assert.DoesNotContain("fabric join", error.ToString(), StringComparison.Ordinal);
    }

    /// <summary>In a state folder without an identity of its own.</summary>
    private static Task<GatewayProcess> StartAsync(LoopbackFabric fabric, string identity) => GatewayProcess.StartAsync(
        fabric.Options(Paris) with { State = fabric.State("another"), Identity = identity }, TimeProvider.System, NullLoggerFactory.Instance, default);

    private static (Grant Grant, string Key, byte[] KeyDer, GatewayId Id) Issue(LoopbackFabric fabric, string gateway)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var id = new GatewayId("acme.example", gateway.Split('-')[0], gateway);
        var grant = MeshCa.Open(fabric.State("ca"), TimeProvider.System).Issue(id, MeshCa.Request(key));
        return (grant, key.ExportPkcs8PrivateKeyPem(), key.ExportPkcs8PrivateKey(), id);
    }

    private static void Write(string folder, (Grant Grant, string Key, byte[] KeyDer, GatewayId Id) issued)
    {
        File.WriteAllText(Path.Combine(folder, "tls.key"), issued.Key);
        if (!OperatingSystem.IsWindows())
        {
            File.SetUnixFileMode(Path.Combine(folder, "tls.key"), UnixFileMode.UserRead | UnixFileMode.UserWrite);
        }

        File.WriteAllText(Path.Combine(folder, "tls.crt"), Pem(issued.Grant.Chain));
        File.WriteAllText(Path.Combine(folder, "ca.crt"), Pem(issued.Grant.Bundle));

        static string Pem(IEnumerable<byte[]> certificates) =>
            string.Concat(certificates.Select(c => PemEncoding.WriteString("CERTIFICATE", c) + "\n"));
    }

    private static X509SVIDResponse Message((Grant Grant, string Key, byte[] KeyDer, GatewayId Id) issued) => new()
    {
        Svids =
        {
            new X509SVID
            {
                SpiffeId = issued.Id.ToString(),
                X509Svid = ByteString.CopyFrom([.. issued.Grant.Chain.SelectMany(c => c)]),
                X509SvidKey = ByteString.CopyFrom(issued.KeyDer),
                Bundle = ByteString.CopyFrom([.. issued.Grant.Bundle.SelectMany(c => c)]),
            },
        },
    };

    /// <summary>Denies as long as there is nothing to tell.</summary>
    private static async Task<IAsyncDisposable> AgentAsync(string socket, ChannelReader<X509SVIDResponse> messages)
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.ConfigureKestrel(k => k.ListenUnixSocket(socket, listen => listen.Protocols = HttpProtocols.Http2));
        var app = builder.Build();
        app.Run(new GrpcServer(TimeProvider.System).ServerStreaming(WorkloadMethods.FetchX509Svid, (_, call) => messages.Count == 0
            ? throw new GrpcException(GrpcStatus.PermissionDenied, "no identity issued")
            : messages.ReadAllAsync(call.Cancellation)).InvokeAsync);
        await app.StartAsync();
        return new Agent(app);
    }

    private sealed class Agent(WebApplication app) : IAsyncDisposable
    {
        private int _stopped;

        /// <summary>At once: the stream is cut.</summary>
        public async ValueTask DisposeAsync()
        {
            if (Interlocked.Exchange(ref _stopped, 1) == 0)
            {
                using var now = new CancellationTokenSource();
                await now.CancelAsync();
                await app.StopAsync(now.Token);
                await app.DisposeAsync();
            }
        }
    }
}
