using System.Net;
using System.Net.Sockets;
using Fabric.Gateway.Hosting;
using Fabric.Identity;
using Fabric.Identity.Authority;
using Fabric.Identity.Joining;
using Fabric.Protocol.Proto;
using Fabric.Testing;
using Microsoft.Extensions.Logging.Abstractions;

namespace Fabric.Gateway.Tests.Hosting;

/// <summary>Whole gateways that reach each other through a third one.</summary>
public sealed class RelayTests
{
    private const string Direct = """
          - { name: dx, type: interconnect, ends: [ { gateway: paris-1, address: 127.0.0.1 }, { gateway: virginia-1, address: 127.0.0.1 } ] }

        """;

    [Fact]
    public async Task Stream_goes_on_through_a_relay_when_the_last_link_is_cut_and_returns_with_it()
    {
        await using var fabric = await RelayFabric.StartAsync(Direct);
        // Whichever was there first: the nearer one is moved to later.
        await fabric.Paris.UntilAsync(s => Virginia(s).ActiveLink == "dx" && s.Relays.Any(r => r is { Peer: "virginia-1", Lane: "up", Role: "standby" }));
        using var call = await fabric.CallAsync();
        Assert.Equal("virginia", await call.ReadLineAsync());

        await fabric.Paris.SetFaultAsync("dx", "cut");
        for (var i = 0; i < 20; i++)
        {
            Assert.Equal($"line {i}", await call.EchoAsync($"line {i}"));
        }

        var through = await fabric.Paris.UntilAsync(s => Virginia(s).ActiveLink.StartsWith("via:", StringComparison.Ordinal)
            && Virginia(s).Streams == 1 && s.Relays.Any(r => r is { Role: "active", RttMs: > 0 })
            // Streams leave while dx is only suspect, and the reason says so until the verdict.
            && Virginia(s).ActiveReason.StartsWith("dx is down: ", StringComparison.Ordinal));
        Assert.Equal("virginia", through.Services[0].ChosenSite);
        Assert.Equal("after", await call.EchoAsync("after"));
        var relay = through.Relays.Single(r => r.Role == "active").Relay;
        var carried = await fabric[relay].UntilAsync(s => s.Sites.SelectMany(x => x.Gateways).Any(g => g is { Name: "paris-1", RelayedBytes: > 0 }));
        Assert.Equal(0u, carried.Streams);

        await fabric.Paris.SetFaultAsync("dx", "");
        await fabric.Paris.UntilAsync(s => Virginia(s).ActiveLink == "dx" && s.Relays.Any(x => x.Role == "standby"));
        Assert.Equal("back", await call.EchoAsync("back"));
    }

    /// <summary>The relay sees the lane and not the stream: a stream's trace leads to the lane's, which has a span of the relay.</summary>
    [Fact]
    public async Task Stream_through_a_relay_is_linked_to_the_lanes_trace_which_has_the_relays_span()
    {
        using var spans = new Telemetry.Spans();
        await using (var fabric = await RelayFabric.StartAsync("", relayInRome: false))
        {
            await fabric.Paris.UntilAsync(s => Virginia(s) is { State: "connected", ActiveLink: "via:oslo-1" } && s.Services[0].ChosenSite == "virginia");
            using var call = await fabric.CallAsync();
            Assert.Equal("virginia", await call.ReadLineAsync());
        }

        var stream = await spans.OneAsync("the stream", s => s.OperationName == "tunnel" && Telemetry.Spans.Tag(s, "fabric.link") == "via:oslo-1");
        var lane = Assert.Single(stream.Links).Context;
        var relay = await spans.OneAsync("the relay", s => s.OperationName == "relay" && s.TraceId == lane.TraceId);
        Assert.Equal((lane.SpanId, "oslo"), (relay.ParentSpanId, Telemetry.Spans.Tag(relay, "fabric.site")));
    }

    [Fact]
    public async Task Site_without_a_link_is_served_through_the_nearest_relay_and_through_another_when_that_dies()
    {
        await using var fabric = await RelayFabric.StartAsync("");
        await fabric.Paris.UntilAsync(s => Virginia(s) is { State: "connected" });
        await fabric.Paris.UntilAsync(s => Virginia(s) is { State: "connected", ActiveLink: "via:rome-1" } && s.Services[0].ChosenSite == "virginia"
            && s.Relays.Any(r => r.Name == "via:rome-1" && r.Reason.StartsWith("lowest sum of both legs", StringComparison.Ordinal)));
        using var call = await fabric.CallAsync();
        Assert.Equal("virginia", await call.ReadLineAsync());
        Assert.Equal("one", await call.EchoAsync("one"));

        await fabric.StopAsync("rome-1");

        Assert.Equal("two", await call.EchoAsync("two"));
        await fabric.Paris.UntilAsync(s => Virginia(s).ActiveLink == "via:oslo-1");
        Assert.Equal("three", await call.EchoAsync("three"));
        await fabric["oslo-1"].UntilAsync(s => s.Sites.SelectMany(x => x.Gateways).Any(g => g is { Name: "paris-1", RelayedLanes: 1 }));
    }

    [Fact]
    public async Task Site_that_does_not_relay_is_passed_over()
    {
        await using var fabric = await RelayFabric.StartAsync("", relayInRome: false);

        var status = await fabric.Paris.UntilAsync(s => Virginia(s).ActiveLink == "via:oslo-1");

        Assert.DoesNotContain(status.Relays, r => r.Relay == "rome-1");
    }

    [Fact]
    public async Task An_evicted_relay_carries_nothing_any_more_and_an_evicted_peer_is_not_reached_through_one()
    {
        await using var fabric = await RelayFabric.StartAsync("");
        await fabric.Paris.UntilAsync(s => Virginia(s) is { State: "connected", ActiveLink: "via:rome-1" } && s.Services[0].ChosenSite == "virginia");
        using var call = await fabric.CallAsync();
        Assert.Equal("virginia", await call.ReadLineAsync());

        await fabric.Paris.CallAsync(Protocol.Grpc.AdminMethods.PublishTrust, fabric.Authority.Evict("rome").Signed!);

        await fabric.Paris.UntilAsync(s => s.Relays.All(r => r.Relay != "rome-1") && s.Sites.All(x => x.Name != "rome")
            && Virginia(s).ActiveLink == "via:oslo-1");
        Assert.Equal("on", await call.EchoAsync("on"));

        await fabric.Paris.CallAsync(Protocol.Grpc.AdminMethods.PublishTrust, fabric.Authority.Evict("virginia").Signed!);

        Assert.Null(await call.EchoAsync("off"));
        await fabric.Paris.UntilAsync(s => s.Relays.Count == 0 && s.Services.Count == 0 && s.Listeners.All(l => l.Name != "web.shop"));
        await fabric["oslo-1"].UntilAsync(s => s.Sites.SelectMany(x => x.Gateways).All(g => g.RelayedLanes == 0 && g.Name != "virginia-1"));
        await fabric["virginia-1"].UntilAsync(s => s.Sites.SelectMany(x => x.Gateways).All(g => g.State is "self" or "unreachable"));
    }

    private static GatewayStatus Virginia(Status status) => status.Sites.Single(s => s.Name == "virginia").Gateways[0];

    /// <summary>
    /// Paris, where callers are, and virginia, which exports <c>web.shop</c>; rome and oslo have a link to both, those of oslo dearer.
    /// </summary>
    private sealed class RelayFabric : IAsyncDisposable
    {
        private static readonly string[] _sites = ["paris", "virginia", "rome", "oslo"];
        private static int _ranges = Environment.ProcessId;

        private readonly TemporaryFolder _folder = new();
        private readonly Dictionary<string, (GatewayProcess Gateway, AdminClient Admin)> _gateways = [];
        private readonly NamedEndpoint _endpoint = new("virginia");

        public AdminClient Paris => this["paris-1"];

        public TrustAuthority Authority => TrustAuthority.Open(_folder["ca"], TimeProvider.System);

        public AdminClient this[string gateway] => _gateways[gateway].Admin;

        public static async Task<RelayFabric> StartAsync(string moreLinks, bool relayInRome = true)
        {
            var fabric = new RelayFabric();
            try
            {
                await fabric.LaunchAsync(moreLinks, relayInRome);
                return fabric;
            }
            catch
            {
                await fabric.DisposeAsync();
                throw;
            }
        }

        private async Task LaunchAsync(string moreLinks, bool relayInRome)
        {
            var ports = FreePorts.Take(13);
            var range = 10 + (Interlocked.Increment(ref _ranges) % 25 * 4);
            var sites = _sites.Select((site, i) => $$"""
                  - name: {{site}}
                    relay: {{(site != "rome" || relayInRome ? "true" : "false")}}
                    serviceAddresses: 127.{{range + i}}.0.0/16
                    gateways: [ { name: {{site}}-1, listen: [ 127.0.0.1 ], port: {{ports[3 * i]}}, dns: "127.0.0.1:{{ports[(3 * i) + 1]}}", metrics: "127.0.0.1:{{ports[(3 * i) + 2]}}", dashboard: off } ]

                """);
            var links = new[] { ("paris", "rome"), ("rome", "virginia"), ("paris", "oslo"), ("oslo", "virginia") }.Select(l => $$"""
                  - { name: {{l.Item1}}-{{l.Item2}}, type: interconnect, cost: {{(l.Item1 == "oslo" || l.Item2 == "oslo" ? 500 : 0)}}, ends: [ { gateway: {{l.Item1}}-1, address: 127.0.0.1 }, { gateway: {{l.Item2}}-1, address: 127.0.0.1 } ] }

                """);
            _folder.Write("topology.yaml", $$"""
                fabric: 1
                trustDomain: acme.example
                probes: { active: 200ms, idle: 200ms, misses: 8, holdDown: 1s }
                sites:
                {{string.Concat(sites)}}
                links:
                {{string.Concat(links)}}{{moreLinks}}
                workloads:
                  - { name: shop, site: paris, addresses: [ 127.0.0.1/32 ] }
                policies:
                  - { name: shop-may, action: allow, from: [ site/paris/workload/shop ], to: [ "*.shop" ] }
                services:
                  - name: web
                    namespace: shop
                    ports: [ { port: {{ports[12]}} } ]
                    exports: [ { site: virginia, endpoints: [ "127.0.0.1:{{_endpoint.Port}}" ] } ]

                """);
            var ca = MeshCa.Create(_folder["ca"], "acme.example", TimeProvider.System);
            foreach (var site in _sites)
            {
                var options = new DaemonOptions
                {
                    State = _folder[site],
                    Topology = _folder["topology.yaml"],
                    Socket = _folder[site + ".sock"],
                    WireGuard = "off",
                    AllowFaults = true,
                    // No test has to be quick to meet a connection that waits.
                    Patience = Wait.Limit,
                };
                JoinClient.JoinLocally(ca.CreateToken(site, site + "-1"), ca, new GatewayKeyStore(_folder[site, "identity"]), TimeProvider.System);
                var gateway = await GatewayProcess.StartAsync(options, TimeProvider.System, NullLoggerFactory.Instance, default);
                _gateways[site + "-1"] = (gateway, new AdminClient(options.Socket));
            }

            await Paris.UntilAsync(s => s.Links.All(l => l is { State: "up", Lane: "up" }));
        }

        public async Task<LoopbackFabric.Call> CallAsync()
        {
            var service = (await Paris.StatusAsync()).Services.Single();
            var client = new TcpClient(new IPEndPoint(IPAddress.Loopback, 0));
            await client.ConnectAsync(IPAddress.Parse(service.ServiceAddress), (int)service.Ports[0]).WaitAsync(Wait.Limit);
            return new LoopbackFabric.Call(client);
        }

        public async Task StopAsync(string gateway)
        {
            _gateways.Remove(gateway, out var stopped);
            stopped.Admin.Dispose();
            await stopped.Gateway.DisposeAsync().AsTask().WaitAsync(Wait.Limit);
        }

        public async ValueTask DisposeAsync()
        {
            foreach (var gateway in _gateways.Keys.ToList())
            {
                await StopAsync(gateway);
            }

            _endpoint.Dispose();
            _folder.Dispose();
        }
    }
}
