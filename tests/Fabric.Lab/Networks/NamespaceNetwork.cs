using System.Net;

using Fabric.Lab.Processes;

namespace Fabric.Lab.Networks;

/// <summary>
/// Three sites in network namespaces, joined by two underlays. All three have the same LAN, as sites that grew apart do. The
/// programs that call are on a machine of their own in paris, whose resolver and router is the gateway.
/// <code>
///  fabric-shop       fabric-paris                                  fabric-virginia
///  ┌───────────┐    ┌──────────────────┐  dx: 10.10.0.0/24, a line ┌──────────────────────┐
///  │ 10.20.0.10│lan0│ lan0 10.20.0.1   │ dx0 .1 ════════════ .2 dx0│ lan0 10.20.0.1 DNS   │
///  │ 10.20.0.66├────┤      DNS         │                           │      10.20.0.80 nginx│
///  └───────────┘    │ wan0 203.0.113.2 │                           │      10.20.0.63 redis│
///   shop, guest     └────────┬─────────┘                           │ wan0 203.0.113.6     │
///                            │                                     └──────────┬───────────┘
///                         .1 │                                             .5 │
///                    ┌───────┴────────────────────────────────────────────────┴─────────┐
///                    │ fabric-internet: a router. 192.168.77.0/24 leaves it masqueraded, │
///                    │ and nothing new gets in there                                     │
///                    └────────────────────────────────┬─────────────────────────────────┘
///                                        192.168.77.1 │
///                                        192.168.77.2 │ wan0
///                                          ┌──────────┴───────────┐
///                          fabric-factory: │ lan0 10.20.0.80 nginx│ can only dial out
///                                          └──────────────────────┘
/// </code>
/// </summary>
public sealed class NamespaceNetwork : LabNetwork
{
    public const string Prefix = "fabric-";

    private const string Internet = Prefix + "internet";
    private const string Shop = Prefix + "shop";

    /// <summary>Both ends of dx, where packets arrive.</summary>
    private CuttableLine[] _dx = [];

    public override string Mode => "namespaces";

    public override IPAddress Guest { get; } = IPAddress.Parse("10.20.0.66");
    public override LabSite Paris { get; } = Site("paris");
    public override LabSite Virginia { get; } = Site("virginia");
    public override LabSite Factory { get; } = Site("factory");

    public override string SecondLink => "vpn";
    public override string Authority => "203.0.113.2:7443";
    public override int WebPort => 80;

    public override string Topology => """
        fabric: 1
        trustDomain: lab.example

        sites:
          - name: paris
            serviceAddresses: 10.81.0.0/16
            gateways:
              - {name: paris-1, dns: "10.20.0.1:53"}
          - name: virginia
            serviceAddresses: 10.82.0.0/16
            gateways:
              - {name: virginia-1, dns: "10.20.0.1:53"}
          - name: factory
            serviceAddresses: 10.83.0.0/16
            gateways:
              - {name: factory-1, dns: "10.20.0.1:53"}

        links:
          - name: dx
            type: interconnect
            ends:
              - {gateway: paris-1, address: 10.10.0.1}
              - {gateway: virginia-1, address: 10.10.0.2}
          - name: vpn
            type: vpn
            cost: 20
            ends:
              - {gateway: paris-1, address: 203.0.113.2}
              - {gateway: virginia-1, address: 203.0.113.6}
              - {gateway: factory-1}   # behind NAT: it dials out

        services:
          - name: web
            namespace: shop
            ports: [{port: 80, protocol: http}]
            health: {type: http, path: /healthz}
            exports:
              - {site: virginia, endpoints: ["10.20.0.80:80"]}
              - {site: factory, endpoints: ["10.20.0.80:80"]}
          - name: cache
            namespace: shop
            ports: [{port: 6379}]
            exports:
              - {site: virginia, endpoints: ["10.20.0.63:6379"]}

        workloads:
          - {name: shop, site: paris, addresses: [10.20.0.10/32]}
          - {name: guest, site: paris, addresses: [10.20.0.66/32]}

        policies:
          - name: shop-calls-shop
            action: allow
            from: [site/paris/workload/shop]
            to: ["*.shop"]

        """;

    public override string[] GatewayArguments(LabSite site) => ["--wireguard", "auto", "--interface-prefix", InterfacePrefix(site), "--allow-faults"];

    /// <summary>The sockets of userspace WireGuard lie in one folder for all namespaces: names differ by site.</summary>
    public override string InterfacePrefix(LabSite site) => $"fab-{site.Name[0]}-";

    public static string NamespaceOf(LabSite site) => Prefix + site.Name;

    private static string[] Names => [Shop, Prefix + "paris", Prefix + "virginia", Prefix + "factory", Internet];

    public override async Task Build()
    {
        await Remove();
        await Namespaces.Add(Names);

        // The LAN of paris ends at the machine of the callers, the others at nobody: not every kernel has dummy devices.
        await Join(NamespaceOf(Paris), "lan0", "10.20.0.1/24", Shop, "lan0", "10.20.0.10/24");
        await Namespaces.In(Shop, "addr add 10.20.0.66/24 dev lan0", "route add default via 10.20.0.1");
        foreach (var site in new[] { Virginia, Factory })
        {
            await Namespaces.In(NamespaceOf(site), "link add lan0 type veth peer name lan1", "link set lan0 up", "link set lan1 up",
                "addr add 10.20.0.1/24 dev lan0", "addr add 10.20.0.80/24 dev lan0", "addr add 10.20.0.63/24 dev lan0");
        }

        // An ordinary program there resolves through the gateway: ip netns exec puts these files over those in /etc.
        var etc = Directory.CreateDirectory($"/etc/netns/{Shop}").FullName;
        await File.WriteAllTextAsync(Path.Combine(etc, "resolv.conf"), "nameserver 10.20.0.1\noptions timeout:2 attempts:5\n");
        await File.WriteAllTextAsync(Path.Combine(etc, "nsswitch.conf"), "hosts: files dns\n");

        await Join(NamespaceOf(Paris), "dx0", "10.10.0.1/24", NamespaceOf(Virginia), "dx0", "10.10.0.2/24");
        await Join(NamespaceOf(Paris), "wan0", "203.0.113.2/30", Internet, "paris0", "203.0.113.1/30");
        await Join(NamespaceOf(Virginia), "wan0", "203.0.113.6/30", Internet, "virginia0", "203.0.113.5/30");
        await Join(NamespaceOf(Factory), "wan0", "192.168.77.2/24", Internet, "factory0", "192.168.77.1/24");
        await Namespaces.In(NamespaceOf(Paris), "route add default via 203.0.113.1");
        await Namespaces.In(NamespaceOf(Virginia), "route add default via 203.0.113.5");
        await Namespaces.In(NamespaceOf(Factory), "route add default via 192.168.77.1");
        await Command.Do("ip", "netns", "exec", Internet, "sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward");
        _dx = await Task.WhenAll(CuttableLine.Start(NamespaceOf(Paris), "dx0"), CuttableLine.Start(NamespaceOf(Virginia), "dx0"));
        await Nft(Internet, """
            table ip fabric_nat {
              chain forward {
                type filter hook forward priority 0; policy accept;
                oifname "factory0" ct state established,related accept
                oifname "factory0" drop
              }
              chain postrouting {
                type nat hook postrouting priority 100;
                ip saddr 192.168.77.0/24 masquerade
              }
            }

            """);
    }

    public override string[] Inside(LabSite site, params string[] argv) => ["ip", "netns", "exec", NamespaceOf(site), .. argv];

    /// <summary>Dropped where packets arrive, at both ends.</summary>
    public override Task CutDx() => Task.WhenAll(_dx.Select(end => end.Cut()));

    public override Task HealDx() => Task.WhenAll(_dx.Select(end => end.Heal()));

    public override string[] AtShop(params string[] argv) => ["ip", "netns", "exec", Shop, .. argv];

    public override Task<string[]> CurlOptions(string host, int port) => Task.FromResult<string[]>([]);

    public override Task<string> HostFor(string host) => Task.FromResult(host);

    public override async ValueTask DisposeAsync()
    {
        foreach (var end in _dx)
        {
            await end.DisposeAsync();
        }

        await Remove();
    }

    /// <summary>Removes the namespaces of the lab, by their names, with every process in them.</summary>
    public static Task Remove() => Namespaces.Remove(Names);

    private static LabSite Site(string name) => new()
    {
        Name = name,
        Dns = IPEndPoint.Parse("10.20.0.1:53"),
        Web = IPEndPoint.Parse("10.20.0.80:80"),
        Cache = IPEndPoint.Parse("10.20.0.63:6379"),
    };

    private static async Task Join(string a, string deviceA, string addressA, string b, string deviceB, string addressB)
    {
        await Namespaces.In(a, $"link add {deviceA} type veth peer name {deviceB} netns {b}", $"addr add {addressA} dev {deviceA}", $"link set {deviceA} up");
        await Namespaces.In(b, $"addr add {addressB} dev {deviceB}", $"link set {deviceB} up");
    }

    private static async Task Nft(string name, string rules) =>
        (await Command.Run(["ip", "netns", "exec", name, "nft", "-f", "-"], input: rules)).Checked();
}
