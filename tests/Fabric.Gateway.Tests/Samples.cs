using System.Collections.Immutable;
using System.Net;
using Fabric.Gateway.Dns;
using Fabric.Gateway.Snapshot;
using Fabric.Routing.Policies;
using Fabric.Topology;
using Fabric.Topology.Model;
using Fabric.Tunnel;

namespace Fabric.Gateway.Tests;

/// <summary>Topologies as operators write them, and snapshots of them.</summary>
internal static class Samples
{
    /// <summary>Paris calls; virginia exports <c>web.shop</c> on 80 and 81, and so does paris on 80.</summary>
    public const string TwoSites = """
        fabric: 1
        trustDomain: acme.example
        sites:
          - name: paris
            serviceAddresses: 127.65.0.0/16
            gateways: [ { name: paris-1 } ]
          - name: virginia
            serviceAddresses: 127.66.0.0/16
            gateways: [ { name: virginia-1, port: 7444, listen: [ 127.0.0.2 ] } ]
        links:
          - name: dx
            type: interconnect
            cost: 3
            ends:
              - { gateway: virginia-1, address: 192.0.2.2 }
              - { gateway: paris-1, address: 192.0.2.1 }
        services:
          - name: web
            namespace: shop
            ports: [ { name: http, port: 80 }, { name: admin, port: 81 } ]
            exports:
              - site: virginia
                endpoints:
                  - { address: "127.0.0.1:8080", port: 80 }
                  - { address: "127.0.0.2:8080", port: 80 }
                  - { address: "127.0.0.1:8081", port: 81 }
        workloads:
          - { name: shop, site: paris, addresses: [ 127.0.0.1/32 ] }
        policies:
          - { name: shop-may, action: allow, from: [ site/paris/workload/shop ], to: [ "*.shop" ] }
          - { name: not-admin, action: deny, from: [ "site/paris/*" ], to: [ web.shop ], ports: [ 81 ] }

        """;

    public const string Shop = "spiffe://acme.example/site/paris/workload/shop";

    public static FabricTopology Accept(string text)
    {
        var result = TopologyLoader.Load([new TopologyFile("test.yaml", text)]);
        Assert.True(result.Topology is not null, string.Join('\n', result.Diagnostics));
        return result.Topology!;
    }

    public static SiteGateway Gateway(this FabricTopology topology, string name) =>
        topology.Sites.SelectMany(s => s.Gateways).Single(g => g.Name == name);

    /// <summary>As the state loop makes it, before anything is known of links and peers.</summary>
    public static FabricSnapshot Snapshot(string text, string gateway)
    {
        var topology = Accept(text);
        var self = topology.Gateway(gateway);
        return new FabricSnapshot
        {
            Topology = topology,
            Self = self,
            Policies = new PolicyEvaluator(topology),
            Callers = new CallerIdentity(topology, self.Site),
            Addresses = ServiceAddresses.Assign(topology, self, new Dictionary<string, IPAddress>(), out _),
            Zone = DnsZone.Empty,
            Tunnel = new TunnelStatus([], [], 0, 0),
        };
    }

    public static SessionStatus Session(string peer, string site, int streams = 0, string? activeLink = null) => new(
        peer, site, Guid.NewGuid(), [], activeLink, streams, new SessionCounters { Sent = 10, Received = 20, Resent = 30, Moves = 2 }, ImmutableArray<byte>.Empty, ImmutableArray<byte>.Empty);
}
