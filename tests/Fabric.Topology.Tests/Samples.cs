using Fabric.Topology.Model;

namespace Fabric.Topology.Tests;

internal static class Samples
{
    public const string TwoSites = """
        fabric: 1
        trustDomain: acme.example
        sites:
          - name: paris
            gateways: [ { name: paris-1 } ]
          - name: virginia
            gateways: [ { name: virginia-1 } ]
        links:
          - name: dx
            type: interconnect
            ends:
              - { gateway: virginia-1, address: 192.0.2.2 }
              - { gateway: paris-1, address: 192.0.2.1 }
        services:
          - name: web
            namespace: shop
            ports: [ { port: 80 } ]
            exports: [ { site: paris, endpoints: [ "127.0.0.1:8080" ] } ]
        policies:
          - { name: all, action: allow, from: [ "site/*" ], to: [ "*.shop" ] }

        """;

    public static TopologyResult Load(params string[] texts) =>
        TopologyLoader.Load([.. texts.Select((text, i) => new TopologyFile($"{i:d5}.yaml", text))]);

    public static FabricTopology Accept(params string[] texts)
    {
        TopologyResult result = Load(texts);
        Assert.Empty(result.Diagnostics);
        return result.Topology!;
    }

    /// <summary>The code of the only finding.</summary>
    public static Diagnostic Refuse(params string[] texts)
    {
        TopologyResult result = Load(texts);
        Assert.Null(result.Topology);
        return Assert.Single(result.Diagnostics);
    }
}
