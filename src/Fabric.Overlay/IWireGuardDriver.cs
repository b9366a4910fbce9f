using System.Collections.Immutable;
using System.Net;
using Fabric.Overlay.Keys;

namespace Fabric.Overlay;

/// <summary>
/// A way to have WireGuard interfaces on this machine. Drivers: <c>kernel</c> (Linux, generic netlink) and <c>userspace</c>
/// (a daemon behind the cross-platform UAPI socket). WireGuardNT will be a third one behind the same interface.
/// </summary>
public interface IWireGuardDriver
{
    /// <summary><c>kernel</c> or <c>userspace</c>.</summary>
    string Name { get; }

    /// <summary>Whether it can work here; <paramref name="reason"/> says why or why not, in one sentence.</summary>
    bool IsAvailable(out string reason);

    /// <summary>
    /// Creates the interface, or adopts the one that an earlier process of this owner left: handshakes survive an adoption.
    /// Throws <see cref="OverlayException"/> when an interface of that name is of another kind or of another owner.
    /// </summary>
    /// <param name="interfaceName">At most 15 bytes; see <see cref="InterfaceName"/>.</param>
    /// <param name="cancellationToken">Ends the wait for the interface.</param>
    Task<IWireGuardDevice> OpenAsync(string interfaceName, CancellationToken cancellationToken);
}

/// <summary>One WireGuard interface. Calls are safe from any thread and run one after the other.</summary>
public interface IWireGuardDevice : IAsyncDisposable
{
    string Interface { get; }

    /// <summary>
    /// Makes the interface equal to <paramref name="config"/> by the differences only: what is right already is not touched, so
    /// that sessions of peers live through every change that is not theirs. An endpoint that WireGuard learned by roaming
    /// stays, as long as the configured one is null or is what was configured before. Throws <see cref="OverlayException"/>.
    /// </summary>
    Task ApplyAsync(DeviceConfig config, CancellationToken cancellationToken);

    /// <summary>What the interface is now. Throws <see cref="OverlayException"/>.</summary>
    Task<DeviceStatus> GetStatusAsync(CancellationToken cancellationToken);

    /// <summary>
    /// Lets go of the interface and leaves it working, so that the next process adopts it (a daemon that restarts).
    /// <see cref="IAsyncDisposable.DisposeAsync"/> removes it, with the process behind it.
    /// </summary>
    Task DetachAsync();
}

/// <summary>What an interface should be.</summary>
public sealed record DeviceConfig
{
    public required WireGuardKey PrivateKey { get; init; }

    /// <summary>UDP port; 0: WireGuard chooses one, and keeps it.</summary>
    public int ListenPort { get; init; }

    /// <summary>The interface's own address (/128, or /32); null: none is set and existing ones stay.</summary>
    public IPAddress? Address { get; init; }

    /// <summary>Bytes, 1,280 to 65,535; see <see cref="OverlayMtu"/>. Default 1,420.</summary>
    public int Mtu { get; init; } = 1420;

    /// <summary>At most 4,096; public keys are distinct, and so are allowed ranges across peers.</summary>
    public ImmutableArray<WireGuardPeer> Peers { get; init; } = [];
}

/// <summary>A peer of an interface.</summary>
/// <param name="PublicKey">Who it is.</param>
/// <param name="Endpoint">Where to send; null: WireGuard learns it when the peer dials in.</param>
/// <param name="AllowedIps">What it may send from, and what is routed to it.</param>
/// <param name="Keepalive">Every 1 to 65,535 seconds; null: none.</param>
public sealed record WireGuardPeer(
    WireGuardPublicKey PublicKey, IPEndPoint? Endpoint, ImmutableArray<IPNetwork> AllowedIps, TimeSpan? Keepalive = null);

/// <summary>What an interface is.</summary>
public sealed record DeviceStatus
{
    public required string Interface { get; init; }
    public required string Driver { get; init; }

    /// <summary>Null until a private key is set.</summary>
    public WireGuardPublicKey? PublicKey { get; init; }
    public int ListenPort { get; init; }
    public ImmutableArray<PeerStatus> Peers { get; init; } = [];
}

/// <summary>What a peer is: counters in bytes of WireGuard messages, since the peer was added.</summary>
public sealed record PeerStatus
{
    public required WireGuardPublicKey PublicKey { get; init; }
    public IPEndPoint? Endpoint { get; init; }

    /// <summary>Null until the first handshake is complete.</summary>
    public DateTimeOffset? LastHandshake { get; init; }
    public long ReceivedBytes { get; init; }
    public long SentBytes { get; init; }
    public TimeSpan? Keepalive { get; init; }
    public ImmutableArray<IPNetwork> AllowedIps { get; init; } = [];
}
