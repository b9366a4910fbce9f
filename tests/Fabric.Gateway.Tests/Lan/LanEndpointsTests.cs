using System.Collections.Immutable;
using System.Net;
using Fabric.Gateway.Lan;

namespace Fabric.Gateway.Tests.Lan;

/// <summary>What was found becomes endpoints of the services that ask for it, and of no others.</summary>
public sealed class LanEndpointsTests
{
    private const string Topology = """
        fabric: 1
        trustDomain: acme.example
        sites:
          - name: edge
            gateways: [ { name: edge-1, lan: { interfaces: [ lan0 ] } } ]
        services:
          - name: cameras
            namespace: plant
            ports: [ { name: web, port: 80 }, { name: rtsp, port: 554 } ]
            exports:
              - { site: edge, lan: { type: _http._tcp, port: 80 }, endpoints: [ { address: "10.0.0.7:8080", port: 80 } ] }
          - name: printers
            namespace: plant
            ports: [ { port: 631 } ]
            exports: [ { site: edge, lan: _ipp._tcp } ]
        policies:
          - { name: all-may, action: allow, from: [ site/edge/* ], to: [ "*.plant" ] }

        """;

    [Fact]
    public void Each_instance_is_one_endpoint_beside_those_that_are_declared()
    {
        var topology = Samples.Accept(Topology);
        Assert.Equal(["_http._tcp", "_ipp._tcp"], LanEndpoints.Types(topology, "edge").ToArray());
        Assert.Empty(LanEndpoints.Types(topology, "paris"));
        var found = LanEndpoints.Of(topology, "edge",
        [
            Found("_http._tcp", 8080, "10.0.0.9", "10.0.0.8"), Found("_http._tcp", 8080, "10.0.0.7"), Found("_http._tcp", 81, "10.0.0.7"), Found("_ssh._tcp", 22, "10.0.0.9"),
        ]);
        Assert.Equal(["10.0.0.7:81 80", "10.0.0.9:8080 80"], found["cameras.plant"].Select(e => $"{e.Address}:{e.Port} {e.ServicePort}"));
        Assert.False(found.ContainsKey("printers.plant"));

        var with = topology.With("edge", found);
        Assert.Equal(topology.Revision, with.Revision);
        Assert.Equal(3, with.Services[0].Exports[0].Endpoints.Length);
        Assert.Same(topology.Services[1], with.Services[1]);
        Assert.Same(topology, topology.With("edge", LanEndpoints.Of(topology, "edge", [])));
        Assert.True(LanEndpoints.Same(found, LanEndpoints.Of(topology, "edge", [Found("_http._tcp", 81, "10.0.0.7"), Found("_http._tcp", 8080, "10.0.0.9")])));
        Assert.False(LanEndpoints.Same(found, LanEndpoints.Of(topology, "edge", [Found("_http._tcp", 81, "10.0.0.7")])));
    }

    [Fact]
    public void A_network_holds_its_hosts_and_nobody_else()
    {
        var networks = LanBus.Networks("10.0.0.5");
        Assert.True(networks.Holds(IPAddress.Parse("10.0.0.5")));
        Assert.False(networks.HoldsOther(IPAddress.Parse("10.0.0.5")));
        Assert.True(networks.HoldsOther(IPAddress.Parse("10.0.0.254")));
        Assert.All(new[] { "10.0.0.0", "10.0.0.255", "10.0.1.1", "127.0.0.1", "::1", "224.0.0.251" }, a => Assert.False(networks.Holds(IPAddress.Parse(a))));
        var loopback = LanNetworks.Of("lo");
        Assert.True(loopback.Holds(IPAddress.Loopback));
        Assert.NotEqual(0, loopback.Index);
        Assert.Equal(loopback, LanNetworks.Of("lo"));
        Assert.Equal(LanNetworks.None, LanNetworks.Of("there-is-none"));
    }

    private static LanService Found(string type, int port, params string[] addresses) =>
        new($"of {port}", type, "h.local", port, [.. addresses.Select(IPAddress.Parse)], ImmutableArray<string>.Empty);
}
