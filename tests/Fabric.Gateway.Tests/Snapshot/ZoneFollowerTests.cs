using System.Collections.Immutable;
using Fabric.Gateway.Dns;
using Fabric.Gateway.Snapshot;
using Fabric.Gateway.Tests.Dns;
using Fabric.Protocol.Dns;
using Fabric.Routing.Sites;
using Fabric.Testing;
using Fabric.Topology.Model;
using static Fabric.Gateway.Tests.Dns.DnsFixtures;

namespace Fabric.Gateway.Tests.Snapshot;

public class ZoneFollowerTests
{
    private const string Web = "web.shop.svc.clusterset.local";
    private readonly ManualTime _time = new();

    [Fact]
    public void A_service_answers_while_a_site_can_serve_one_of_its_ports()
    {
        var follower = new ZoneFollower(_time);
        var now = Samples.Snapshot(Samples.TwoSites, "paris-1");
        var zone = follower.Follow(now, Choices(now, healthy: 1));
        Assert.Single(zone.Ask(Web, DnsType.A).Answers);
        Assert.Same(zone, follower.Follow(now, Choices(now, healthy: 2)));

        var lost = follower.Follow(now, Choices(now, healthy: 0));
        var answer = lost.Ask(Query(Web, DnsType.A) with { Additionals = [Opt] });
        Assert.Equal((DnsRcode.NoError, 0), (answer.Rcode, answer.Answers.Length));
        Assert.Equal(
            [0, 0, .. "no site can serve web.shop: virginia has no healthy endpoint"u8],
            Assert.IsType<DnsOpt>(answer.Opt!.Data).Options.Single().Data.ToArray());
        Assert.Single(follower.Follow(now, Choices(now, healthy: 1)).Ask(Web, DnsType.A).Answers);
    }

    [Theory]
    [InlineData("nodata", DnsRcode.NoError)]
    [InlineData("nxdomain", DnsRcode.NxDomain)]
    [InlineData("servfail", DnsRcode.ServFail)]
    public void The_topology_says_how_an_absent_service_answers(string absent, DnsRcode rcode)
    {
        var now = Samples.Snapshot($"{Samples.TwoSites}dns: {{ absent: {absent} }}\n", "paris-1");
        Assert.Equal(rcode, new ZoneFollower(_time).Follow(now, Choices(now, healthy: 0)).Ask(Web, DnsType.A).Rcode);
    }

    [Fact]
    public void The_serial_rises_with_every_change_and_from_start_to_start()
    {
        var now = Samples.Snapshot(Samples.TwoSites, "paris-1");
        var follower = new ZoneFollower(_time);
        var serials = Enumerable.Range(0, 5).Select(i => Serial(follower.Follow(now, Choices(now, healthy: i % 2)))).ToList();
        Assert.Equal(serials.Distinct().Order(), serials);
        _time.Advance(TimeSpan.FromMinutes(1));
        Assert.True(Serial(new ZoneFollower(_time).Follow(now, Choices(now, healthy: 1))) > serials[^1]);
    }

    [Fact]
    public void A_new_topology_brings_names_and_takes_them()
    {
        var follower = new ZoneFollower(_time);
        var before = Samples.Snapshot(Samples.TwoSites, "paris-1");
        follower.Follow(before, Choices(before, healthy: 1));
        var other = Samples.Snapshot(Samples.TwoSites.Replace("name: web", "name: site").Replace("web.shop", "site.shop"), "paris-1");
        var zone = follower.Follow(other, Choices(other, healthy: 1));
        Assert.Equal(DnsRcode.NxDomain, zone.Ask(Web, DnsType.A).Rcode);
        Assert.Single(zone.Ask("site.shop.svc.clusterset.local", DnsType.A).Answers);
        var moved = Samples.Snapshot(Samples.TwoSites + "domain: mesh.example\n", "paris-1");
        zone = follower.Follow(moved, Choices(moved, healthy: 1));
        Assert.Single(zone.Ask("web.shop.mesh.example", DnsType.A).Answers);
        Assert.Equal(DnsRcode.Refused, zone.Ask(Web, DnsType.A).Rcode);
    }

    [Fact]
    public void What_is_negotiated_by_TLS_is_told()
    {
        var now = Samples.Snapshot(Samples.TwoSites.Replace("{ name: admin, port: 81 }", "{ name: admin, port: 81, alpn: [ h2 ] }"), "paris-1");
        var zone = new ZoneFollower(_time).Follow(now, Choices(now, healthy: 1));
        Assert.Single(zone.Ask("_81._https." + Web, DnsType.Https).Answers);
        Assert.Single(zone.Ask("_81._admin." + Web, DnsType.Svcb).Answers);
        Assert.Empty(zone.Ask(Web, DnsType.Https).Answers);
    }

    private static uint Serial(DnsZone zone) =>
        Assert.IsType<DnsSoa>(zone.Ask("clusterset.local", DnsType.Soa).Answers.Single().Data).Serial;

    private static ImmutableDictionary<(string Service, int Port), SiteChoice> Choices(FabricSnapshot now, int healthy) =>
        now.Topology.Services.SelectMany(s => s.Ports.Select(p => (s, p))).ToImmutableDictionary(
            x => (x.s.FullName, x.p.Port),
            x => SiteChoice.Rank(new SiteQuestion(x.s.FullName, x.p.Port, "paris")
            {
                Exports = ["virginia"],
                Gateways =
                [
                    new GatewayView("virginia-1", "virginia")
                    {
                        Reachable = true,
                        CatalogAge = TimeSpan.Zero,
                        Health = new PortHealth(2, healthy),
                    },
                ],
            }));
}
