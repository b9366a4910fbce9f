using System.Collections.Immutable;
using System.Net;
using Fabric.Topology.Model;

namespace Fabric.Topology.Tests;

/// <summary>Names of single sites and hosts, and the addresses that they take.</summary>
public class PlaceTests
{
    private const string Base = """
        fabric: 1
        trustDomain: acme.example
        sites:
          - { name: paris, gateways: [ { name: paris-1 } ] }
          - { name: virginia, gateways: [ { name: virginia-1 } ] }
        services:
          - name: db
            namespace: shop
            headless: true
            ports: [ { name: pg, port: 5432 }, { name: admin, port: 80 } ]
            exports:
              - site: virginia
                endpoints:
                  - { host: db-0, address: "10.0.0.1:5432", port: 5432 }
                  - { host: db-0, address: "10.0.0.1:8080", port: 80 }
                  - { address: "10.0.0.2:5432", port: 5432 }
              - { site: paris, endpoints: [ { host: db-0, address: "[2001:db8::1]:5432", port: 5432 }, { address: "[2001:db8::2]:5432", port: 5432 } ] }
          - name: web
            namespace: shop
            siteNames: true
            ports: [ { port: 80 } ]
            exports: [ { site: virginia, endpoints: [ "10.0.0.9:80" ] }, { site: paris, endpoints: [ "10.1.0.9:80" ] } ]

        """;

    [Fact]
    public void Hosts_and_sites_have_names_ports_and_addresses_of_their_own()
    {
        FabricTopology topology = Accept(Base);
        ServicePlace[] places = [.. topology.Services.SelectMany(ServicePlace.Of)];
        Assert.Equal(
            [
                "db.shop/virginia/db-0 = db-0.virginia.db.shop: 5432 80",
                "db.shop/virginia/10-0-0-2 = 10-0-0-2.virginia.db.shop: 5432",
                "db.shop/paris/db-0 = db-0.paris.db.shop: 5432",
                "db.shop/paris/2001-0db8-0000-0000-0000-0000-0000-0002 = 2001-0db8-0000-0000-0000-0000-0000-0002.paris.db.shop: 5432",
                "web.shop = web.shop: 80",
                "web.shop/virginia = web.shop.virginia.site: 80",
                "web.shop/paris = web.shop.paris.site: 80",
            ],
            places.Select(p => $"{p.Key} = {p.Name}: {string.Join(' ', p.Ports.Select(x => x.Port))}"));

        var addresses = Assign(topology, ImmutableDictionary<string, IPAddress>.Empty);
        Assert.Equal(places.Select(p => p.Key).Order(), addresses.Keys.Order());
        Assert.Equal(addresses.Count, addresses.Values.Distinct().Count());
    }

    [Fact]
    public void Names_of_sites_move_no_address_of_a_service()
    {
        FabricTopology without = Accept(Base.Replace("    siteNames: true\n", ""));
        Assert.Equal(["web.shop"], ServicePlace.Of(without.Services[1]).Select(p => p.Key));
        var before = Assign(without, ImmutableDictionary<string, IPAddress>.Empty);
        var after = Assign(Accept(Base), before);
        Assert.All(before, a => Assert.Equal(a.Value, after[a.Key]));
        Assert.Equal(before["web.shop"], Assign(Accept(Base), ImmutableDictionary<string, IPAddress>.Empty)["web.shop"]);
    }

    [Fact]
    public void Strings_are_endpoints_of_headless_services_too()
    {
        FabricTopology topology = Accept(Base.Replace("    siteNames: true\n", "    headless: true\n"));
        Assert.Equal("10-0-0-9", topology.Services[1].Exports[0].Endpoints[0].Host);
        Assert.Null(Accept(Base).Services[1].Exports[0].Endpoints[0].Host);
    }

    [Theory]
    [InlineData("{ address: \"10.0.0.2:5432\", port: 5432 }", "{ host: db-0, address: \"10.0.0.2:5432\", port: 5432 }", DiagnosticCodes.DuplicateName,
        "the host 'db-0 for port 5432' is there twice in this export; the first is at 00000.yaml:")]
    [InlineData("{ address: \"10.0.0.2:5432\", port: 5432 }", "{ address: \"10.0.0.2:1\", port: 80 }\n          - { address: \"10.0.0.2:2\", port: 80 }",
        DiagnosticCodes.DuplicateName, "the host '10-0-0-2 for port 80' is there twice")]
    [InlineData("host: db-0, address: \"[", "host: Db_0, address: \"[", DiagnosticCodes.BadName, "'Db_0'")]
    [InlineData("    headless: true\n", "", DiagnosticCodes.DoesNotApply, "host does not apply to service 'db.shop'")]
    [InlineData("    headless: true\n", "    headless: true\n    address: 127.86.0.9\n", DiagnosticCodes.DoesNotApply, "address does not apply to service 'db.shop'")]
    [InlineData("    headless: true\n", "    headless: true\n    siteNames: true\n", DiagnosticCodes.DoesNotApply, "siteNames does not apply")]
    [InlineData("    siteNames: true\n", "    siteNames: perhaps\n", DiagnosticCodes.BadChoice, "'perhaps' is not one of true, false")]
    [InlineData("  - name: web\n    namespace: shop", "  - name: paris\n    namespace: site", DiagnosticCodes.DuplicateName,
        "'paris.site' is that of a service and stands above the names of the site 'paris'")]
    [InlineData("name: paris,", "name: paris, serviceAddresses: 10.201.0.0/29,", DiagnosticCodes.RangeExhausted,
        "holds 6 service addresses; services with names of sites and hosts need 7")]
    public void What_does_not_fit_is_refused_where_it_stands(string from, string to, string code, string message)
    {
        Assert.Contains(from, Base, StringComparison.Ordinal);
        IEnumerable<Diagnostic> errors = Samples.Load(Base.Replace(from, to)).Diagnostics.Where(d => d.Severity == Severity.Error);
        Diagnostic refused = errors.First();
        Assert.All(errors, e => Assert.Equal(code, e.Code));
        Assert.Contains(message, refused.Message, StringComparison.Ordinal);
        Assert.True(refused.Line > 1, refused.ToString());
    }

    [Fact]
    public void Hosts_of_a_service_and_the_length_of_its_names_are_bounded()
    {
        string Endpoints(int count) => string.Join(", ", Enumerable.Range(0, count).Select(i => $"\"10.0.{i / 200}.{i % 200 + 1}:80\""));
        string Many(int count) => Base.Replace("    siteNames: true\n", "    headless: true\n").Replace("\"10.0.0.9:80\"", Endpoints(count));
        Accept(Many(ServicePlace.MaxHosts - 1));
        Assert.Contains("has 201 hosts; it may have at most 200", Error(Many(ServicePlace.MaxHosts)).Message, StringComparison.Ordinal);

        // web.shop.virginia.site with _PORT._tcp. before it.
        string domain = string.Join('.', Enumerable.Repeat(new string('d', 50), 3)) + '.' + new string('d', 42);
        string Named(int port) => Base.Replace("ports: [ { port: 80 } ]", $"ports: [ {{ name: {new string('p', port)}, port: 80 }} ]") + $"domain: {domain}\n";
        Accept(Named(10));
        Assert.Equal(DiagnosticCodes.BadDomain, Error(Named(30)).Code);
    }

    [Fact]
    public void Differences_say_what_names_there_are()
    {
        string changes = string.Join('\n', TopologyDiff.Between(Accept(Base.Replace("    siteNames: true\n", "")), Accept(Base)));
        Assert.Contains("~ service web.shop: names: of the service → of the service and of sites", changes, StringComparison.Ordinal);
        changes = string.Join('\n', TopologyDiff.Between(Accept(Base), Accept(Base.Replace("host: db-0, address: \"[", "host: db-9, address: \"["))));
        Assert.Contains("db-9 [2001:db8::1]:5432 for 5432", changes, StringComparison.Ordinal);
    }

    private static Diagnostic Error(string text) => Assert.Single(Samples.Load(text).Diagnostics, d => d.Severity == Severity.Error);

    private static ImmutableDictionary<string, IPAddress> Assign(FabricTopology topology, IReadOnlyDictionary<string, IPAddress> kept)
    {
        var addresses = ServiceAddresses.Assign(topology, topology.Sites[0].Gateways[0], kept, out ImmutableArray<string> errors);
        Assert.Empty(errors);
        return addresses;
    }

    private static FabricTopology Accept(string text)
    {
        TopologyResult result = Samples.Load(text);
        Assert.True(result.Topology is not null, string.Join('\n', result.Diagnostics));
        return result.Topology!;
    }
}
