using System.Globalization;
using Fabric.Gateway.Faults;
using Fabric.Gateway.Tests.Hosting;
using Fabric.Protocol.Grpc;
using Fabric.Protocol.Proto;
using Fabric.Testing;
using Microsoft.Extensions.Logging.Abstractions;

namespace Fabric.Gateway.Tests.Faults;

/// <summary>What an earlier process left in force, and this one cannot take back at its start: nobody forgets it.</summary>
public sealed class LeftFaultsTests : IAsyncDisposable
{
    private readonly TemporaryFolder _folder = new();
    private readonly ManualTime _time = new();
    private readonly CapturedLog _log = new();
    private readonly StubbornMeans _means = new();
    private readonly GatewayEvents _events;
    private readonly LeaseFolder _leases;
    private readonly LeftFaults _left;

    public LeftFaultsTests()
    {
        _events = new GatewayEvents("paris-1", _time);
        _leases = new LeaseFolder(_folder["faults"], _log);
        _left = new LeftFaults(_leases, [_means], _time, _log);
    }

    public async ValueTask DisposeAsync()
    {
        await _left.DisposeAsync();
        _folder.Dispose();
    }

    [Fact]
    public async Task It_keeps_its_lease_and_is_told_and_tried_again_until_it_is_undone()
    {
        var fault = FaultRules.Check(FaultRulesTests.Cut("cut-1"));
        _leases.Write(Lease(fault));
        _means.Failure = "nft is not installed";
        await _left.RevertAsync(static _ => { }, default);
        Assert.Equal(["cut-1"], _leases.Read().Select(l => l.Fault.Id));

        _left.Start(_events);
        await using var keeper = new FaultKeeper("paris-1", _leases, [], _events, _time, _log) { Left = _left };
        Assert.Contains("fault cut-1 (link-blackhole) of drill run-1, which an earlier process left in force, could not be reverted: nft is not installed", _left.Problems);
        var listed = keeper.List().Faults.Single();
        Assert.Equal(("cut-1", "revert-failed", "stubborn", "nft is not installed"), (listed.Fault.Id, listed.State, listed.Means, listed.Ended));
        Assert.Equal(_time.GetUtcNow().ToUnixTimeMilliseconds() * 1_000, listed.AppliedUnixUs);
        Assert.Equal(["fault-revert-failed"], await EventsAsync(1));
        Assert.Contains(_log.Lines, l => l.StartsWith("Error Fault cut-1", StringComparison.Ordinal));

        // No other takes its place, and what it is.
        Assert.Equal(GrpcStatus.AlreadyExists, (await Assert.ThrowsAsync<GrpcException>(() => keeper.ApplyAsync(fault))).Status);

        await TriesAsync(2, after: 1_000);
        await TriesAsync(3, after: 2_000);
        _means.Failure = "operation not permitted";
        await TriesAsync(4, after: 4_000);
        await Wait.UntilAsync(() => _left.Problems.Single().EndsWith(": operation not permitted", StringComparison.Ordinal), () => "the new reason");
        for (var wait = 8_000; wait < 60_000; wait *= 2)
        {
            await TriesAsync(_means.Tries + 1, wait);
        }

        await TriesAsync(_means.Tries + 1, after: 60_000);
        _means.Failure = null;
        await TriesAsync(_means.Tries + 1, after: 60_000);
        await Wait.UntilAsync(() => !_left.Problems.Any(), () => "undone");
        Assert.Empty(_leases.Read());
        Assert.Empty(keeper.List().Faults);
        Assert.Equal(["fault-revert-failed", "fault-revert-failed", "fault-reverted"], await EventsAsync(3));
    }

    [Fact]
    public async Task Whoever_asks_need_not_wait_for_the_next_time()
    {
        _leases.Write(Lease(FaultRules.Check(FaultRulesTests.Cut("cut-1", "run-1"))));
        _leases.Write(Lease(FaultRules.Check(FaultRulesTests.Cut("cut-2", "run-2"))));
        _means.Failure = "busy";
        await _left.RevertAsync(static _ => { }, default);
        _left.Start(_events);
        await using var keeper = new FaultKeeper("paris-1", _leases, [], _events, _time, _log) { Left = _left };
        Assert.Equal(["busy", "busy"], (await keeper.RevertAsync("")).Faults.Select(f => f.Ended));

        _means.Failure = null;
        Assert.Equal(["cut-2"], (await keeper.RevertAsync("run-1")).Faults.Select(f => f.Fault.Id));
        Assert.Empty((await keeper.RevertAsync("")).Faults);
        Assert.Empty(_leases.Read());
    }

    [Fact]
    public async Task What_a_reboot_took_is_not_tried()
    {
        _leases.Write(Lease(FaultRules.Check(FaultRulesTests.Cut("cut-1"))) with { Boot = "another" });
        _means.Failure = "busy";
        await _left.RevertAsync(static _ => { }, default);
        Assert.Equal(0, _means.Tries);
        Assert.Empty(_left.Problems);
        Assert.Empty(_leases.Read());
    }

    /// <summary>The kernel's own: of the routing rules of a delay one is there after each attempt, until the last.</summary>
    [RequiresFact("root", "ip", "nft")]
    public async Task A_whole_gateway_says_so_until_the_kernel_has_nothing_of_it()
    {
        await using var fabric = LoopbackFabric.Joined();
        var fault = FaultRules.Check(new FaultSpec { Id = "slow-1", Drill = "run-1", Kind = "delay", Link = "dx", DelayMs = 10, DurationMs = 60_000 });
        var state = fabric.State(LoopbackFabric.Paris);
        var mark = new KernelNames(state).Mark(fault.Id).ToString(CultureInfo.InvariantCulture);
        try
        {
            for (var i = 0; i < 8; i++)
            {
                await NetTools.RunAsync([.. KernelMeans.Rule("-4", "add", mark), "from", $"192.0.2.{i}"]);
            }

            new LeaseFolder(Path.Combine(state, "faults"), NullLogger.Instance).Write(
                new FaultLease(fault, "kernel", BootId.Current, DateTimeOffset.UtcNow + TimeSpan.FromMinutes(1), "lo"));
            await fabric.StartAsync(LoopbackFabric.Paris);
            var paris = fabric.Admin(LoopbackFabric.Paris);
            var status = await paris.UntilAsync(s => s.Problems.Any(p => p.StartsWith("fault slow-1 (delay)", StringComparison.Ordinal)));
            Assert.Contains(status.Problems, p => p.EndsWith("the rule is there yet", StringComparison.Ordinal));
            var told = paris.ReadAsync(FaultsMethods.Events, new GatewayEventsRequest(), e => e.Kind == "fault-reverted");
            Assert.Equal("revert-failed", (await paris.CallAsync(FaultsMethods.List, new ListFaultsRequest())).Faults.Single().State);
            Assert.True(File.Exists(Path.Combine(state, "faults", "slow-1.json")));

            while ((await paris.CallAsync(FaultsMethods.Revert, new DrillFaultsRequest())).Faults.Count > 0)
            {
            }

            Assert.Contains("fault-revert-failed", (await told).Select(e => e.Kind));
            Assert.False(File.Exists(Path.Combine(state, "faults", "slow-1.json")));
            Assert.DoesNotContain($" {mark}", await NetTools.RunAsync(["ip", "-4", "rule", "show"]), StringComparison.Ordinal);
            await paris.UntilAsync(s => !s.Problems.Any(p => p.Contains("slow-1", StringComparison.Ordinal)));
        }
        finally
        {
            for (var i = 0; i < 8; i++)
            {
                await NetTools.TryAsync(KernelMeans.Rule("-4", "del", mark));
            }
        }
    }

    private FaultLease Lease(FaultSpec fault) =>
        new(fault, _means.Name, BootId.Current, _time.GetUtcNow() + FaultRules.Longest(fault));

    /// <summary>So many by then, and not one before.</summary>
    private async Task TriesAsync(int tries, int after)
    {
        // Whoever waits has begun to, or the clock would pass him by.
        await Wait.UntilAsync(() => _time.HasTimerIn(TimeSpan.FromMilliseconds(after)), () => $"try {tries} is due after {after} ms");
        _time.Advance(TimeSpan.FromMilliseconds(after - 1));
        Assert.Equal(tries - 1, _means.Tries);
        _time.Advance(TimeSpan.FromMilliseconds(1));
        await Wait.UntilAsync(() => _means.Tries == tries, () => $"try {tries}");
    }

    private async Task<List<string>> EventsAsync(int count)
    {
        var kinds = new List<string>();
        await foreach (var one in _events.WatchAsync(0, default))
        {
            kinds.Add(one.Kind);
            if (kinds.Count == count)
            {
                break;
            }
        }

        return kinds;
    }

    private sealed class StubbornMeans : IFaultMeans
    {
        private int _tries;

        public volatile string? Failure;

        public int Tries => Volatile.Read(ref _tries);

        public string Name => "stubborn";

        public string? WhyNot(string kind) => "it only takes back";

        public Task<PreparedFault> PrepareAsync(FaultSpec fault) => throw new NotSupportedException();

        public Task RevertLeftAsync(FaultLease lease)
        {
            Interlocked.Increment(ref _tries);
            return Failure is { } why ? Task.FromException(new IOException(why)) : Task.CompletedTask;
        }
    }
}
