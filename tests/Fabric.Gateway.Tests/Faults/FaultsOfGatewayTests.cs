using System.Security.Cryptography.X509Certificates;
using Fabric.Gateway.Tests.Hosting;
using Fabric.Protocol.Grpc;
using Fabric.Protocol.Proto;
using Fabric.Testing;

namespace Fabric.Gateway.Tests.Faults;

/// <summary>Faults by the gateway's own seam, asked for at one whole gateway and applied at it or at another.</summary>
public sealed class FaultsOfGatewayTests
{
    private static FaultSpec Fault(string kind, string link = "", string service = "", string peer = "") => new()
    {
        Id = $"{kind}-1",
        Drill = "run-1",
        Kind = kind,
        Link = link,
        Peer = peer,
        Service = service,
        DurationMs = 60_000,
        Means = "seam",
    };

    [Fact]
    public async Task A_link_that_is_taken_down_is_left_at_once_and_comes_back()
    {
        await using var fabric = await LoopbackFabric.StartAsync();
        using var call = await fabric.CallAsync();
        Assert.Equal("virginia", await call.ReadLineAsync());
        var paris = fabric.Admin(LoopbackFabric.Paris);
        var applied = await paris.CallAsync(FaultsMethods.Apply, new ApplyFaultRequest { Fault = Fault("link-down", "dx", peer: LoopbackFabric.Virginia) });
        Assert.Equal(("paris-1", "in-force", "seam"), (applied.Gateway, applied.Faults.Single().State, applied.Faults.Single().Means));

        // The lane is closed, not silent; and the other end, which nobody told, sees it as well.
        await paris.UntilAsync(s => s.Links.Single(l => l.Name == "dx") is { State: "down", Lane: not "up", Fault: "down" });
        await fabric.Admin(LoopbackFabric.Virginia).UntilAsync(s => s.Links.Single(l => l.Name == "dx") is { State: "down", Lane: not "up" });
        Assert.Equal("still here", await call.EchoAsync("still here"));

        await paris.CallAsync(FaultsMethods.Revert, new DrillFaultsRequest { Drill = "run-1" });
        await paris.UntilAsync(s => s.Links.Single(l => l.Name == "dx") is { State: "up", Lane: "up", Fault: "" });
        Assert.Equal("and here", await call.EchoAsync("and here"));
    }

    [Fact]
    public async Task Another_gateway_takes_it_only_when_its_topology_names_the_one_that_asks()
    {
        await using var fabric = await LoopbackFabric.StartAsync();
        var paris = fabric.Admin(LoopbackFabric.Paris);
        var request = new ApplyFaultRequest { Gateway = LoopbackFabric.Virginia, Fault = Fault("service-down", service: "web.shop") };
        var refused = await Assert.ThrowsAsync<GrpcException>(() => paris.CallAsync(FaultsMethods.Apply, request));
        Assert.Equal(GrpcStatus.PermissionDenied, refused.Status);
        Assert.Contains("virginia-1 takes no faults from paris-1", refused.Detail, StringComparison.Ordinal);
        Assert.Equal(GrpcStatus.NotFound, (await Assert.ThrowsAsync<GrpcException>(
            () => paris.CallAsync(FaultsMethods.List, new ListFaultsRequest { Gateway = "nobody-1" }))).Status);

        fabric.Write(fabric.Topology("drills: { from: [ paris/paris-1 ] }\n"));
        await fabric.Admin(LoopbackFabric.Virginia).ReloadAsync();
        var applied = await paris.CallAsync(FaultsMethods.Apply, request);
        Assert.Equal(("virginia-1", "in-force"), (applied.Gateway, applied.Faults.Single().State));

        // The endpoint answers, and the site says that it is down.
        await paris.UntilAsync(s => s.Services.Single().ChosenSite == "factory");
        Assert.Equal("factory", await fabric.AnsweredByAsync());
        Assert.Single((await paris.CallAsync(FaultsMethods.Renew, new DrillFaultsRequest { Gateway = LoopbackFabric.Virginia, Drill = "run-1" })).Faults);
        Assert.Equal("asked", (await paris.CallAsync(FaultsMethods.Revert, new DrillFaultsRequest { Gateway = LoopbackFabric.Virginia })).Faults.Single().Ended);
        await paris.UntilAsync(s => s.Services.Single().ChosenSite == "virginia");

        // What came over a session goes no further, and what is not allowed over one is not: factory is not named.
        var other = await Assert.ThrowsAsync<GrpcException>(() => fabric.Admin(LoopbackFabric.Factory).CallAsync(
            FaultsMethods.List, new ListFaultsRequest { Gateway = LoopbackFabric.Paris }));
        Assert.Equal(GrpcStatus.PermissionDenied, other.Status);
    }

    [Fact]
    public async Task A_source_that_is_gone_leaves_the_last_good_topology_and_says_so()
    {
        await using var fabric = await LoopbackFabric.StartAsync();
        var paris = fabric.Admin(LoopbackFabric.Paris);
        var revision = (await paris.StatusAsync()).TopologyRevision;
        await paris.CallAsync(FaultsMethods.Apply, new ApplyFaultRequest { Fault = Fault("source-gone") });
        fabric.Write(fabric.Topology("drills: { from: [ paris ] }\n"));
        Assert.Contains("a drill took it away", (await Assert.ThrowsAsync<GrpcException>(paris.ReloadAsync)).Detail, StringComparison.Ordinal);
        var status = await paris.UntilAsync(s => s.TopologyError.Length > 0);
        Assert.Equal(revision, status.TopologyRevision);
        Assert.Contains(status.Problems, p => p.Contains("cannot be read since", StringComparison.Ordinal));

        await paris.CallAsync(FaultsMethods.Revert, new DrillFaultsRequest());
        await paris.ReloadAsync();
        await paris.UntilAsync(s => s.TopologyRevision != revision && s.TopologyError.Length == 0 && s.Problems.All(p => !p.Contains("cannot be read since", StringComparison.Ordinal)));
    }

    [Fact]
    public async Task An_expired_certificate_opens_no_lane_and_is_renewed_when_it_is_over()
    {
        await using var fabric = await LoopbackFabric.StartAsync();
        var virginia = fabric.Admin(LoopbackFabric.Virginia);
        var before = Serial(fabric);
        await virginia.CallAsync(FaultsMethods.Apply, new ApplyFaultRequest { Fault = Fault("cert-expire") });
        await fabric.StopAsync(LoopbackFabric.Paris);
        await fabric.StartAsync(LoopbackFabric.Paris);
        var paris = fabric.Admin(LoopbackFabric.Paris);
        await paris.UntilAsync(s => s.Links.Where(l => l.Peer == LoopbackFabric.Virginia).All(l => l.Lane != "up" && l.LaneError.Length > 0));
        Assert.Equal(before, Serial(fabric));

        await virginia.CallAsync(FaultsMethods.Revert, new DrillFaultsRequest());
        await Wait.UntilAsync(() => Serial(fabric) != before, () => "renewed at once");
        await paris.UntilAsync(s => s.Links.Where(l => l.Peer == LoopbackFabric.Virginia).All(l => l.Lane == "up"));
    }

    [Fact]
    public async Task Events_come_from_the_time_that_is_asked_for_and_from_other_gateways()
    {
        await using var fabric = await LoopbackFabric.StartAsync();
        fabric.Write(fabric.Topology("drills: { from: [ paris ] }\n"));
        await fabric.Admin(LoopbackFabric.Virginia).ReloadAsync();
        var paris = fabric.Admin(LoopbackFabric.Paris);
        foreach (var gateway in new[] { LoopbackFabric.Paris, LoopbackFabric.Virginia })
        {
            // What was down before does not go down.
            await fabric.Admin(gateway).UntilAsync(s => s.Links.Where(l => l.Name == "dx").All(l => l.State == "up"));
        }

        var since = (await paris.CallAsync(FaultsMethods.List, new ListFaultsRequest())).NowUnixUs;
        var here = paris.ReadAsync(FaultsMethods.Events, new GatewayEventsRequest { SinceUnixUs = since }, e => e.Kind == "fault-reverted");
        var there = paris.ReadAsync(FaultsMethods.Events, new GatewayEventsRequest { Gateway = LoopbackFabric.Virginia, SinceUnixUs = since },
            e => e is { Kind: "link-down", Link: "dx", DetectionMs: > 0 });
        await paris.CallAsync(FaultsMethods.Apply, new ApplyFaultRequest { Fault = Fault("link-blackhole", "dx") });
        Assert.All(await there, e => Assert.Equal("virginia-1", e.Gateway));
        await paris.UntilAsync(s => s.Links.Single(l => l.Name == "dx").State == "down");
        await paris.CallAsync(FaultsMethods.Revert, new DrillFaultsRequest());
        var kinds = (await here).Select(e => e.Kind).ToList();
        Assert.Equal("fault-applied", kinds[0]);
        Assert.Contains("link-down", kinds);
        Assert.Contains("path-moved", kinds);
        Assert.DoesNotContain("started", kinds);
    }

    [Fact]
    public async Task Abilities_name_every_kind_and_the_means()
    {
        await using var fabric = await LoopbackFabric.StartAsync();
        var list = await fabric.Admin(LoopbackFabric.Paris).CallAsync(FaultsMethods.List, new ListFaultsRequest());
        Assert.Equal(13, list.Abilities.Count);
        Assert.Equal("seam", list.Abilities.Single(a => a.Kind == "dns-withdraw").Means);
        // Rules for loopback's addresses would hit the other gateways: what can be had by the seam is, and the rest is refused.
        var auto = await fabric.Admin(LoopbackFabric.Paris).CallAsync(FaultsMethods.Apply, new ApplyFaultRequest { Fault = new FaultSpec(Fault("flap", "dx")) { Means = "auto", DownMs = 200, UpMs = 200 } });
        Assert.Equal("seam", auto.Faults.Single().Means);
        var delay = await Assert.ThrowsAsync<GrpcException>(() => fabric.Admin(LoopbackFabric.Paris).CallAsync(
            FaultsMethods.Apply, new ApplyFaultRequest { Fault = new FaultSpec(Fault("delay", "dx")) { Means = "auto", DelayMs = 10 } }));
        Assert.Equal(GrpcStatus.FailedPrecondition, delay.Status);
    }

    private static string Serial(LoopbackFabric fabric)
    {
        using var leaf = X509CertificateLoader.LoadCertificateFromFile(Path.Combine(fabric.State(LoopbackFabric.Virginia, "identity"), "gateway.crt"));
        return leaf.SerialNumber;
    }
}
