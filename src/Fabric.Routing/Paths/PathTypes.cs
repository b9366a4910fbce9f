using System.Collections.Immutable;
using Fabric.Routing.Health;

namespace Fabric.Routing.Paths;

/// <summary>One link to a peer, as path choice sees it.</summary>
public sealed record PathCandidate(string Link, LinkState State)
{
    /// <summary>See <see cref="LinkReport.Recovering"/>.</summary>
    public bool Recovering { get; init; }

    /// <summary>Why it is in that state; quoted in reasons.</summary>
    public string StateReason { get; init; } = "";

    /// <summary>Smoothed round trip; null while unknown.</summary>
    public TimeSpan? Rtt { get; init; }
    public TimeSpan Jitter { get; init; }

    /// <summary>0 to 1.</summary>
    public double Loss { get; init; }

    /// <summary>Handicap in milliseconds.</summary>
    public int Cost { get; init; }

    /// <summary>Bits per second, or null; decides between equal scores.</summary>
    public long? Capacity { get; init; }

    /// <summary>Whether a lane is open over it: without one it carries nothing.</summary>
    public bool HasLane { get; init; }

    /// <summary>Who takes it out of use, as <c>by paris-1</c>; null when nobody does. It is used when nothing else that works is left.</summary>
    public string? Drained { get; init; }

    /// <summary>It is no link but a lane through another gateway: taken when no direct link works.</summary>
    public bool Relayed { get; init; }

    public static PathCandidate From(string link, LinkReport report) => new(link, report.State)
    {
        Recovering = report.Recovering,
        StateReason = report.Reason,
        Rtt = report.Rtt,
        Jitter = report.Jitter,
        Loss = report.Loss,
    };
}

/// <summary>Figures of path choice.</summary>
public sealed record PathChoiceOptions
{
    /// <summary>Switch for latency only when better by this share of the active score. Default 0.1.</summary>
    public double BetterByShare { get; init; } = 0.10;

    /// <summary>… and by that many milliseconds. Default 2.</summary>
    public double BetterByMs { get; init; } = 2;

    /// <summary>… for that long without a break. Default 10 s.</summary>
    public TimeSpan BetterFor { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>Milliseconds of score for a loss of 100 %. Default 1,000: 1 % of loss weighs as 10 ms of latency.</summary>
    public double LossWeightMs { get; init; } = 1_000;

    /// <summary>Damps switches for latency, which load itself can cause. Default: the third within minutes waits up to 10 min.</summary>
    public FlapDampingOptions Damping { get; init; } = new()
    {
        HalfLife = TimeSpan.FromMinutes(3),
        MaxHold = TimeSpan.FromMinutes(10),
    };
}

/// <summary>How links to a peer are used.</summary>
/// <param name="Active">Link that new bytes take; null when none can carry any.</param>
/// <param name="Standbys">The other usable ones, best first.</param>
/// <param name="Down">Links whose lanes should be fenced and closed.</param>
/// <param name="Reason">One sentence: why that one is active.</param>
/// <param name="Score">Of the active link, milliseconds; null when unknown or none.</param>
/// <param name="Changed">Whether the active link differs from the last decision's.</param>
public sealed record PathDecision(
    string? Active,
    ImmutableArray<string> Standbys,
    ImmutableArray<string> Down,
    string Reason,
    double? Score,
    bool Changed)
{
    /// <summary>Active first, then the standbys: the order of <c>LinkPaths.Preferred</c>.</summary>
    public ImmutableArray<string> Preferred => Active is null ? Standbys : Standbys.Insert(0, Active);
}
