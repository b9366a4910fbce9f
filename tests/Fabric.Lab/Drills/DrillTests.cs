using System.Text.RegularExpressions;
using Fabric.Drills.Reports;
using Fabric.Lab.Gateways;
using Fabric.Lab.Processes;
using Fabric.Protocol.Grpc;
using Fabric.Protocol.Proto;
using Fabric.Testing;
using Xunit.Abstractions;

namespace Fabric.Lab.Drills;

/// <summary>Drills as a person runs them: the program, three real gateways on loopback, live connections through them.</summary>
public sealed class DrillTests(DrillFabric drills, ITestOutputHelper output) : IClassFixture<DrillFabric>
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(90);

    private const string Cut = "{ id: cut, kind: link-blackhole, gateway: virginia-1, link: dx, duration: 3s }";

    // Away from dx: a link that falls too often is held back for a minute.
    private const string Long = "{ id: cut, kind: link-blackhole, gateway: virginia-1, link: wan, peer: factory-1, duration: 10m }";

    [RequiresFact("nginx", "redis-server", "setsid")]
    public async Task A_cut_line_costs_what_its_budget_allows()
    {
        await drills.Ready();
        var report = drills.Lab.Work.Of("drill-report");
        var run = await Run(Cut, "expect: { detectionMsMax: 3000, pauseMsMax: 5000, connectionsDroppedMax: 0, bytesLostMax: 0, recoveryMsMax: 60000 }", "--report", report);
        Assert.True(run.ExitCode == 0, $"{drills.Lab.Tails()}{run}");
        var record = DrillRecordJson.Read(await File.ReadAllTextAsync(Path.Combine(report, "report.json")), "report.json");
        Assert.Equal(DrillOutcome.Passed, record.Outcome);
        Assert.All(record.Verdicts, v => Assert.True(v.Held, $"{v}"));
        Assert.All(record.Probes, p => Assert.True(p.Attempts > 0, $"{p}"));
        output.WriteLine($"detection {record.DetectionMs:0} ms, pause {record.PauseMs:0} ms, recovery {record.RecoveryMs:0} ms; clocks {string.Join(", ", record.ClockOffsets)}");

        // It did happen, and the live connection saw it: nobody waits for less than it takes to find out.
        Assert.True(record.PauseMs > 20, $"{record.PauseMs}");
        Assert.Contains(record.Events, e => e is { Kind: "link-down", Link: "dx" });
        Assert.Equal(3, record.ClockOffsets.Count);
        Assert.True(File.Exists(Path.Combine(report, "junit.xml")) && File.Exists(Path.Combine(report, "report.html")));
        await drills.NothingInForce();
        var list = (await drills.Command("drill", "list", "--history", drills.History, "--topology", drills.Lab.Paris.TopologyFolder)).Checked();
        Assert.Matches(@"echo\.shop +proven", list.Output);
    }

    [RequiresFact("nginx", "redis-server", "setsid")]
    public async Task A_budget_that_is_too_tight_fails_it()
    {
        await drills.Ready();
        var run = await Run(Cut, "expect: { pauseMsMax: 1 }");
        Assert.Equal(7, run.ExitCode);
        Assert.Contains("pauseMsMax", run.Output);
        await drills.NothingInForce();
    }

    [RequiresTheory("nginx", "redis-server", "setsid")]
    [InlineData(Posix.SIGINT)]
    [InlineData(Posix.SIGTERM)]
    public async Task Stopped_it_puts_everything_back(int signal)
    {
        await drills.Ready();
        await using var run = Start(Long);
        await drills.InForce("virginia-1");
        run.Signal(signal);
        await Poll.Until("the end of the run", Limit, () => Task.FromResult(!run.IsAlive), () => run.Tail());
        Assert.Equal(9, await run.Stop());
        Assert.Contains("aborted, everything is put back", run.Tail());
        await drills.NothingInForce();
    }

    [RequiresFact("nginx", "redis-server", "setsid")]
    public async Task Killed_it_leaves_what_the_lease_ends()
    {
        await drills.Ready();
        await using var run = Start(Long);
        await drills.InForce("virginia-1");
        await run.Kill();
        Assert.Equal("not-renewed", (await drills.NothingInForce()).Faults.Last().Ended);
    }

    [RequiresFact("nginx", "redis-server", "setsid")]
    public async Task Aborted_from_elsewhere_it_ends()
    {
        await drills.Ready();
        await using var run = Start(Long);
        await drills.InForce("virginia-1");
        var abort = await drills.Command("drill", "abort", "--all", "--history", drills.Lab.Work.Of("another"), "--topology", drills.Lab.Factory.TopologyFolder,
            "--socket", drills.Lab.Paris.Socket);
        Assert.Contains("virginia-1: reverted link-blackhole of wan", abort.Checked().Output);
        await Poll.Until("the end of the run", Limit, () => Task.FromResult(!run.IsAlive), () => run.Tail());
        Assert.Equal(9, await run.Stop());
        await drills.NothingInForce();
    }

    /// <summary>Over gateways that run: refused, and nothing is asked of anybody but what he sees.</summary>
    [RequiresTheory("nginx", "redis-server", "setsid")]
    [InlineData("{ id: a, kind: link-down, gateway: paris-1, link: dy, duration: 5s }", "", "there is no link 'dy'")]
    [InlineData("{ id: a, kind: link-down, gateway: factory-1, link: dx, duration: 5s }", "", "link 'dx' has no end at gateway 'factory-1'")]
    [InlineData("{ id: a, kind: gateway-kill, gateway: paris-1, duration: 5s }", "guards: { maxLinksPercent: 100 }", "paris-1 is the gateway that the drill is run through")]
    [InlineData("{ id: a, kind: gateway-pause, gateway: virginia-1, duration: 5s }", "guards: { maxLinksPercent: 100 }", "cache.shop would have no path from paris")]
    [InlineData("{ id: a, kind: site-isolate, site: virginia, duration: 5s }", "", "3 of 4 links at once")]
    [InlineData(Cut, "guards: { protectedServices: [ cache.shop ] }", "touches cache.shop, which is protected")]
    public async Task An_unsafe_drill_is_refused(string action, string rest, string why)
    {
        await drills.Ready();
        var run = await Run(action, rest);
        Assert.Equal(8, run.ExitCode);
        Assert.Contains(why, Regex.Replace(run.Output, @"\s+", " "));
        await drills.NothingInForce();
    }

    [RequiresFact("nginx", "redis-server", "setsid")]
    public async Task One_drill_at_a_time_over_all_controllers()
    {
        await drills.Ready();
        await drills.Lab.Factory.Call(FaultsMethods.Apply, new ApplyFaultRequest
        {
            Fault = new FaultSpec { Id = "theirs-1", Drill = "theirs", Kind = "link-blackhole", Link = "wan", Peer = "virginia-1", DurationMs = 60_000 },
        });
        var run = await Run(Cut, "");
        Assert.Equal(8, run.ExitCode);
        Assert.Contains("drill theirs has link-blackhole in force at factory-1", Regex.Replace(run.Output, @"\s+", " "));
        Assert.Equal(8, (await Run(Cut, "", "--dry-run")).ExitCode);
        await drills.Lab.Factory.Call(FaultsMethods.Revert, new DrillFaultsRequest());
        await drills.NothingInForce();
    }

    private Task<CommandResult> Run(string action, string rest, params string[] more) => drills.Run([.. Arguments(action, rest), .. more]);

    private Daemon Start(string action) => Daemon.Start(drills.Lab.Work, $"drill-{Guid.NewGuid():n}", drills.Lab.FabricCommand(Arguments(action, "", "")));

    private string[] Arguments(string action, string rest, string links = "dx, wan")
    {
        var path = drills.Lab.Work.Of("drill.yaml");
        File.WriteAllText(path, $$"""
            drill: 1
            name: lab
            owner: the lab
            reason: It is tested.
            actions: [ {{action}} ]
            steady: { before: 1s, after: 75s, linksUp: [ {{links}} ], services: [ web.shop, echo.shop ] }
            probes:
              - { name: live, kind: live, service: echo.shop, perSecond: 50 }
              - { name: stream, kind: bulk, service: echo.shop, bytes: 1MiB }
              - { name: names, kind: dns, service: web.shop }
            {{rest}}
            """);
        return ["drill", "run", path, "--history", drills.History, "--topology", drills.Lab.Paris.TopologyFolder, "--socket", drills.Lab.Paris.Socket];
    }
}
