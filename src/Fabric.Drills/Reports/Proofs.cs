using Fabric.Drills.Definition;
using Fabric.Topology.Model;

namespace Fabric.Drills.Reports;

/// <summary>When the failover of a service was last proven: by a run that passed, while a probe of it measured.</summary>
/// <param name="State">"proven", "older than the topology" (which has changed since), "never proven".</param>
/// <param name="Drill">That proved it; empty when none did.</param>
/// <param name="PauseMs">That its live connections saw; null when none measured.</param>
/// <param name="FailedSince">A later run that failed, by id; empty when none did.</param>
/// <param name="Drills">Of those given, that measure the service: what would prove it.</param>
public sealed record ServiceProof(
    string Service, string State, string Drill, string Run, DateTimeOffset? At, double? PauseMs, long? Failed, string FailedSince, IReadOnlyList<string> Drills);

public static class Proofs
{
    public static IReadOnlyList<ServiceProof> Of(FabricTopology topology, IReadOnlyCollection<DrillRecord> runs, IReadOnlyCollection<DrillDefinition> drills) =>
    [
        .. topology.Services.Select(service =>
        {
            var of = runs.Where(r => r.Drill.Probes.Any(p => p.Service == service.FullName)).OrderByDescending(r => r.Began).ToArray();
            var proof = of.FirstOrDefault(r => r.Outcome == DrillOutcome.Passed);
            var failed = of.FirstOrDefault(r => r.Outcome is DrillOutcome.Failed or DrillOutcome.NotReverted && (proof is null || r.Began > proof.Began));
            var figures = proof?.Probes.Where(p => p.Service == service.FullName).ToArray() ?? [];
            string[] would = [.. drills.Where(d => d.Probes.Any(p => p.Service == service.FullName)).Select(d => d.Name)];
            return new ServiceProof(service.FullName,
                proof is null ? "never proven" : proof.TopologyRevision == topology.Revision ? "proven" : "older than the topology",
                proof?.Drill.Name ?? "", proof?.Id ?? "", proof?.Began,
                figures.Where(f => f.Kind is "live" or "bulk").Select(f => (double?)f.LongestPauseMs).Max(),
                proof is null ? null : figures.Sum(f => f.Failed), failed?.Id ?? "", would);
        }),
    ];
}
