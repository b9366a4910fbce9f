using Fabric.Gateway.Tests.Hosting;
using Fabric.Protocol.Grpc;
using Fabric.Protocol.Proto;
using Fabric.Testing;

namespace Fabric.Gateway.Tests.Faults;

/// <summary>What whole gateways tell of what happened to them: each event when it happens, and the way back as well.</summary>
public sealed class EventsOfGatewayTests : IAsyncLifetime
{
    private LoopbackFabric _fabric = null!;

    public async Task InitializeAsync() => _fabric = await LoopbackFabric.StartAsync();

    public async Task DisposeAsync() => await _fabric.DisposeAsync();

    private static FaultSpec Fault(string kind, string link = "", string service = "") => new()
    {
        Id = $"{kind}-1",
        Drill = "run-1",
        Kind = kind,
        Link = link,
        Service = service,
        DurationMs = 60_000,
        Means = "seam",
    };

    private Task ApplyAsync(string gateway, FaultSpec fault) => _fabric.Admin(gateway).CallAsync(FaultsMethods.Apply, new ApplyFaultRequest { Fault = fault });

    private Task RevertAsync(string gateway) => _fabric.Admin(gateway).CallAsync(FaultsMethods.Revert, new DrillFaultsRequest { Drill = "run-1" });

    /// <summary>All from now on until the one that is so, which comes last.</summary>
    private async Task<Task<List<GatewayEvent>>> FromNowAsync(string gateway, Func<GatewayEvent, bool> last)
    {
        var admin = _fabric.Admin(gateway);
        var since = (await admin.CallAsync(FaultsMethods.List, new ListFaultsRequest())).NowUnixUs;
        return admin.ReadAsync(FaultsMethods.Events, new GatewayEventsRequest { SinceUnixUs = since }, last);
    }

    [Fact]
    public async Task A_lane_that_goes_and_comes_is_told_at_both_ends()
    {
        var ends = new List<Task<List<GatewayEvent>>>();
        foreach (var gateway in new[] { LoopbackFabric.Paris, LoopbackFabric.Virginia })
        {
            await _fabric.Admin(gateway).UntilAsync(s => s.Links.Where(l => l.Name == "dx").All(l => l is { State: "up", Lane: "up" }));
            ends.Add(await FromNowAsync(gateway, e => e is { Kind: "lane-up", Link: "dx" }));
        }

        await ApplyAsync(LoopbackFabric.Paris, Fault("link-down", "dx"));
        await _fabric.Admin(LoopbackFabric.Virginia).UntilAsync(s => s.Links.Single(l => l.Name == "dx").Lane != "up");
        await RevertAsync(LoopbackFabric.Paris);

        foreach (var (end, peer) in ends.Zip(["virginia-1", "paris-1"]))
        {
            var lanes = (await end).Where(e => e.Kind.StartsWith("lane-", StringComparison.Ordinal) && e.Link == "dx").ToList();
            Assert.Equal(["lane-down", "lane-up"], lanes.Select(e => e.Kind));
            Assert.All(lanes, e => Assert.Equal(peer, e.Peer));
            Assert.NotEqual("", lanes[0].Text);
        }
    }

    [Fact]
    public async Task A_service_that_moves_is_lost_and_comes_back_is_told_where_it_is_called()
    {
        var port = _fabric.ServicePort;
        var events = await FromNowAsync(LoopbackFabric.Paris, e => e.Kind == "service-back");
        await ApplyAsync(LoopbackFabric.Virginia, Fault("service-down", service: "web.shop"));
        await ChosenAsync("factory");
        await ApplyAsync(LoopbackFabric.Factory, Fault("service-down", service: "web.shop"));
        await ChosenAsync("");
        await RevertAsync(LoopbackFabric.Virginia);

        var told = (await events).Where(e => e.Kind.StartsWith("service-", StringComparison.Ordinal)).ToList();
        Assert.All(told, e => Assert.Equal("web.shop", e.Service));
        Assert.Equal(
            [
                ("service-moved", $"port {port}: virginia → factory"), ("service-lost", $"port {port}: factory → no site"),
                ("service-back", $"port {port}: no site → virginia"),
            ],
            told.Select(e => (e.Kind, e.Text)));
    }

    private Task ChosenAsync(string site) => _fabric.Admin(LoopbackFabric.Paris).UntilAsync(s => s.Services.Single().ChosenSite == site);

    [Fact]
    public async Task A_drain_is_told_once_by_the_gateway_that_drains()
    {
        var events = await FromNowAsync(LoopbackFabric.Virginia, e => e.Kind == "draining");

        await _fabric.Admin(LoopbackFabric.Virginia).DrainAsync(60);

        Assert.Equal(LoopbackFabric.Virginia, (await events)[^1].Gateway);
    }

    [Fact]
    public async Task A_renewed_certificate_is_told_with_where_it_came_from()
    {
        var virginia = LoopbackFabric.Virginia;
        var events = await FromNowAsync(virginia, e => e.Kind == "certificate-renewed");

        // When a drill gives its certificate back, a gateway asks for a new one.
        await ApplyAsync(virginia, Fault("cert-expire"));
        await RevertAsync(virginia);

        Assert.NotEqual("", (await events)[^1].Text);
    }
}
