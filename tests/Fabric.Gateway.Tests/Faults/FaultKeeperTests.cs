using Fabric.Gateway.Faults;
using Fabric.Protocol.Grpc;
using Fabric.Protocol.Proto;
using Fabric.Testing;
using Microsoft.Extensions.Logging.Abstractions;

namespace Fabric.Gateway.Tests.Faults;

/// <summary>How faults begin and end, on a clock of the test's own. The means only count; what real ones do is tested with real ones.</summary>
public sealed class FaultKeeperTests : IAsyncDisposable
{
    private readonly TemporaryFolder _folder = new();
    private readonly ManualTime _time = new();
    private readonly CountingMeans _means = new();
    private readonly GatewayEvents _events;
    private readonly LeaseFolder _leases;
    private readonly FaultKeeper _keeper;

    public FaultKeeperTests()
    {
        _events = new GatewayEvents("paris-1", _time);
        _leases = new LeaseFolder(_folder["faults"], NullLogger.Instance);
        _keeper = Keeper();
    }

    private FaultKeeper Keeper() => new("paris-1", _leases, [_means], _events, _time, NullLogger.Instance);

    public async ValueTask DisposeAsync()
    {
        await _keeper.DisposeAsync();
        _folder.Dispose();
    }

    private static FaultSpec Fault(string id = "cut-1", string drill = "run-1", uint renew = 0) => new(FaultRulesTests.Cut(id, drill)) { RenewWithinMs = renew };

    [Fact]
    public async Task It_is_on_the_disk_before_it_is_in_force_and_ends_when_its_time_is_up()
    {
        _means.Applying = f => Assert.Equal([f.Id], _leases.Read().Select(l => l.Fault.Id));
        var applied = await _keeper.ApplyAsync(Fault());
        Assert.Equal(("in-force", "counted"), (applied.Faults.Single().State, applied.Faults.Single().Means));
        Assert.Contains("cut-1", Assert.Single(_keeper.Problems), StringComparison.Ordinal);

        await PassAsync(4_990);
        Assert.Equal(1, _means.InForce);
        await PassAsync(20);
        await OverAsync("cut-1", "duration");
        Assert.Empty(_leases.Read());
        Assert.Empty(_keeper.Problems);

        await PassAsync(601_000);
        Assert.Empty(_keeper.List().Faults);
    }

    [Fact]
    public async Task A_drill_that_is_not_renewed_ends_and_one_that_is_goes_on()
    {
        await _keeper.ApplyAsync(Fault("a", "run-1", renew: 1_000));
        await _keeper.ApplyAsync(Fault("b", "run-2", renew: 1_000));
        for (var i = 0; i < 3; i++)
        {
            await PassAsync(800);
            _keeper.Renew("run-2");
        }

        await OverAsync("a", "not-renewed");
        Assert.Equal("in-force", _keeper.List().Faults.Single(f => f.Fault.Id == "b").State);
        await PassAsync(1_010);
        await OverAsync("b", "not-renewed");
    }

    [Fact]
    public async Task A_renewal_that_waited_for_a_gateway_that_was_stopped_comes_too_late()
    {
        await _keeper.ApplyAsync(new FaultSpec { Id = "pause-1", Drill = "run-1", Kind = "gateway-pause", DurationMs = 60_000, RenewWithinMs = 1_000 });
        await PassAsync(800);
        _keeper.Renew("run-1");
        await PassAsync(210);
        await OverAsync("pause-1", "not-renewed");
    }

    [Fact]
    public async Task Reverting_takes_one_drill_or_all()
    {
        await _keeper.ApplyAsync(Fault("a", "run-1"));
        await _keeper.ApplyAsync(Fault("b", "run-2"));
        await _keeper.ApplyAsync(Fault("c", "run-3"));
        Assert.Equal(["reverted"], (await _keeper.RevertAsync("run-1")).Faults.Where(f => f.Fault.Drill == "run-1").Select(f => f.State));
        Assert.Equal(2, _means.InForce);
        Assert.All((await _keeper.RevertAsync("")).Faults, f => Assert.Equal(("reverted", "asked"), (f.State, f.Ended)));
        Assert.Empty(_leases.Read());
    }

    [Fact]
    public async Task What_cannot_be_reverted_says_so_and_is_tried_again()
    {
        await _keeper.ApplyAsync(Fault());
        _means.Stuck = true;
        var asked = (await _keeper.RevertAsync("")).Faults.Single();
        Assert.Equal(("revert-failed", "it is stuck"), (asked.State, asked.Ended));
        Assert.Contains("could not be reverted: it is stuck", Assert.Single(_keeper.Problems), StringComparison.Ordinal);
        Assert.Single(_leases.Read());
        await PassAsync(5_010);
        _means.Stuck = false;
        // Once a second, by whoever watched it before and by whoever does since.
        await Wait.UntilAsync(() =>
        {
            _time.Advance(TimeSpan.FromMilliseconds(1_010));
            return _keeper.List().Faults.Single().State == "reverted";
        }, () => "it is reverted");
        await OverAsync("cut-1", "asked");
        Assert.Empty(_leases.Read());
    }

    [Fact]
    public async Task What_fails_half_way_leaves_nothing()
    {
        _means.Applying = _ => throw new IOException("no such device");
        var refused = await Assert.ThrowsAsync<GrpcException>(() => _keeper.ApplyAsync(Fault()));
        Assert.Equal(GrpcStatus.FailedPrecondition, refused.Status);
        Assert.Contains("no such device", refused.Detail, StringComparison.Ordinal);
        Assert.Equal(0, _means.InForce);
        Assert.Empty(_leases.Read());
        Assert.Empty(_keeper.List().Faults);
    }

    [Fact]
    public async Task An_id_is_used_once_and_no_more_than_64_are_in_force()
    {
        await _keeper.ApplyAsync(Fault());
        Assert.Equal(GrpcStatus.AlreadyExists, (await Assert.ThrowsAsync<GrpcException>(() => _keeper.ApplyAsync(Fault()))).Status);
        for (var i = 1; i < FaultKeeper.MaxInForce; i++)
        {
            await _keeper.ApplyAsync(Fault($"more-{i}"));
        }

        Assert.Equal(GrpcStatus.ResourceExhausted, (await Assert.ThrowsAsync<GrpcException>(() => _keeper.ApplyAsync(Fault("last")))).Status);
        await _keeper.RevertAsync("");
        await _keeper.ApplyAsync(Fault("last"));

        // Of those that are over, a hundred are listed.
        for (var i = 0; i < 100; i++)
        {
            await _keeper.ApplyAsync(Fault($"again-{i}"));
            await _keeper.RevertAsync("");
        }

        Assert.Equal(100, _keeper.List().Faults.Count);
    }

    [Fact]
    public async Task The_end_of_the_process_takes_everything_back()
    {
        await using var keeper = Keeper();
        await keeper.ApplyAsync(Fault("a"));
        await keeper.DisposeAsync();
        Assert.Equal(0, _means.InForce);
        Assert.Empty(_leases.Read());
    }

    [Fact]
    public async Task Means_that_cannot_are_told_with_their_reason()
    {
        var refused = await Assert.ThrowsAsync<GrpcException>(() => _keeper.ApplyAsync(new FaultSpec(Fault()) { Kind = "link-down" }));
        Assert.Equal(GrpcStatus.FailedPrecondition, refused.Status);
        Assert.Contains("by counting: it counts cuts alone", refused.Detail, StringComparison.Ordinal);
        Assert.Equal(GrpcStatus.FailedPrecondition, (await Assert.ThrowsAsync<GrpcException>(() => _keeper.ApplyAsync(new FaultSpec(Fault()) { Means = "seam" }))).Status);
        var abilities = _keeper.List().Abilities.ToDictionary(a => a.Kind);
        Assert.Equal(FaultKind.All.Order(), abilities.Keys.Order());
        Assert.Equal(("counting", ""), (abilities["link-blackhole"].Means, abilities["link-blackhole"].Why));
        Assert.Equal(("", "by counting: it counts cuts alone"), (abilities["delay"].Means, abilities["delay"].Why));
    }

    [Fact]
    public async Task Events_tell_of_both_and_only_the_last_are_kept()
    {
        await _keeper.ApplyAsync(Fault());
        await _keeper.RevertAsync("");
        Assert.Equal(["fault-applied", "fault-reverted"], (await TakeAsync(_events, 0, 2)).Select(e => e.Kind));

        var few = new GatewayEvents("paris-1", _time, capacity: 3);
        for (var i = 0; i < 10; i++)
        {
            few.Add(new GatewayEvent { Kind = "link-up", Text = $"{i}" });
        }

        var kept = await TakeAsync(few, 0, 3);
        Assert.Equal(["7", "8", "9"], kept.Select(e => e.Text));
        // Each has a time of its own, so that a reader goes on where it was.
        Assert.Equal(3, kept.Select(e => e.TimeUnixUs).Distinct().Count());
        Assert.Equal(["9"], (await TakeAsync(few, kept[1].TimeUnixUs + 1, 1)).Select(e => e.Text));

        await using var later = few.WatchAsync(kept[2].TimeUnixUs + 1, default).GetAsyncEnumerator();
        var next = later.MoveNextAsync();
        Assert.False(next.IsCompleted);
        few.Add(new GatewayEvent { Kind = "link-up", Text = "10" });
        Assert.True(await next.AsTask().WaitAsync(Wait.Limit));
        Assert.Equal("10", later.Current.Text);
    }

    private static async Task<List<GatewayEvent>> TakeAsync(GatewayEvents events, long since, int count)
    {
        var taken = new List<GatewayEvent>();
        await foreach (var one in events.WatchAsync(since, default))
        {
            taken.Add(one);
            if (taken.Count == count)
            {
                break;
            }
        }

        return taken;
    }

    private async Task OverAsync(string id, string why)
    {
        await Wait.UntilAsync(() => _keeper.List().Faults.Any(f => f.Fault.Id == id && f.State == "reverted"), () => $"{id} is over: {_keeper.List()}");
        Assert.Equal(why, _keeper.List().Faults.Single(f => f.Fault.Id == id).Ended);
    }

    /// <summary>In small steps, after each of which whoever watches a lease waits anew.</summary>
    private async Task PassAsync(int milliseconds)
    {
        for (var left = milliseconds; left > 0; left -= 10_000)
        {
            _time.Advance(TimeSpan.FromMilliseconds(Math.Min(left, 10_000)));
            await Wait.UntilAsync(() => _time.Armed >= _keeper.List().Faults.Count(f => f.State is "in-force" or "revert-failed"), () => "each lease is watched");
        }
    }

    private sealed class CountingMeans : IFaultMeans
    {
        private int _inForce;

        public Action<FaultSpec> Applying { get; set; } = static _ => { };
        public bool Stuck { get; set; }
        public int InForce => _inForce;
        public string Name => "counting";

        public string? WhyNot(string kind) => kind is "link-blackhole" or "gateway-pause" ? null : "it counts cuts alone";

        public Task<PreparedFault> PrepareAsync(FaultSpec fault) => Task.FromResult<PreparedFault>(new Counted(this, fault));

        public Task RevertLeftAsync(FaultLease lease) => Task.CompletedTask;

        private sealed class Counted(CountingMeans means, FaultSpec fault) : PreparedFault
        {
            private bool _isOn;

            public override string Means => "counted";

            public override Task ApplyAsync()
            {
                means.Applying(fault);
                _isOn = true;
                Interlocked.Increment(ref means._inForce);
                return Task.CompletedTask;
            }

            public override Task RevertAsync()
            {
                if (means.Stuck)
                {
                    throw new IOException("it is stuck");
                }

                if (_isOn)
                {
                    _isOn = false;
                    Interlocked.Decrement(ref means._inForce);
                }

                return Task.CompletedTask;
            }
        }
    }
}
