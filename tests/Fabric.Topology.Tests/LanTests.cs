using Fabric.Topology.Model;

namespace Fabric.Topology.Tests;

public class LanTests
{
    private const string Base = """
        fabric: 1
        trustDomain: acme.example
        sites:
          - name: edge
            gateways:
              - { name: edge-1, lan: { interfaces: [ lan0, "br-plant" ], announce: false } }
              - { name: edge-2, port: 7444, dns: "127.0.0.1:54", metrics: "127.0.0.1:9441", dashboard: off }
          - name: paris
            gateways: [ { name: paris-1 } ]
        links:
          - { name: dx, type: interconnect, ends: [ { gateway: edge-1, address: 192.0.2.1 }, { gateway: paris-1, address: 192.0.2.2 } ] }
        services:
          - name: cameras
            namespace: plant
            ports: [ { name: web, port: 80 }, { name: log, port: 514, protocol: udp } ]
            exports:
              - { site: edge, lan: { type: _http._tcp, port: 80 } }
              - { site: paris, endpoints: [ { address: "192.0.2.9:80", port: 80 } ] }
        policies:
          - { name: all-may, action: allow, from: [ site/edge/* ], to: [ "*.plant" ] }

        """;

    private static TopologyResult Load(string text) => TopologyLoader.Load([new TopologyFile("test.yaml", text)]);

    [Fact]
    public void What_was_asked_is_accepted()
    {
        var topology = Load(Base).Topology!;
        Assert.Equal(new LanSettings(["lan0", "br-plant"], false), topology.FindGateway("edge-1")!.Lan);
        Assert.Null(topology.FindGateway("edge-2")!.Lan);
        var exports = topology.Services[0].Exports;
        Assert.Equal((new LanExport("_http._tcp", 80), 0), (exports[0].Lan, exports[0].Endpoints.Length));
        Assert.Null(exports[1].Lan);
        var other = Load(Base.Replace(", announce: false", "").Replace("_http._tcp", "_https._tcp")).Topology!;
        Assert.Equal(
            ["~ gateway edge-1: lan: on lan0, br-plant, announces nothing → on lan0, br-plant",
                "~ service cameras.plant: exports: edge [] and _http._tcp for 80, paris [192.0.2.9:80 for 80] → edge [] and _https._tcp for 80, paris [192.0.2.9:80 for 80]"],
            TopologyDiff.Between(topology, other).Select(c => c.ToString()));
    }

    [Fact]
    public void The_only_port_need_not_be_named()
    {
        var text = Base.Replace(", { name: log, port: 514, protocol: udp }", "").Replace("lan: { type: _http._tcp, port: 80 }", "lan: _http._tcp");
        Assert.Equal(new LanExport("_http._tcp", 80), Load(text).Topology!.Services[0].Exports[0].Lan);
    }

    [Theory]
    [InlineData("site: edge, lan: { type: _http._tcp, port: 80 }", "site: edge", "FAB0107: export needs the key 'endpoints' or 'lan'")]
    [InlineData("lan: { type: _http._tcp, port: 80 }", "lan: _http._tcp", "FAB0141: lan does not say behind which port")]
    [InlineData("_http._tcp, port: 80", "_http._tcp, port: 81", "FAB0141: service 'cameras.plant' has no port 81")]
    [InlineData("_http._tcp, port: 80", "_http._tcp, port: 514", "FAB0139: _http._tcp does not apply to a port of protocol udp")]
    [InlineData("_http._tcp, port: 80", "_http._udp, port: 80", "FAB0139: _http._udp does not apply to a port of protocol tcp")]
    [InlineData("site: paris, endpoints: [ { address: \"192.0.2.9:80\", port: 80 } ]", "site: paris, lan: { type: _http._tcp, port: 80 }",
        "FAB0139: lan does not apply to site 'paris': none of its gateways looks at a local network")]
    [InlineData("\"br-plant\"", "lan0", "FAB0130")]
    [InlineData("name: edge-1, lan", "name: edge-1, dns: \"127.0.0.1:5353\", lan", "FAB0133")]
    public void What_does_not_fit_is_refused(string was, string now, string expected)
    {
        Assert.Contains(was, Base);
        Assert.Contains(Load(Base.Replace(was, now)).Diagnostics, d => d.ToString().Contains(expected, StringComparison.Ordinal));
    }
}
