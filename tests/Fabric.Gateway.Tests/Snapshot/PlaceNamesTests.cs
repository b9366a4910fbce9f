using System.Collections.Immutable;
using System.Net;
using Fabric.Gateway.Catalog;
using Fabric.Gateway.Dns;
using Fabric.Gateway.Egress;
using Fabric.Gateway.Snapshot;
using Fabric.Gateway.Tests.Dns;
using Fabric.Protocol.Dns;
using Fabric.Protocol.Proto;
using Fabric.Routing.Sites;
using Fabric.Testing;
using Fabric.Topology.Model;
using Microsoft.Extensions.Logging.Abstractions;

namespace Fabric.Gateway.Tests.Snapshot;

/// <summary>From what sites say of their hosts to choices and names: those that can be reached, the nearest first.</summary>
public class PlaceNamesTests
{
    private const string Text = """
        fabric: 1
        trustDomain: acme.example
        sites:
          - { name: paris, serviceAddresses: 127.65.0.0/16, gateways: [ { name: paris-1 } ] }
          - { name: virginia, gateways: [ { name: virginia-1 } ] }
          - { name: tokyo, gateways: [ { name: tokyo-1 } ] }
        services:
          - name: db
            namespace: shop
            headless: true
            ports: [ { name: pg, port: 5432 } ]
            exports:
              - { site: tokyo, endpoints: [ { host: db-0, address: "10.0.0.1:5432" } ] }
              - { site: virginia, endpoints: [ { host: db-0, address: "10.0.0.1:5432" }, { host: db-1, address: "10.0.0.2:5432" } ] }
              - { site: paris, endpoints: [ { host: db-0, address: "10.0.0.1:5432" } ] }
          - name: web
            namespace: shop
            siteNames: true
            ports: [ { port: 80 } ]
            exports: [ { site: virginia, endpoints: [ "10.0.0.3:80" ] }, { site: tokyo, endpoints: [ "10.0.0.3:80" ] } ]

        """;

    private readonly FabricSnapshot _now = Samples.Snapshot(Text, "paris-1");
    private readonly ZoneFollower _follower = new(new ManualTime());
    private readonly SaidCatalogs _said = new();
    private readonly Dictionary<string, double> _score = new() { ["virginia-1"] = 80, ["tokyo-1"] = 200 };
    private readonly HashSet<string> _unreachable = [];
    private bool _local = true;

    public PlaceNamesTests()
    {
        Say("virginia-1", "db-0", "db-1");
        Say("tokyo-1", "db-0");
    }

    [Fact]
    public void Hosts_are_answered_that_their_site_calls_healthy_the_own_site_first_then_the_nearest()
    {
        Assert.Equal("db-0.paris db-0.virginia db-1.virginia db-0.tokyo", Hosts());
        Assert.Equal([0, 1, 1, 2], Follow().Ask("_pg._tcp.db.shop.svc.clusterset.local", DnsType.Srv).Answers.Select(r => (int)((DnsSrv)r.Data).Priority));
        _local = false;
        Assert.Equal("db-0.virginia db-1.virginia db-0.tokyo", Hosts());
        Say("virginia-1", "db-1");
        Assert.Equal("db-1.virginia db-0.tokyo", Hosts());
        Assert.Equal("host db-0 of db.shop: virginia has no healthy endpoint", Why("db-0.virginia.db.shop"));
        _unreachable.Add("virginia-1");
        Assert.Equal("db-0.tokyo", Hosts());
        Assert.Equal("host db-1 of db.shop: virginia is out of reach or draining", Why("db-1.virginia.db.shop"));
        Assert.Equal("no host of db.shop can be reached in virginia: virginia has no healthy endpoint, virginia is out of reach or draining",
            Why("db.shop.virginia.site"));
        Say("tokyo-1");
        Assert.Equal("", Hosts());
        Assert.StartsWith("no host of db.shop can be reached: tokyo has no healthy endpoint, ", Why("db.shop"), StringComparison.Ordinal);
        Assert.Equal(DnsRcode.NxDomain, Follow().Ask("db.shop.svc.clusterset.local", DnsType.A).Rcode);
    }

    [Fact]
    public void The_order_follows_the_ways_and_stays_while_they_tremble()
    {
        _local = false;
        Assert.Equal("db-0.virginia db-1.virginia db-0.tokyo", Hosts());
        var zone = Follow();
        _score["tokyo-1"] = 79;
        Assert.Same(zone, Follow());
        _score["tokyo-1"] = 60;
        Assert.Equal("db-0.tokyo db-0.virginia db-1.virginia", Hosts());
        _score["tokyo-1"] = 79;
        Assert.Equal("db-0.tokyo db-0.virginia db-1.virginia", Hosts());
    }

    [Fact]
    public void What_the_topology_does_not_name_is_nowhere_and_who_says_nothing_has_no_hosts()
    {
        Say("virginia-1", "db-0", "db-9");
        Assert.Equal("db-0.paris db-0.virginia db-0.tokyo", Hosts());
        Assert.Equal(DnsRcode.NxDomain, Follow().Ask("db-9.virginia.db.shop.svc.clusterset.local", DnsType.A).Rcode);

        // A gateway of an older version.
        _said.Catalogs["virginia-1"].Services["db.shop"].Hosts.Clear();
        Assert.Equal("db-0.paris db-0.tokyo", Hosts());
        Assert.Equal("host db-0 of db.shop: virginia is not known to have an endpoint", Why("db-0.virginia.db.shop"));
    }

    [Fact]
    public void A_host_that_the_topology_does_not_give_the_site_is_a_claim()
    {
        var time = new ManualTime();
        var claims = new PeerClaims(_ => true, time, NullLogger.Instance);
        var review = new CatalogReview(() => _now.Topology, _said, claims, time);
        review.Look("virginia-1");
        Assert.Empty(claims.Counts);
        Say("tokyo-1", "db-0");
        review.Look("tokyo-1");
        Assert.Equal(("tokyo-1", "the topology does not let site tokyo export db.shop"), claims.Counts.Single() is var c ? (c.Peer, c.Last) : default);
        Say("virginia-1", "db-0", "db-9");
        review.Look("virginia-1");
        Assert.Equal(2, claims.Counts.Count);
        Assert.Equal(2, review.Problems.Count());
    }

    [Fact]
    public void A_site_s_name_stands_for_that_site_alone()
    {
        var choices = Choices();
        Assert.Equal(["virginia-1", "tokyo-1"], Gateways(choices[("web.shop", 80)]));
        Assert.Equal(["tokyo-1"], Gateways(choices[("web.shop/tokyo", 80)]));
        Assert.Equal(["virginia-1"], Gateways(choices[("db.shop/virginia/db-1", 5432)]));
        Assert.Equal([_now.Addresses["web.shop/tokyo"]], Addresses("web.shop.tokyo.site"));
        _unreachable.Add("tokyo-1");
        Assert.Empty(Gateways(Choices()[("web.shop/tokyo", 80)]));
        Assert.Equal("only tokyo is asked for: tokyo is out of reach or draining", Why("web.shop.tokyo.site"));
        Assert.NotEmpty(Addresses("web.shop"));
        Assert.NotEmpty(Addresses("web.shop.virginia.site"));
    }

    [Fact]
    public void The_explanation_names_what_is_asked_for_and_all_hosts()
    {
        Say("virginia-1", "db-1");
        var (reply, _) = Explain("db.shop");
        Assert.Equal(("db.shop", "", ""), (reply.Service, reply.OnlySite, reply.OnlyHost));
        Assert.Equal(["db-0.paris in", "db-1.virginia in", "db-0.tokyo in", "db-0.virginia out"], reply.Hosts.Select(h => $"{h.Host}.{h.Site} {(h.Answered ? "in" : "out")}"));
        Assert.Contains("none of 1 endpoint behind virginia-1 is healthy", reply.Hosts[^1].Why, StringComparison.Ordinal);
        (reply, _) = Explain("_pg._tcp.db.shop.virginia.site");
        Assert.Equal(("virginia", "", 2), (reply.OnlySite, reply.OnlyHost, reply.Hosts.Count));
        (reply, var sites) = Explain("db-0.virginia.db.shop");
        Assert.Equal(("virginia", "db-0", "virginia out"), (reply.OnlySite, reply.OnlyHost, sites));
        (reply, sites) = Explain("web.shop.tokyo.site");
        Assert.Equal(("web.shop", "tokyo", "tokyo first"), (reply.Service, reply.OnlySite, sites));
        (_, sites) = Explain("web.shop");
        Assert.Equal("virginia first, tokyo in", sites);
        Assert.Equal("", Explain("tokyo.site").Reply.Service);
    }

    private (ResolveNameReply Reply, string Sites) Explain(string name)
    {
        var reply = new ResolveNameReply();
        var choices = Choices();
        _follower.Follow(_now, choices);
        NameExplanation.Tell(_now with { Choices = choices, HostOrder = _follower.HostOrder }, DnsName.Parse(name + ".svc.clusterset.local"), reply);
        return (reply, string.Join(", ", reply.Sites.Select(s => $"{s.Site} {(s.Chosen ? "first" : s.Usable ? "in" : "out")}")));
    }

    private static IEnumerable<string?> Gateways(SiteChoice choice) => choice.Routes(_ => 0, new Random(1)).Select(r => r.Gateway);

    private DnsZone Follow() => _follower.Follow(_now, Choices());

    private IEnumerable<IPAddress> Addresses(string name) =>
        Follow().Ask(name + ".svc.clusterset.local", DnsType.A).Answers.Select(r => ((DnsAddress)r.Data).Address);

    /// <summary>What the service's name answers, as hosts.</summary>
    private string Hosts() => string.Join(' ', Addresses("db.shop").Select(a => _now.Addresses.Single(x => x.Value.Equals(a)).Key.Split('/') is [_, var site, var host]
        ? $"{host}.{site}" : "?"));

    private string Why(string name)
    {
        var answer = Follow().Ask(DnsFixtures.Query(name + ".svc.clusterset.local", DnsType.A) with { Additionals = [DnsFixtures.Opt] });
        Assert.Empty(answer.Answers);
        return System.Text.Encoding.ASCII.GetString(Assert.IsType<DnsOpt>(answer.Opt!.Data).Options.Single().Data.AsSpan()[2..]);
    }

    private void Say(string gateway, params string[] healthy)
    {
        var db = new ExportedService { Service = "db.shop", Ports = { new ExportedPort { Port = 5432, Endpoints = 2, Healthy = (uint)Math.Min(2, healthy.Length) } } };
        db.Hosts.Add(healthy.Concat(["db-0", "db-1"]).Distinct().Select(h => new ExportedHost
        {
            Host = h,
            Ports = { 5432 },
            Healthy = { healthy.Contains(h) ? [5432u] : Array.Empty<uint>() },
        }));
        var web = new ExportedService { Service = "web.shop", Ports = { new ExportedPort { Port = 80, Endpoints = 1, Healthy = 1 } } };
        _said.Catalogs[gateway] = PeerCatalog.Apply(null, new CatalogUpdate { Sequence = 1, Full = true, TopologyRevision = _now.Topology.Revision, Services = { db, web } }, 0);
    }

    /// <summary>As the state loop makes them.</summary>
    private ImmutableDictionary<(string Service, int Port), SiteChoice> Choices()
    {
        var choices = ImmutableDictionary.CreateBuilder<(string, int), SiteChoice>();
        foreach (var service in _now.Topology.Services)
        {
            var port = service.Ports[0].Port;
            ImmutableArray<EndpointState> local =
                [.. service.Exports.Where(e => e.Site == "paris").SelectMany(e => e.Endpoints).Select(e => new EndpointState(e, _local, ""))];
            var question = new SiteQuestion(service.FullName, port, "paris")
            {
                Exports = [.. service.Exports.Select(e => e.Site)],
                Local = local.IsEmpty ? null : new PortHealth(1, _local ? 1 : 0),
                Gateways =
                [
                    .. _said.Catalogs.Select(c => new GatewayView(c.Key, c.Key.Split('-')[0])
                    {
                        Reachable = !_unreachable.Contains(c.Key),
                        PathScore = _score[c.Key],
                        CatalogAge = TimeSpan.Zero,
                        Health = c.Value.Services[service.FullName].Ports[0] is var p ? new PortHealth((int)p.Endpoints, (int)p.Healthy) : null,
                    }),
                ],
            };
            choices[(service.FullName, port)] = SiteChoice.Rank(question);
            PlaceRanking.Add(choices, service, question, local, _said, null);
        }

        return choices.ToImmutable();
    }

    private sealed class SaidCatalogs : ICatalogs
    {
        public SortedDictionary<string, PeerCatalog> Catalogs { get; } = new(StringComparer.Ordinal);

        public PeerCatalog? Of(string peer) => Catalogs.GetValueOrDefault(peer);

        public void Reconcile(IReadOnlySet<string> peers)
        {
        }
    }
}
