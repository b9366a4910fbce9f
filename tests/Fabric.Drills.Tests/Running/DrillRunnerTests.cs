using System.Collections.Concurrent;
using Fabric.Drills.Definition;
using Fabric.Drills.Measurement;
using Fabric.Drills.Reports;
using Fabric.Drills.Running;
using Fabric.Protocol.Grpc;
using Fabric.Protocol.Proto;

namespace Fabric.Drills.Tests.Running;

/// <summary>The controller against gateways that answer over a real socket.</summary>
public sealed class DrillRunnerTests : IAsyncLifetime
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(60);

    private const string Cut = "  - { id: cut, kind: link-down, gateway: virginia-1, link: dx, duration: 1s }";
    private const string Rest = """
        steady: { before: 0s, after: 10s, linksUp: [ dx ], services: [ web.shop ] }
        probes: [ { name: live, kind: live, service: web.shop }, { name: new, kind: connect, service: web.shop } ]
        """;

    private readonly FakeFabric _fabric = new(Samples.ThreeSites);
    private readonly Watcher _watcher = new();
    private FakeProbes? _probes;
    private Action<FakeProbes> _set = _ => { };

    public Task InitializeAsync() => _fabric.StartAsync();

    public async Task DisposeAsync() => await _fabric.DisposeAsync();

    [Fact]
    public async Task A_drill_is_run_measured_and_put_back()
    {
        // Its clock is a minute ahead, and what it says is moved to the controller's.
        _fabric.Gateways["paris-1"].Ahead = TimeSpan.FromMinutes(1);
        _fabric.Gateways["virginia-1"].Ahead = TimeSpan.FromMinutes(-3);
        _fabric.Effect = (_, _, begins) =>
        {
            _fabric.Gateways["paris-1"].Say(new GatewayEvent { Kind = begins ? "link-down" : "link-up", Link = "dx", Peer = "virginia-1", DetectionMs = 150 });
            Dx(begins ? "down" : "up");
        };
        var record = await RunAsync(Cut, Rest + "\nexpect: { detectionMsMax: 1000, pauseMsMax: 20, requestsFailedMax: 0, bytesLostMax: 0, connectionsDroppedMax: 0, recoveryMsMax: 9000 }");

        Assert.Equal((DrillOutcome.Passed, ""), (record.Outcome, record.Why));
        Assert.All(record.Verdicts, v => Assert.True(v.Held, $"{v}"));
        Assert.Equal(["steadyBefore", "steadyAfter", "action cut at virginia-1", "detectionMsMax", "pauseMsMax", "requestsFailedMax", "connectionsDroppedMax", "bytesLostMax", "recoveryMsMax"],
            record.Verdicts.Select(v => v.Name));
        var action = Assert.Single(record.Actions);
        Assert.True(action.RevertedForSure);
        Assert.Equal(("virginia-1", "seam"), (action.Gateway, action.Means));
        Assert.InRange((action.Reverted!.Value - action.Applied!.Value).TotalSeconds, 0.9, 20);
        Assert.InRange(record.DetectionMs!.Value, 0, 900);
        Assert.Equal(12, record.PauseMs);

        // All on one clock, though a minute and three are between theirs.
        Assert.All(record.Events, e => Assert.InRange(e.At, record.Began.AddSeconds(-1), record.Ended.AddSeconds(1)));
        Assert.Contains(record.Events, e => e is { Gateway: "virginia-1", Kind: "fault-applied" });
        foreach (var (gateway, ahead) in new[] { ("virginia-1", -180_000), ("paris-1", 60_000) })
        {
            var offset = record.ClockOffsets.Single(o => o.Gateway == gateway);
            Assert.InRange(offset.Ms, ahead - offset.UncertainMs - 500, ahead + offset.UncertainMs + 500);
        }

        Assert.Empty(_fabric.InForce());
        Assert.Equal("done", _watcher.Phases.Last());
        Assert.Equal(["steady", "acting", "reverting", "recovering", "done"], _watcher.Phases.Distinct());
    }

    [Theory]
    [InlineData("detectionMsMax: 1000", "no gateway said anything of cut")]
    [InlineData("pauseMsMax: 11", "pauseMsMax: 12, expected 11")]
    [InlineData("requestsFailedMax: 2", "requestsFailedMax: 3, expected 2")]
    [InlineData("connectionsDroppedMax: 0", "connectionsDroppedMax: 1, expected 0")]
    [InlineData("bytesLostMax: 6", "bytesLostMax: 7, expected 6")]
    public async Task A_budget_that_does_not_hold_fails_it(string expect, string why)
    {
        _set = p => p.Says = plan => FakeProbes.Well(plan) with
        {
            Failed = _fabric.Asked.IsEmpty || plan.Kind != "connect" ? 0 : 3,
            ConnectionsDropped = plan.Kind == "live" ? 1 : 0,
            BytesLost = plan.Kind == "live" ? 7 : 0,
        };
        var record = await RunAsync(Cut, Rest.Replace("services:", "successPercentMin: 90, services:") + $"\nexpect: {{ {expect} }}");
        Assert.Equal(DrillOutcome.Failed, record.Outcome);
        Assert.Contains(why, record.Why);
    }

    [Fact]
    public async Task What_arrives_other_than_it_was_sent_fails_any_drill()
    {
        _set = p => p.Says = plan => FakeProbes.Well(plan) with { HashesWrong = plan.Kind == "live" ? 1 : 0 };
        Assert.Contains("arrived other than they were sent", (await RunAsync(Cut, Rest)).Why);
    }

    [Fact]
    public async Task A_steady_state_that_does_not_hold_touches_nothing()
    {
        Dx("down");
        var record = await RunAsync("  - { id: cut, kind: delay, delay: 1ms, gateway: factory-1, link: internet, peer: paris-1, duration: 1s }", Rest);
        Assert.Equal(DrillOutcome.Failed, record.Outcome);
        Assert.Contains("did not hold before anything was touched: dx to virginia-1 is down", record.Why);
        Assert.Empty(_fabric.Asked);
    }

    [Fact]
    public async Task A_link_that_is_suspect_is_up_still()
    {
        Dx("suspect");
        var record = await RunAsync(Cut, Rest);
        Assert.Equal((DrillOutcome.Passed, ""), (record.Outcome, record.Why));
    }

    [Fact]
    public async Task Probes_that_fail_before_touch_nothing()
    {
        _set = p => p.Says = plan => FakeProbes.Well(plan) with { Failed = 1 };
        Assert.Contains("99 % of probes succeeded", (await RunAsync(Cut, Rest)).Why);
        Assert.Empty(_fabric.Asked);
    }

    [Fact]
    public async Task A_steady_state_that_does_not_come_back_fails_it()
    {
        _fabric.Effect = (_, _, _) => Dx("down");
        var record = await RunAsync(Cut, Rest.Replace("after: 10s", "after: 1s"));
        Assert.Equal(DrillOutcome.Failed, record.Outcome);
        Assert.Contains("steadyAfter: link dx is up: dx to virginia-1 is down", record.Why);
        Assert.Null(record.RecoveryMs);
    }

    [Fact]
    public async Task A_guard_refuses_and_nothing_is_touched()
    {
        _fabric.Gateways["virginia-1"].Refuses = new GrpcException(GrpcStatus.PermissionDenied, "fabricd was started without --allow-faults");
        var record = await RunAsync(Cut, Rest);
        Assert.Equal(DrillOutcome.Refused, record.Outcome);
        Assert.Contains("abilities: virginia-1 cannot be asked: it does not allow faults: fabricd was started without --allow-faults", record.Why);
        Assert.Empty(_fabric.Asked);
    }

    [Fact]
    public async Task Whoever_stops_it_has_everything_put_back_at_once()
    {
        using var abort = new CancellationTokenSource();
        _watcher.Said = line => { if (line.StartsWith("in force", StringComparison.Ordinal)) { abort.Cancel(); } };
        var record = await RunAsync(Cut.Replace("duration: 1s", "duration: 10m"), Rest, abort.Token);
        Assert.Equal((DrillOutcome.Aborted, "stopped by a person"), (record.Outcome, record.Why));
        Assert.Empty(_fabric.InForce());
        Assert.Equal("asked", Assert.Single(record.Actions).Ended);
        Assert.Contains("revert virginia-1", _fabric.Asked);
    }

    [Fact]
    public async Task Whoever_reverts_its_faults_elsewhere_stops_it()
    {
        _watcher.Said = line =>
        {
            if (line.StartsWith("in force", StringComparison.Ordinal))
            {
                _ = _fabric.Client.RevertAsync("virginia-1", "", default);
            }
        };
        var record = await RunAsync(Cut.Replace("duration: 1s", "duration: 10m"), Rest);
        Assert.Equal((DrillOutcome.Aborted, "stopped from elsewhere: its faults at virginia-1 were reverted"), (record.Outcome, record.Why));
    }

    public static TheoryData<string> Stops => ["probes", "pause", "protected", "broken", "other", "apply"];

    [Theory]
    [MemberData(nameof(Stops))]
    public async Task A_stop_condition_aborts(string what)
    {
        var why = what switch
        {
            "probes" => "stop condition: 51 % of probes failed in the last 10 s, at most 50 %",
            "pause" => "stop condition: a live connection has got nothing for 61 s, at most 60 s",
            "protected" => "stop condition: protected service web.shop has no healthy site",
            "broken" => "the probes broke off: no socket",
            "other" => "another drill has begun: other-1 at virginia-1",
            _ => "it could not go on: tc is missing",
        };
        _set = p =>
        {
            p.Recent = () => what == "probes" && _fabric.InForce().Length > 0 ? 51 : 0;
            p.Pause = () => TimeSpan.FromSeconds(what == "pause" && _fabric.InForce().Length > 0 ? 61 : 0);
            p.Runs = async ct =>
            {
                while (what != "broken" || _fabric.InForce().Length == 0)
                {
                    await Task.Delay(20, ct);
                }

                throw new InvalidOperationException("no socket");
            };
        };
        _fabric.Effect = (gateway, _, begins) =>
        {
            if (what == "protected" && begins)
            {
                _fabric.Change(s => s.Services[0].ChosenSite = "");
            }
            else if (what == "other" && begins)
            {
                gateway.Faults.Add(new FaultState { Fault = new FaultSpec { Id = "x", Drill = "other-1", Kind = "delay", DurationMs = 60_000 }, State = "in-force", AppliedUnixUs = gateway.Now });
            }
        };
        _fabric.Gateways["virginia-1"].CannotApply = what == "apply" ? new GrpcException(GrpcStatus.FailedPrecondition, "tc is missing") : null;
        var actions = what == "protected" ? "  - { id: a, kind: delay, delay: 5ms, gateway: factory-1, link: internet, peer: paris-1, duration: 10m }"
            : Cut.Replace("duration: 1s", "duration: 10m");
        var record = await RunAsync(actions, Rest + (what == "protected" ? "\nguards: { protectedServices: [ web.shop ] }" : ""));
        Assert.Equal((DrillOutcome.Aborted, why), (record.Outcome, record.Why));
        Assert.DoesNotContain("virginia-1 link-down", _fabric.InForce());
    }

    [Fact]
    public async Task What_cannot_be_put_back_is_never_called_done()
    {
        _fabric.Gateways["virginia-1"].CannotRevert = true;
        var record = await RunAsync(Cut, Rest.Replace("after: 10s", "after: 1s"));
        Assert.Equal(DrillOutcome.NotReverted, record.Outcome);
        Assert.Contains("virginia-1 does not say that nothing is in force: its leases end by themselves by", record.Why);
        Assert.False(Assert.Single(record.Actions).RevertedForSure);
    }

    /// <summary>What is renewed lives longer than a lease, and a gateway that cannot be asked meanwhile is not expected to be.</summary>
    [Fact]
    public async Task Leases_are_kept_where_the_gateway_can_be_asked()
    {
        _fabric.Gateways["virginia-1"].RenewAtMost = 8_000;
        var record = await RunAsync(Cut.Replace("duration: 1s", "duration: 12s") + "\n  - { id: alone, kind: site-isolate, site: factory, start: 1s, duration: 1s }",
            Rest.Replace("linksUp: [ dx ], ", "") + "\nguards: { maxSites: 2, maxLinksPercent: 75 }");
        Assert.Equal((DrillOutcome.Passed, ""), (record.Outcome, record.Why));
        Assert.Contains("renew virginia-1", _fabric.Asked);
        Assert.DoesNotContain("renew factory-1", _fabric.Asked);
        // By the gateway's clock or by the controller's, whichever was first to say that the time is up; and not for want of a renewal.
        Assert.Equal(2, record.Actions.Count);
        Assert.All(record.Actions, a => Assert.Contains(a.Ended, new[] { "duration", "asked" }));
    }

    [Fact]
    public async Task An_action_that_ended_before_its_time_fails_the_drill()
    {
        _fabric.Gateways["virginia-1"].RenewAtMost = 200;
        var record = await RunAsync(Cut.Replace("duration: 1s", "duration: 4s"), Rest);
        Assert.Equal(DrillOutcome.Failed, record.Outcome);
        Assert.Contains("ended by not-renewed, expected in force for 4 s", record.Why);
    }

    [Fact]
    public async Task An_abort_from_elsewhere_reverts_everywhere_and_says_where_it_could_not()
    {
        var spec = new FaultSpec { Id = "x", Drill = "other-1", Kind = "link-down", Link = "dx", DurationMs = 60_000 };
        await _fabric.Client.ApplyAsync("virginia-1", spec, default);
        await _fabric.Client.ApplyAsync("factory-1", new FaultSpec(spec) { Id = "y", Drill = "other-2", Kind = "delay" }, default);
        _fabric.Gateways["paris-1"].Refuses = new GrpcException(GrpcStatus.Unavailable, "no lane to paris-1");

        var one = await DrillAbort.RunAsync(_fabric.Client, "other-1", [], TimeProvider.System, default).WaitAsync(Limit);
        Assert.Equal(["factory-1 delay"], _fabric.InForce());
        Assert.Equal(["link-down of dx (other-1)"], one.Single(a => a.Gateway == "virginia-1").Reverted);
        Assert.Equal("cannot be asked: no lane to paris-1", one.Single(a => a.Gateway == "paris-1").Problem);

        await DrillAbort.RunAsync(_fabric.Client, "", [], TimeProvider.System, default).WaitAsync(Limit);
        Assert.Empty(_fabric.InForce());
    }

    private async Task<DrillRecord> RunAsync(string actions, string rest, CancellationToken abort = default)
    {
        var survey = await FabricSurvey.TakeAsync(_fabric.Client, Samples.ThreeSites, "", TimeProvider.System, default).WaitAsync(Limit);
        var runner = new DrillRunner(_fabric.Client, probes =>
        {
            _probes = new FakeProbes(probes);
            _set(_probes);
            return _probes;
        }, _watcher, TimeProvider.System);
        return await runner.RunAsync(Samples.Drill(actions, rest), survey, "t-20261127T100000Z", abort).WaitAsync(Limit);
    }

    private void Dx(string state) => _fabric.Change(s => s.Links.Single(l => l is { Name: "dx" }).State = state);

    private sealed class Watcher : IDrillWatcher
    {
        public ConcurrentQueue<string> Phases { get; } = new();
        public Action<string> Said { get; set; } = _ => { };

        public void Show(DrillBoard board) => Phases.Enqueue(board.Phase);

        public void Say(string line) => Said(line);
    }
}
