using Fabric.Drills.Definition;
using Fabric.Drills.Guards;
using Fabric.Drills.Measurement;
using Fabric.Drills.Reports;

namespace Fabric.Drills.Running;

/// <summary>What a run has come to so far.</summary>
internal sealed class Run(DrillDefinition drill, FabricSurvey survey, string id, DateTimeOffset began)
{
    public DrillDefinition Drill => drill;
    public FabricSurvey Survey => survey;
    public string Id => id;
    public DateTimeOffset Began => began;
    public required IReadOnlyList<DrillGuardVerdict> Guards { get; init; }

    /// <summary>When the first action was due; null when none was.</summary>
    public DateTimeOffset? Acting { get; set; }

    /// <summary>When the last fault was reverted.</summary>
    public DateTimeOffset? Reverted { get; set; }
    public double? RecoveryMs { get; set; }

    /// <summary>Verdicts that came on the way.</summary>
    public List<DrillVerdict> Judged { get; } = [];
}

/// <summary>From what was seen to what is recorded: detection, pauses, verdicts.</summary>
internal static class Records
{
    public static DrillRecord Of(
        Run run, IReadOnlyList<DrillActionRecord> actions, IReadOnlyList<ProbeFigures> probes, IReadOnlyList<ProbeSecond> seconds, DateTimeOffset ended,
        DrillOutcome outcome, string why, EventLog? log = null)
    {
        var events = log?.Events() ?? [];
        var detections = actions.Where(a => a.Applied is not null && IsDetected(a.Action)).Select(a => (Record: a, Ms: Detection(a, events, run))).ToArray();
        double? detection = detections.Length > 0 && detections.All(d => d.Ms is not null) ? detections.Max(d => d.Ms) : null;
        double? pause = probes.Where(p => p.Kind is "live" or "bulk").Select(p => (double?)p.LongestPauseMs).Max();
        var verdicts = run.Judged.ToList();
        if (outcome == DrillOutcome.Passed)
        {
            verdicts.AddRange(actions.Select(InForce));
            verdicts.AddRange(Expected(run, probes, detections, detection, pause));
            if (log is { Dropped: > 0 })
            {
                verdicts.Add(new DrillVerdict("events", $"at most {EventLog.Limit}", $"{log.Dropped} more, which were not kept", false));
            }

            if (verdicts.Where(v => !v.Held).ToArray() is { Length: > 0 } broken)
            {
                (outcome, why) = (DrillOutcome.Failed, string.Join("; ", broken.Select(v => $"{v.Name}: {v.Seen}, expected {v.Expected}")));
            }
        }

        var view = run.Survey.View;
        return new DrillRecord(run.Id, run.Drill, view.Topology.TrustDomain, view.Status.Version, view.Status.TopologyRevision, run.Began, ended, outcome, why,
            verdicts, run.Guards, actions, probes, events, seconds, [.. run.Survey.Clocks.Values.OrderBy(c => c.Gateway, StringComparer.Ordinal).Select(c => c.ToOffset())],
            detection, pause, run.RecoveryMs);
    }

    /// <summary>Over all probes; null when none ended.</summary>
    public static double? SuccessPercent(IReadOnlyCollection<ProbeFigures> probes) => probes.Sum(p => p.Attempts) is > 0 and var attempts
        ? 100.0 * (attempts - probes.Sum(p => p.Failed)) / attempts : null;

    private static DrillVerdict InForce(DrillActionRecord a)
    {
        var asked = a.Action.Duration;
        var lasted = a is { Applied: { } applied, Reverted: { } reverted } ? reverted - applied : TimeSpan.Zero;

        // A second: what asking takes, and how far the clocks may be off.
        return new DrillVerdict($"action {a.Action.Id} at {a.Gateway}", $"in force for {Words.Span(asked)}",
            a.Applied is null ? "never in force" : $"{Words.Span(lasted)}{(a.Means.Length > 0 ? $" by {a.Means}" : "")}{(a.Ended.Length > 0 ? $", ended by {a.Ended}" : "")}",
            a.Applied is not null && lasted >= asked - TimeSpan.FromSeconds(1) && a.Ended is not "not-renewed");
    }

    private static IEnumerable<DrillVerdict> Expected(
        Run run, IReadOnlyList<ProbeFigures> probes, (DrillActionRecord Record, double? Ms)[] detections, double? detection, double? pause)
    {
        var expect = run.Drill.Expect;
        if (expect.DetectionMsMax is { } detectionMax)
        {
            string[] unseen = [.. detections.Where(d => d.Ms is null).Select(d => d.Record.Action.Id)];
            yield return new DrillVerdict("detectionMsMax", Words.Number(detectionMax),
                detection is { } ms ? Words.Number(ms) : detections.Length == 0 ? "no action is of a kind that is detected" : $"no gateway said anything of {string.Join(", ", unseen)}",
                detection <= detectionMax, $"± {Words.Milliseconds(run.Survey.Clocks.Values.Max(c => c.Uncertain.TotalMilliseconds))}");
        }

        if (expect.PauseMsMax is { } pauseMax)
        {
            yield return new DrillVerdict("pauseMsMax", Words.Number(pauseMax), pause is { } ms ? Words.Number(ms) : "not measured", pause <= pauseMax);
        }

        if (expect.RequestsFailedMax is { } failedMax)
        {
            yield return Sum("requestsFailedMax", failedMax, probes.Where(p => p.Kind is "connect" or "http" or "dns").ToArray(), p => p.Failed);
        }

        if (expect.ConnectionsDroppedMax is { } droppedMax)
        {
            yield return Sum("connectionsDroppedMax", droppedMax, probes.Where(p => p.Kind is "live" or "bulk" or "http").ToArray(), p => p.ConnectionsDropped);
        }

        if (expect.BytesLostMax is { } lostMax)
        {
            yield return Sum("bytesLostMax", lostMax, probes.Where(p => p.Kind is "live" or "bulk").ToArray(), p => p.BytesLost);
        }

        if (probes.Sum(p => p.HashesWrong) is > 0 and var wrong)
        {
            yield return new DrillVerdict("hashes", "0", $"{wrong} arrived other than they were sent", false);
        }

        if (expect.RecoveryMsMax is { } recoveryMax)
        {
            yield return new DrillVerdict("recoveryMsMax", Words.Number(recoveryMax), run.RecoveryMs is { } ms ? Words.Number(ms) : "it never did",
                run.RecoveryMs <= recoveryMax);
        }
    }

    /// <summary>What nobody attempted did not hold: it was not shown.</summary>
    private static DrillVerdict Sum(string name, long most, ProbeFigures[] probes, Func<ProbeFigures, long> of)
    {
        var (sum, attempts) = (probes.Sum(of), probes.Sum(p => p.Attempts));
        return new DrillVerdict(name, $"{most}", attempts == 0 ? "nothing was attempted" : $"{sum}", attempts > 0 && sum <= most, $"of {attempts} attempts");
    }

    /// <summary>Delay, less bandwidth and a withdrawn name are no failures that a gateway must find.</summary>
    private static bool IsDetected(DrillAction action) => action.Kind is "link-down" or "link-blackhole" or "flap" or "gateway-kill" or "gateway-pause"
        or "site-isolate" or "service-down" or "cert-expire" || action is { Kind: "loss", LossPercent: >= 100 };

    /// <summary>
    /// From the fault's application to the first word of any gateway about what it broke. What seems to come before it by no more than the clocks may be off
    /// came at once.
    /// </summary>
    private static double? Detection(DrillActionRecord record, IReadOnlyList<DrillEvent> events, Run run)
    {
        double Uncertain(string gateway) => run.Survey.Clocks.TryGetValue(gateway, out var clock) ? clock.Uncertain.TotalMilliseconds : 0;
        var first = events.Where(e => Tells(e, record)).Select(e => (Ms: (e.At - record.Applied!.Value).TotalMilliseconds, e.Gateway))
            .Where(e => e.Ms >= -(Uncertain(e.Gateway) + Uncertain(record.Gateway) + 1)).Select(e => (double?)Math.Max(0, e.Ms)).Min();
        return first;
    }

    private static bool Tells(DrillEvent e, DrillActionRecord record)
    {
        var action = record.Action;
        if (action.Service.Length > 0)
        {
            return e.Service == action.Service && (e.Kind is "service-moved" or "service-lost");
        }

        // The gateway itself, or one that had it as a peer.
        var about = e.Gateway == record.Gateway ? action.Peer.Length == 0 || e.Peer.Length == 0 || e.Peer == action.Peer
            : e.Peer == record.Gateway && (action.Peer.Length == 0 || e.Gateway == action.Peer);
        return about && (e.Kind is "path-moved" or "stream-moved"
            || ((e.Kind is "link-down" or "lane-down") && (action.Link.Length == 0 || e.Link.Length == 0 || e.Link == action.Link)));
    }
}
