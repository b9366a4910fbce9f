using System.Collections.Immutable;
using System.Net;
using Fabric.Gateway.Catalog;
using Fabric.Gateway.Control;
using Fabric.Gateway.Probing;
using Fabric.Gateway.Snapshot;
using Fabric.Identity.Svid;
using Fabric.Protocol.Proto;
using Fabric.Routing.Health;
using Fabric.Routing.Paths;
using Fabric.Routing.Sites;
using Fabric.Testing;
using Fabric.Tunnel;
using Microsoft.Extensions.Logging.Abstractions;

namespace Fabric.Gateway.Tests.Control;

public sealed class StatusBuilderTests
{
    private readonly ManualTime _time = new();
    private readonly LinkFaults _faults = new();
    private string[] _other = [];
    private TimeSpan _certificate = TimeSpan.FromHours(20);
    private TimeSpan _life = TimeSpan.FromHours(24);

    [Fact]
    public void Healthy_gateway_is_ready_and_agrees_with_the_snapshot()
    {
        var now = Healthy();
        var status = Build(now);

        Assert.Equal(("paris-1", "paris", "acme.example", "ready"), (status.Gateway, status.Site, status.TrustDomain, status.State));
        Assert.Empty(status.Problems);
        Assert.Equal((now.Topology.Revision, "", 7u, 5UL, 6UL, 72_000.0), (status.TopologyRevision, status.TopologyError, status.Streams,
            status.StreamsTotal, status.StreamsRefused, status.CertificateExpiresInSeconds));

        Assert.Equal((1000UL, 100UL, 20UL, 30UL, 4u), (status.Capacity.MemoryLimit, status.Capacity.MemoryUsed, status.Capacity.Retained,
            status.Capacity.Promised, status.Capacity.Handshakes));
        Assert.Equal(("issuer_of_another_site", 2UL), Assert.Single(status.Capacity.Certificates) is var c ? (c.Kind, c.Count) : default);
        Assert.Equal(("handshake_address_limit", 9UL), Assert.Single(status.Capacity.Refusals) is var r ? (r.Kind, r.Count) : default);

        var link = Assert.Single(status.Links);
        Assert.Equal(
            ("dx", "interconnect", "virginia-1", "virginia", "up", "active", 12.5, 3, 15.5, 1500u, "up", ""),
            (link.Name, link.Kind, link.Peer, link.PeerSite, link.State, link.Role, link.RttMs, link.Cost, link.Score, link.Mtu, link.Lane, link.Fault));

        var peer = status.Sites.Single(s => s.Name == "virginia").Gateways.Single();
        Assert.Equal(("connected", "dx", -1.0, 7u, 10UL, 20UL, 30UL, 2UL), (peer.State, peer.ActiveLink, peer.CatalogAgeSeconds, peer.Streams,
            peer.BytesSent, peer.BytesReceived, peer.BytesResent, peer.Moves));
        Assert.Equal("self", status.Sites.Single(s => s.Local).Gateways.Single().State);

        var service = Assert.Single(status.Services);
        Assert.Equal(("web.shop", "web.shop.svc.clusterset.local", now.Addresses["web.shop"].ToString(), "virginia"),
            (service.Name, service.Host, service.ServiceAddress, service.ChosenSite));
        Assert.Equal([80u, 81u], service.Ports);
        Assert.Equal(("virginia", 2u, 2u, "healthy"), service.Sites.Single() is var s ? (s.Site, s.Endpoints, s.Healthy, s.State) : default);
    }

    [Fact]
    public void Draining_is_said_before_degraded() => Assert.Equal("draining", Build(Healthy() with { Draining = true, TopologyError = "bad" }).State);

    [Fact]
    public void Drained_link_says_who_drains_it_and_is_no_problem()
    {
        var status = Build(Healthy() with { DrainedLinks = [("virginia-1", "dx")] });
        Assert.Equal(("active", "by paris-1", "ready"), (status.Links[0].Role, status.Links[0].Drained, status.State));

        var now = Healthy();
        var lane = new LaneStatus("dx", LaneState.Up, 1, null, null, 0) { PeerDrains = true };
        var session = now.Tunnel.Sessions[0] with { ActiveLink = "vpn", Lanes = [lane] };
        status = Build(now with { Tunnel = now.Tunnel with { Sessions = [session] } });
        Assert.Equal(("drained", "by virginia-1"), (status.Links[0].Role, status.Links[0].Drained));
    }

    [Theory]
    [InlineData(2, 1, "degraded")]
    [InlineData(2, 0, "down")]
    [InlineData(0, 0, "unknown")]
    public void Site_of_a_service_is_as_its_endpoints_are(int endpoints, int healthy, string state) =>
        Assert.Equal(state, Build(Healthy() with { Choices = Choices(endpoints, healthy) }).Services.Single().Sites.Single().State);

    [Fact]
    public void Refused_topology_is_a_problem() => Problem(Healthy() with { TopologyError = "a.yaml:1:1: error" }, "the newest topology was refused: a.yaml:1:1: error");

    [Fact]
    public void Service_without_an_address_is_a_problem() => Problem(Healthy() with { AddressProblems = ["the service addresses are exhausted"] }, "exhausted");

    [Theory]
    [InlineData(LinkState.Down)]
    [InlineData(LinkState.Unknown)]
    public void Link_that_is_not_up_is_a_problem(LinkState state) =>
        Problem(Healthy() with { Links = [LinkIn(state)] }, $"link dx to virginia-1 is {state.ToString().ToLowerInvariant()}: because");

    [Fact]
    public void Suspect_link_is_still_used() => Assert.Equal("ready", Build(Healthy() with { Links = [LinkIn(LinkState.Suspect)] }).State);

    [Fact]
    public void Peer_without_a_lane_is_a_problem() =>
        Problem(Healthy() with { Tunnel = new TunnelStatus([], [], 0, 0) }, "gateway virginia-1 cannot be reached: the only link");

    [Fact]
    public void Service_that_no_site_can_serve_is_a_problem()
    {
        var status = Build(Healthy() with { Choices = Choices(2, 0) });

        Assert.Contains(status.Problems, p => p.StartsWith("no site can serve web.shop: virginia: none of 2 endpoints", StringComparison.Ordinal));
        Assert.Contains(status.Problems, p => p.StartsWith("web.shop in virginia is down", StringComparison.Ordinal));
    }

    [Fact]
    public void Listener_that_is_not_open_is_a_problem()
    {
        var now = Healthy();
        Problem(now with { Tunnel = now.Tunnel with { Listeners = [new Tunnel.ListenerStatus("web.shop", new IPEndPoint(IPAddress.Loopback, 80), false, "in use")] } },
            "web.shop does not listen on 127.0.0.1:80: in use");
    }

    [Fact]
    public void Certificate_that_ends_soon_is_a_problem()
    {
        _certificate = TimeSpan.FromMinutes(90);
        Problem(Healthy(), "the certificate ends in 90 minutes");

        // One that lives for an hour is not late when it has half of that left.
        (_life, _certificate) = (TimeSpan.FromHours(1), TimeSpan.FromMinutes(30));
        var status = Build(Healthy());
        Assert.Empty(status.Problems);
        Assert.Equal("the mesh's authority", status.IdentitySource);
        _certificate = TimeSpan.FromMinutes(9);
        Problem(Healthy(), "the certificate ends in 9 minutes");
    }

    [Fact]
    public void Problems_of_the_overlay_are_passed_on()
    {
        _other = ["overlay fab-vpn: no"];
        Problem(Healthy(), "overlay fab-vpn: no");
    }

    [Theory]
    [InlineData(LinkFault.Cut, "cut")]
    [InlineData(LinkFault.CutIn, "cut-in")]
    [InlineData(LinkFault.CutOut, "cut-out")]
    public void Fault_is_shown_on_its_link(LinkFault fault, string name)
    {
        _faults.Set("virginia-1", "dx", fault);
        _faults.Set("virginia-1", "other", LinkFault.Cut);

        Assert.Equal(name, Build(Healthy()).Links.Single().Fault);
    }

    [Fact]
    public void Lanes_through_others_and_those_that_are_carried_are_shown()
    {
        var lane = new LaneStatus("via:oslo-1", LaneState.Up, 4, null, null, 0);
        var down = new LaneStatus("via:rome-1", LaneState.Down, 0, null, "refused", 0);
        var healthy = Healthy();
        var status = Build(healthy with
        {
            Relays =
            [
                new RelayView("virginia-1", "oslo-1", lane, TimeSpan.FromMilliseconds(30), 31.5, "only relay"),
                new RelayView("virginia-1", "rome-1", down, null, null, "kept until its successor is up"),
            ],
            Tunnel = healthy.Tunnel with { Relayed = [new RelayedStatus("virginia-1", 2, 1000)] },
        });

        Assert.Equal(("via:oslo-1", "virginia-1", "oslo-1", "standby", "up", 30, 31.5, "only relay"),
            status.Relays[0] is var r ? (r.Name, r.Peer, r.Relay, r.Role, r.Lane, r.RttMs, r.Score, r.Reason) : default);
        Assert.Equal(("", "down", "refused"), status.Relays[1] is var d ? (d.Role, d.Lane, d.LaneError) : default);
        Assert.Equal((2u, 1000ul), status.Sites[1].Gateways[0] is var g ? (g.RelayedLanes, g.RelayedBytes) : default);
        Assert.Equal("ready", status.State);

        var session = healthy.Tunnel.Sessions[0] with { ActiveLink = "via:oslo-1" };
        Assert.Equal("active", Build(healthy with
        {
            Relays = [new RelayView("virginia-1", "oslo-1", lane, null, null, "only relay")],
            Tunnel = healthy.Tunnel with { Sessions = [session] },
        }).Relays[0].Role);
    }

    private FabricSnapshot Healthy()
    {
        var session = Samples.Session("virginia-1", "virginia", streams: 7, activeLink: "dx") with
        {
            Lanes = [new LaneStatus("dx", LaneState.Down, 1, null, "old", 0), new LaneStatus("dx", LaneState.Up, 2, null, null, 7)],
        };
        return Samples.Snapshot(Samples.TwoSites, "paris-1") with
        {
            Links = [LinkIn(LinkState.Up)],
            Paths = ImmutableDictionary<string, PathDecision>.Empty.Add("virginia-1", new PathDecision("dx", [], [], "the only link", 15.5, false)),
            Choices = Choices(2, 2),
            Tunnel = new TunnelStatus([session], [], 7, 0),
        };
    }

    private LinkHealthSnapshot LinkIn(LinkState state) => new("virginia-1", "dx",
        new LinkReport(state, "because", TimeSpan.Zero, false, TimeSpan.FromMilliseconds(12.5), TimeSpan.Zero, 0, 0, 0, TimeSpan.Zero, true),
        _time.GetUtcNow(), 1500, true, null);

    private static ImmutableDictionary<(string, int), SiteChoice> Choices(int endpoints, int healthy) =>
        ImmutableDictionary<(string, int), SiteChoice>.Empty.Add(("web.shop", 80), SiteChoice.Rank(new SiteQuestion("web.shop", 80, "paris")
        {
            Exports = ["virginia"],
            Gateways =
            [
                new GatewayView("virginia-1", "virginia")
                {
                    Reachable = true, PathScore = 1, CatalogAge = TimeSpan.Zero, Health = new PortHealth(endpoints, healthy),
                },
            ],
        }));

    private void Problem(FabricSnapshot now, string text)
    {
        var status = Build(now);
        Assert.Contains(text, Assert.Single(status.Problems), StringComparison.Ordinal);
        Assert.Equal("degraded", status.State);
    }

    private Status Build(FabricSnapshot now) => new StatusBuilder(
        new StatusSources
        {
            Version = "1",
            OverlayDriver = "off",
            Catalogs = new CatalogWatcher("paris-1", _ => throw new InvalidOperationException("nobody is watched"), _ => { }, _time, NullLogger.Instance),
            Faults = _faults,
            Uptime = () => TimeSpan.FromSeconds(3),
            IdentitySource = "the mesh's authority",
            Certificate = () => (_time.GetUtcNow() + _certificate - _life, _time.GetUtcNow() + _certificate),
            StreamsTotal = () => 5,
            StreamsRefused = () => 6,
            Usage = () => new TunnelUsage(1000, 100, 20, 30, 4, [new RefusalCount(Refusal.HandshakeAddressLimit, 9)])
            {
                Certificates = [new CertificateRefusalCount(SvidRejection.IssuerOfAnotherSite, 2)],
            },
            OtherProblems = () => _other,
        },
        _time).Build(now);
}
