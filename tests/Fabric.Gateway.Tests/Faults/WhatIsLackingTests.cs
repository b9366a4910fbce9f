using Fabric.Gateway.Faults;
using Fabric.Protocol.Grpc;
using Fabric.Protocol.Proto;
using Microsoft.Extensions.Logging.Abstractions;

namespace Fabric.Gateway.Tests.Faults;

/// <summary>What whoever runs the daemon does not let it do is refused before anything is touched, and says what to do.</summary>
public sealed class WhatIsLackingTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData("Name:\tfabricd\nCapPrm:\t00000000a80425fb\nCapEff:\t0000000000003400\nCapBnd:\t000001ffffffffff\n", false, false)]
    [InlineData("CapEff:\t000001ffffffffff\n", false, false)]
    [InlineData("CapEff:\t0000000000001400\n", false, true)]
    [InlineData("CapInh:\t0000000000003000\nCapPrm:\t0000000000003000\nCapEff:\t0000000000000000\n", true, true)]
    [InlineData("CapEff:\t0000000000002000\n", true, false)]
    [InlineData("", false, false)]
    [InlineData("CapEff:\t?\n", false, false)]
    public void A_capability_that_is_not_in_force_is_named_with_where_to_give_it(string status, bool lacksAdmin, bool lacksRaw)
    {
        Assert.Equal((lacksAdmin, lacksRaw), (Capability.NetAdmin.WhyNot("for it", status) is not null, Capability.NetRaw.WhyNot("for it", status) is not null));
        Assert.All(new[] { Capability.NetAdmin.WhyNot("for it", status), Capability.NetRaw.WhyNot("for it", status) }.OfType<string>(), w =>
            Assert.Matches(@"^it needs (CAP_NET_(ADMIN|RAW)), for it, .+\(hint: .+AmbientCapabilities=\1 and CapabilityBoundingSet=\1.+\)$", w));
    }

    [Fact]
    public async Task A_pause_that_systemd_would_end_is_refused_and_a_kill_is_not()
    {
        var (time, events) = (TimeProvider.System, new GatewayEvents("paris-1", TimeProvider.System));
        var kernel = new KernelMeans(new KernelNames(_folder.Root), static () => null, time, NullLogger.Instance) { Watchdog = TimeSpan.FromSeconds(10) };
        await using var keeper = new FaultKeeper("paris-1", new LeaseFolder(_folder["faults"], NullLogger.Instance), [kernel], events, time, NullLogger.Instance);
        var pause = new FaultSpec { Id = "hang-1", Drill = "run-1", Kind = "gateway-pause", DurationMs = 30_000 };

        var refused = await Assert.ThrowsAsync<GrpcException>(() => keeper.ApplyAsync(pause));
        Assert.Equal((GrpcStatus.FailedPrecondition, "gateway-pause cannot be done here: by kernel: 30 s are more than the 5.5 s that it may last: systemd ends whoever is silent for 10 s "
            + "(hint: WatchdogSec=0 in a drop-in while there are drills, or gateway-kill)"), (refused.Status, refused.Detail));
        Assert.False(Directory.Exists(_folder["faults"]));
        Assert.Equal(TimeSpan.FromSeconds(5.5), kernel.Limit("gateway-pause")!.Value.Longest);
        Assert.Null(kernel.Limit("gateway-kill"));

        // Whoever asks before hears it as well.
        var abilities = keeper.List().Abilities.ToDictionary(a => a.Kind);
        Assert.Equal(("kernel", 5_500U), (abilities["gateway-pause"].Means, abilities["gateway-pause"].LongestMs));
        Assert.StartsWith("systemd ends whoever is silent", abilities["gateway-pause"].Why, StringComparison.Ordinal);
        Assert.Equal(("kernel", 0U, ""), (abilities["gateway-kill"].Means, abilities["gateway-kill"].LongestMs, abilities["gateway-kill"].Why));

        var unwatched = new KernelMeans(new KernelNames(_folder.Root), static () => null, time, NullLogger.Instance);
        Assert.Null(unwatched.Limit("gateway-pause"));
    }
}
