using Fabric.Drills.Definition;
using Fabric.Drills.Measurement;

namespace Fabric.Drills.Reports;

/// <summary>How a run ended; <c>fabric drill run</c> exits by it.</summary>
public enum DrillOutcome
{
    Passed,

    /// <summary>A budget did not hold, or the steady state did not.</summary>
    Failed,

    /// <summary>A guard spoke against it, and nothing was touched.</summary>
    Refused,

    /// <summary>Stopped by a person or by a stop condition; everything was put back.</summary>
    Aborted,

    /// <summary>Something may still be in force.</summary>
    NotReverted,
}

/// <summary>All that one run of a drill showed: the canonical report, from which the others are made. Instants are of the controller's clock.</summary>
/// <param name="Id">Of the run: the drill's name, and when it began, as "cut-dx-20261127T154200Z".</param>
/// <param name="TopologyRevision">That the controller's gateway ran.</param>
/// <param name="Verdicts">Each expectation and each condition of the steady state, with what was seen.</param>
/// <param name="Events">Of the gateways, moved to the controller's clock.</param>
/// <param name="Seconds">The probe loads by the second and probe, for the timeline.</param>
/// <param name="ClockOffsets">By gateway, milliseconds that were taken off its clock, and how sure that is.</param>
public sealed record DrillRecord(
    string Id,
    DrillDefinition Drill,
    string Fabric,
    string Version,
    string TopologyRevision,
    DateTimeOffset Began,
    DateTimeOffset Ended,
    DrillOutcome Outcome,
    string Why,
    IReadOnlyList<DrillVerdict> Verdicts,
    IReadOnlyList<DrillGuardVerdict> Guards,
    IReadOnlyList<DrillActionRecord> Actions,
    IReadOnlyList<ProbeFigures> Probes,
    IReadOnlyList<DrillEvent> Events,
    IReadOnlyList<ProbeSecond> Seconds,
    IReadOnlyList<ClockOffset> ClockOffsets,
    double? DetectionMs,
    double? PauseMs,
    double? RecoveryMs);

/// <summary>One thing that was expected: "pauseMsMax", 1000, 312.4, true.</summary>
public sealed record DrillVerdict(string Name, string Expected, string Seen, bool Held, string Note = "");

/// <summary>One guard, and why it spoke for or against.</summary>
public sealed record DrillGuardVerdict(string Guard, bool Allowed, string Reason);

/// <summary>One fault at one gateway: what was asked, by which means it was in force, from when to when, and why it ended.</summary>
public sealed record DrillActionRecord(
    DrillAction Action, string Gateway, string Means, DateTimeOffset? Applied, DateTimeOffset? Reverted, string Ended, bool RevertedForSure);

/// <summary>Something that a gateway said.</summary>
public sealed record DrillEvent(
    DateTimeOffset At, string Gateway, string Kind, string Link, string Peer, string Service, double DetectionMs, double PauseMs, string Text);

/// <summary>One probe in one second.</summary>
/// <param name="WorstMs">The longest that one took that ended in it; null: none ended.</param>
public sealed record ProbeSecond(DateTimeOffset At, string Probe, int Succeeded, int Failed, long Bytes, double? WorstMs);

public sealed record ClockOffset(string Gateway, double Ms, double UncertainMs);
