using System.Diagnostics;
using System.Net;
using System.Text;
using Fabric.Topology.Model;

namespace Fabric.Topology.Tests;

public class LoaderTests
{
    [Fact]
    public void Three_sites_are_accepted_as_written()
    {
        FabricTopology topology = Golden.Load(Path.Combine(Golden.Topologies, "three-sites.yaml")).Topology!;

        Assert.Equal("acme.example", topology.TrustDomain);
        Assert.Equal(["paris", "virginia", "factory"], topology.Sites.Select(s => s.Name));
        Assert.Equal(IPNetwork.Parse("10.201.0.0/16"), topology.Sites[0].ServiceAddresses);
        Assert.Equal(IPEndPoint.Parse("10.201.255.53:53"), topology.Sites[0].Gateways[0].Dns);
        Link dx = topology.Links[0];
        Assert.Equal((LinkKind.Interconnect, 0, 10_000_000_000L, 1500), (dx.Kind, dx.Cost, dx.Capacity!.Value, dx.Mtu));
        Assert.Equal(
            [("factory-1", "paris-1"), ("factory-1", "virginia-1"), ("paris-1", "virginia-1")],
            topology.Links.Skip(1).Select(l => (l.A.Gateway, l.B.Gateway)));
        Assert.Null(topology.Links[1].A.Address);
        Assert.Equal(51820, topology.Links[1].B.WireGuardPort);
        Service web = topology.Services[0];
        Assert.Equal(
            ("web.shop", ServiceProtocol.Http, HealthCheckKind.Http), (web.FullName, web.Ports[0].Protocol, web.Health.Kind));
        Assert.Equal(["virginia", "factory"], web.Exports.Select(e => e.Site));
        Assert.Equal(new ServiceEndpoint(IPAddress.Loopback, 8080, 80), web.Exports[0].Endpoints[0]);
        Assert.Equal(["site/paris/workload/shop"], topology.Policies[0].From.AsEnumerable());
    }

    [Fact]
    public void A_loopback_gateway_has_no_dashboard()
    {
        FabricTopology topology = Golden.Load(Path.Combine(Golden.Topologies, "loopback.yaml")).Topology!;

        Assert.All(topology.Sites.SelectMany(s => s.Gateways), g => Assert.Null(g.Dashboard));
        Assert.Equal([7443, 7444, 7445], topology.Sites.SelectMany(s => s.Gateways).Select(g => g.Port));
    }

    [Fact]
    public void Documented_defaults_are_those_of_the_model()
    {
        string spelled = Samples.TwoSites
            .Replace("sites:\n",
                "domain: svc.clusterset.local\nprobes: { active: 50ms, idle: 1s, misses: 3, holdDown: 2s }\nsites:\n")
            .Replace("{ name: paris-1 }", "{ name: paris-1, listen: [ \"::\" ], port: 7443, dns: \"127.0.0.1:53\", "
                + "metrics: \"127.0.0.1:9440\", dashboard: \"127.0.0.1:8700\" }")
            .Replace("type: interconnect\n", "type: interconnect\n    cost: 0\n    mtu: 1500\n")
            .Replace("{ port: 80 }", "{ port: 80, protocol: tcp }")
            .Replace("    exports:",
                "    health: { type: tcp, interval: 1s, timeout: 500ms, failures: 2, successes: 1 }\n    exports:");

        Assert.NotEqual(Samples.TwoSites, spelled);
        Assert.Empty(TopologyDiff.Between(Samples.Accept(Samples.TwoSites), Samples.Accept(spelled)));
    }

    [Fact]
    public void Derived_defaults_follow_what_they_depend_on()
    {
        FabricTopology topology = Samples.Accept(Samples.TwoSites.Replace("sites:\n", "probes: { active: 3s }\nsites:\n")
            .Replace("    exports:", "    health: { interval: 200ms }\n    exports:"));

        Assert.Equal(TimeSpan.FromSeconds(3), topology.Probes.Idle);
        Assert.Equal(TimeSpan.FromMilliseconds(200), topology.Services[0].Health.Timeout);
        Assert.Equal(ServiceAddresses.DefaultRange("paris"), topology.Sites[0].ServiceAddresses);
    }

    [Fact]
    public void Files_are_merged_in_order_of_their_names()
    {
        string[] parts = Samples.TwoSites.Split("links:\n");
        TopologyFile second = new("b.yaml", "fabric: 1\nlinks:\n" + parts[1]);
        TopologyFile first = new("a.yaml", parts[0]);

        TopologyResult result = TopologyLoader.Load([second, first]);

        Assert.Empty(result.Diagnostics);
        Assert.Equal(TopologyLoader.Load([first, second]).Topology!.Revision, result.Topology!.Revision);
        Assert.Empty(TopologyDiff.Between(Samples.Accept(Samples.TwoSites), result.Topology));
    }

    [Fact]
    public void The_revision_is_that_of_the_text_whatever_its_line_ends_and_folder()
    {
        string revision = TopologyLoader.Load([new TopologyFile("/etc/fabric/a.yaml", Samples.TwoSites)]).Topology!.Revision;

        Assert.Matches("^[0-9a-f]{12}$", revision);
        Assert.Equal(revision, Samples.Accept("\ufeff" + Samples.TwoSites.ReplaceLineEndings("\r\n")).Revision);
        Assert.NotEqual(revision, Samples.Accept(Samples.TwoSites + "# changed\n").Revision);
    }

    [Fact]
    public void Ends_are_ordered_by_gateway_name()
    {
        Link link = Samples.Accept(Samples.TwoSites).Links.Single();

        Assert.Equal(("paris-1", "virginia-1"), (link.A.Gateway, link.B.Gateway));
        Assert.Equal(IPAddress.Parse("192.0.2.1"), link.EndOf("paris-1").Address);
        Assert.Equal("virginia-1", link.PeerOf("paris-1").Gateway);
    }

    [Fact]
    public void Anchors_and_aliases_may_be_used()
    {
        FabricTopology topology = Samples.Accept(Samples.TwoSites
            .Replace("endpoints: [ \"127.0.0.1:8080\" ]", "endpoints: &here [ \"127.0.0.1:8080\" ]")
            .Replace("policies:", """
                  - name: api
                    namespace: shop
                    ports: [ { port: 81 } ]
                    exports: [ { site: virginia, endpoints: *here } ]
                policies:
                """));

        Assert.Equal(8080, topology.Services[1].Exports[0].Endpoints[0].Port);
    }

    [Theory]
    [InlineData("name: yes")]
    [InlineData("name: \"off\"")]
    [InlineData("name: 1e3")]
    public void Values_are_text(string name)
    {
        string expected = name["name: ".Length..].Trim('"');
        Assert.Equal(expected, Samples.Accept(Samples.TwoSites.Replace("name: web", name)).Services[0].Name);
    }

    [Fact]
    public void A_pinned_key_is_kept()
    {
        string key = Convert.ToBase64String(Enumerable.Range(0, 32).Select(i => (byte)i).ToArray());
        FabricTopology topology = Samples.Accept(
            Samples.TwoSites.Replace("name: paris-1 }", $"name: paris-1, wireguardKey: {key} }}"));

        Assert.Equal(Enumerable.Range(0, 32).Select(i => (byte)i), topology.Sites[0].Gateways[0].WireGuardKey!.Value.ToArray());
    }

    [Fact]
    public void A_site_relays_unless_it_says_that_it_does_not()
    {
        Assert.All(Samples.Accept(Samples.TwoSites).Sites, s => Assert.True(s.Relay));
        string Saying(string word) => Samples.TwoSites.Replace("name: paris\n", $"name: paris\n    relay: {word}\n");
        Assert.Equal([false, true], Samples.Accept(Saying("false")).Sites.Select(s => s.Relay));
        Diagnostic refused = Samples.Refuse(Saying("no"));
        Assert.Equal((DiagnosticCodes.BadChoice, true), (refused.Code, refused.ToString().Contains("'no' is not one of true, false")));
    }

    [Fact]
    public void No_file_is_an_error() => Assert.Equal(DiagnosticCodes.MissingKey, Samples.Refuse().Code);

    [Fact]
    public void A_file_over_4_MiB_is_not_read()
    {
        Diagnostic diagnostic = Samples.Refuse(new string('#', 4 * 1024 * 1024 + 1));

        Assert.Equal(DiagnosticCodes.LimitExceeded, diagnostic.Code);
        Assert.Contains("4194305 bytes", diagnostic.Message);
    }

    [Fact]
    public void Too_many_files_are_not_read() => Assert.Equal(DiagnosticCodes.LimitExceeded,
        Samples.Refuse([.. Enumerable.Repeat("fabric: 1\n", TopologyLoader.MaxFiles + 1)]).Code);

    [Fact]
    public void More_than_10000_objects_are_one_error()
    {
        var text = new StringBuilder(Samples.TwoSites);
        for (int i = 0; i < 5_000; i++)
        {
            text.Append($"  - {{ name: p{i}, action: allow, from: [ site/paris ], to: [ web.shop ] }}\n");
        }

        Diagnostic diagnostic = Samples.Refuse(text.ToString());
        Assert.Equal(
            (DiagnosticCodes.LimitExceeded, "the topology has more than 10000 objects"), (diagnostic.Code, diagnostic.Message));
    }

    [Fact]
    public void Links_of_many_ends_are_bounded_by_their_pairs()
    {
        var text = new StringBuilder("fabric: 1\ntrustDomain: acme.example\nsites:\n  - name: paris\n    gateways:\n");
        Enumerable.Range(0, 100).ToList().ForEach(i => text.Append($"      - name: g{i}\n"));
        text.Append("links:\n");
        for (int link = 0; link < 3; link++)
        {
            text.Append($"  - name: l{link}\n    type: vpn\n    ends:\n");
            Enumerable.Range(0, 100).ToList().ForEach(i => text.Append(
                $"      - {{ gateway: g{i}, address: 192.0.2.{i + 1}, wireguardPort: {51820 + link} }}\n"));
        }

        Assert.Contains("10000 pairs", Samples.Refuse(text.ToString()).Message);
    }

    [Fact]
    public void More_than_200_findings_are_cut_with_one_that_says_so()
    {
        TopologyResult result = Samples.Load(
            Samples.TwoSites + string.Concat(Enumerable.Range(0, 500).Select(i => $"key{i}: x\n")));

        Assert.Null(result.Topology);
        Assert.Equal(201, result.Diagnostics.Length);
        Assert.Single(result.Diagnostics, d => d.Code == DiagnosticCodes.LimitExceeded);
    }

    [Fact]
    public void Warnings_refuse_nothing_however_many()
    {
        TopologyResult result = Samples.Load("fabric: 1\ntrustDomain: acme.example\nsites:\n"
            + string.Concat(Enumerable.Range(0, 300).Select(i => $"  - {{ name: s{i}, gateways: [ {{ name: g{i} }} ] }}\n")));

        Assert.Equal(300, result.Topology!.Sites.Length);
        Assert.Equal(201, result.Diagnostics.Length);
        Assert.All(result.Diagnostics, d => Assert.Equal(Severity.Warning, d.Severity));
    }

    [Theory]
    [InlineData("[\n      { port: 80 }\n    ]")]
    [InlineData("[\n      { port: 80 },\n    ]")]
    [InlineData("[ {\n      port: 80,\n      protocol: tcp\n    } ]")]
    [InlineData("[ { \"port\": \"80\" } ]")]
    [InlineData("[ {port: 80}, ]")]
    [InlineData("\n      - port: 80")]
    [InlineData("\n    - port: 80")]
    [InlineData("\n    -\n      port: !!int 80 # comment\n")]
    public void Every_usual_way_to_write_a_list_is_read(string ports)
    {
        FabricTopology topology = Samples.Accept(Samples.TwoSites.Replace("[ { port: 80 } ]", ports));

        Assert.Equal(new ServicePort(null, 80, ServiceProtocol.Tcp), topology.Services[0].Ports.Single());
    }

    [Fact]
    public void A_large_topology_loads_in_time()
    {
        var text = new StringBuilder(Samples.TwoSites.Split("services:")[0] + "services:\n");
        for (int i = 0; i < 2_000; i++)
        {
            text.Append($"  - name: s{i}\n    namespace: shop\n    ports: [ {{ port: 80 }} ]\n"
                + "    exports: [ { site: paris, endpoints: [ \"127.0.0.1:8080\" ] } ]\n");
        }

        long start = Stopwatch.GetTimestamp();
        FabricTopology topology = Samples.Accept(text + "policies:" + Samples.TwoSites.Split("policies:")[1]);

        Assert.Equal(2_000, topology.Services.Length);
        Assert.True(Stopwatch.GetElapsedTime(start) < TimeSpan.FromSeconds(20));
    }

    [Theory]
    [InlineData("protocol: udp", "", HealthCheckKind.None, HealthCheckKind.None)]
    [InlineData("protocol: udp", "health: { port: 81 }", HealthCheckKind.None, null)]
    [InlineData("protocol: udp", "health: { type: tcp, port: 81 }", HealthCheckKind.Tcp, HealthCheckKind.Tcp)]
    [InlineData("protocol: tcp+udp", "", HealthCheckKind.Tcp, HealthCheckKind.Tcp)]
    public void A_udp_port_is_checked_only_where_the_topology_says_how(
        string protocol, string health, HealthCheckKind declared, HealthCheckKind? ofThePort)
    {
        string text = Samples.TwoSites.Replace("port: 80", $"port: 80, {protocol}").Replace("    exports:", $"    {health}\n    exports:");
        if (ofThePort is null)
        {
            Assert.Equal(DiagnosticCodes.DoesNotApply, Samples.Refuse(text).Code);
            return;
        }

        Service service = Samples.Accept(text).Services[0];
        Assert.Equal((declared, ofThePort, TimeSpan.FromSeconds(60)), (service.Health.Kind, service.HealthOf(80).Kind, service.FlowIdle));
    }

    [Fact]
    public void A_udp_only_port_beside_a_checked_one_is_not_checked()
    {
        Service service = Samples.Accept(Samples.TwoSites
            .Replace("{ port: 80 }", "{ name: a, port: 80 }, { name: b, port: 81, protocol: udp }")
            .Replace("\"127.0.0.1:8080\"", "{ address: \"127.0.0.1:8080\", port: 80 }")).Services[0];
        Assert.Equal((HealthCheckKind.Tcp, HealthCheckKind.None), (service.HealthOf(80).Kind, service.HealthOf(81).Kind));
    }

    [Fact]
    public void The_same_number_for_tcp_and_udp_is_refused_with_the_way_to_say_it()
    {
        Diagnostic diagnostic = Samples.Refuse(Samples.TwoSites
            .Replace("{ port: 80 }", "{ name: a, port: 80 }, { name: b, port: 80, protocol: udp }")
            .Replace("\"127.0.0.1:8080\"", "{ address: \"127.0.0.1:8080\", port: 80 }"));
        Assert.Equal((DiagnosticCodes.DuplicateName, true), (diagnostic.Code, diagnostic.Hint!.Contains("tcp+udp")));
    }

    [Theory]
    [InlineData("", PolicyMode.Enforce)]
    [InlineData("mode: enforce, ", PolicyMode.Enforce)]
    public void A_policy_is_in_force_unless_it_says_otherwise(string mode, PolicyMode expected) =>
        Assert.Equal(expected, Samples.Accept(Samples.TwoSites.Replace("name: all, ", $"name: all, {mode}")).Policies.Single().Mode);

    [Fact]
    public void A_shadow_policy_allows_nobody_and_a_change_of_mode_is_a_change()
    {
        TopologyResult shadow = Samples.Load(Samples.TwoSites.Replace("name: all, ", "name: all, mode: shadow, "));
        Assert.Equal((PolicyMode.Shadow, DiagnosticCodes.NobodyMayCall),
            (shadow.Topology!.Policies.Single().Mode, Assert.Single(shadow.Diagnostics).Code));
        Assert.Equal("~ policy all: mode: enforce → shadow",
            Assert.Single(TopologyDiff.Between(Samples.Accept(Samples.TwoSites), shadow.Topology)).ToString());
        Assert.Equal("mode: 'shadwo' is not one of enforce, shadow (hint: did you mean 'shadow'?)",
            Samples.Refuse(Samples.TwoSites.Replace("name: all, ", "name: all, mode: shadwo, ")).ToString().Split("FAB0119: ")[1]);
    }

    [Theory]
    [InlineData(499, true)]
    [InlineData(500, false)]
    public void What_policies_combine_is_bounded(int last, bool accepted)
    {
        int[] ports = [.. Enumerable.Range(1, 100)];
        string text = Samples.TwoSites.Replace("{ port: 80 }", string.Join(", ", ports.Select(p => $"{{ name: n{p}, port: {p} }}")))
            .Replace("\"127.0.0.1:8080\"", "{ address: \"127.0.0.1:8080\", port: 80 }")
            + string.Concat(new[] { 1_000, 1_000, last }.Select((froms, i) => $"  - {{ name: p{i}, action: allow, to: [ web.shop ], "
                + $"ports: [ {string.Join(", ", ports)} ], from: [ {string.Join(", ", Enumerable.Range(0, froms).Select(n => $"site/paris/other/w{n}"))} ] }}\n"));

        TopologyResult result = Samples.Load(text);

        Assert.Equal(accepted, result.Topology is not null);
        Assert.Equal(accepted ? [] : ["the policies up to 'p2' have 250001 combinations of from, to, port, method and path; at most 250000 are read"],
            result.Diagnostics.Select(d => d.Message));
    }

    [Fact]
    public void A_diagnostic_prints_as_compilers_do()
    {
        Diagnostic diagnostic = Samples.Refuse(Samples.TwoSites.Replace("gateway: paris-1", "gateway: pariss-1"));

        Assert.Equal(
            "00000.yaml:13:20: error FAB0131: there is no gateway 'pariss-1' (hint: did you mean 'paris-1'?)",
            diagnostic.ToString());
    }

    [Fact]
    public void All_errors_of_all_files_are_reported_in_order()
    {
        TopologyResult result = Samples.Load(
            Samples.TwoSites.Replace("type: interconnect", "type: lan").Replace("port: 80", "port: 0"),
            "fabric: 1\nextra: 1\nworkloads: [ { name: shop, site: rome, addresses: [ 10.0.0.1/8 ] } ]\n");

        Assert.Equal(
            [
                "00000.yaml:10:11 FAB0119", "00000.yaml:17:22 FAB0113", "00001.yaml:2:1 FAB0106",
                "00001.yaml:3:34 FAB0131", "00001.yaml:3:53 FAB0117",
            ],
            result.Diagnostics.Select(d => $"{d.File}:{d.Line}:{d.Column} {d.Code}"));
    }
}
