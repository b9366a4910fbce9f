using System.Net;
using System.Net.Sockets;
using Fabric.Tunnel.Core;

namespace Fabric.Tunnel.Drivers;

/// <summary>
/// What moves the bytes of a tunnel: it owns the sockets of lanes, of applications and to endpoints. Everything that decides is shared by all
/// drivers, and so is the core.
/// </summary>
internal interface IDriver : IAsyncDisposable
{
    /// <summary>Its name in settings and status.</summary>
    string Name { get; }

    /// <summary>Accepts connections to the gateway port; each is served by a task of its own.</summary>
    IListener Listen(IPEndPoint address, Func<GatewayConnection, Task> serve);

    /// <summary>Connects to a gateway port. Throws <see cref="SocketException"/> when nobody answers there.</summary>
    /// <param name="lane">Where to, and the largest segment.</param>
    /// <param name="cancellationToken">Gives up.</param>
    Task<GatewayConnection> DialAsync(LanePlan lane, CancellationToken cancellationToken);

    /// <summary>Accepts connections to a service address (TCP), and joins them to streams.</summary>
    IListener Serve(ServiceListener service);

    /// <summary>TLS with a client of a service that asks for certificates.</summary>
    /// <param name="socket">Connected; the caller's to close.</param>
    /// <param name="check">Judges the client's certificate.</param>
    /// <param name="protocols">ALPN names of the service.</param>
    CallerTls Secure(Socket socket, PeerCheck check, string[] protocols);

    /// <summary>A peer opened a stream of a service: asks egress, dials, joins. In the session's lock.</summary>
    void Serve(PeerSession session, StreamCore stream);

    /// <summary>A timer of a session, not armed.</summary>
    ITimer CreateTimer(Action tick);

    /// <summary>How it is doing; null when it has nothing to tell.</summary>
    DriverUsage? Usage { get; }

    /// <summary>Asks its loops for a sign of life, see <see cref="LoopUsage.Unanswered"/>.</summary>
    void AskForLife()
    {
    }
}

/// <summary>A socket that the plan asks for. Failing to open is tried again.</summary>
internal interface IListener
{
    ListenerStatus Status { get; }

    /// <summary>Opens the socket when it is not open. Not thread-safe.</summary>
    void TryOpen();

    Task CloseAsync();
}
