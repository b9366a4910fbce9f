using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.AspNetCore.Server.Kestrel.Transport.Sockets;
using Microsoft.Extensions.DependencyInjection;

namespace Fabric.Gateway.Control.Transport;

/// <summary>What the gateway's Kestrel listens on beside ordinary loopback ports.</summary>
public static class ControlTransport
{
    /// <summary>Adds streams as a transport, and makes every unix socket its owner's only, or the group's as well.</summary>
    public static IWebHostBuilder UseControlTransport(this IWebHostBuilder host, string? socketGroup = null) => host
        .ConfigureServices(services => services
            .AddSingleton<IConnectionListenerFactory, StreamConnectionListenerFactory>()
            .Configure<SocketTransportOptions>(sockets => sockets.CreateBoundListenSocket = endPoint => UnixSocket.Bind(endPoint, socketGroup)))
        .ConfigureKestrel(kestrel =>
        {
            // A stream of the tunnel pauses while its link fails over; that is no slow client. What waits is bounded by the
            // windows of HTTP/2, and pings find a peer that is gone.
            kestrel.Limits.MinResponseDataRate = null;
            kestrel.Limits.MinRequestBodyDataRate = null;
            kestrel.Limits.Http2.KeepAlivePingDelay = TimeSpan.FromSeconds(20);
            kestrel.Limits.Http2.KeepAlivePingTimeout = TimeSpan.FromSeconds(20);
        });

    /// <summary>gRPC from peers, over streams of the tunnel.</summary>
    public static void ListenStreams(this KestrelServerOptions kestrel, StreamEndPoint endPoint) =>
        kestrel.Listen(endPoint, listen => listen.Protocols = HttpProtocols.Http2);

    /// <summary>gRPC from the command line. <paramref name="path"/> is absolute, at most 107 bytes.</summary>
    public static void ListenControlSocket(this KestrelServerOptions kestrel, string path) =>
        kestrel.ListenUnixSocket(path, listen => listen.Protocols = HttpProtocols.Http2);
}
