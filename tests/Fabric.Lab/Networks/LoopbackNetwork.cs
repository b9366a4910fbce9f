using System.Net;

using Fabric.Lab.Processes;

namespace Fabric.Lab.Networks;

/// <summary>
/// The same three sites as ordinary processes on loopback, for whoever is not root. Every site has a /16 of 127.0.0.0/8, and
/// another for its service addresses; lines are cut inside the gateways.
/// <code>
///    paris  127.71.0.1 ════ dx  ════ 127.72.0.1  virginia     .0.1 dx, and DNS on 5353
///           127.71.0.2 ──── wan ──── 127.72.0.2               .0.2 wan
///                  └─────── wan ──── 127.73.0.2  factory      .1.80 nginx, .1.63 redis, .1.66 guest
/// </code>
/// </summary>
public sealed class LoopbackNetwork(Func<string[], Task> fault) : LabNetwork
{
    public override string Mode => "loopback";

    public override IPAddress Guest { get; } = IPAddress.Parse("127.71.1.66");
    public override LabSite Paris { get; } = Site("paris", 71);
    public override LabSite Virginia { get; } = Site("virginia", 72);
    public override LabSite Factory { get; } = Site("factory", 73);

    public override string SecondLink => "wan";
    public override string Authority => "127.71.0.2:7443";
    public override int WebPort => 8080;

    public override string Topology => """
        fabric: 1
        trustDomain: lab.example

        sites:
          - name: paris
            serviceAddresses: 127.81.0.0/16
            gateways:
              - {name: paris-1, listen: [127.71.0.1, 127.71.0.2], dns: "127.71.0.1:5353", metrics: "127.71.0.1:9440", dashboard: "127.71.0.1:8700"}
          - name: virginia
            serviceAddresses: 127.82.0.0/16
            gateways:
              - {name: virginia-1, listen: [127.72.0.1, 127.72.0.2], dns: "127.72.0.1:5353", metrics: "127.72.0.1:9440", dashboard: "127.72.0.1:8700"}
          - name: factory
            serviceAddresses: 127.83.0.0/16
            gateways:
              - {name: factory-1, listen: [127.73.0.2], dns: "127.73.0.1:5353", metrics: "127.73.0.1:9440", dashboard: "127.73.0.1:8700"}

        links:
          - name: dx
            type: interconnect
            ends:
              - {gateway: paris-1, address: 127.71.0.1}
              - {gateway: virginia-1, address: 127.72.0.1}
          - name: wan
            type: interconnect
            cost: 20
            ends:
              - {gateway: paris-1, address: 127.71.0.2}
              - {gateway: virginia-1, address: 127.72.0.2}
              - {gateway: factory-1, address: 127.73.0.2}

        services:
          - name: web
            namespace: shop
            ports: [{port: 8080, protocol: http}]
            health: {type: http, path: /healthz}
            exports:
              - {site: virginia, endpoints: ["127.72.1.80:8080"]}
              - {site: factory, endpoints: ["127.73.1.80:8080"]}
          - name: cache
            namespace: shop
            ports: [{port: 6379}]
            exports:
              - {site: virginia, endpoints: ["127.72.1.63:6379"]}

        workloads:
          # A program that binds no source address calls from 127.0.0.1.
          - {name: shop, site: paris, addresses: [127.0.0.1/32]}
          - {name: guest, site: paris, addresses: [127.71.1.66/32]}

        policies:
          - name: shop-calls-shop
            action: allow
            from: [site/paris/workload/shop]
            to: ["*.shop"]

        """;

    public override string[] GatewayArguments(LabSite site) => ["--wireguard", "off", "--allow-faults"];

    public override string InterfacePrefix(LabSite site) => "";

    public override Task Build() => Task.CompletedTask;

    public override string[] Inside(LabSite site, params string[] argv) => argv;

    public override string[] AtShop(params string[] argv) => argv;

    public override Task CutDx() => fault(["cut", "dx"]);

    public override Task HealDx() => fault(["clear", "dx"]);

    public override async Task<string[]> CurlOptions(string host, int port) =>
        ["--resolve", $"{host}:{port}:{await Resolve(host)}"];

    public override async Task<string> HostFor(string host) => (await Resolve(host)).ToString();

    public override ValueTask DisposeAsync() => ValueTask.CompletedTask;

    private static LabSite Site(string name, int block) => new()
    {
        Name = name,
        Dns = IPEndPoint.Parse($"127.{block}.0.1:5353"),
        Web = IPEndPoint.Parse($"127.{block}.1.80:8080"),
        Cache = IPEndPoint.Parse($"127.{block}.1.63:6379"),
    };
}
