using System.Globalization;
using System.Text.RegularExpressions;
using Fabric.Drills.Definition;
using Fabric.Drills.Reports;
using Fabric.Lab.Processes;
using Fabric.Protocol.Grpc;
using Fabric.Protocol.Proto;
using Fabric.Testing;
using Xunit.Abstractions;
using Xunit.Sdk;
using TopologyFile = Fabric.Topology.TopologyFile;

namespace Fabric.Lab.Drills;

/// <summary>
/// Every drill of <c>topologies/drills</c>, asked of gateways that run as its topology says; and those run whose faults the gateways make by themselves, in a shorter time: the kernel's are
/// in <see cref="Faults.FaultTests"/>, on links of their own.
/// </summary>
[TestCaseOrderer("Fabric.Lab.Drills.ByTopology", "Fabric.Lab")]
public sealed class LibraryDrillTests(LibraryFabric library, ITestOutputHelper output) : IClassFixture<LibraryFabric>
{
    private const int Tries = 3;

    /// <summary>Of the plan of each: what is done, and by whom services are answered meanwhile. Which of two ways is the shorter one, no two links on loopback agree on.</summary>
    private static readonly Dictionary<string, string[]> Plans = new()
    {
        ["cluster-and-vm-lose-gateway.yaml"] =
        [
            "kill +0.0s 30s gateway-kill at datacentre-1 kernel",
            "orders-db.data datacentre over wan datacentre over wan",
            "links yes 2 of 3 links at once, 66.7 % of at most 67 %",
        ],
        ["cluster-and-vm-lossy-wan.yaml"] =
        [
            "lossy +0.0s 30s loss of wan to datacentre-1 at cluster-1 kernel",
            "orders-db.data datacentre over wan datacentre over wan",
            "links yes 1 of 3 links at once",
        ],
        ["loopback-cut-dx.yaml"] = ["cut +0.0s 10s link-blackhole of dx at virginia-1 (kernel|seam)", "web.shop virginia over dx (virginia|factory) over internet moves at 0 s"],
        ["three-sites-cut-dx.yaml"] =
        [
            "cut +0.0s 20s link-blackhole of dx to virginia-1 at paris-1 kernel",
            "web.shop virginia over dx (virginia|factory) over internet moves at 0 s",
            "cache.shop virginia over dx virginia over internet moves at 0 s",
        ],
        ["three-sites-flap-dx.yaml"] = ["loose +0.0s 45s flap of dx at paris-1 kernel", "cache.shop virginia over dx virginia over internet moves at 0 s"],
        ["three-sites-isolate-factory.yaml"] =
        [
            "alone +0.0s 30s site-isolate at factory-1 kernel",
            "web.shop virginia over dx virginia over dx stays",
            "cache.shop virginia over dx virginia over dx stays",
            "protected yes nothing touches cache.shop",
        ],
        ["three-sites-lose-virginia.yaml"] =
        [
            "hang +0.0s 30s gateway-pause at virginia-1 kernel",
            "web.shop virginia over dx factory over internet moves at 0 s",
            "cache.shop virginia over dx nobody cut off from 0 s on",
        ],
        ["three-sites-one-way.yaml"] =
        [
            @"out +0.0s 15s link-blackhole of dx \(out\) at paris-1 kernel",
            @"in +45s 15s link-blackhole of dx \(in\) at paris-1 kernel",
            "cache.shop virginia over dx virginia over internet moves at 0 s",
        ],
        ["three-sites-slow-dx.yaml"] =
        [
            "slow +0.0s 1m delay of dx at paris-1 kernel",
            "lossy +20s 40s loss of dx at virginia-1 kernel",
            "sites yes 2 of at most 2: paris, virginia",
        ],
        ["three-sites-web-down.yaml"] =
        [
            "down +0.0s 20s service-down of web.shop at virginia-1 seam",
            "web.shop virginia over dx factory over internet moves at 0 s",
            "cache.shop virginia over dx virginia over dx stays",
        ],
        ["vagrant-cut-dx.yaml"] = ["down +0.0s 20s link-down of dx at virginia-1 kernel", "ssh.ops virginia over dx virginia over vpn moves at 0 s"],
    };

    private static string Folder => Path.Combine(LibraryFabric.Samples, "drills");

    public static TheoryData<string> Files => [.. Directory.GetFiles(Folder, "*.yaml").Select(f => Path.GetFileName(f)).Order(StringComparer.Ordinal)];

    [RequiresTheory("root", "setsid", "nft", "tc", "ip")]
    [MemberData(nameof(Files))]
    public async Task It_may_run_and_says_what_it_would_do(string file)
    {
        CommandResult plan;
        string said;
        string[] unsaid;
        var left = Tries;
        do
        {
            // A machine that is busy with something else makes links fall by themselves: what the plan begins from is waited for again.
            plan = await library.Drill(library.Write(file, await Ready(file)), "--dry-run");
            said = Regex.Replace(plan.Output, @" +", " ");
            unsaid = [.. Plans[file].Where(line => !Regex.IsMatch(said, "(?m)^ ?" + line.Replace("+", @"\+", StringComparison.Ordinal)))];
        }
        while (--left > 0 && unsaid.Length > 0);

        output.WriteLine($"{plan}");
        Assert.True(plan.ExitCode == 0, $"{plan}{library.Tails()}");
        Assert.True(unsaid.Length == 0, $"not in the plan: {string.Join("; ", unsaid)}\n{plan}");
        Assert.Contains("it may run", said);
        await library.NothingInForce();
    }

    [RequiresTheory("root", "setsid", "nft", "tc", "ip")]
    [InlineData("loopback-cut-dx.yaml", "seam")]
    [InlineData("three-sites-isolate-factory.yaml", "seam")]
    [InlineData("three-sites-web-down.yaml", "seam")]
    public async Task It_runs_and_passes(string file, string means)
    {
        var text = Regex.Replace(await Ready(file), @"duration: \d+s", "duration: 3s").Replace("\nsteady:\n", "\nsteady:\n  before: 2s\n  after: 60s\n", StringComparison.Ordinal);

        // What may be lost is as declared; how long it may take is not for a machine that is busy with something else.
        text = Regex.Replace(text, @"(\w+MsMax): (\d+)", m => $"{m.Groups[1]}: {10 * int.Parse(m.Groups[2].Value, CultureInfo.InvariantCulture)}");
        var report = Path.Combine(Path.GetDirectoryName(library.Write(file, text))!, $"report-{file}");
        CommandResult run;
        var left = Tries;
        do
        {
            await library.Ready(Path.GetFileName(Load(file).Topology));
            run = await library.Drill(library.Write(file, text), "--report", report);
        }
        while (--left > 0 && Regex.Replace(run.Output, @"\s+", " ").Contains("did not hold before anything was touched", StringComparison.Ordinal));

        Assert.True(run.ExitCode == 0, $"{run}{library.Tails()}");
        var record = DrillRecordJson.Read(await File.ReadAllTextAsync(Path.Combine(report, "report.json")), "report.json");
        output.WriteLine($"detection {record.DetectionMs:0} ms, pause {record.PauseMs:0} ms, recovery {record.RecoveryMs:0} ms");
        Assert.Equal(DrillOutcome.Passed, record.Outcome);
        Assert.All(record.Actions, a => Assert.Equal((means, true, true), (a.Means, a.Applied is not null, a.Reverted is not null)));
        Assert.All(record.Probes, p => Assert.True(p.Attempts > 0, $"{p}"));
        await library.NothingInForce();
    }

    /// <summary>As the shipped unit has it: a reason and a hint, where it is asked for and in the plan of a drill, and nothing is touched.</summary>
    [RequiresFact("root", "setsid", "nft", "tc", "ip", "setpriv")]
    public async Task What_the_unit_does_not_allow_is_refused_with_what_to_change()
    {
        await library.Ready("three-sites.yaml");
        await library.Restrict("virginia-1");
        await library.Ready("three-sites.yaml");
        foreach (var (fault, why) in new[]
        {
            (new FaultSpec { Kind = "delay", Link = "dx", DelayMs = 20 }, "it needs CAP_NET_RAW, to send on what it held, and fabricd does not have it (hint: with systemd a drop-in with AmbientCapabilities=CAP_NET_RAW"),
            (new FaultSpec { Kind = "gateway-pause" }, "20 s are more than the 5.5 s that it may last: systemd ends whoever is silent for 10 s (hint: WatchdogSec=0 in a drop-in"),
        })
        {
            (fault.Id, fault.Drill, fault.DurationMs) = ("a", "lab", 20_000);
            var refused = await Assert.ThrowsAsync<GrpcException>(() => library.Controller.Call(FaultsMethods.Apply, new ApplyFaultRequest { Gateway = "virginia-1", Fault = fault }));
            Assert.Equal(GrpcStatus.FailedPrecondition, refused.Status);
            Assert.Contains(why, refused.Detail, StringComparison.Ordinal);
        }

        var leases = new DirectoryInfo(Path.Combine(library.Gateway("virginia-1").State, "faults"));
        Assert.True(!leases.Exists || leases.GetFiles().Length == 0);
        var pause = await library.Drill(library.Write("pause.yaml", await Ready("three-sites-lose-virginia.yaml")), "--dry-run");
        Assert.Equal(8, pause.ExitCode);
        Assert.Contains("virginia-1 does gateway-pause for at most 5.5 s: systemd ends whoever is silent for 10 s", Regex.Replace(pause.Output, @"\s+", " "));

        // Its own faults it has all the same.
        var virginia = (await library.Gateway("virginia-1").Call(FaultsMethods.List, new ListFaultsRequest())).Abilities.ToDictionary(a => a.Kind);
        Assert.Equal(("", "kernel", "kernel"), (virginia["delay"].Means, virginia["loss"].Means, virginia["gateway-pause"].Means));
        await library.NothingInForce();
    }

    /// <summary>The fabric of its topology runs. Gives its text, but for when it may run: it is asked at any time here.</summary>
    private async Task<string> Ready(string file)
    {
        await library.Ready(Path.GetFileName(Load(file).Topology));
        return Regex.Replace(await File.ReadAllTextAsync(Path.Combine(Folder, file)), @"\n  windows: .*", "");
    }

    private static DrillDefinition Load(string file) => DrillLoader.Load(new TopologyFile(file, File.ReadAllText(Path.Combine(Folder, file)))).Drill!;
}

/// <summary>By the name of the drill, which begins with that of its topology: so each fabric is started once.</summary>
public sealed class ByTopology : ITestCaseOrderer
{
    public IEnumerable<TTestCase> OrderTestCases<TTestCase>(IEnumerable<TTestCase> testCases)
        where TTestCase : ITestCase => testCases.OrderBy(t => $"{t.TestMethodArguments?.FirstOrDefault() ?? "~"}", StringComparer.Ordinal);
}
