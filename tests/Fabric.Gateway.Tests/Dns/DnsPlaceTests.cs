using System.Collections.Immutable;
using System.Net;
using Fabric.Gateway.Dns;
using Fabric.Protocol.Dns;
using Fabric.Topology.Model;
using static Fabric.Gateway.Tests.Dns.DnsFixtures;

namespace Fabric.Gateway.Tests.Dns;

/// <summary>Names of single sites and hosts, and those of headless services.</summary>
public class DnsPlaceTests
{
    private const string Db = "db.shop.svc.clusterset.local";
    private const string WebInParis = "web.shop.paris.site.svc.clusterset.local";

    private static readonly ImmutableArray<DnsPort> _ports = [new("pg", 5432, true), new("admin", 80, true)];

    private static readonly DnsHost[] _hosts =
    [
        new("db-0", "paris", IPAddress.Parse("127.64.1.1"), 0, [5432, 80]),
        new("db-1", "paris", IPAddress.Parse("127.64.1.2"), 0, [5432]),
        new("db-0", "virginia", IPAddress.Parse("127.64.1.3"), 1, [5432]),
    ];

    private static readonly DnsZone _zone = Zone([.. Services.Where(s => s.Name != "db"), .. Headless(_hosts), WebIn("paris", true), WebIn("virginia", false)]);

    [Fact]
    public void A_site_s_name_answers_its_own_address_ports_and_way_back()
    {
        var answer = Assert.Single(_zone.Ask(WebInParis, DnsType.A).Answers);
        Assert.Equal((1u, (DnsData)new DnsAddress(IPAddress.Parse("127.64.2.1"))), (answer.Ttl, answer.Data));
        var srv = _zone.Ask("_http._tcp." + WebInParis, DnsType.Srv);
        Assert.Equal(new DnsSrv(0, 0, 80, DnsName.Parse(WebInParis)), Assert.Single(srv.Answers).Data);
        Assert.Equal(DnsName.Parse(WebInParis), Assert.Single(srv.Additionals).Name);
        Assert.Single(_zone.Ask(WebInParis, DnsType.Https).Answers);
        var ptr = _zone.Ask("1.2.64.127.in-addr.arpa", DnsType.Ptr);
        Assert.Equal(new DnsTarget(DnsType.Ptr, DnsName.Parse(WebInParis)), Assert.Single(ptr.Answers).Data);
        Assert.Single(_zone.Ask(WebInParis.ToUpperInvariant(), DnsType.A).Answers);

        // The service itself, which has another address.
        Assert.Equal((5u, "127.64.3.9"), _zone.Ask("web.shop.svc.clusterset.local", DnsType.A).Answers.Single() is { Data: DnsAddress a } r ? (r.Ttl, $"{a.Address}") : default);
    }

    [Theory]
    [InlineData(AbsentAnswer.NoData, DnsRcode.NoError)]
    [InlineData(AbsentAnswer.NxDomain, DnsRcode.NxDomain)]
    [InlineData(AbsentAnswer.ServFail, DnsRcode.ServFail)]
    public void What_is_gone_answers_as_absent_services_do_and_says_why(AbsentAnswer absent, DnsRcode rcode)
    {
        var zone = Zone([.. Headless([]), WebIn("virginia", false)], new DnsZoneOptions { Absent = absent });
        foreach (var (name, type) in new[]
        {
            ("web.shop.virginia.site.svc.clusterset.local", DnsType.A), ("_http._tcp.web.shop.virginia.site.svc.clusterset.local", DnsType.Srv),
            (Db, DnsType.A), ("_pg._tcp." + Db, DnsType.Srv), ("db-0.paris." + Db, DnsType.A), ("db.shop.paris.site.svc.clusterset.local", DnsType.A),
        })
        {
            var answer = zone.Ask(Query(name, type) with { Additionals = [Opt] });
            Assert.Equal((name, rcode, 0), (name, answer.Rcode, answer.Answers.Length));
            Assert.Equal([0, 0, .. "gone"u8], Assert.IsType<DnsOpt>(answer.Opt!.Data).Options.Single().Data.ToArray());
        }
    }

    [Fact]
    public void Without_a_word_a_headless_service_without_hosts_is_NXDOMAIN_as_the_specification_asks_and_others_hold_no_data()
    {
        // KEP-1645, DNS specification 1.0.0, 2.4.1.
        var zone = Zone([.. Headless([]), WebIn("virginia", false), WebIn("paris", true)], new DnsZoneOptions());
        foreach (var (name, type) in new[]
        {
            (Db, DnsType.A), (Db, DnsType.Aaaa), ("_pg._tcp." + Db, DnsType.Srv), ("db-0.paris." + Db, DnsType.A), ("db.shop.paris.site.svc.clusterset.local", DnsType.A),
        })
        {
            var answer = zone.Ask(Query(name, type) with { Additionals = [Opt] });
            Assert.Equal((name, DnsRcode.NxDomain, 1), (name, answer.Rcode, answer.Authorities.Length));
            Assert.Equal([0, 0, .. "gone"u8], Assert.IsType<DnsOpt>(answer.Opt!.Data).Options.Single().Data.ToArray());
        }

        Assert.Equal(DnsRcode.NoError, zone.Ask("web.shop.virginia.site.svc.clusterset.local", DnsType.A).Rcode);
        Assert.Equal(DnsRcode.NoError, zone.Ask("shop." + Domain, DnsType.A).Rcode);

        // With one host: that and all above it are there, and the other hosts are not.
        zone = zone.With([.. Headless(_hosts[2..])], [], 43);
        Assert.Single(zone.Ask(Db, DnsType.A).Answers);
        Assert.Equal(DnsRcode.NoError, zone.Ask(Db, DnsType.Aaaa).Rcode);
        Assert.Single(zone.Ask("db-0.virginia." + Db, DnsType.A).Answers);
        Assert.Equal(DnsRcode.NxDomain, zone.Ask("db-0.paris." + Db, DnsType.A).Rcode);
        Assert.Equal(DnsRcode.NxDomain, zone.Ask("db.shop.paris.site.svc.clusterset.local", DnsType.A).Rcode);
    }

    [Theory]
    [InlineData("site.svc.clusterset.local")]
    [InlineData("paris.site.svc.clusterset.local")]
    [InlineData("shop.paris.site.svc.clusterset.local")]
    [InlineData("_tcp." + WebInParis)]
    [InlineData("paris." + Db)]
    [InlineData("_tcp." + Db)]
    public void What_only_stands_between_has_no_data(string name)
    {
        var answer = _zone.Ask(name, DnsType.A);
        Assert.Equal((DnsRcode.NoError, 0, 1), (answer.Rcode, answer.Answers.Length, answer.Authorities.Length));
    }

    [Theory]
    [InlineData("tokyo.site.svc.clusterset.local")]
    [InlineData("web.shop.tokyo.site.svc.clusterset.local")]
    [InlineData("api.shop.paris.site.svc.clusterset.local")]
    [InlineData("a.web.shop.paris.site.svc.clusterset.local")]
    [InlineData("db-2.paris." + Db)]
    [InlineData("db-0.tokyo." + Db)]
    [InlineData("tokyo." + Db)]
    [InlineData("db-0." + Db)]
    [InlineData("_pg._tcp.db-0.paris." + Db)]
    [InlineData("paris.web.shop.svc.clusterset.local")]
    public void What_is_not_there_is_NXDOMAIN(string name) => Assert.Equal(DnsRcode.NxDomain, _zone.Ask(name, DnsType.A).Rcode);

    [Fact]
    public void A_headless_service_answers_its_hosts_in_their_order_and_each_host_itself()
    {
        Assert.Equal(["127.64.1.1", "127.64.1.2", "127.64.1.3"], Addresses(_zone.Ask(Db, DnsType.A)));
        Assert.Equal(["127.64.1.1", "127.64.1.2"], Addresses(_zone.Ask("db.shop.paris.site.svc.clusterset.local", DnsType.A)));
        Assert.Equal(["127.64.1.3"], Addresses(_zone.Ask("DB-0.virginia." + Db, DnsType.A)));
        Assert.Empty(_zone.Ask(Db, DnsType.Aaaa).Answers);
        Assert.Equal(new DnsTarget(DnsType.Ptr, DnsName.Parse("db-0.virginia." + Db)), Assert.Single(_zone.Ask("3.1.64.127.in-addr.arpa", DnsType.Ptr).Answers).Data);
    }

    [Theory]
    [InlineData("_pg._tcp." + Db, new[] { "0 db-0.paris", "0 db-1.paris", "1 db-0.virginia" })]
    [InlineData("_admin._tcp." + Db, new[] { "0 db-0.paris" })]
    [InlineData("_pg._tcp.db.shop.virginia.site.svc.clusterset.local", new[] { "1 db-0.virginia" })]
    public void SRV_has_a_target_for_each_host_that_has_the_port_with_its_address_beside(string name, string[] targets)
    {
        var answer = _zone.Ask(name, DnsType.Srv);
        var expected = targets.Select(t => t.Split(' ')).Select(t => (ushort.Parse(t[0]), DnsName.Parse($"{t[1]}.{Db}"))).ToList();
        Assert.Equal(expected, answer.Answers.Select(r => Assert.IsType<DnsSrv>(r.Data)).Select(s => (s.Priority, s.Target)));
        Assert.All(answer.Answers, r => Assert.Equal((DnsName.Parse(name), 1u), (r.Name, r.Ttl)));
        Assert.Equal(
            expected.Select(e => (e.Item2, $"{_hosts.Single(h => e.Item2.Equals(DnsName.Parse($"{h.Host}.{h.Site}.{Db}"))).Address}")),
            answer.Additionals.Select(r => (r.Name, $"{Assert.IsType<DnsAddress>(r.Data).Address}")));
    }

    [Fact]
    public void As_many_hosts_as_may_be_are_one_answer_and_over_UDP_a_truncated_one()
    {
        var label = new string('h', 59);
        var site = new string('s', 58);
        DnsHost[] hosts = [.. Enumerable.Range(0, ServicePlace.MaxHosts).Select(i => new DnsHost($"{label}{i:d4}", site, new IPAddress([127, 64, 9, (byte)i]), 0, [5432, 80]))];
        var zone = Zone(Headless(hosts));
        foreach (var (name, type) in new[] { (Db, DnsType.A), ("_pg._tcp." + Db, DnsType.Srv) })
        {
            var whole = zone.Ask(Query(name, type) with { Additionals = [Opt] }, DnsTransport.Tcp);
            Assert.Equal(ServicePlace.MaxHosts, whole.Answers.Length);
            Assert.Equal((DnsFlags)0, whole.Flags & DnsFlags.Truncated);
            var part = zone.Ask(Query(name, type) with { Additionals = [Opt] });
            Assert.Equal((0, DnsFlags.Truncated), (part.Answers.Length, part.Flags & DnsFlags.Truncated));
        }

        Assert.Equal(70, zone.With([.. Headless(hosts[..70])], [], 43).Ask(Query(Db, DnsType.A) with { Additionals = [Opt] }).Answers.Length);
    }

    [Fact]
    public void After_any_changes_a_zone_answers_like_one_that_was_built_so()
    {
        var random = new Random(11);
        var zone = Zone([]);
        var now = new List<DnsService>();
        for (uint turn = 1; turn <= 200; turn++)
        {
            // A service comes, goes, gets and loses hosts: all of its names at once, as the topology and the state loop do it.
            List<DnsService> next = [];
            if (random.Next(5) > 0)
            {
                var ready = _hosts.Where(_ => random.Next(2) == 0).ToArray();
                next.AddRange(Headless(ready, random.Next(2) == 0 ? "shop" : "other"));
            }

            if (random.Next(4) > 0)
            {
                next.Add(WebIn("paris", random.Next(2) == 0));
                next.Add(WebIn("tokyo", random.Next(2) == 0));
            }

            string Key(DnsService s) => s.FullName;
            zone = zone.With(
                [.. next.Where(s => !now.Exists(o => o.Equals(s)))], [.. now.Where(o => !next.Exists(s => Key(s) == Key(o)))], turn);
            now = next;
            var built = DnsZone.Build(Domain, now, turn, zone.Options);
            Assert.Equal(built.Count, zone.Count);
            foreach (var (name, type) in new[]
            {
                (WebInParis, DnsType.A), ("tokyo.site." + Domain, DnsType.A), ("site." + Domain, DnsType.A), ("shop." + Domain, DnsType.A), ("other." + Domain, DnsType.A),
                (Db, DnsType.A), ("_pg._tcp." + Db, DnsType.Srv), ("db-0.virginia." + Db, DnsType.A), ("virginia." + Db, DnsType.A), ("paris.db.other." + Domain, DnsType.A),
                ("1.1.64.127.in-addr.arpa", DnsType.Ptr), ("1.2.64.127.in-addr.arpa", DnsType.Ptr), ("1.64.127.in-addr.arpa", DnsType.Ptr),
            })
            {
                var (left, right) = (built.Ask(name, type), zone.Ask(name, type));
                Assert.Equal((turn, name, left.Rcode), (turn, name, right.Rcode));
                Assert.Equal(left.Answers.Select(r => r.ToString()), right.Answers.Select(r => r.ToString()));
                Assert.Equal(left.Additionals.Select(r => r.ToString()), right.Additionals.Select(r => r.ToString()));
            }
        }
    }

    private static IEnumerable<string> Addresses(DnsMessage message) => message.Answers.Select(r => $"{Assert.IsType<DnsAddress>(r.Data).Address}");

    private static DnsService WebIn(string site, bool ready) => new("web", "shop", IPAddress.Parse(site == "paris" ? "127.64.2.1" : "127.64.2.2"),
        [new("http", 80, true), new("https", 443, true) { Alpn = ["h2", "http/1.1"] }], ready)
    {
        Site = site,
        Why = "gone",
    };

    /// <summary>All names of db, of which these hosts can be reached.</summary>
    private static IEnumerable<DnsService> Headless(DnsHost[] ready, string space = "shop")
    {
        foreach (var host in ready.Length > _hosts.Length ? ready : _hosts)
        {
            yield return new DnsService("db", space, host.Address, [], ready.Contains(host)) { Site = host.Site, Host = host.Host, Why = "gone" };
        }

        foreach (var site in new[] { null, "paris", "virginia" })
        {
            DnsHost[] hosts = [.. ready.Where(h => site is null || h.Site == site)];
            yield return new DnsService("db", space, null, _ports, hosts.Length > 0) { Site = site, Hosts = [.. hosts], Why = "gone" };
        }
    }
}
