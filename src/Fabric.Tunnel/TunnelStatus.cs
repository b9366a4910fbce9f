using System.Collections.Immutable;
using System.Net;

namespace Fabric.Tunnel;

public sealed record TunnelStatus(
    ImmutableArray<SessionStatus> Sessions,
    ImmutableArray<ListenerStatus> Listeners,
    int OpenStreams,
    long BufferedBytes)
{
    /// <summary>What this gateway carries between others, by the gateway that asked for it.</summary>
    public ImmutableArray<RelayedStatus> Relayed { get; init; } = [];

    public DatagramStatus Datagrams { get; init; } = DatagramStatus.None;
}

/// <param name="Peer">The gateway that asked.</param>
/// <param name="Lanes">Carried now.</param>
/// <param name="Bytes">Carried since the start, both ways.</param>
public sealed record RelayedStatus(string Peer, int Lanes, long Bytes);

/// <summary>Flows and their datagrams, since the start. To endpoints: those that clients sent; to clients: those sent back.</summary>
/// <param name="Flows">Flows of clients, and flows that peers opened, now.</param>
/// <param name="LastOversize">The last datagram that was too large: its size, the limit, and where. Empty when there was none.</param>
public sealed record DatagramStatus(
    int Flows,
    long FlowsTotal,
    long ToEndpoints,
    long BytesToEndpoints,
    long ToClients,
    long BytesToClients,
    ImmutableSortedDictionary<DatagramDrop, long> Dropped,
    string LastOversize)
{
    public static DatagramStatus None { get; } = new(0, 0, 0, 0, 0, 0, ImmutableSortedDictionary<DatagramDrop, long>.Empty, "");
}

/// <summary>Why a datagram was dropped.</summary>
public enum DatagramDrop
{
    /// <summary>Too many waited in its flow: the oldest went.</summary>
    QueueFull,

    /// <summary>The session's memory for datagrams, or the tunnel's memory, is used up.</summary>
    Memory,

    /// <summary>It came twice: over two lanes.</summary>
    Duplicate,

    /// <summary>It came long after younger ones, or after the end of its flow.</summary>
    Late,

    /// <summary>Larger than a frame carries, or than the network behind takes.</summary>
    Oversize,

    /// <summary>No more flows may be open.</summary>
    FlowLimit,

    /// <summary>Its flow was refused: by policy, without an endpoint, without a lane.</summary>
    Refused,

    /// <summary>The socket to the endpoint or to the client did not take it.</summary>
    NotSent,
}

/// <param name="ProbeKeyToPeer">Key (32 bytes) that the peer gave to sign probes sent to it; empty until its HELLO came.</param>
/// <param name="ProbeKeyFromPeer">Key (32 bytes) that this gateway gave to the peer.</param>
public sealed record SessionStatus(
    string Peer,
    string PeerSite,
    Guid SessionId,
    ImmutableArray<LaneStatus> Lanes,
    string? ActiveLink,
    int Streams,
    SessionCounters Counters,
    ImmutableArray<byte> ProbeKeyToPeer,
    ImmutableArray<byte> ProbeKeyFromPeer)
{
    /// <summary>The link that takes copies because the active one is suspect; null while it is not.</summary>
    public string? CopiesTo { get; init; }
}

/// <summary>What a session has done since the process began. Bytes are those of applications.</summary>
public readonly record struct SessionCounters
{
    /// <summary>Bytes put on a lane for the first time.</summary>
    public long Sent { get; init; }

    public long Received { get; init; }

    /// <summary>Bytes put on a lane again after the first had died.</summary>
    public long Resent { get; init; }

    /// <summary>Bytes that left on a second lane as well because the first was suspect.</summary>
    public long Copied { get; init; }

    /// <summary>Bytes of mirrored streams that left on a second lane as well.</summary>
    public long Mirrored { get; init; }

    /// <summary>Streams that went on on another lane.</summary>
    public long Moves { get; init; }

    /// <summary>How often the active lane became suspect.</summary>
    public long Suspicions { get; init; }

    public static SessionCounters operator +(SessionCounters a, SessionCounters b) => new()
    {
        Sent = a.Sent + b.Sent,
        Received = a.Received + b.Received,
        Resent = a.Resent + b.Resent,
        Copied = a.Copied + b.Copied,
        Mirrored = a.Mirrored + b.Mirrored,
        Moves = a.Moves + b.Moves,
        Suspicions = a.Suspicions + b.Suspicions,
    };
}

public sealed record LaneStatus(string Link, LaneState State, uint Epoch, IPEndPoint? Remote, string? LastError, int Streams)
{
    /// <summary>0: the lane that streams share; more: a lane for bulk over the same link.</summary>
    public int Channel { get; init; }

    /// <summary>Smoothed time to an answer inside the lane; zero while unknown.</summary>
    public TimeSpan RoundTrip { get; init; }

    /// <summary>The peer drains the link.</summary>
    public bool PeerDrains { get; init; }

    /// <summary>The peer said that it sends nothing of a stream on it. Said only where the link is drained, by either side.</summary>
    public bool PeerIsQuiet { get; init; }
}

/// <summary>Streams that are alike.</summary>
/// <param name="Peer">The gateway at the other end; null for connections that are served within this site.</param>
/// <param name="IsOurs">Whether the application that opened them is on this side.</param>
/// <param name="Link">The link that this side sends on; null when there is none now.</param>
public sealed record StreamGroup(string Service, string? Peer, bool IsOurs, string? Link, int Count);

public enum LaneState
{
    Dialling,
    Up,
    Down,
}

public sealed record ListenerStatus(string Name, IPEndPoint Address, bool Open, string? Error);
