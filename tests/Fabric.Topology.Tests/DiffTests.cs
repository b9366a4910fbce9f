using Fabric.Topology.Model;

namespace Fabric.Topology.Tests;

public class DiffTests
{
    private static readonly FabricTopology Before = Samples.Accept(Samples.TwoSites);

    [Fact]
    public void The_same_is_no_change_even_in_another_layout() =>
        Assert.Empty(TopologyDiff.Between(Before, Samples.Accept("# comment\n" + Samples.TwoSites)));

    [Fact]
    public void Changes_name_object_and_values()
    {
        FabricTopology after = Samples.Accept(Samples.TwoSites
            .Replace("type: interconnect\n", "type: interconnect\n    cost: 20\n    mtu: 9000\n")
            .Replace("name: web", "name: api")
            .Replace("name: paris\n", "name: paris\n    relay: false\n")
            .Replace("{ name: virginia-1 }", "{ name: virginia-1, dashboard: off }")
            .Replace("sites:\n", "probes: { misses: 5 }\nsites:\n")
            + "workloads:\n  - { name: shop, site: paris, addresses: [ 10.1.0.0/24 ] }\n");

        Assert.Equal(
            [
                "~ mesh acme.example: misses: 3 → 5",
                "~ site paris: relay: true → false",
                "~ gateway virginia-1: dashboard: 127.0.0.1:8700 → off",
                "~ link dx (paris-1, virginia-1): cost: 0 → 20; mtu: 1500 → 9000",
                "+ service api.shop: address: derived; ports: 80 tcp; delivery: normal; health: tcp / every 1s within 500ms, down after 2, "
                    + "up after 1; exports: paris [127.0.0.1:8080 for 80]",
                "- service web.shop: address: derived; ports: 80 tcp; delivery: normal; health: tcp / every 1s within 500ms, down after 2, "
                    + "up after 1; exports: paris [127.0.0.1:8080 for 80]",
                "+ workload paris/shop: addresses: 10.1.0.0/24; unixUser: any; cgroup: any",
            ],
            TopologyDiff.Between(Before, after).Select(c => c.ToString()));
    }

    [Fact]
    public void A_port_that_carries_datagrams_says_when_a_flow_is_over()
    {
        FabricTopology after = Samples.Accept(Samples.TwoSites.Replace("port: 80", "port: 80, protocol: tcp+udp")
            .Replace("    exports:", "    flowIdle: 5m\n    health: { port: 81 }\n    exports:"));

        Assert.Equal("~ service web.shop: ports: 80 tcp → 80 tcp+udp idle 5m; "
            + "health: tcp / every 1s within 500ms, down after 2, up after 1 → tcp at port 81 / every 1s within 500ms, down after 2, up after 1",
            TopologyDiff.Between(Before, after).Single().ToString());
    }

    [Fact]
    public void Backwards_added_is_removed()
    {
        FabricTopology after = Golden.Load(Path.Combine(Golden.Topologies, "cluster-and-vm.yaml")).Topology!;
        static ChangeKind Back(ChangeKind kind) => kind switch
        {
            ChangeKind.Added => ChangeKind.Removed,
            ChangeKind.Removed => ChangeKind.Added,
            _ => kind,
        };

        Assert.Equal(
            TopologyDiff.Between(Before, after).Select(c => $"{c.Kind} {c.ObjectKind} {c.Name}"),
            TopologyDiff.Between(after, Before).Select(c => $"{Back(c.Kind)} {c.ObjectKind} {c.Name}"));
    }

    /// <summary>A property of the model that the diff does not know would make a change invisible.</summary>
    [Theory]
    [InlineData(typeof(FabricTopology), 11)]
    [InlineData(typeof(Site), 5)]
    [InlineData(typeof(SiteGateway), 9)]
    [InlineData(typeof(Link), 7)]
    [InlineData(typeof(LinkEnd), 3)]
    [InlineData(typeof(Service), 9)]
    [InlineData(typeof(ServicePort), 7)]
    [InlineData(typeof(ServiceExport), 2)]
    [InlineData(typeof(ServiceEndpoint), 3)]
    [InlineData(typeof(HealthCheck), 7)]
    [InlineData(typeof(Workload), 6)]
    [InlineData(typeof(Policy), 7)]
    [InlineData(typeof(ProbeSettings), 4)]
    [InlineData(typeof(DnsSettings), 3)]
    [InlineData(typeof(DrillSettings), 1)]
    [InlineData(typeof(DnsForwarding), 3)]
    [InlineData(typeof(DnsForwardingZone), 2)]
    public void The_diff_was_written_for_as_many_properties_as_there_are(Type type, int known) =>
        Assert.Equal(known, type.GetProperties().Length);
}
