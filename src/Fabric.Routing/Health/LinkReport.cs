namespace Fabric.Routing.Health;

/// <summary>What is known of a link.</summary>
public enum LinkState
{
    /// <summary>Nothing is known yet.</summary>
    Unknown,

    /// <summary>Full-size packets pass both ways.</summary>
    Up,

    /// <summary>An answer is overdue, or its lane was closed. Still used; what is not acknowledged goes out on a second lane as well.</summary>
    Suspect,

    /// <summary>Not used.</summary>
    Down,
}

/// <summary>Figures of the verdict on a link. Instants here and in all of Fabric.Routing are <see cref="TimeSpan"/>s since any one start.</summary>
public sealed record LinkHealthOptions
{
    /// <summary>Least time until an answer is overdue. Default 60 ms.</summary>
    public TimeSpan SuspectFloor { get; init; } = TimeSpan.FromMilliseconds(60);

    /// <summary>Time until an answer is overdue while no round trip is known. Default 1 s (RFC 6298, initial RTO).</summary>
    public TimeSpan FirstTimeout { get; init; } = TimeSpan.FromSeconds(1);

    /// <summary>Most time until an answer is overdue, whatever was measured. Default 3 s.</summary>
    public TimeSpan MaxTimeout { get; init; } = TimeSpan.FromSeconds(3);

    /// <summary>Probes missed in a row until down. Default 3.</summary>
    public int Misses { get; init; } = 3;

    /// <summary>How long a link that was down must answer every probe in time until it is up. Default 2 s.</summary>
    public TimeSpan HoldDown { get; init; } = TimeSpan.FromSeconds(2);

    /// <summary>Largest IP packet that the link must carry, in bytes. Default 1,500.</summary>
    public int Mtu { get; init; } = 1500;

    /// <summary>How often a probe of full size is due while all is well. Default 1 s.</summary>
    public TimeSpan FullSizeEvery { get; init; } = TimeSpan.FromSeconds(1);

    /// <summary>A timer later than that excuses what falls overdue at it, once for each probe. Default 10 ms.</summary>
    public TimeSpan LateTolerance { get; init; } = TimeSpan.FromMilliseconds(10);

    public FlapDampingOptions Damping { get; init; } = new();
}

/// <summary>The verdict on a link and what it rests on; a copy.</summary>
/// <param name="Reason">One sentence without a full stop: why it is in that state.</param>
/// <param name="Since">Instant of the last change of state.</param>
/// <param name="Recovering">Down, and yet the last probes were answered: it waits out its hold-down or damping.</param>
/// <param name="Rtt">Smoothed; null before the first answer.</param>
/// <param name="Jitter">Smoothed mean deviation; zero before the first answer.</param>
/// <param name="Loss">Share of the last 100 probes without an answer in time.</param>
/// <param name="LossOut">Share lost on the way to the peer.</param>
/// <param name="LossBack">Share of answers lost on the way back.</param>
/// <param name="Detected">How long the last fall to down took to be noticed, from the last good answer; zero when it never fell.</param>
/// <param name="MtuPasses">Whether the last probe of full size was answered.</param>
public sealed record LinkReport(
    LinkState State,
    string Reason,
    TimeSpan Since,
    bool Recovering,
    TimeSpan? Rtt,
    TimeSpan Jitter,
    double Loss,
    double LossOut,
    double LossBack,
    TimeSpan Detected,
    bool MtuPasses);
