using System.Diagnostics;
using Fabric.Lab.Gateways;
using Fabric.Lab.Processes;
using Fabric.Protocol.Grpc;
using Fabric.Protocol.Proto;
using Fabric.Testing;
using Google.Protobuf;
using Xunit.Abstractions;

namespace Fabric.Lab.Faults;

/// <summary>
/// Every fault of a drill on real gateways: it is there for anybody to see, ends with its time, with its controller, and with the gateway that
/// made it.
/// </summary>
[Trait("Lane", "apart")]
public sealed class FaultTests(FaultFabric faults, ITestOutputHelper output) : IClassFixture<FaultFabric>
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(60);

    /// <summary>A fault of which nothing is to be seen for so long is not there.</summary>
    private const uint LongestMs = 15_000;

    private static int _drills;

    private readonly string _drill = $"run-{Interlocked.Increment(ref _drills)}";

    public static TheoryData<string> Every => [.. FaultCase.All.Keys];

    public static TheoryData<string> Renewed => [.. FaultCase.All.Values.Where(c => !c.IsDeaf).Select(c => c.Name)];

    [RequiresTheory("root", "ip", "nft", "tc", "wg", "nginx", "redis-server", "curl", "kdig", "ping", "ss", "openssl")]
    [MemberData(nameof(Every))]
    public async Task It_is_there_and_ends_with_its_time(string name)
    {
        var one = FaultCase.All[name];
        await NotThereBefore(one);
        // A machine that is busy with something else may look only when it is over: then it is to last for longer.
        for (var lastsMs = one.LastsMs; ; lastsMs *= 2)
        {
            var fault = one.New($"{_drill}-{lastsMs}", lastsMs);
            var applied = (await faults.Apply(one, fault)).Faults.Single(f => f.Fault.Id == fault.Id);
            Assert.Equal(("in-force", one.By), (applied.State, applied.Means));
            var leases = faults.Leases(one).Length;
            var seen = await SeenWithin(one, TimeSpan.FromMilliseconds(lastsMs));

            await Gone(one);
            var over = await Over(one, fault);
            Assert.Equal(("reverted", "duration"), (over.State, over.Ended));

            // Its time begins when it begins to be applied, which takes a while where programs are to be started for it.
            Assert.InRange((over.RevertedUnixUs - over.AppliedUnixUs) / 1_000, lastsMs / 2, lastsMs + 15_000);
            if (seen is not null && leases == 1)
            {
                output.WriteLine($"by {applied.Means}: {seen}");
                return;
            }

            Assert.True(lastsMs < LongestMs, $"within {lastsMs} ms {(seen is null ? "nothing was to be seen of it" : $"it had {leases} leases")}");
        }
    }

    [RequiresTheory("root", "ip", "nft", "tc", "wg", "nginx", "redis-server", "curl", "kdig", "ping", "ss", "openssl")]
    [MemberData(nameof(Renewed))]
    public async Task It_ends_with_its_controller(string name)
    {
        var one = FaultCase.All[name];
        await NotThereBefore(one);
        var fault = one.New(_drill, 600_000, renewWithinMs: 800);
        await using var controller = Controller(one.Asked, one.Target, fault);
        await Poll.For($"{name} to be in force", Limit, () => faults.State(one, fault.Id), () => controller.Tail());
        output.WriteLine(await Seen(one, controller));
        await controller.Kill();
        await Gone(one);
        var over = await Over(one, fault);
        Assert.Equal(("reverted", "not-renewed"), (over.State, over.Ended));
    }

    /// <summary>What is in the kernel, long before its time and though nobody starts the gateway again; what is inside the process, with that, and its lease at the next start.</summary>
    [RequiresTheory("root", "ip", "nft", "tc", "wg", "nginx", "redis-server", "curl", "kdig", "ping", "ss", "openssl")]
    [MemberData(nameof(Every))]
    public async Task It_ends_with_the_gateway_that_made_it(string name)
    {
        var one = FaultCase.All[name];
        await NotThereBefore(one);
        var fault = one.New(_drill, 600_000);
        await faults.Apply(one, fault);
        output.WriteLine(await Seen(one));
        var target = faults.Gateway(one.Target);
        await target.Kill();
        if (one.IsInside)
        {
            Assert.Single(faults.Leases(one));
        }
        else
        {
            await NothingIsLeft(one);
        }

        target.Start();
        await target.Ready(Limit);
        Assert.Empty(faults.Leases(one));
        Assert.Null(await faults.State(one, fault.Id));
        if (one.IsBelief)
        {
            Assert.Null(await one.Seen(faults.Lab));
        }

        await Gone(one);
    }

    [RequiresTheory("root", "ip", "nft", "tc", "wg", "nginx", "redis-server", "curl")]
    [InlineData(2_500, 0, "duration")]
    [InlineData(600_000, 2_500, "not-renewed")]
    public async Task A_gateway_that_is_stopped_goes_on_by_itself_though_its_controller_is_dead(uint durationMs, uint renewWithinMs, string ended)
    {
        var one = FaultCase.All["gateway-pause"];
        await NotThereBefore(one);
        var fault = one.New(_drill, durationMs, renewWithinMs);
        await using var controller = Controller(one.Asked, one.Target, fault);
        output.WriteLine(await Seen(one, controller));
        await controller.Kill();
        Assert.NotNull(await one.Seen(faults.Lab));
        Assert.Single(faults.Leases(one));
        await Gone(one);
        var over = await Over(one, fault);
        Assert.Equal(("reverted", ended), (over.State, over.Ended));
        Assert.InRange((over.RevertedUnixUs - over.AppliedUnixUs) / 1_000, 2_000, 20_000);
    }

    [RequiresTheory("root", "ip", "nft", "tc", "wg", "nginx", "redis-server", "curl")]
    [InlineData(4_000, 0)]
    [InlineData(600_000, 4_000)]
    public async Task A_gateway_that_is_killed_can_be_started_after_a_while_though_its_controller_is_dead(uint durationMs, uint renewWithinMs)
    {
        var target = (await faults.Ready()).Virginia;
        var fault = new FaultSpec { Id = $"kill-{_drill}", Drill = _drill, Kind = "gateway-kill", DurationMs = durationMs, RenewWithinMs = renewWithinMs };
        await using var controller = Controller("paris-1", target.Name, fault);
        await Poll.Until("the process to end", Limit, () => Task.FromResult(!target.IsAlive), () => controller.Tail());
        await controller.Kill();
        var applied = File.GetLastWriteTimeUtc(Assert.Single(Directory.GetFiles(Path.Combine(target.State, "faults"), "*.json")));

        // Whoever supervises it does so at once; it serves when the time is up in which the controller would have been heard.
        target.Start();
        await target.Ready(Limit);
        Assert.InRange((DateTime.UtcNow - applied).TotalMilliseconds, 3_900, 60_000);
        Assert.Empty(Directory.GetFiles(Path.Combine(target.State, "faults")));
        Assert.Empty((await target.Call(FaultsMethods.List, new ListFaultsRequest())).Faults);
    }

    [RequiresFact("root", "ip", "nft", "tc", "wg", "nginx", "redis-server", "curl")]
    public async Task A_gateway_whose_watchdog_died_with_it_reverts_when_it_starts_again()
    {
        var one = FaultCase.All["link-blackhole"];
        await NotThereBefore(one);
        await faults.Apply(one, one.New(_drill, 600_000));
        var target = faults.Gateway(one.Target);
        Assert.Equal(0, Posix.kill(Watchdog(target), Posix.SIGKILL));

        await target.Kill();
        Assert.NotNull(await one.Seen(faults.Lab));
        Assert.Single(faults.Leases(one));
        target.Start();
        await target.Ready(Limit);
        await Gone(one);
        await NothingIsLeft(one);
    }

    [RequiresFact("root", "ip", "nft", "tc", "wg", "nginx", "redis-server", "curl")]
    public async Task A_gateway_that_is_killed_stays_dead_however_often_it_is_started()
    {
        var lab = await faults.Ready();
        var target = lab.Virginia;
        var fault = new FaultSpec { Id = $"kill-{_drill}", Drill = _drill, Kind = "gateway-kill", DurationMs = 4_000 };
        var applied = await lab.Paris.Call(FaultsMethods.Apply, new ApplyFaultRequest { Gateway = target.Name, Fault = fault });
        Assert.Equal("signal", applied.Faults.Single(f => f.Fault.Id == fault.Id).Means);
        await Poll.Until("the process to end", Limit, () => Task.FromResult(!target.IsAlive));

        // As whoever supervises it would, twice.
        target.Start();
        await Task.Delay(500);
        Assert.Null(await target.TryStatus());
        await target.Kill();
        target.Start();
        Assert.Null(await target.TryStatus());
        await target.Ready(Limit);
        Assert.True((await target.Call(FaultsMethods.List, new ListFaultsRequest())).NowUnixUs - applied.Faults.Single(f => f.Fault.Id == fault.Id).AppliedUnixUs >= 3_900_000);
        Assert.Empty(Directory.GetFiles(Path.Combine(target.State, "faults")));
    }

    /// <summary>The shell that knows the lease.</summary>
    private static int Watchdog(GatewayProcess target)
    {
        static string CommandLine(string process)
        {
            try
            {
                return File.ReadAllText(Path.Combine(process, "cmdline"));
            }
            catch (IOException)
            {
                return "";
            }
        }

        return Directory.EnumerateDirectories("/proc").Where(p => int.TryParse(Path.GetFileName(p), out _) && CommandLine(p) is var line
                && line.Contains("fabric-fault", StringComparison.Ordinal) && line.Contains(target.State, StringComparison.Ordinal))
            .Select(p => int.Parse(Path.GetFileName(p), System.Globalization.CultureInfo.InvariantCulture)).Single();
    }

    /// <summary>It renews until it is killed.</summary>
    private Daemon Controller(string asked, string target, FaultSpec fault) => Daemon.Start(faults.Lab.Work, $"controller-{_drill}",
        ["dotnet", typeof(FaultTests).Assembly.Location, "hold-fault", faults.Gateway(asked).Socket,
            JsonFormatter.Default.Format(new ApplyFaultRequest { Gateway = target, Fault = fault })], Programs.Environment);

    private async Task NotThereBefore(FaultCase one)
    {
        await faults.Ready();
        await Poll.Until($"{one.Name} not to be there", TimeSpan.FromSeconds(75), async () => await one.Seen(faults.Lab) is null);
    }

    private Task<string> Seen(FaultCase one, Daemon? controller = null) =>
        Poll.For($"{one.Name} to be there", Limit, () => one.Seen(faults.Lab), () => $"{faults.Gateway(one.Target).Tail()}{controller?.Tail()}");

    /// <summary>Null: whenever it was looked for in that time, nothing was to be seen.</summary>
    private async Task<string?> SeenWithin(FaultCase one, TimeSpan time)
    {
        for (var watch = Stopwatch.StartNew(); watch.Elapsed < time; await Task.Delay(20))
        {
            if (await one.Seen(faults.Lab) is { } seen)
            {
                return seen;
            }
        }

        return null;
    }

    private async Task Gone(FaultCase one)
    {
        await Poll.Until($"{one.Name} to be over", Limit, async () => await one.Seen(faults.Lab) is null);
        await NothingIsLeft(one);
    }

    /// <summary>What the target says of it when it is over: one that was stopped says so a moment after it goes on.</summary>
    private Task<FaultState> Over(FaultCase one, FaultSpec fault) => Poll.For($"{one.Name} to be told as over", Limit,
        async () => await faults.State(one, fault.Id) is { State: not "in-force" } state ? state : null, () => faults.Gateway(one.Target).Tail());

    private Task NothingIsLeft(FaultCase one) => Poll.For($"nothing to be left of {one.Name}", Limit,
        async () => faults.Leases(one).Length == 0 && (await faults.LeftInKernel(one)).Length == 0 ? "nothing" : null,
        () => $"leases: {string.Join(", ", faults.Leases(one))}; {faults.LeftInKernel(one).GetAwaiter().GetResult()}\n{faults.Gateway(one.Target).Tail()}");
}
