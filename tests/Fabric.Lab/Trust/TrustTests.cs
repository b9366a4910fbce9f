using System.Diagnostics;
using System.Net;
using Fabric.Lab.Gateways;
using Fabric.Lab.Networks;
using Fabric.Lab.Processes;
using Fabric.Lab.Workloads;
using Fabric.Protocol.Proto;
using Fabric.Testing;
using Xunit.Abstractions;

namespace Fabric.Lab.Trust;

/// <summary>
/// What may happen to the mesh's trust while it works: certificates and the root change under load and nobody notices, and an evicted
/// site is out within seconds, for good, and nobody else notices.
/// </summary>
public sealed class TrustTests(ITestOutputHelper output)
{
    private const int Streams = 50;
    private const int Requests = 500;
    private const int NotEverywhere = 6;
    private const int Renewals = 60;

    /// <summary>Three renewals each, on a machine with nothing else to do; on another, what was asked twice may be done once.</summary>
    private const int MaxRounds = 90;
    private static readonly TimeSpan _alone = TimeSpan.FromSeconds(6);
    private static readonly TimeSpan _limit = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan _evicted = TimeSpan.FromSeconds(60);

    /// <summary>Two services more, each with an endpoint in one site.</summary>
    private const string More = """
        fabric: 1
        services:
          - {name: near, namespace: shop, ports: [{port: 7001}], exports: [{site: virginia, endpoints: ["127.72.1.99:7001"]}]}
          - {name: far, namespace: shop, ports: [{port: 7002}], exports: [{site: factory, endpoints: ["127.73.1.99:7002"]}]}

        """;

    [RequiresFact("nginx", "redis-server", "redis-cli", "curl", "kdig")]
    public async Task Sixty_renewals_and_a_new_root_in_half_a_minute_lose_no_request_and_no_stream()
    {
        await using var fabric = await LabFabric.Start("loopback", payloadBytes: 1 << 20);
        using var near = new EchoService(IPEndPoint.Parse("127.72.1.99:7001"));
        using var far = new EchoService(IPEndPoint.Parse("127.73.1.99:7002"));
        var status = await AddServices(fabric);
        var before = (await Report(fabric.Virginia)).LeafRoot;
        await using var streams = await StreamLoad.Start(Address(status, "near.shop"), Streams, TimeSpan.FromMilliseconds(200));
        // From whichever site: on a machine that is busy, the nearest may seem slower for a moment.
        await using var requests = new RequestLoad(Address(status, "web.shop"), "web.shop, answered by nginx in ", Requests);
        var since = Stopwatch.StartNew();

        // Each asks all three gateways, some of them while the root changes.
        var renewals = Task.Run(async () =>
        {
            for (var round = 1; round <= MaxRounds && Renewed() < Renewals; round++)
            {
                var next = TimeSpan.FromSeconds(round);
                var asked = await Command.Run(fabric.FabricCommand(["trust", "renew", "--limit", "1ms", .. Authority(fabric)]));
                Assert.True(asked.ExitCode is 0 or NotEverywhere, asked.ToString());
                await Task.Delay(next > since.Elapsed ? next - since.Elapsed : TimeSpan.Zero);
            }
        });
        await Task.Delay(_alone);
        var rotated = await Command.Run(
            fabric.FabricCommand(["trust", "rotate", "--topology", fabric.Paris.TopologyFolder, .. Authority(fabric)]), TimeSpan.FromMinutes(2));
        var took = since.Elapsed - _alone;
        output.WriteLine($"{rotated}\nrotated in {took.TotalSeconds:0.0} s");
        Assert.Equal(0, rotated.ExitCode);
        await renewals;

        int Renewed() => fabric.Gateways.Sum(g => File.ReadLines(g.Log).Count(l => l.Contains("Certificate renewed", StringComparison.Ordinal)));
        var renewed = Renewed();
        output.WriteLine($"{renewed} renewals in {since.Elapsed.TotalSeconds:0} s; {requests.Answered} requests, {requests.PerSecond:0} a second, {requests.Failures.Count} failed; "
            + $"{Streams} streams, {streams.Echoes} lines, {streams.Ended} ended, {streams.Wrong} wrong, longest {streams.Longest.TotalMilliseconds:0} ms");
        Assert.Empty(requests.Failures);
        Assert.Equal((0, 0), (streams.Ended, streams.Wrong));
        Assert.True(renewed >= Renewals, $"{renewed} renewals");
        // There was load, as much of it as this machine had time for.
        Assert.True(requests.Answered > 4 * Requests, $"{requests.Answered} requests, {requests.PerSecond:0} a second");

        // All are under the new root and trust no other, also after a restart.
        await requests.DisposeAsync();
        await streams.DisposeAsync();
        await Task.WhenAll(fabric.Gateways.Select(g => g.Stop()));
        foreach (var gateway in fabric.Gateways)
        {
            gateway.Start();
        }

        await fabric.LinksUp();
        foreach (var gateway in fabric.Gateways)
        {
            var report = await Report(gateway);
            Assert.NotEqual(before, report.LeafRoot);
            Assert.Equal([report.LeafRoot], report.Roots);
        }
    }

    [RequiresFact("nginx", "redis-server", "redis-cli", "curl", "kdig")]
    public async Task An_evicted_site_is_out_within_seconds_and_nobody_else_loses_a_byte()
    {
        await using var fabric = await LabFabric.Start("loopback", payloadBytes: 1 << 20);
        using var near = new EchoService(IPEndPoint.Parse("127.72.1.99:7001"));
        using var far = new EchoService(IPEndPoint.Parse("127.73.1.99:7002"));
        var status = await AddServices(fabric);

        // Else some of the requests that are to go on might just go there.
        await fabric.FactoryWeb.Stop();
        await fabric.Paris.Until("web.shop to be virginia's alone", _limit,
            s => s.Services.Single(x => x.Name == "web.shop").Sites.All(x => x.Site != "factory" || x.State == "down"));
        await using var requests = new RequestLoad(Address(status, "web.shop"), Nginx.Greeting(fabric.Network.Virginia), Requests / 2);
        await using var stay = await StreamLoad.Start(Address(status, "near.shop"), Streams / 2, TimeSpan.FromMilliseconds(50));
        await using var go = await StreamLoad.Start(Address(status, "far.shop"), Streams / 2, TimeSpan.FromMilliseconds(10));
        await Poll.Until("streams to factory", _limit, () => Task.FromResult(go.Echoes > 10 * Streams));

        var asked = Stopwatch.GetTimestamp();
        var evicted = await Command.Run(fabric.FabricCommand(
            ["site", "evict", "factory", "--topology", fabric.Paris.TopologyFolder, .. Authority(fabric)]), TimeSpan.FromMinutes(2));
        Assert.True(evicted.ExitCode == 0, evicted.ToString());
        await Poll.Until("the streams to factory to end", _evicted, () => Task.FromResult(go.Ended == Streams / 2));
        var last = Stopwatch.GetElapsedTime(asked, go.LastByte);
        output.WriteLine($"{evicted}\nthe last byte of factory came {last.TotalSeconds:0.00} s after the command was started; {go.Echoes} lines before");
        Assert.InRange(last, TimeSpan.Zero, _evicted);

        // Out everywhere, and out of every list: routes, names, gateways.
        foreach (var gateway in new[] { fabric.Paris, fabric.Virginia })
        {
            await gateway.Until("factory to be gone", _evicted, s => IsOut(s) && s.Services.All(x => x.Name != "far.shop"));
        }

        // It comes back after a restart and is refused by all, who were restarted as well; the one that was down meanwhile learns of the next.
        await fabric.Factory.Kill();
        fabric.Factory.Start();
        await fabric.Factory.Ready(_limit);
        await Refused(fabric.Paris);
        await Refused(fabric.Virginia);
        await fabric.Factory.Until("nobody to talk to it", _limit, s => s.Sites.SelectMany(x => x.Gateways).All(g => g.State is "self" or "unreachable"));

        output.WriteLine($"{requests.Answered} requests, {requests.Failures.Count} failed; {stay.Echoes} lines, {stay.Ended} ended, {stay.Wrong} wrong, longest {stay.Longest.TotalMilliseconds:0} ms");
        Assert.Empty(requests.Failures);
        Assert.Equal((0, 0), (stay.Ended, stay.Wrong));
        await requests.DisposeAsync();
        await stay.DisposeAsync();

        await fabric.Virginia.Stop();
        await Command.Run(fabric.FabricCommand(["site", "readmit", "factory", "--topology", fabric.Paris.TopologyFolder, "--limit", "1s", .. Authority(fabric)]));
        await fabric.Paris.Until("factory to be back", _limit, s => s.Sites.Any(x => x.Name == "factory"));
        await Command.Run(fabric.FabricCommand(["gateway", "evict", "factory/factory-1", "--topology", fabric.Paris.TopologyFolder, "--limit", "1s", .. Authority(fabric)]));
        fabric.Virginia.Start();
        await fabric.Virginia.Until("the gateway that was down to learn of it", _evicted, IsOut);
        await Refused(fabric.Virginia);
    }

    [RequiresFact("root", "ip", "nft", "wg", "nginx", "redis-server", "redis-cli", "curl")]
    public async Task WireGuard_forgets_an_evicted_site()
    {
        await using var fabric = await LabFabric.Start("namespaces", payloadBytes: 1 << 20);
        Assert.Equal(2, await Peers(fabric, fabric.Network.Paris));
        var evicted = await Command.Run(fabric.Paris.Inside(fabric.FabricCommand(
            ["site", "evict", "factory", "--topology", fabric.Paris.TopologyFolder, .. Authority(fabric)])), TimeSpan.FromMinutes(2));
        Assert.True(evicted.ExitCode == 0, evicted.ToString());

        foreach (var site in new[] { fabric.Network.Paris, fabric.Network.Virginia })
        {
            await Poll.Until($"{site.Name} to have one WireGuard peer", _evicted, async () => await Peers(fabric, site) == 1);
        }

        Assert.Equal(Nginx.Greeting(fabric.Network.Virginia), (await fabric.Curl()).Checked().Output.Trim());
    }

    private static string[] Authority(LabFabric fabric) => ["--ca", fabric.Paris.Ca!, "--socket", fabric.Paris.Socket];

    private static async Task<Status> AddServices(LabFabric fabric)
    {
        foreach (var gateway in fabric.Gateways)
        {
            await File.WriteAllTextAsync(Path.Combine(gateway.TopologyFolder, "more.yaml"), More);
        }

        return await fabric.Paris.Until("the services", _limit, s => new[] { ("near.shop", "virginia"), ("far.shop", "factory"), ("web.shop", "virginia") }
            .All(w => s.Services.Any(x => x.Name == w.Item1 && x.ChosenSite == w.Item2) && s.Listeners.Any(l => l.Name == w.Item1 && l.Open)));
    }

    private static IPEndPoint Address(Status status, string service) => status.Services.Single(s => s.Name == service) is var found
        ? new IPEndPoint(IPAddress.Parse(found.ServiceAddress), (int)found.Ports[0]) : default!;

    private static async Task<GatewayTrust> Report(GatewayProcess gateway) =>
        (await gateway.Status()).Trust.Gateways.Single(g => g.Gateway == gateway.Name);

    private static bool IsOut(Status status) => status.Trust.Evicted.Count > 0 && status.Sites.All(s => s.Name != "factory") && status.Links.All(l => l.PeerSite != "factory");

    private static async Task Refused(GatewayProcess gateway)
    {
        ulong Count(Status status) => status.Capacity.Certificates.Single(c => c.Kind == "evicted").Count;
        var before = Count(await gateway.Status());
        await gateway.Until("factory to be refused", _limit, s => Count(s) > before);
    }

    /// <summary>Of the site's own devices: where they are processes, wg sees those of all namespaces.</summary>
    private static async Task<int> Peers(LabFabric fabric, LabSite site) => (await Command.Do(fabric.Network.Inside(site, "wg", "show", "all", "peers")))
        .Split('\n').Count(l => l.StartsWith(fabric.Network.InterfacePrefix(site), StringComparison.Ordinal));
}
