using Fabric.Drills.Definition;
using Fabric.Drills.Reports;

namespace Fabric.Drills.Guards;

/// <summary>Speaks for or against a drill before anything is touched. All speak: whoever mends a drill mends it once.</summary>
public static class DrillGuard
{
    /// <summary>Verdicts in a fixed order. The drill may run when all allow it.</summary>
    public static IReadOnlyList<DrillGuardVerdict> Evaluate(DrillDefinition drill, FabricView view)
    {
        var results = drill.Actions.Select(a => (Action: a, Result: Targets.Of(a, view.Topology))).ToArray();
        var targets = results.SelectMany(r => r.Result.Found).ToArray();
        var moments = Damage.Moments(targets);
        return
        [
            Topology(view),
            Verdict("targets", [.. results.Where(r => r.Result.Problem is not null).Select(r => $"action {r.Action.Id}: {r.Result.Problem}")],
                string.Join("; ", targets.Select(t => t.ToString()))),
            Verdict("abilities", [.. targets.Select(t => CannotBeDone(view, t)).OfType<string>().Distinct()],
                "every target answers and can do what is asked"),
            Verdict("controller", [.. targets.Where(t => t.Gateway == view.Status.Gateway && (t.Action.Kind is "gateway-kill" or "gateway-pause"))
                .Select(t => $"{t.Gateway} is the gateway that the drill is run through: run it from another site")],
                $"it is run through {view.Status.Gateway}, which stays"),
            OneAtATime(view),
            Window(drill, view.Now),
            Sites(drill, targets),
            Links(drill, view, moments),
            PathGuards.Paths(drill, view, moments),
            PathGuards.Protected(drill, view, targets),
            CapacityGuard.Capacity(drill, view, moments),
        ];
    }

    /// <summary>From the beginning of the watch to the latest end of everything.</summary>
    public static TimeSpan Length(DrillDefinition drill) => drill.Steady.Before + drill.Actions.Max(a => a.Start + a.Duration) + drill.Steady.After;

    internal static DrillGuardVerdict Verdict(string guard, IReadOnlyCollection<string> against, string otherwise) =>
        new(guard, against.Count == 0, against.Count == 0 ? otherwise : string.Join("; ", against));

    private static DrillGuardVerdict Topology(FabricView view) => Verdict("topology",
        view.Topology.Revision == view.Status.TopologyRevision ? []
            : [$"the topology on disk is revision {view.Topology.Revision}, and {view.Status.Gateway} runs {view.Status.TopologyRevision}: "
                + "what would happen is unknown until they are the same"],
        $"revision {view.Topology.Revision}, as {view.Status.Gateway} runs it");

    private static string? CannotBeDone(FabricView view, Target target)
    {
        if (!view.Answers.TryGetValue(target.Gateway, out var answer))
        {
            return $"{target.Gateway} cannot be asked: {view.Silent.GetValueOrDefault(target.Gateway, "it was not heard of")}";
        }

        var ability = answer.Abilities.FirstOrDefault(a => a.Kind == target.Action.Kind);
        return ability is null ? $"{target.Gateway} does not know {target.Action.Kind}"
            : ability.Means.Length == 0 ? $"{target.Gateway} cannot do {target.Action.Kind}: {ability.Why}"
            : target.Action.Means == "kernel" && ability.Means != "kernel" ? $"{target.Gateway} does {target.Action.Kind} by {ability.Means}, and kernel is asked for: {ability.Why}"
            : ability.LongestMs > 0 && target.Action.Duration.TotalMilliseconds > ability.LongestMs
                ? $"{target.Gateway} does {target.Action.Kind} for at most {Words.Span(TimeSpan.FromMilliseconds(ability.LongestMs))}: {ability.Why}"
            : null;
    }

    /// <summary>The faults in force are the lock: they are seen by every controller, and end by themselves.</summary>
    private static DrillGuardVerdict OneAtATime(FabricView view)
    {
        var against = view.Answers.Values.SelectMany(a => a.Faults.Where(f => f.State is "in-force" or "revert-failed")
            .Select(f => $"{(f.State == "in-force" ? "" : "not reverted: ")}drill {f.Fault.Drill} has {f.Fault.Kind} in force at {a.Gateway}")).Distinct().ToList();
        if (view.Holder.Length > 0)
        {
            against.Insert(0, $"drill {view.Holder} is under way on this host");
        }

        return Verdict("one-at-a-time", against, "no other drill is under way"
            + (view.Silent.Count == 0 ? "" : $", as far as can be seen without {string.Join(", ", view.Silent.Keys.Order(StringComparer.Ordinal))}"));
    }

    private static DrillGuardVerdict Window(DrillDefinition drill, DateTimeOffset now)
    {
        if (drill.Guards.Windows.Count == 0)
        {
            return new DrillGuardVerdict("window", true, "it may run at any time");
        }

        var needed = Length(drill);
        var all = string.Join(", ", drill.Guards.Windows);
        var open = drill.Guards.Windows.Select(text => (Window: text, Left: TimeWindow.TryParse(text, out var w, out _, out _) ? w.OpenFor(now) : null))
            .Where(w => w.Left is not null).OrderByDescending(w => w.Left).FirstOrDefault();
        return open.Left is not { } left ? new DrillGuardVerdict("window", false, $"it may run {all}; now it is {now:ddd yyyy-MM-dd HH:mm} UTC")
            : left < needed ? new DrillGuardVerdict("window", false,
                $"{open.Window} closes in {Words.Span(left)}, and the drill may take {Words.Span(needed)}")
            : new DrillGuardVerdict("window", true, $"{open.Window} is open for {Words.Span(left)}");
    }

    private static DrillGuardVerdict Sites(DrillDefinition drill, Target[] targets)
    {
        var sites = targets.Select(t => t.Site).Distinct().Order(StringComparer.Ordinal).ToArray();
        var text = $"{sites.Length} of at most {drill.Guards.MaxSites}: {string.Join(", ", sites)}";
        return new DrillGuardVerdict("sites", sites.Length <= drill.Guards.MaxSites, text);
    }

    private static DrillGuardVerdict Links(DrillDefinition drill, FabricView view, IReadOnlyList<(TimeSpan At, Damage Damage)> moments)
    {
        var (all, most) = (view.Topology.Links.Length, moments.Select(m => m.Damage.Links.Count).DefaultIfEmpty().Max());
        var percent = all == 0 ? 0 : 100.0 * most / all;
        return new DrillGuardVerdict("links", percent <= drill.Guards.MaxLinksPercent,
            $"{most} of {all} links at once, {Words.Number(percent)} % of at most {Words.Number(drill.Guards.MaxLinksPercent)} %");
    }
}
