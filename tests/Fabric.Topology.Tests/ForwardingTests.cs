using Fabric.Topology.Model;

namespace Fabric.Topology.Tests;

public class ForwardingTests
{
    private const string Base = """
        fabric: 1
        trustDomain: acme.example
        sites:
          - name: paris
            gateways: [ { name: paris-1 } ]

        """;

    [Fact]
    public void Without_a_word_the_machines_own_servers_are_asked_for_the_site()
    {
        var topology = TopologyLoader.Load([new TopologyFile("test.yaml", Base)]).Topology!;
        Assert.Equal(new DnsForwarding(), topology.Dns.Forward);
        Assert.Null(topology.Dns.Forward.Servers);
        Assert.Null(topology.Sites[0].Forward);
    }

    [Fact]
    public void What_was_asked_is_accepted_for_all_sites_and_for_one()
    {
        const string Forward = """
            { servers: [ "10.0.0.2:53", "[fd00::2]:53" ], clients: [ 10.0.0.0/8 ], zones: [ { zone: corp.example, servers: [ "10.1.0.53:53" ] } ] }
            """;
        var text = (Base + $"dns: {{ forward: {Forward.Trim()} }}\n").Replace("name: paris\n", "name: paris\n    forward: { servers: [] }\n");
        var topology = TopologyLoader.Load([new TopologyFile("test.yaml", text)]).Topology!;
        Assert.Equal(["10.0.0.2:53", "[fd00::2]:53"], topology.Dns.Forward.Servers!.Value.Select(s => s.ToString()));
        Assert.Equal(["10.0.0.0/8"], topology.Dns.Forward.Clients!.Value.Select(c => c.ToString()));
        Assert.Equal("corp.example", topology.Dns.Forward.Zones.Single().Zone);
        Assert.Empty(topology.Sites[0].Forward!.Servers!.Value);

        var change = Assert.Single(TopologyDiff.Between(topology, topology with { Sites = [topology.Sites[0] with { Forward = null }] }));
        Assert.Equal("~ site paris: forward: to [] for the site → as dns says", change.ToString());
    }

    [Theory]
    [InlineData("servers: [ 10.0.0.2 ]", DiagnosticCodes.BadEndpoint, 6, 30)]
    [InlineData("servers: [ \"0.0.0.0:53\" ]", DiagnosticCodes.BadEndpoint, 6, 30)]
    [InlineData("clients: [ 10.0.0.1/8 ]", DiagnosticCodes.BadRange, 6, 30)]
    [InlineData("zones: [ { zone: corp.example } ]", DiagnosticCodes.MissingKey, 6, 28)]
    [InlineData("zones: [ { zone: corp.example, servers: [] } ]", DiagnosticCodes.BadCount, 6, 59)]
    [InlineData("zones: [ { zone: a.b, servers: [ \"10.0.0.2:53\" ] }, { zone: a.b, servers: [ \"10.0.0.3:53\" ] } ]", DiagnosticCodes.DuplicateName, 6, 79)]
    [InlineData("zones: [ { zone: x.svc.clusterset.local, servers: [ \"10.0.0.2:53\" ] } ]", DiagnosticCodes.DoesNotApply, 6, 36)]
    [InlineData("resolvers: []", DiagnosticCodes.UnknownKey, 6, 19)]
    public void What_breaks_a_rule_is_refused_where_it_stands(string forward, string code, int line, int column)
    {
        var result = TopologyLoader.Load([new TopologyFile("test.yaml", Base + $"dns: {{ forward: {{ {forward} }} }}\n")]);
        var error = Assert.Single(result.Diagnostics, d => d.Severity == Severity.Error);
        Assert.Equal((code, line, column), (error.Code, error.Line, error.Column));
    }
}
