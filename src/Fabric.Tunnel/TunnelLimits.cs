namespace Fabric.Tunnel;

/// <summary>What a tunnel may use. Each limit says what happens at it.</summary>
public sealed record TunnelLimits
{
    /// <summary>Credit (bytes) that a new stream starts with; less when memory is short, down to 16 KiB. Default 256 KiB.</summary>
    public int InitialWindow { get; init; } = 256 * 1024;

    /// <summary>Credit (bytes) that a stream grows to as bandwidth and delay ask, and so what it retains at most. Default 16 MiB.</summary>
    public int MaxWindow { get; init; } = 16 * 1024 * 1024;

    /// <summary>
    /// Bytes of buffers of the whole tunnel, the one cap over all sessions, shared fairly between them. From half to three
    /// quarters of it on, applications are not read and new streams get the least window; at it, in the sessions that use most, new streams and those
    /// whose application takes nothing are reset with <see cref="StreamCode.LimitReached"/>. Default: a quarter of what the process' heap may
    /// have, which is half of the memory of the machine or the cgroup in the daemon; at least 16 MiB and at most 256 MiB.
    /// </summary>
    public long Memory { get; init; } = DefaultMemory(GC.GetGCMemoryInfo().TotalAvailableMemoryBytes);

    /// <summary>All else that a gateway keeps, and garbage, need the rest.</summary>
    internal static long DefaultMemory(long heapLimit) => Math.Clamp(heapLimit / 4, 16L << 20, 256L << 20);

    /// <summary>Streams per session and opening side. At it, an OPEN is reset with <see cref="StreamCode.LimitReached"/>. Flows (UDP) take at
    /// most half of them. Default 16,384.</summary>
    public int MaxStreams { get; init; } = 16_384;

    /// <summary>A stream remembers in 64 bits which lanes it used, and a lane that is replaced needs a bit until it is gone.</summary>
    internal const int MostLanes = 63;

    /// <summary>Lanes per session, at most 63: two for each of 31 links. At it, a new lane is refused. Default 63.</summary>
    public int MaxLanes { get; init; } = MostLanes;

    /// <summary>Lanes for bulk beside the shared one of each link, so that small things never wait behind bulk: 0 or 1. Default 1.</summary>
    public int BulkLanes { get; init; } = 1;

    /// <summary>
    /// OPENs of one peer whose policy decision or dial is under way, whether the stream was reset meanwhile or not. At it, an OPEN is
    /// reset with <see cref="StreamCode.LimitReached"/>. Default 4,096.
    /// </summary>
    public int MaxPendingOpens { get; init; } = 4_096;

    /// <summary>
    /// Handshakes (from accept to the end of HELLO) of strangers under way at once, and as many again that only the addresses of
    /// known peers may use. At it, a new connection is closed at once; dials of this gateway wait. Default 64.
    /// </summary>
    public int MaxHandshakes { get; init; } = 64;

    /// <summary>Handshakes under way at once from one address, for IPv6 from one /64. At it, a new connection is closed. Default 32.</summary>
    public int MaxHandshakesPerAddress { get; init; } = 32;

    /// <summary>Handshakes under way at once of one gateway that has shown its certificate. At it, a new lane is refused. Default 32.</summary>
    public int MaxHandshakesPerPeer { get; init; } = 32;

    /// <summary>Lanes between other gateways that this one carries at once. At it, asking for one more is refused with
    /// <see cref="StreamCode.LimitReached"/>. Default 256.</summary>
    public int MaxRelayed { get; init; } = 256;

    /// <summary>Connections accepted on one service address at once. At it, new ones are reset. Default 16,384.</summary>
    public int MaxConnections { get; init; } = 16_384;

    /// <summary>Flows (UDP) of clients, and likewise flows to endpoints, at once. At it, the flow that is idle the longest is ended
    /// if that is more than a second; else the new one is refused, and its datagrams are counted as dropped. Default 16,384.</summary>
    public int MaxFlows { get; init; } = 16_384;

    /// <summary>Bytes of datagrams that wait in one session, both ways. At it, new ones are dropped, and counted. Default 16 MiB.</summary>
    public int DatagramMemory { get; init; } = 16 * 1024 * 1024;

    /// <summary>How long an acknowledgement waits for company. Default 5 ms.</summary>
    public TimeSpan AckDelay { get; init; } = TimeSpan.FromMilliseconds(5);

    /// <summary>How long a session without any lane keeps its streams; then they are reset with
    /// <see cref="StreamCode.SessionLost"/>. Default 30 s.</summary>
    public TimeSpan Grace { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>The same while other gateways of the peer's site are reached: a connection made anew is served by them, so to wait
    /// for this one is worth less. Default 5 s.</summary>
    public TimeSpan GraceWithSiblings { get; init; } = TimeSpan.FromSeconds(5);

    /// <summary>How often a lane that is up is asked for an answer. Default 5 s.</summary>
    public TimeSpan PingInterval { get; init; } = TimeSpan.FromSeconds(5);

    /// <summary>A lane on which nothing arrived, or which took none of what was written to it, for this long is dead. Default 15 s.</summary>
    public TimeSpan LaneTimeout { get; init; } = TimeSpan.FromSeconds(15);

    /// <summary>A link whose lane owes an answer for this long is given up, when there is another. Default 3 s.</summary>
    public TimeSpan LateLimit { get; init; } = TimeSpan.FromSeconds(3);

    /// <summary>Bytes that may leave twice at once while a lane is suspect; at it, streams wait for the verdict. Default 4 MiB.</summary>
    public long CopyBurst { get; init; } = 4 * 1024 * 1024;

    /// <summary>Bytes per second that may leave twice in the long run. Default 1 MiB.</summary>
    public long CopyRate { get; init; } = 1024 * 1024;

    /// <summary>Connect, TLS handshake and HELLO of a lane together; then the connection is closed. Default 3 s.</summary>
    public TimeSpan HandshakeTimeout { get; init; } = TimeSpan.FromSeconds(3);

    /// <summary>First wait before a lane is dialled again; doubles up to <see cref="RedialMax"/>, each with up to a quarter of jitter.
    /// Default 100 ms.</summary>
    public TimeSpan RedialMin { get; init; } = TimeSpan.FromMilliseconds(100);

    /// <summary>Longest wait before a lane is dialled again. Default 5 s.</summary>
    public TimeSpan RedialMax { get; init; } = TimeSpan.FromSeconds(5);

    /// <summary>How long an OPEN may stay unanswered; then it is reset with <see cref="StreamCode.TimedOut"/>. Default 15 s.</summary>
    public TimeSpan OpenTimeout { get; init; } = TimeSpan.FromSeconds(15);
}
