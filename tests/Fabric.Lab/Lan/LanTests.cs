using Fabric.Lab.Gateways;
using Fabric.Lab.Networks;
using Fabric.Lab.Processes;
using Fabric.Protocol.Proto;
using Fabric.Testing;

namespace Fabric.Lab.Lan;

/// <summary>
/// A gateway and a machine with Avahi on one Ethernet: each finds what the other tells, an HTTP server there becomes an endpoint of a
/// service of the topology, and is one no longer when it says goodbye.
/// </summary>
[Trait("Lane", "apart")]
public sealed class LanTests
{
    private const string Edge = "fabric-lan-edge";
    private const string Plant = "fabric-lan-plant";

    private static readonly TimeSpan _limit = TimeSpan.FromSeconds(30);

    private const string Topology = """
        fabric: 1
        trustDomain: lab.example
        sites:
          - name: edge
            serviceAddresses: 10.84.0.0/16
            gateways:
              - { name: edge-1, dns: "10.77.0.1:53", metrics: "127.0.0.1:9440", dashboard: off, lan: { interfaces: [ lan0 ] } }
        services:
          - name: cameras
            namespace: plant
            ports: [ { port: 80 } ]
            health: { interval: 200ms, timeout: 200ms }
            exports: [ { site: edge, lan: _http._tcp } ]
        workloads:
          - { name: host, site: edge, addresses: [ 10.77.0.2/32 ] }
        policies:
          - { name: host-may, action: allow, from: [ site/edge/workload/host ], to: [ "*.plant" ] }

        """;

    [RequiresFact("root", "ip", "nsenter", "unshare", "avahi-daemon", "avahi-browse", "avahi-publish", "dbus-daemon", "python3", "curl")]
    public Task What_tells_of_itself_on_the_local_network_is_an_endpoint_until_its_goodbye() => On(
        ["addr add 10.77.0.1/24 dev lan0"], ["addr add 10.77.0.2/24 dev lan0", "route add default via 10.77.0.1"], "0.0.0.0", async (avahi, gateway) =>
        {
            await Avahi_finds_the_gateway(avahi, gateway);
            await The_service_has_an_endpoint_while_its_publisher_lives(avahi, gateway);
            await Another_on_the_network_with_its_name_is_left_alone(avahi, gateway);
            await gateway.Stop();
            await Poll.Until("avahi to hear the goodbye", TimeSpan.FromSeconds(10), async () => !(await avahi.Browse("_fabric._tcp")).Any(l => l.Contains("site=edge", StringComparison.Ordinal)));
        });

    [RequiresFact("root", "ip", "nsenter", "unshare", "avahi-daemon", "avahi-browse", "avahi-publish", "dbus-daemon", "python3")]
    public Task On_a_network_of_IPv6_alone_it_is_the_same() => On(
        ["addr add 10.77.0.1/32 dev lo", "addr add fd77::1/64 dev lan0 nodad"], ["addr add fd77::2/64 dev lan0 nodad"], "::", async (avahi, gateway) =>
        {
            await gateway.Until("it to be announced", _limit, s => s.Lan is [{ State: "up", AnnouncedAs: "edge-1" }]);
            string[] seen = [];
            await Poll.Until("avahi to find it", _limit, async () => (seen = await avahi.Browse("_fabric._tcp", "IPv6")).Length > 0, avahi.Tail);
            var fields = Assert.Single(seen).Split(';');
            Assert.Equal(("edge-1", "fabric-edge-1.local", "7443"), (fields[3], fields[6], fields[8]));
            Assert.Contains(':', fields[7]);

            await using var camera = avahi.Publish("Camera 6", "_http._tcp", 8080);
            var status = await gateway.Until("the endpoint", _limit, s => s.Services.Single().Sites.SingleOrDefault() is { Endpoints: 1, Healthy: 1 });
            Assert.Equal("[fd77::2]:8080", status.Lan[0].Services.Single(x => x.Type == "_http._tcp").Address);
            await camera.Stop(TimeSpan.FromSeconds(5));
            await gateway.Until("it to be none any more", TimeSpan.FromSeconds(10), s => (s.Services.Single().Sites.SingleOrDefault()?.Endpoints ?? 0) == 0);
            await gateway.Stop();
            await Poll.Until("avahi to hear the goodbye", TimeSpan.FromSeconds(10), async () => (await avahi.Browse("_fabric._tcp", "IPv6")).Length == 0);
        });

    /// <summary>A gateway at one end of a cable, a machine with Avahi and an HTTP server at the other.</summary>
    private static async Task On(string[] edge, string[] plant, string bind, Func<Avahi, GatewayProcess, Task> what)
    {
        await using var work = await WorkFolder.Take();
        await Namespaces.Remove(Edge, Plant);
        await Namespaces.Add(Edge, Plant);
        try
        {
            await Namespaces.In(Edge, [$"link add lan0 type veth peer name lan0 netns {Plant}", "link set lan0 up", .. edge]);
            await Namespaces.In(Plant, ["link set lan0 up", .. plant]);
            await using var avahi = await Avahi.Start(work, Plant);
            await using var server = Daemon.Start(work, "http", ["ip", "netns", "exec", Plant, "python3", "-m", "http.server", "8080", "--bind", bind, "--directory", work.Folder("site")]);

            var programs = Programs.Find();
            var mesh = new Mesh(work, programs);
            await using var gateway = new GatewayProcess(work, "edge", programs, argv => ["ip", "netns", "exec", Edge, .. argv], ["--wireguard", "off"]) { Ca = mesh.Ca };
            await mesh.Init("lab.example", Topology);
            await mesh.Join(gateway, "10.77.0.1:7443");
            gateway.Start();
            await gateway.Ready(_limit);

            await what(avahi, gateway);
        }
        finally
        {
            await Namespaces.Remove(Edge, Plant);
        }
    }

    private static async Task Avahi_finds_the_gateway(Avahi avahi, GatewayProcess gateway)
    {
        await gateway.Until("it to be announced", _limit, s => s.Lan is [{ State: "up", AnnouncedAs: "edge-1" }]);
        string[] seen = [];
        await Poll.Until("avahi to find it", _limit, async () => (seen = await avahi.Browse("_fabric._tcp")).Length > 0, avahi.Tail);
        var fields = Assert.Single(seen).Split(';');
        Assert.Equal(("edge-1", "fabric-edge-1.local", "10.77.0.1", "7443"), (fields[3], fields[6], fields[7], fields[8]));
        Assert.Contains("\"gateway=edge-1\"", fields[9]);
        Assert.Contains("\"site=edge\"", fields[9]);
        Assert.Contains("\"td=lab.example\"", fields[9]);
    }

    private static async Task The_service_has_an_endpoint_while_its_publisher_lives(Avahi avahi, GatewayProcess gateway)
    {
        static ServiceSiteStatus? Site(Status s) => s.Services.Single().Sites.SingleOrDefault();
        Assert.Equal(0u, Site(await gateway.Status())?.Endpoints ?? 0);
        await using (var camera = avahi.Publish("Camera 1; of \"hall\"", "_http._tcp", 8080, "path=/"))
        {
            var status = await gateway.Until("the endpoint", _limit, s => Site(s) is { Endpoints: 1, Healthy: 1 });
            var heard = status.Lan[0].Services.Single(x => x.Type == "_http._tcp");
            Assert.Equal(("Camera 1; of \"hall\"", "10.77.0.2:8080", "endpoint of cameras.plant"), (heard.Instance, heard.Address, heard.Meaning));
            var address = status.Services.Single().ServiceAddress;
            var page = await Command.Do("ip", "netns", "exec", Plant, "curl", "-sS", "-f", "-m", "5", $"http://{address}/");
            Assert.Contains("Directory listing", page);
            // avahi-publish says goodbye at its end.
            await camera.Stop(TimeSpan.FromSeconds(5));
        }

        await gateway.Until("it to be none any more", TimeSpan.FromSeconds(10), s => (Site(s)?.Endpoints ?? 0) == 0 && s.Lan[0].Services.All(x => x.Type != "_http._tcp"));

        // Told, but nobody listens: it is checked as any endpoint.
        await using var nobody = avahi.Publish("Camera 2", "_http._tcp", 8081);
        await gateway.Until("an endpoint that is down", _limit, s => Site(s) is { Endpoints: 1, Healthy: 0 });
        await nobody.Stop(TimeSpan.FromSeconds(5));
    }

    private static async Task Another_on_the_network_with_its_name_is_left_alone(Avahi avahi, GatewayProcess gateway)
    {
        await gateway.Stop();
        await using var other = avahi.Publish("edge-1", "_fabric._tcp", 9);
        await Poll.Until("avahi to publish", _limit, async () => (await avahi.Browse("_fabric._tcp")).Any(l => l.Contains(";9;", StringComparison.Ordinal)));
        gateway.Start();
        var status = await gateway.Until("another name", _limit, s => s.Lan is [{ AnnouncedAs: "edge-1-2" }] && s.Lan[0].Services.Any(x => x.Type == "_fabric._tcp"));
        // It says nothing of a trust domain.
        Assert.Equal("a gateway of another fabric", status.Lan[0].Services.Single(x => x.Instance == "edge-1").Meaning);
        await other.Stop(TimeSpan.FromSeconds(5));
    }
}
