using System.Diagnostics;

namespace Fabric.Tunnel.Core;

/// <summary>One lane as the session sees it.</summary>
internal sealed class LaneCore(int slot, uint epoch, string link, int channel, object? owner, TimeSpan now)
{
    /// <summary>How the answers on it come; written by the session.</summary>
    public LaneTiming Timing;

    /// <summary>Index in the session's table, 0 to 31; used again after the lane's end.</summary>
    public int Slot { get; } = slot;

    /// <summary>Which lane of its link it is: 0 is shared by all streams, further ones are for bulk.</summary>
    public int Channel { get; } = channel;

    /// <summary>It runs as a stream through a third gateway.</summary>
    public bool IsRelayed { get; } = link.StartsWith(StreamOpen.RelayLinkPrefix, StringComparison.Ordinal);

    /// <summary>Since when an answer is overdue on it; null when none is.</summary>
    public TimeSpan? LateSince { get; set; }

    /// <summary>Its number, agreed in HELLO; never used again in a session.</summary>
    public uint Epoch { get; } = epoch;

    public string Link { get; } = link;

    /// <summary>The driver's connection.</summary>
    public object? Owner { get; } = owner;

    /// <summary>False once it was fenced: what still arrives on it is discarded, and nothing more is sent.</summary>
    public bool IsLive { get; set; } = true;

    /// <summary>The span in which a relay was asked for it; none for lanes of the gateway's own, and where that is not traced.</summary>
    public ActivityContext Trace { get; set; }

    /// <summary>Why it ended.</summary>
    public string EndReason { get; set; } = "";

    /// <summary>Why streams left it.</summary>
    public string LeaveReason => IsLive ? "its link owes an answer" : EndReason;

    /// <summary>What the peer may send on it.</summary>
    public LaneMeter Meter { get; } = new(now);

    /// <summary>Lanes that ended, to be told before anything else.</summary>
    public Queue<uint> Fences { get; } = new();

    public bool PingDue { get; set; }

    /// <summary>What this side said last in GOAWAY.</summary>
    public GoAway Said { get; set; }

    /// <summary>What the peer said last in GOAWAY.</summary>
    public GoAway PeerSaid { get; set; }

    /// <summary>Token of a PING to answer; a later PING replaces it.</summary>
    public long? PongDue { get; set; }

    public TimeSpan LastHeard { get; set; } = now;

    public TimeSpan NextPing { get; set; } = now;

    /// <summary>Last answer to a PING, inside TCP and TLS; zero before the first.</summary>
    public TimeSpan RoundTrip { get; set; }
}

/// <summary>What GOAWAY says: the sender's wishes as they are now, in its offset. A lane begins with none.</summary>
[Flags]
internal enum GoAway
{
    None = 0,

    /// <summary>Open no new streams to me.</summary>
    NoStreams = 1,

    /// <summary>The link of this lane is drained: use it only when nothing else is left.</summary>
    LinkDrained = 2,

    /// <summary>Behind this, I send nothing of a stream on this lane. Said only where its link is drained, by either side.</summary>
    Quiet = 4,

    All = NoStreams | LinkDrained | Quiet,
}

/// <summary>
/// What the core asks of its driver. Called inside calls of the core, in the session's lock: the driver notes and signals, and
/// does not call back into the core.
/// </summary>
internal interface ISessionDriver
{
    /// <summary>The lane has something to send: call <see cref="SessionCore.Produce"/>.</summary>
    void OutputReady(LaneCore lane);

    /// <summary>The core let go of the lane: close its connection.</summary>
    void LaneEnded(LaneCore lane, string reason);

    /// <summary>The peer opens a stream: call Accept or Reset.</summary>
    void OpenRequested(StreamCore stream);

    /// <summary>The peer accepted the stream.</summary>
    void Opened(StreamCore stream);

    /// <summary>Bytes, or the end, can be read.</summary>
    void Readable(StreamCore stream);

    /// <summary>There may be room to write again.</summary>
    void Writable(StreamCore stream);

    /// <summary>Both directions are done and acknowledged (<see cref="StreamCode.Ok"/>), or the stream was reset.</summary>
    void Ended(StreamCore stream);

    /// <summary>The peer said in GOAWAY what it had not said before.</summary>
    void PeerWishes()
    {
    }

    /// <summary>Streams go on on another lane, because the one that carried them is over.</summary>
    void Moved(LaneCore from, LaneCore to, int streams, TimeSpan pause)
    {
    }

    /// <summary>The session is over, and its lanes and streams with it.</summary>
    /// <param name="reason">One sentence without a full stop.</param>
    /// <param name="streams">Of services, which were reset by that.</param>
    void SessionEnded(string reason, int streams)
    {
    }
}

/// <summary>Mistakes that a test plants, to show that the simulation finds them.</summary>
internal enum Mistake
{
    None,
    FencedLaneIsHeard,
    FinIsNotResent,
    AckIsOneTooMany,
    ResumeSkipsAByte,
    CreditLeaks,
}
