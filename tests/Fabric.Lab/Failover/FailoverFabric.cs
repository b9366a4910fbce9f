using System.Diagnostics;
using System.Globalization;
using System.Net;

using Fabric.Lab.Gateways;
using Fabric.Lab.Networks;
using Fabric.Lab.Processes;
using Fabric.Protocol.Proto;
using Fabric.Testing.Links;
using Fabric.Topology;

namespace Fabric.Lab.Failover;

/// <summary>One interconnect link of the two sites.</summary>
/// <param name="RoundTrip">Of the emulated line, milliseconds.</param>
/// <param name="Cost">As in the topology.</param>
public sealed record Wire(double RoundTrip, int Cost = 0);

/// <summary>
/// Two sites in network namespaces, each with a real fabricd, joined by emulated links. paris imports, virginia exports.
/// <code>
///  fabric-bench-paris                link emulator                 fabric-bench-virginia
///  ┌────────────────────┐     line0  10 ms each way       ┌────────────────────────────┐
///  │ client ─► fabricd  │════════════════════════════════│ fabricd ─► echo, bulk      │
///  │                    │────────────────────────────────│                            │
///  └────────────────────┘     line1 …                     └────────────────────────────┘
///     10.90.N.1                                                  10.90.N.2
/// </code>
/// </summary>
public sealed class FailoverFabric : IAsyncDisposable
{
    public const string ParisNamespace = "fabric-bench-paris";
    public const string VirginiaNamespace = "fabric-bench-virginia";

    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(30);

    private readonly WorkFolder _work;
    private readonly List<Daemon> _daemons = [];
    private LinkEmulator? _emulator;
    private EchoServer? _echo;
    private BulkServer? _bulk;

    private FailoverFabric(WorkFolder work)
    {
        _work = work;
        var programs = Programs.Find();
        Mesh = new Mesh(work, programs);
        Paris = Gateway("paris", ParisNamespace, Mesh.Ca);
        Virginia = Gateway("virginia", VirginiaNamespace, null);

        GatewayProcess Gateway(string site, string name, string? ca) =>
            new(work, site, programs, argv => ["ip", "netns", "exec", name, .. argv], ["--wireguard", "off"]) { Ca = ca };
    }

    public Mesh Mesh { get; }

    /// <summary>The importing end: direction A to B of the links leads away from it.</summary>
    public GatewayProcess Paris { get; }

    public GatewayProcess Virginia { get; }

    public IReadOnlyList<EmulatedLink> Links => _emulator!.Links;

    /// <summary>Whether gateways take <c>delivery: mirrored</c> in a topology.</summary>
    public static bool KnowsMirrored => TopologyLoader.Load([new global::Fabric.Topology.TopologyFile("mirrored.yaml", Topology([new Wire(1)], "", mirrored: true))]).Topology is not null;

    /// <param name="probes">Intervals in the topology, as <c>active: 10ms, idle: 10ms</c>; empty for the defaults.</param>
    /// <param name="mirrored">With a service that asks for mirrored delivery.</param>
    public static string Topology(IReadOnlyList<Wire> wires, string probes, bool mirrored)
    {
        var links = string.Concat(wires.Select((w, i) => $$"""

              - name: line{{i}}
                type: interconnect
                cost: {{w.Cost}}
                ends:
                  - {gateway: paris-1, address: 10.90.{{i}}.1}
                  - {gateway: virginia-1, address: 10.90.{{i}}.2}
            """));
        return $$"""
            fabric: 1
            trustDomain: bench.example
            {{(probes.Length > 0 ? $"probes: {{{probes}}}" : "")}}

            sites:
              - name: paris
                serviceAddresses: 10.81.0.0/16
                gateways: [{name: paris-1, dashboard: off}]
              - name: virginia
                serviceAddresses: 10.82.0.0/16
                gateways: [{name: virginia-1, dashboard: off}]

            links:{{links}}

            services:
              - name: echo
                namespace: bench
                ports: [{port: 7000}]
                exports: [{site: virginia, endpoints: ["127.0.0.1:7000"]}]
              - name: bulk
                namespace: bench
                ports: [{port: 7001}]
                exports: [{site: virginia, endpoints: ["127.0.0.1:7001"]}]
            {{(mirrored ? """
              - name: mirrored
                namespace: bench
                delivery: mirrored
                ports: [{port: 7002}]
                exports: [{site: virginia, endpoints: ["127.0.0.1:7000"]}]

            """ : "")}}
            policies:
              - {name: all, action: allow, from: ["site/paris/*"], to: ["*.bench"]}

            """;
    }

    /// <summary>Builds one, runs that on it, and removes it: also after a signal, which stops both before it.</summary>
    public static async Task On(IReadOnlyList<Wire> wires, string probes, bool mirrored, Func<FailoverFabric, Task> run)
    {
        // Removes what an earlier run left. Nothing is built yet; what is, disposal removes.
        await using var fabric = new FailoverFabric(await WorkFolder.Take());
        try
        {
            await Interruption.Guard(async () =>
            {
                await fabric.Start(wires, probes, mirrored);
                await run(fabric);
            });
        }
        catch (Exception e) when (e is not OperationCanceledException)
        {
            await Console.Error.WriteLineAsync(fabric.Tails());
            throw;
        }
    }

    /// <summary>Builds all of it, up to links that are up and services that are healthy.</summary>
    private async Task Start(IReadOnlyList<Wire> wires, string probes, bool mirrored)
    {
        await Build(wires);
        await Mesh.Init("bench.example", Topology(wires, probes, mirrored));
        foreach (var gateway in new[] { Paris, Virginia })
        {
            await Mesh.Join(gateway, "10.90.0.1:7443");
            gateway.Start();
            await gateway.Ready(Limit);
        }

        await Until("all links up", s => s.Links.Count == wires.Count && s.Links.All(l => l.State == "up" && l.Lane == "up"));
        await Paris.Until("services healthy", Limit, s => s.Services.All(x => x.ChosenSite == "virginia"));
        // The first figures of a link come from processes that still start.
        await Task.Delay(TimeSpan.FromSeconds(3), Interruption.Token);
    }

    /// <summary>Where a service is, in paris.</summary>
    public async Task<IPEndPoint> Address(string service)
    {
        var found = (await Paris.Status()).Services.Single(s => s.Name == $"{service}.bench");
        return new IPEndPoint(IPAddress.Parse(found.ServiceAddress), (int)found.Ports[0]);
    }

    public async Task<EchoLoad> OpenEcho(string service = "echo", int connections = 50, int perSecond = 200) =>
        new(ParisNamespace, await Address(service), connections, perSecond);

    public async Task<BulkStream> OpenBulk(long blocks, long bytesPerSecond) => BulkStream.Open(ParisNamespace, await Address("bulk"), blocks, bytesPerSecond);

    /// <summary>Number of the link that this gateway's bytes take.</summary>
    public static async Task<int> ActiveAt(GatewayProcess gateway)
    {
        var peer = (await gateway.Status()).Sites.SelectMany(s => s.Gateways).Single(g => g.State != "self");
        return peer.ActiveLink.StartsWith("line", StringComparison.Ordinal) ? int.Parse(peer.ActiveLink["line".Length..], CultureInfo.InvariantCulture)
            : throw new LabException($"{gateway.Name} has no active link: {peer.ActiveReason}");
    }

    /// <summary>Waits until both gateways' status is as it must be.</summary>
    public Task Until(string what, Func<Status, bool> holds, TimeSpan? limit = null) =>
        Task.WhenAll(Paris.Until(what, limit ?? Limit, holds), Virginia.Until(what, limit ?? Limit, holds));

    /// <summary>Waits until the bytes of both gateways take that link.</summary>
    public Task UntilActive(int link, TimeSpan limit) => Until($"line{link} active",
        s => s.Sites.SelectMany(x => x.Gateways).Single(g => g.State != "self").ActiveLink == $"line{link}", limit);

    /// <summary>Gives both gateways another topology, and waits until they have taken it.</summary>
    public async Task Change(string topology)
    {
        var gateways = new[] { Paris, Virginia };
        foreach (var gateway in gateways)
        {
            var file = Directory.GetFiles(gateway.TopologyFolder, "*.yaml").Single();
            await File.WriteAllTextAsync(file + ".new", topology);
            File.Move(file + ".new", file, overwrite: true);
        }

        await Task.WhenAll(gateways.Select(g => g.Reload()));
    }

    /// <summary>What both gateways wrote down since then, in order of time.</summary>
    public IReadOnlyList<GatewayEvent> Events(long since) => [.. new[] { Paris, Virginia }
        .SelectMany(g => GatewayLog.Read(g.Name, g.Log)).Where(e => e.At >= since).OrderBy(e => e.At)];

    /// <summary>Probes that both gateways have sent.</summary>
    public async Task<long> ProbesSent() => (long)(await Metric(Paris, "fabric_probes_sent_total") + await Metric(Virginia, "fabric_probes_sent_total"));

    /// <summary>What the collection of garbage cost so far, here and in both gateways, as a line: a pause that is nobody else's.</summary>
    public async Task<string> Garbage()
    {
        var (paris, virginia) = (await Metric(Paris, "dotnet_gc_pause_seconds_total"), await Metric(Virginia, "dotnet_gc_pause_seconds_total"));
        return $"stopped to collect garbage: here {GC.GetTotalPauseDuration().TotalMilliseconds:0} ms in {GC.CollectionCount(0)} times, "
            + $"paris {paris * 1000:0} ms in {await Collections(Paris):0}, virginia {virginia * 1000:0} ms in {await Collections(Virginia):0}";

        static async Task<double> Collections(GatewayProcess gateway)
        {
            var sum = 0.0;
            for (var generation = 0; generation < 3; generation++)
            {
                sum += await Metric(gateway, $$"""dotnet_gc_collections_total{generation="{{generation}}"}""");
            }

            return sum;
        }
    }

    private static async Task<double> Metric(GatewayProcess gateway, string name)
    {
        var page = await Command.Do(gateway.Inside("curl", "-sS", "-f", "-m", "5", "http://127.0.0.1:9440/metrics"));
        return double.Parse(page.Split('\n').Single(l => l.StartsWith(name + " ", StringComparison.Ordinal)).Split(' ')[1], CultureInfo.InvariantCulture);
    }

    /// <summary>Processes that take all that they get of so many cores, until <see cref="Rest"/>.</summary>
    public void Busy(int cores) => _daemons.AddRange(Enumerable.Range(0, cores)
        .Select(i => Daemon.Start(_work, $"busy{i}", ["sh", "-c", "while :; do :; done"])));

    public async Task Rest()
    {
        foreach (var daemon in _daemons)
        {
            await daemon.DisposeAsync();
        }

        _daemons.Clear();
    }

    /// <summary>The end of both gateways' logs.</summary>
    public string Tails() => Paris.Tail() + Virginia.Tail();

    /// <summary>Removes the namespaces of a benchmark that was killed.</summary>
    public static Task Remove() => Namespaces.Remove(ParisNamespace, VirginiaNamespace);

    public async ValueTask DisposeAsync()
    {
        // Each on its own: what fails to stop must not keep the rest.
        var failures = new List<Exception>();
        foreach (var stop in new Func<Task>[]
        {
            Rest, async () => await Paris.DisposeAsync(), async () => await Virginia.DisposeAsync(),
            async () => await (_bulk?.DisposeAsync() ?? ValueTask.CompletedTask),
            () => Task.Run(() => _echo?.Dispose()), () => Task.Run(() => _emulator?.Dispose()), Remove, async () => await _work.DisposeAsync(),
        })
        {
            try
            {
                await stop();
            }
            catch (Exception e)
            {
                failures.Add(e);
            }
        }

        if (failures.Count > 0)
        {
            throw new AggregateException("the benchmark could not remove all of itself", failures);
        }
    }

    private async Task Build(IReadOnlyList<Wire> wires)
    {
        await Remove();
        await Namespaces.Add(ParisNamespace, VirginiaNamespace);
        _emulator = new LinkEmulator([.. wires.Select((_, i) => ($"bench{i}a", $"bench{i}b"))]);
        for (var i = 0; i < wires.Count; i++)
        {
            _emulator.Links[i].Conditions = new LinkConditions { Delay = TimeSpan.FromMilliseconds(wires[i].RoundTrip / 2) };
            await Namespaces.MoveIn(ParisNamespace, $"bench{i}a", $"10.90.{i}.1/30", mtu: 1500);
            await Namespaces.MoveIn(VirginiaNamespace, $"bench{i}b", $"10.90.{i}.2/30", mtu: 1500);
        }

        _echo = new EchoServer(VirginiaNamespace, IPEndPoint.Parse("127.0.0.1:7000"));
        _bulk = new BulkServer(VirginiaNamespace, IPEndPoint.Parse("127.0.0.1:7001"));
    }
}
