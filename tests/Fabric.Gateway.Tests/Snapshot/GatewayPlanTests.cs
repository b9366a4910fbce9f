using System.Net;
using Fabric.Gateway.Probing;
using Fabric.Gateway.Snapshot;
using Fabric.Topology;
using Fabric.Tunnel;

namespace Fabric.Gateway.Tests.Snapshot;

public sealed class GatewayPlanTests
{
    private const string ThreeSites = """
        fabric: 1
        trustDomain: acme.example
        sites:
          - name: paris
            gateways: [ { name: paris-1, port: 7001 }, { name: paris-2, port: 7002 } ]
          - name: virginia
            gateways: [ { name: virginia-1, port: 7003 } ]
          - name: factory
            gateways: [ { name: factory-1, port: 7004 } ]
        links:
          - name: lan
            type: interconnect
            ends: [ { gateway: paris-1, address: 10.0.0.1 }, { gateway: paris-2, address: 10.0.0.2 } ]
          - name: dx
            type: interconnect
            mtu: 9000
            ends: [ { gateway: paris-1, address: 192.0.2.1 }, { gateway: virginia-1, address: 192.0.2.3 }, { gateway: factory-1 } ]
          - name: vpn
            type: vpn
            mtu: 1500
            ends: [ { gateway: paris-1, address: 198.51.100.1 }, { gateway: factory-1 } ]

        """;

    [Fact]
    public void One_end_of_every_link_dials_and_the_other_waits()
    {
        var plans = new[] { "paris-1", "paris-2", "virginia-1", "factory-1" }.ToDictionary(g => g, g => Plan(ThreeSites, g));
        foreach (var (self, plan) in plans)
        {
            Assert.All(plan.Tunnel.Lanes, lane =>
            {
                var other = plans[lane.Peer].Tunnel.Lanes.Single(l => l.Peer == self && l.Link == lane.Link);
                Assert.True(lane.Remote is null != other.Remote is null, $"{lane.Link} between {self} and {lane.Peer}");
            });
        }
    }

    [Fact]
    public void Name_that_sorts_first_dials_where_both_could()
    {
        Assert.Equal(new IPEndPoint(IPAddress.Parse("192.0.2.3"), 7003), Lane("paris-1", "virginia-1", "dx").Remote);
        Assert.Null(Lane("virginia-1", "paris-1", "dx").Remote);
    }

    [Fact]
    public void End_that_waits_knows_where_to_knock_when_the_other_has_an_address()
    {
        Assert.Equal(new IPEndPoint(IPAddress.Parse("192.0.2.1"), 7001), Lane("virginia-1", "paris-1", "dx").Knock);
        Assert.Null(Lane("paris-1", "virginia-1", "dx").Knock);
        Assert.Null(Lane("virginia-1", "factory-1", "dx").Knock);
    }

    [Fact]
    public void End_without_an_address_dials_and_is_not_dialled()
    {
        Assert.Equal(new IPEndPoint(IPAddress.Parse("192.0.2.3"), 7003), Lane("factory-1", "virginia-1", "dx").Remote);
        Assert.Null(Lane("virginia-1", "factory-1", "dx").Remote);
        Assert.Null(Probe("virginia-1", "factory-1", "dx").Remote);
    }

    [Fact]
    public void Vpn_links_are_dialled_at_overlay_addresses_with_segments_that_fit()
    {
        var near = OverlayAddresses.Of("acme.example", "vpn", "factory-1");
        var far = OverlayAddresses.Of("acme.example", "vpn", "paris-1");
        var lane = Lane("factory-1", "paris-1", "vpn");
        var probe = Probe("factory-1", "paris-1", "vpn");

        Assert.Equal(new IPEndPoint(far, 7001), lane.Remote);
        Assert.Equal(probe.Mtu - 60, lane.MaxSegment);
        Assert.Equal((near, new IPEndPoint(far, 7001), 1440), (probe.Local, probe.Remote, probe.Mtu));
    }

    [Fact]
    public void Interconnects_are_probed_from_and_to_their_own_addresses_at_the_full_mtu()
    {
        var probe = Probe("paris-1", "virginia-1", "dx");

        Assert.Equal(
            (IPAddress.Parse("192.0.2.1"), new IPEndPoint(IPAddress.Parse("192.0.2.3"), 7003), 9000), (probe.Local, probe.Remote, probe.Mtu));
        Assert.Equal(0, Lane("paris-1", "virginia-1", "dx").MaxSegment);
    }

    [Fact]
    public void Gateways_of_the_own_site_are_peers_and_not_remote()
    {
        var plan = Plan(ThreeSites, "paris-1");

        Assert.Equal(["factory-1", "paris-2", "virginia-1"], plan.Peers.Order());
        Assert.Equal(["factory-1", "virginia-1"], plan.RemotePeers.Order());
        Assert.Empty(Plan(ThreeSites.Replace("name: paris\n", "name: paris\n    relay: false\n", StringComparison.Ordinal), "paris-2").RemotePeers);
    }

    [Fact]
    public void Relays_to_a_gateway_of_another_site_are_those_with_a_link_to_both_whose_site_relays()
    {
        Assert.Equal(["factory-1: virginia-1", "virginia-1: factory-1"], Relays(ThreeSites, "paris-1"));
        Assert.Equal(["factory-1: paris-1", "virginia-1: paris-1"], Relays(ThreeSites, "paris-2"));
        Assert.Equal(["factory-1: paris-1", "paris-1: factory-1", "paris-2: paris-1"], Relays(ThreeSites, "virginia-1"));
        Assert.Equal(["virginia-1: factory-1"], Relays(ThreeSites.Replace("name: virginia\n", "name: virginia\n    relay: false\n", StringComparison.Ordinal), "paris-1"));
        Assert.Empty(Relays(Samples.TwoSites, "paris-1"));
    }

    [Fact]
    public void Lanes_through_relays_are_accepted_from_those_that_dial_and_no_others()
    {
        var factory = Plan(ThreeSites, "factory-1");
        Assert.Empty(factory.Tunnel.Relays);
        Assert.True(GatewayPlan.DialsThroughRelay("factory-1", "paris-2"));
        var paris = Plan(ThreeSites, "paris-2");
        Assert.Equal(["paris-1"], paris.Tunnel.Relays["factory-1"]);
        Assert.DoesNotContain("virginia-1", paris.Tunnel.Relays.Keys);
        Assert.DoesNotContain(paris.Tunnel.Lanes, l => l.Peer != "paris-1");
    }

    private static IEnumerable<string> Relays(string text, string gateway) => Plan(text, gateway).Relays.Select(r => $"{r.Key}: {string.Join(" ", r.Value.Order())}").Order();

    [Fact]
    public void Every_port_of_every_service_has_a_listener_at_its_address_and_the_gateway_at_its_own()
    {
        var topology = Samples.Accept(Samples.TwoSites);
        var address = IPAddress.Parse("127.66.1.2");
        var plan = new GatewayPlan(topology, topology.Gateway("virginia-1"), new Dictionary<string, IPAddress> { ["web.shop"] = address });

        Assert.Equal(
            [new ServiceListener("web.shop", 80, new IPEndPoint(address, 80)), new ServiceListener("web.shop", 81, new IPEndPoint(address, 81))],
            plan.Tunnel.Services.ToArray());
        Assert.Equal(new IPEndPoint(IPAddress.Parse("127.0.0.2"), 7444), Assert.Single(plan.Tunnel.Listen));
        Assert.Empty(new GatewayPlan(topology, topology.Gateway("virginia-1"), new Dictionary<string, IPAddress>()).Tunnel.Services);
    }

    [Fact]
    public void Sites_and_hosts_have_listeners_of_their_own_where_they_have_an_address()
    {
        var text = Samples.TwoSites.Replace("    exports:", "    siteNames: true\n    exports:", StringComparison.Ordinal);
        Assert.Equal(["web.shop:80", "web.shop:81", "web.shop/virginia:80", "web.shop/virginia:81"], Listeners(text));
        text = text.Replace("siteNames", "headless", StringComparison.Ordinal).Replace("{ address: \"127.0.0.2", "{ host: web-1, address: \"127.0.0.2", StringComparison.Ordinal);
        Assert.Equal(["web.shop/virginia/127-0-0-1:80", "web.shop/virginia/127-0-0-1:81", "web.shop/virginia/web-1:80"], Listeners(text));
    }

    private static IEnumerable<string> Listeners(string text)
    {
        var now = Samples.Snapshot(text, "paris-1");
        var services = new GatewayPlan(now.Topology, now.Self, now.Addresses).Tunnel.Services;
        Assert.All(services, s => Assert.Equal(("web.shop", now.Addresses[s.Place], s.Port), (s.Service, s.Address.Address, s.Address.Port)));
        Assert.All(services, s => Assert.Equal(s.Place.Split('/').ElementAtOrDefault(2), s.Host));
        return services.Select(s => $"{s.Place}:{s.Port}");
    }

    [Theory]
    [InlineData("tcp", "web.shop:80")]
    [InlineData("udp", "web.shop:80/udp 00:00:05")]
    [InlineData("tcp+udp", "web.shop:80, web.shop:80/udp 00:00:05")]
    public void A_port_listens_for_what_it_carries(string protocol, string listeners)
    {
        var topology = Samples.Accept(Samples.TwoSites
            .Replace("port: 80 },", $"port: 80, protocol: {protocol} }},", StringComparison.Ordinal)
            .Replace("    exports:", (protocol == "tcp" ? "" : "    flowIdle: 5s\n") + "    exports:", StringComparison.Ordinal));
        var plan = new GatewayPlan(topology, topology.Gateway("virginia-1"), new Dictionary<string, IPAddress> { ["web.shop"] = IPAddress.Loopback });

        Assert.Equal(listeners, string.Join(", ", plan.Tunnel.Services.Where(s => s.Port == 80)
            .Select(s => $"{s.Service}:{s.Port}{(s.Datagrams ? $"/udp {s.FlowIdle}" : "")}")));
    }

    private static GatewayPlan Plan(string text, string gateway)
    {
        var topology = Samples.Accept(text);
        return new GatewayPlan(topology, topology.Gateway(gateway), new Dictionary<string, IPAddress>());
    }

    private static LanePlan Lane(string self, string peer, string link) =>
        Plan(ThreeSites, self).Tunnel.Lanes.Single(l => l.Peer == peer && l.Link == link);

    private static ProbeTarget Probe(string self, string peer, string link) =>
        Plan(ThreeSites, self).Probes.Single(p => p.Peer == peer && p.Link == link);
}
