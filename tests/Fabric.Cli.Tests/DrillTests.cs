using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Text.Json;
using Fabric.Drills.Reports;
using Fabric.Drills.Running;
using Fabric.Drills.Tests.Running;
using Fabric.Protocol.Grpc;
using Fabric.Protocol.Proto;
using Fabric.Testing;
using Fabric.Topology;

namespace Fabric.Cli.Tests;

/// <summary><c>fabric drill</c>: real probes, real files, and gateways that keep faults under leases.</summary>
public sealed class DrillTests : IAsyncLifetime
{
    private static readonly string Library = Path.Combine(Repository(), "topologies/drills");
    private static readonly string Topology = Path.Combine(Repository(), "topologies/three-sites.yaml");

    private readonly string _dir = Directory.CreateTempSubdirectory("fabric-cli-").FullName;
    private readonly FakeFabric _fabric = new(TopologyLoader.Load([new Fabric.Topology.TopologyFile(Topology, File.ReadAllText(Topology))]).Topology!);
    private readonly TcpListener _service = new(IPAddress.Loopback, 0);

    private string History => Path.Combine(_dir, "history");

    public async Task InitializeAsync()
    {
        _service.Start(100);
        _ = Task.Run(async () =>
        {
            // What a connect probe takes for good: an orderly close.
            while (true)
            {
                (await _service.AcceptTcpClientAsync()).Dispose();
            }
        });
        await _fabric.StartAsync();
    }

    public async Task DisposeAsync()
    {
        await _fabric.DisposeAsync();
        _service.Dispose();
        Directory.Delete(_dir, recursive: true);
    }

    [Fact]
    public async Task The_library_is_valid()
    {
        var (code, output, error) = await Run("validate", Library);
        Assert.Equal((0, ""), (code, error));
        Assert.Contains("three-sites-cut-dx.yaml: valid: three-sites-cut-dx with 1 action, 3 probes; checked against", output);
    }

    [Fact]
    public async Task What_is_wrong_is_told_with_its_place()
    {
        var path = Write("  - { id: cut, kind: link-dwn, gateway: paris-1, link: dx, duration: 1s }");
        var (code, output, _) = await Run("validate", path, "--topology", Topology);
        Assert.Equal(3, code);
        Assert.Contains($"{path}:6:22: error FAB0119: kind: 'link-dwn' is not one of", output);
        Assert.Contains("not valid: 1 error", output);
        var (run, _, error) = await Drill(path);
        Assert.Equal(3, run);
        Assert.Contains("FAB0119", error);
    }

    [Fact]
    public async Task A_dry_run_shows_what_would_be_and_touches_nothing()
    {
        var (code, output, _) = await Drill(Write(Cut), "--dry-run");
        Assert.Equal(0, code);
        Assert.Contains("link-blackhole of dx at paris-1", output);
        Assert.Contains("unknown: link internet, which takes the load to virginia-1, declares no capacity", output);
        Assert.Matches("web.shop +virginia over dx +virginia over internet +moves at 0 s", output);
        Assert.Contains("it may run", output);
        Assert.Empty(_fabric.Asked);
    }

    [Fact]
    public async Task A_drill_passes_is_reported_kept_and_listed()
    {
        Move();
        var report = Path.Combine(_dir, "report");
        var (code, output, error) = await Drill(Write(Cut, "expect: { detectionMsMax: 1500, requestsFailedMax: 0 }"), "--report", report);
        Assert.True(code == 0, output + error);
        Assert.StartsWith("passed: quick-", output);
        Assert.Contains("in force: link-blackhole of dx at paris-1", error);
        Assert.Contains("everything is reverted", error);
        Assert.Equal(["junit.xml", "report.html", "report.json"], Directory.GetFiles(report).Select(Path.GetFileName).Order());
        var record = Assert.Single(new DrillHistory(History).All());
        Assert.Equal((DrillOutcome.Passed, _fabric.Topology.Revision), (record.Outcome, record.TopologyRevision));
        Assert.True(record.Probes.Single().Attempts > 0);
        Assert.Null(DrillLock.Holder(History));

        var (listed, table, _) = await Run("list", Library, "--history", History, "--topology", Topology);
        Assert.Equal(0, listed);
        Assert.Matches(@"web\.shop +proven +\d{4}-\d\d-\d\d \d\d:\d\d +quick", table);
        Assert.Matches(@"cache\.shop +never proven .*three-sites-cut-dx, three-sites-isolate-factory", table);
        var (_, json, _) = await Run("list", "--history", History, "--topology", Topology, "--json");
        Assert.Equal("never proven", JsonDocument.Parse(json).RootElement[1].GetProperty("state").GetString());
    }

    [Fact]
    public async Task On_a_terminal_it_is_one_screen_that_is_drawn_again()
    {
        Move();
        var (code, _, error) = await Cli.RunAsync(["drill", "run", Write(Cut), "--history", History, "--topology", Topology, "--socket", _fabric.Socket],
            _dir, TimeProvider.System, terminal: true, environment: ("NO_COLOR", "1"));
        Assert.Equal(0, code);
        var screens = error.Split("\u001b[H\u001b[2J");
        Assert.Contains(screens, s => s.Contains(": steady,") && s.Contains("Ctrl-C puts everything back"));
        Assert.Contains(screens, s => s.Contains(": acting,") && s.Contains("link-blackhole of dx at paris-1") && s.Contains("link dx is up"));
        Assert.Contains(screens, s => s.Contains("link-down") && s.Contains("dx virginia-1"));
    }

    [Fact]
    public async Task A_budget_that_does_not_hold_is_an_exit_code()
    {
        var (code, output, _) = await Drill(Write(Cut, "expect: { detectionMsMax: 1 }"));
        Assert.Equal(ExitCode.DrillFailed, code);
        Assert.Contains("no gateway said anything of cut", output);
        Assert.Empty(_fabric.InForce());
    }

    [Fact]
    public async Task A_guard_that_refuses_is_an_exit_code()
    {
        var (code, output, _) = await Drill(Write(Cut, "guards: { protectedServices: [ web.shop ] }"));
        Assert.Equal(ExitCode.DrillRefused, code);
        Assert.Contains("link dx (paris-1, virginia-1) carries it from paris", output);
        Assert.Empty(_fabric.Asked);
        Assert.Equal(ExitCode.DrillRefused, (await Drill(Write(Cut, "guards: { protectedServices: [ web.shop ] }"), "--dry-run")).Code);
    }

    [Fact]
    public async Task One_run_at_a_time()
    {
        using var other = DrillLock.TryTake(History, "other-20261127T100000Z", out _);
        var (code, output, _) = await Drill(Write(Cut));
        Assert.Equal(ExitCode.DrillRefused, code);
        Assert.Contains("drill other-20261127T100000Z is under way on this host", output);
    }

    [Fact]
    public async Task Without_a_gateway_it_cannot_be_reached()
    {
        var (code, _, error) = await Run("run", Write(Cut), "--history", History, "--topology", Topology, "--socket", Path.Combine(_dir, "none.sock"));
        Assert.Equal(ExitCode.Unreachable, code);
        Assert.Contains("cannot reach the gateway at", error);
    }

    [Fact]
    public async Task What_cannot_be_put_back_is_an_exit_code_and_abort_knows_the_run()
    {
        _fabric.Gateways["paris-1"].CannotRevert = true;
        var (code, output, _) = await Drill(Write(Cut));
        Assert.Equal(ExitCode.NotReverted, code);
        Assert.Contains("its leases end by themselves by", output);
        var (abort, said, _) = await Run("abort", "--history", History, "--topology", Topology, "--socket", _fabric.Socket);
        Assert.Equal(ExitCode.NotReverted, abort);
        Assert.Contains("paris-1: NOT REVERTED: link-blackhole is revert-failed", said);
        Assert.Contains("virginia-1: nothing was in force", said);
    }

    [Fact]
    public async Task Abort_all_puts_back_what_anybody_did()
    {
        await _fabric.Client.ApplyAsync("factory-1", new FaultSpec { Id = "x", Drill = "theirs", Kind = "delay", Link = "internet", DurationMs = 60_000 }, default);
        var (none, _, hint) = await Run("abort", "--history", History, "--topology", Topology, "--socket", _fabric.Socket);
        Assert.Equal(ExitCode.Failure, none);
        Assert.Contains("--all", hint);
        var (code, said, _) = await Run("abort", "--all", "--history", History, "--topology", Topology, "--socket", _fabric.Socket);
        Assert.Equal(0, code);
        Assert.Contains("factory-1: reverted delay of internet (theirs)", said);
        Assert.Empty(_fabric.InForce());
    }

    /// <summary>The built program, as a person stops it.</summary>
    [RequiresTheory("sh")]
    [InlineData("INT")]
    [InlineData("TERM")]
    public async Task A_signal_puts_everything_back(string signal)
    {
        using var process = Start(Write(Cut.Replace("duration: 1s", "duration: 10m")));
        var error = process.StandardError.ReadToEndAsync();
        var output = process.StandardOutput.ReadToEndAsync();
        await Wait.UntilAsync(() => _fabric.InForce().Length > 0, () => "a fault in force");
        Process.Start("/bin/sh", ["-c", $"kill -{signal} {process.Id}"])!.WaitForExit();
        await process.WaitForExitAsync().WaitAsync(TimeSpan.FromSeconds(60));
        Assert.Equal((ExitCode.DrillAborted, ""), (process.ExitCode, string.Join(' ', _fabric.InForce())));
        Assert.StartsWith("aborted, everything is put back: quick-", await output);
        Assert.Contains("aborting: stopped by a person", await error);
    }

    [Fact]
    public async Task Abort_stops_the_run_of_this_host()
    {
        using var process = Start(Write(Cut.Replace("duration: 1s", "duration: 10m")));
        await Wait.UntilAsync(() => _fabric.InForce().Length > 0, () => "a fault in force");
        var (code, said, _) = await Run("abort", "--history", History, "--topology", Topology, "--socket", _fabric.Socket);
        await process.WaitForExitAsync().WaitAsync(TimeSpan.FromSeconds(60));
        Assert.Equal((0, ExitCode.DrillAborted), (code, process.ExitCode));
        // The run that is asked to stop puts it back as well: either may be first.
        Assert.Matches(@"paris-1: (reverted link-blackhole of dx \(quick-|nothing was in force)", said);
        Assert.Empty(_fabric.InForce());
        Assert.Null(DrillLock.Holder(History));
    }

    /// <summary>Nobody renews any more: the leases end.</summary>
    [Fact]
    public async Task A_controller_that_is_killed_leaves_nothing_behind()
    {
        _fabric.Gateways["paris-1"].RenewAtMost = 3_000;
        using var process = Start(Write(Cut.Replace("duration: 1s", "duration: 10m")));
        await Wait.UntilAsync(() => _fabric.InForce().Length > 0, () => "a fault in force");
        process.Kill();
        await Wait.UntilAsync(() => _fabric.InForce().Length == 0, () => "the end of the lease");
        Assert.StartsWith("quick-", DrillLock.Holder(History));
    }

    private const string Cut = "  - { id: cut, kind: link-blackhole, gateway: paris-1, link: dx, duration: 1s }";

    private void Move() => _fabric.Effect = (gateway, _, begins) => gateway.Say(new GatewayEvent { Kind = begins ? "link-down" : "link-up", Link = "dx", Peer = "virginia-1" });

    private string Write(string actions, string rest = "")
    {
        var path = Path.Combine(_dir, "quick.yaml");
        File.WriteAllText(path, $$"""
            drill: 1
            name: quick
            owner: tests
            reason: It is tested.
            actions:
            {{actions}}
            steady: { before: 1s, after: 2s, linksUp: [ dx ], services: [ web.shop ] }
            probes: [ { name: new, kind: connect, service: web.shop, address: "{{_service.LocalEndpoint}}" } ]
            {{rest}}
            """);
        return path;
    }

    private Task<(int Code, string Out, string Error)> Drill(string path, params string[] more) =>
        Run(["run", path, "--history", History, "--topology", Topology, "--socket", _fabric.Socket, .. more]);

    private Task<(int Code, string Out, string Error)> Run(params string[] args) => Cli.RunAsync(["drill", .. args], _dir, TimeProvider.System);

    private Process Start(string path)
    {
        string[] arguments = ["drill", "run", path, "--history", History, "--topology", Topology, "--socket", _fabric.Socket];
        var info = new ProcessStartInfo(Path.Combine(AppContext.BaseDirectory, "fabric"), arguments) { RedirectStandardError = true, RedirectStandardOutput = true };
        return Process.Start(info)!;
    }

    private static string Repository()
    {
        var folder = AppContext.BaseDirectory;
        while (!File.Exists(Path.Combine(folder, "Fabric.sln")))
        {
            folder = Path.GetDirectoryName(folder)!;
        }

        return folder;
    }
}
