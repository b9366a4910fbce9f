using System.Collections.Immutable;
using Fabric.Drills.Guards;
using Fabric.Topology;
using Fabric.Topology.Asked;
using Fabric.Topology.Model;
using Fabric.Topology.Yaml;

namespace Fabric.Drills.Definition;

/// <summary>A drill, or errors: never both, never neither.</summary>
public sealed record DrillResult(DrillDefinition? Drill, ImmutableArray<Diagnostic> Diagnostics);

/// <summary>
/// Text to drill, as <see cref="TopologyLoader"/> does for topologies, and by the same reader: all errors at once, each with place, value, rule and
/// hint. Never throws on bad input.
/// </summary>
public static class DrillLoader
{
    /// <summary>UTF-16 units of a file.</summary>
    public const int MaxLength = 1024 * 1024;

    /// <param name="topology">That its names are looked up in; null: names are not looked up.</param>
    public static DrillResult Load(TopologyFile file, FabricTopology? topology = null)
    {
        var diagnostics = new DiagnosticBag();
        var drill = Read(file, topology, diagnostics);
        return new DrillResult(diagnostics.HasErrors ? null : drill, diagnostics.ToSorted());
    }

    /// <summary>The JSON Schema (draft-07) of a drill's file; <c>topologies/drills/drill.schema.json</c> is its output.</summary>
    public static string Schema() => JsonSchemaGenerator.Generate(DrillShapes.File, "Fabric drill");

    private static DrillDefinition? Read(TopologyFile file, FabricTopology? topology, DiagnosticBag diagnostics)
    {
        if (file.Text.Length > MaxLength)
        {
            diagnostics.Error(DiagnosticCodes.LimitExceeded, new Mark(file.Path, 1, 1),
                $"the file has {file.Text.Length} characters; a drill has at most {MaxLength}");
            return null;
        }

        if (NodeReader.Read(file, diagnostics) is not { } root
            || !DrillShapes.File.TryRead(root, "a drill", new Reading(diagnostics), out var asked))
        {
            return null;
        }

        DrillChecks.Check(asked, diagnostics);
        if (asked.Actions.Any(a => a.Value is not { Id: not null, Kind: not null, Duration: not null }))
        {
            return null;
        }

        var drill = Accept(asked);
        if (topology is not null)
        {
            ReferenceChecks.Check(asked, drill, topology, diagnostics);
            if (!diagnostics.HasErrors)
            {
                Guards(asked, drill, topology, diagnostics);
            }
        }

        return drill;
    }

    /// <summary>A drill that is refused where all is well can never run. When it may run is not asked here.</summary>
    private static void Guards(AskedDrill asked, DrillDefinition drill, FabricTopology topology, DiagnosticBag diagnostics)
    {
        var targets = drill.Actions.SelectMany(a => Targets.Of(a, topology).Found).Select(t => t.Gateway).ToHashSet();
        var from = topology.Sites.SelectMany(s => s.Gateways).Where(g => !targets.Contains(g.Name)).OrderByDescending(g => topology.Drills.Allows(g.Site, g.Name))
            .FirstOrDefault()?.Name;
        var always = drill with { Guards = drill.Guards with { Windows = [] } };
        foreach (var guard in DrillGuard.Evaluate(always, FabricView.Ideal(topology, DateTimeOffset.UnixEpoch, from)).Where(g => !g.Allowed))
        {
            diagnostics.Error(DrillCodes.AlwaysRefused, asked.Name!.Value.At, $"guard {guard.Guard} refuses it even where all is up: {guard.Reason}",
                "make the drill smaller, or say in 'guards' what it may do");
        }
    }

    private static DrillDefinition Accept(AskedDrill asked) => new(
        asked.Name?.Value ?? "", asked.Owner?.Value ?? "", asked.Reason?.Value ?? "", asked.Topology?.Value ?? "",
        new SteadyState(asked.Steady.Before, asked.Steady.After, Values(asked.Steady.LinksUp), Values(asked.Steady.Services),
            asked.Steady.SuccessPercentMin),
        [.. asked.Actions.Select(a => Accept(a.Value))],
        [.. asked.Probes.Select(p => Accept(p.Value))],
        new DrillGuards(asked.Guards.MaxSites, asked.Guards.MaxLinksPercent, asked.Guards.MinHealthyPaths, Values(asked.Guards.ProtectedServices),
            Values(asked.Guards.Windows), asked.Guards.CapacityPercentMax)
        {
            PathsOfServices = asked.Guards.Services.Where(g => g.Value.Service is not null).DistinctBy(g => g.Value.Service!.Value.Value)
                .ToDictionary(g => g.Value.Service!.Value.Value, g => g.Value.MinHealthyPaths),
        },
        new StopConditions(asked.Stop.FailedPercentMax, asked.Stop.PauseMax, asked.Stop.ProtectedServiceDown),
        new DrillExpectations(asked.Expect.DetectionMsMax?.Value, asked.Expect.PauseMsMax?.Value, asked.Expect.RequestsFailedMax?.Value,
            asked.Expect.ConnectionsDroppedMax?.Value, asked.Expect.BytesLostMax?.Value, asked.Expect.RecoveryMsMax?.Value));

    private static DrillAction Accept(AskedAction a) => new(
        a.Id!.Value.Value, a.Kind!.Value.Value, a.Start, a.Duration!.Value.Value, a.Of("gateway"), a.Of("site"), a.Of("link"), a.Of("peer"),
        a.Of("service"), a.Of("direction") is { Length: > 0 } direction ? direction : "both", Milliseconds(a.Delay), Milliseconds(a.Jitter),
        a.LossPercent?.Value ?? 0, a.Bandwidth?.Value ?? 0, Milliseconds(a.Down), Milliseconds(a.Up), a.Means);

    private static ProbePlan Accept(AskedProbe p) => new(
        p.Name?.Value ?? "", p.Kind?.Value ?? "", p.Service?.Value ?? "", p.Port?.Value ?? 0, p.PerSecond?.Value ?? 20,
        p.Connections?.Value ?? (p.Kind?.Value == "bulk" ? 1 : 4), p.Bytes?.Value ?? 64L << 20, p.Address?.ToString() ?? "",
        p.Path?.Value ?? "/", p.Timeout);

    private static int Milliseconds(Located<TimeSpan>? span) => (int)(span?.Value.TotalMilliseconds ?? 0);

    private static string[] Values(ImmutableArray<Located<string>> located) => [.. located.Select(l => l.Value)];
}
