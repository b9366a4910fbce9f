using System.Net;
using Fabric.Protocol.Grpc;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;

namespace Fabric.Protocol.Tests.Grpc;

/// <summary>A Kestrel that serves on a loopback port and on a unix socket.</summary>
internal sealed class GrpcHost : IAsyncDisposable
{
    private readonly WebApplication _app;
    private readonly string _folder = Directory.CreateTempSubdirectory("fabric-grpc-").FullName;
    private readonly List<HttpMessageInvoker> _invokers = [];

    private GrpcHost(RequestDelegate serve, HttpProtocols protocols)
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.WebHost.ConfigureKestrel(kestrel =>
        {
            kestrel.Listen(IPAddress.Loopback, 0, listen => listen.Protocols = protocols);
            kestrel.ListenUnixSocket(SocketPath, listen => listen.Protocols = protocols);
        });
        _app = builder.Build();
        _app.Run(serve);
    }

    public string SocketPath => Path.Combine(_folder, "s");

    public Uri Authority { get; private set; } = new("http://127.0.0.1");

    public static Task<GrpcHost> StartAsync(GrpcServer server, HttpProtocols protocols = HttpProtocols.Http2) =>
        StartAsync(server.InvokeAsync, protocols);

    public static async Task<GrpcHost> StartAsync(RequestDelegate serve, HttpProtocols protocols = HttpProtocols.Http2)
    {
        var host = new GrpcHost(serve, protocols);
        await host._app.StartAsync();
        var addresses = host._app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!;
        host.Authority = new Uri(addresses.Addresses.First(a => a.Contains("127.0.0.1", StringComparison.Ordinal)));
        return host;
    }

    public GrpcClient ClientOverTcp(TimeProvider? time = null) =>
        new(Keep(Dial.Tcp(Authority.Port)), Authority, time ?? TimeProvider.System);

    public GrpcClient ClientOverUnixSocket() =>
        new(Keep(Dial.Unix(SocketPath)), GrpcHandler.StreamAuthority, TimeProvider.System);

    public async ValueTask DisposeAsync()
    {
        _invokers.ForEach(i => i.Dispose());
        using var now = new CancellationTokenSource();
        await now.CancelAsync();
        await _app.StopAsync(now.Token);
        await _app.DisposeAsync();
        Directory.Delete(_folder, recursive: true);
    }

    private HttpMessageInvoker Keep(HttpMessageInvoker invoker)
    {
        _invokers.Add(invoker);
        return invoker;
    }
}

/// <summary>HTTP/2 connections of the tests.</summary>
internal static class Dial
{
    public static HttpMessageInvoker Tcp(int port) => GrpcHandler.OverStreams(cancellationToken => Testing.Dial.TcpAsync(port, cancellationToken));

    public static HttpMessageInvoker Unix(string path) => GrpcHandler.OverStreams(cancellationToken => Testing.Dial.UnixAsync(path, cancellationToken));
}
