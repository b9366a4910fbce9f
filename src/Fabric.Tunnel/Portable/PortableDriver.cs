using System.Net;
using System.Net.Sockets;
using Fabric.Tunnel.Core;
using Fabric.Tunnel.Drivers;

namespace Fabric.Tunnel.Portable;

/// <summary>The driver that runs anywhere: <see cref="System.Net.Security.SslStream"/> and sockets on the thread pool.</summary>
internal sealed class PortableDriver(GatewayTunnel tunnel) : IDriver
{
    public string Name => "portable";

    public DriverUsage? Usage => null;

    public IListener Listen(IPEndPoint address, Func<GatewayConnection, Task> serve) =>
        new Acceptor(address, "gateway port", socket => ServeAsync(socket, serve), tunnel.Log, tunnel.Options.Time);

    private async Task ServeAsync(Socket socket, Func<GatewayConnection, Task> serve)
    {
        Sockets.PrepareLane(socket, 0);
        await serve(PortableConnection.Over(tunnel, socket)).ConfigureAwait(false);
    }

    public async Task<GatewayConnection> DialAsync(LanePlan lane, CancellationToken cancellationToken)
    {
        var socket = new Socket(lane.Remote!.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
        try
        {
            Sockets.PrepareLane(socket, lane.MaxSegment);
            await socket.ConnectAsync(lane.Remote, cancellationToken).ConfigureAwait(false);
            return PortableConnection.Over(tunnel, socket);
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    public IListener Serve(ServiceListener service) => new Acceptor(
        service.Address, service.Place, socket => tunnel.Ingress.ServeAsync(service, socket), tunnel.Log, tunnel.Options.Time);

    public CallerTls Secure(Socket socket, PeerCheck check, string[] protocols) => new SslCallerTls(socket, tunnel.Options.Identity, check, protocols);

    public void Serve(PeerSession session, StreamCore stream) => tunnel.Serve(TunnelStream.Of(session, stream));

    public ITimer CreateTimer(Action tick) => tunnel.Options.Time.CreateTimer(
        static tick => ((Action)tick!)(), tick, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);

    public ValueTask DisposeAsync() => ValueTask.CompletedTask;
}
