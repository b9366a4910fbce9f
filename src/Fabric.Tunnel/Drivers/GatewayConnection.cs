using System.Net;
using Fabric.Identity;

namespace Fabric.Tunnel.Drivers;

/// <summary>
/// A connection between two gateway ports: mutual TLS, and then a lane or another protocol. Disposing closes it, unless a lane has
/// taken it over.
/// </summary>
internal abstract class GatewayConnection : IAsyncDisposable
{
    /// <summary>Where it leads; null through a relay.</summary>
    public abstract IPEndPoint? Remote { get; }

    /// <summary>Bytes that came from the other side, TLS included.</summary>
    public abstract long BytesReceived { get; }

    /// <summary>What is said and heard inside TLS, after the handshake.</summary>
    public abstract Stream Stream { get; }

    /// <summary>SHA-256 (hex) of the root that vouches for the peer; empty before the handshake.</summary>
    public abstract string PeerRoot { get; }

    /// <summary>The same of the own certificate, as it was shown; empty when not known.</summary>
    public string OwnRoot { get; set; } = "";

    /// <summary>From now on the faults of that link apply. Only the first call counts.</summary>
    public abstract void Obey(ILinkFaults? faults, string peer, string link);

    /// <summary>It becomes the lane of that channel: 0 is the one that small things share.</summary>
    public abstract void Carry(int channel);

    /// <summary>
    /// Shakes hands as the server: returns the protocol that was agreed on, empty for none, and the gateway that the client's
    /// certificate names, or null when it sent none. Throws <see cref="System.Security.Authentication.AuthenticationException"/> with the reason.
    /// </summary>
    public abstract Task<(string Protocol, GatewayId? Peer)> AcceptAsync(IEnumerable<string> protocols, CancellationToken cancellationToken);

    /// <summary>
    /// Shakes hands as the client, for a lane to that gateway. Throws
    /// <see cref="System.Security.Authentication.AuthenticationException"/> with the reason.
    /// </summary>
    public abstract Task<GatewayId> ConnectAsync(string expectedGateway, CancellationToken cancellationToken);

    /// <summary>A lane over it, which owns it from now on.</summary>
    public abstract Lane ToLane();

    /// <summary>Closes it so that the other side sees a reset.</summary>
    public abstract void Abort();

    public abstract ValueTask DisposeAsync();
}
