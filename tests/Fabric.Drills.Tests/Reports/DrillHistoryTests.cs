using Fabric.Drills.Definition;
using Fabric.Drills.Measurement;
using Fabric.Drills.Reports;

namespace Fabric.Drills.Tests.Reports;

public sealed class DrillHistoryTests : IDisposable
{
    private static readonly DateTimeOffset Began = new(2026, 11, 27, 10, 0, 0, TimeSpan.Zero);
    private static readonly DrillDefinition Web = Samples.Drill("  - { id: a, kind: gateway-kill, gateway: paris-1, duration: 1s }",
        "probes: [ { name: p, kind: live, service: web.shop } ]\nguards: { services: [ { service: cache.shop, minHealthyPaths: 0 } ] }");

    private readonly string _folder = Directory.CreateTempSubdirectory("fabric-drills-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void The_last_hundred_of_a_drill_are_kept()
    {
        var history = new DrillHistory(_folder);
        for (var i = 0; i < DrillHistory.Kept + 3; i++)
        {
            history.Add(Run(i));
        }

        history.Add(Run(0) with { Drill = Web with { Name = "other" }, Id = "other-1" });
        var runs = history.All().ToArray();
        Assert.Equal(DrillHistory.Kept, runs.Count(r => r.Drill.Name == "t"));
        Assert.Equal(Began.AddMinutes(DrillHistory.Kept + 2), history.Last("t")!.Began);
        Assert.Equal("other-1", history.Last("other")!.Id);
        Assert.Null(history.Last("none"));
        Assert.Equal(0, runs[0].Drill.Guards.PathsOfServices["cache.shop"]);
    }

    [Fact]
    public void What_cannot_be_read_proves_nothing()
    {
        var history = new DrillHistory(_folder);
        history.Add(Run(1));
        File.WriteAllText(Path.Combine(_folder, "t", "t-20991231T000000Z.json"), "{ \"report\": 1, ");
        Assert.Equal(Run(1).Id, Assert.Single(history.All()).Id);
        Assert.Empty(new DrillHistory(Path.Combine(_folder, "missing")).All());
    }

    [Fact]
    public void When_the_failover_of_each_service_was_last_proven()
    {
        var topology = Samples.ThreeSites;
        DrillRecord[] runs = [Run(1, topology.Revision), Run(2, topology.Revision, DrillOutcome.Aborted), Run(3, topology.Revision, DrillOutcome.Failed)];
        var proofs = Proofs.Of(topology, runs, [Web]);
        Assert.Equal(["web.shop", "cache.shop"], proofs.Select(p => p.Service));
        Assert.Equal(("proven", "t", Run(1).Id, 42.0, Run(3).Id), (proofs[0].State, proofs[0].Drill, proofs[0].Run, proofs[0].PauseMs, proofs[0].FailedSince));
        Assert.Equal(["t"], proofs[0].Drills);
        Assert.Equal(("never proven", "", null), (proofs[1].State, proofs[1].Drill, proofs[1].At));

        // What was proven of another topology is older than this one.
        Assert.Equal("older than the topology", Proofs.Of(topology, [Run(1, "0123456789ab")], [])[0].State);
        Assert.Equal("never proven", Proofs.Of(topology, [Run(1, topology.Revision, DrillOutcome.Failed)], [])[0].State);
    }

    private static DrillRecord Run(int minute, string revision = "x", DrillOutcome outcome = DrillOutcome.Passed) => new(
        $"t-{Began.AddMinutes(minute):yyyyMMdd'T'HHmmss'Z'}", Web, "acme.example", "0.1.0", revision, Began.AddMinutes(minute), Began.AddMinutes(minute + 1), outcome, "", [], [], [],
        [new ProbeFigures("p", "live", "web.shop", 10, 1, 0, 42, null, 1, 2, 3, 0, 0)], [], [], [], null, 42, null);
}
