using System.Net;
using Fabric.Identity;

namespace Fabric.Tunnel;

/// <summary>What a driver is built from.</summary>
public sealed record TunnelOptions
{
    /// <summary>Who this gateway is. Its name decides which stream ids are its own.</summary>
    public required IGatewayIdentity Identity { get; init; }

    public required IIngress Ingress { get; init; }

    public required IEgress Egress { get; init; }

    public required TimeProvider Time { get; init; }

    /// <summary>For jitter only; keys and session ids come from the operating system's source.</summary>
    public required Random Random { get; init; }

    public TunnelLimits Limits { get; init; } = new();

    /// <summary>What moves the bytes. Default: the fastest that can run here.</summary>
    public TunnelDriver Driver { get; init; }

    /// <summary>Called first on each thread that carries bytes for all streams (an event loop's); for its priority.</summary>
    public Action ThreadStarted { get; init; } = static () => { };

    /// <summary>Faults to play on links; none by default.</summary>
    public ILinkFaults? Faults { get; init; }

    /// <summary>
    /// Other protocols on the gateway port, by ALPN name. The connection belongs to the handler until its task ends. A client
    /// certificate is asked for and verified when sent; without one <see cref="ProtocolConnection.Peer"/> is null, and the
    /// handler decides.
    /// </summary>
    public IReadOnlyDictionary<string, Func<ProtocolConnection, Task>> Protocols { get; init; } =
        new Dictionary<string, Func<ProtocolConnection, Task>>();

    /// <summary>One line for whatever went wrong and is not told otherwise; called from any thread. Nothing by default.</summary>
    public Action<string> Log { get; init; } = static _ => { };
}

/// <summary>What moves the bytes of a tunnel.</summary>
public enum TunnelDriver
{
    /// <summary>The Linux driver where it can run, else the portable one.</summary>
    Auto,

    /// <summary>SslStream and sockets on the thread pool: runs anywhere.</summary>
    Portable,

    /// <summary>Event loops on epoll with libssl. The tunnel cannot be created where there is no OpenSSL 3.</summary>
    Linux,
}

/// <summary>A TLS connection to the gateway port that is not a lane.</summary>
public sealed record ProtocolConnection(Stream Stream, string Alpn, GatewayId? Peer, IPEndPoint Remote);

/// <summary>What a link does to bytes, seen from this gateway.</summary>
[Flags]
public enum LinkFault
{
    None = 0,

    /// <summary>What the peer sends does not arrive.</summary>
    CutIn = 1,

    /// <summary>What this gateway sends does not leave.</summary>
    CutOut = 2,

    Cut = CutIn | CutOut,

    /// <summary>Lanes are closed and not taken: alone never, but in <see cref="Down"/>.</summary>
    Closed = 4,

    /// <summary>The link is gone, and both ends hear it at once: its lanes are closed, and nothing is sent.</summary>
    Down = Cut | Closed,
}

/// <summary>
/// Faults of links, for drills and for fabrics on loopback: bytes of a cut link stay where they are, without an error or
/// a close, until it is whole again; dials over it hang. Only <see cref="LinkFault.Down"/> is heard.
/// </summary>
public interface ILinkFaults
{
    LinkFault Current(string peer, string link);

    /// <summary>A fault came or went; the arguments are peer and link.</summary>
    event Action<string, string>? Changed;
}

/// <summary>
/// Faults that are set by hand, one for each link, and those that somebody holds: a link has all of them together. Safe to call from any thread.
/// </summary>
public sealed class LinkFaults : ILinkFaults
{
    private readonly Dictionary<(string, string), LinkFault> _faults = [];
    private readonly Dictionary<string, (IReadOnlyList<(string Peer, string Link)> Links, LinkFault Fault)> _held = [];
    private Dictionary<(string, string), LinkFault> _current = [];
    private readonly Lock _lock = new();

    public event Action<string, string>? Changed;

    public LinkFault Current(string peer, string link)
    {
        lock (_lock)
        {
            return _current.GetValueOrDefault((peer, link));
        }
    }

    public void Set(string peer, string link, LinkFault fault)
    {
        lock (_lock)
        {
            _faults[(peer, link)] = fault;
            Combine();
        }

        Changed?.Invoke(peer, link);
    }

    /// <summary>Holds a fault on these links (peer and link of each), in place of what the same holder held before.</summary>
    public void Hold(string holder, IReadOnlyList<(string Peer, string Link)> links, LinkFault fault) => Change(holder, (links, fault));

    /// <summary>Holds nothing any more. Idempotent.</summary>
    public void Release(string holder) => Change(holder, null);

    private void Change(string holder, (IReadOnlyList<(string Peer, string Link)> Links, LinkFault Fault)? next)
    {
        IReadOnlyList<(string Peer, string Link)> touched;
        lock (_lock)
        {
            touched = [.. (_held.Remove(holder, out var before) ? before.Links : []).Concat(next?.Links ?? []).Distinct()];
            if (next is { } held)
            {
                _held[holder] = held;
            }

            Combine();
        }

        foreach (var (peer, link) in touched)
        {
            Changed?.Invoke(peer, link);
        }
    }

    /// <summary>Asked for every packet: put together once.</summary>
    private void Combine()
    {
        var all = new Dictionary<(string, string), LinkFault>(_faults);
        foreach (var (links, fault) in _held.Values)
        {
            foreach (var link in links)
            {
                all[link] = all.GetValueOrDefault(link) | fault;
            }
        }

        _current = all;
    }
}
