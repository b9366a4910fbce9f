using Fabric.Drills.Reports;

namespace Fabric.Drills.Running;

/// <summary>What a run looks like now, for whoever shows it: replaced as a whole whenever something changes.</summary>
/// <param name="Phase">"guards", "steady", "acting", "reverting", "recovering", "done"</param>
/// <param name="Ends">When the phase ends at the latest; null where that is not known.</param>
public sealed record DrillBoard(
    string Run,
    string Phase,
    DateTimeOffset Since,
    DateTimeOffset? Ends,
    IReadOnlyList<SteadyCondition> Steady,
    IReadOnlyList<DrillActionRecord> Actions,
    IReadOnlyList<ProbeNow> Probes,
    IReadOnlyList<DrillEvent> Events)
{
    public static DrillBoard Empty { get; } = new("", "guards", default, null, [], [], [], []);
}

/// <summary>A probe load over the last 10 s.</summary>
public sealed record ProbeNow(string Probe, string Kind, long Attempts, double FailedPercent);

/// <summary>Who watches a run. Called from any thread, and not to be held up.</summary>
public interface IDrillWatcher
{
    void Show(DrillBoard board);

    /// <summary>Something worth a line of its own.</summary>
    void Say(string line);
}
