using System.Globalization;
using System.Net;
using System.Text;
using Fabric.Drills.Measurement;
using Fabric.Lab.Gateways;
using Fabric.Lab.Processes;
using Fabric.Protocol.Grpc;
using Fabric.Protocol.Proto;
using Fabric.Topology;
using Fabric.Topology.Model;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;
using TopologyFile = Fabric.Topology.TopologyFile;

namespace Fabric.Lab.Drills;

/// <summary>
/// The sample topologies as gateways that run, on loopback: sites, gateways, links, services, workloads and policies are theirs, addresses and what carries the links are not. One
/// fabric runs at a time; a topology with the same gateways is taken up by it, one with others ends it.
/// </summary>
public sealed class LibraryFabric : IAsyncLifetime
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(90);

    /// <summary>One for all, so that gateways can take up another sample.</summary>
    private const string Trust = "lab.example";

    private readonly List<GatewayProcess> _gateways = [];
    private readonly Responder _responder = new(new IPEndPoint(IPAddress.Loopback, 0));
    private readonly HashSet<string> _restricted = [];
    private WebApplication _web = null!;
    private WorkFolder? _work;
    private Mesh _mesh = null!;
    private string _sample = "";
    private FabricTopology _topology = null!;
    private bool _disposed;

    public static string Samples => Path.Combine(Programs.Repository, "topologies");

    /// <summary>Through which drills are run: of the site that the topology names for it.</summary>
    public GatewayProcess Controller => _gateways[0];

    public GatewayProcess Gateway(string name) => _gateways.Single(g => g.Name == name);

    public async Task InitializeAsync()
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.UseUrls("http://127.0.0.1:0");
        _web = builder.Build();
        _web.Run(http => http.Response.WriteAsync("ok"));
        await _web.StartAsync();
    }

    public async Task DisposeAsync()
    {
        if (!_disposed)
        {
            _disposed = true;
            await End();
            await _web.DisposeAsync();
            _responder.Dispose();
        }
    }

    /// <summary>The fabric of that sample runs, all its links are up, every service is healthy, and the controller's connections go where they should when all is well.</summary>
    public async Task Ready(string sample)
    {
        if (_sample != sample)
        {
            var file = new TopologyFile(sample, await File.ReadAllTextAsync(Path.Combine(Samples, sample)));
            var topology = TopologyLoader.Load([file]).Topology!;
            string[] names = [.. topology.Sites.OrderByDescending(s => topology.Drills.From.Contains(s.Name)).SelectMany(s => s.Gateways).Select(g => g.Name)];
            var text = OnLoopback(topology, file);
            _sample = "";
            if (names.SequenceEqual(_gateways.Select(g => g.Name)))
            {
                await Task.WhenAll(_gateways.Select(async g =>
                {
                    await File.WriteAllTextAsync(Directory.GetFiles(g.TopologyFolder, "*.yaml").Single(), text);
                    await g.Reload();
                }));
            }
            else
            {
                await End();
                await Start(topology, names, text);
            }

            (_sample, _topology) = (sample, topology);
        }

        var now = _topology;

        foreach (var gateway in _gateways)
        {
            await gateway.Until("all links up", Limit, s => s.Links.Count > 0 && s.Links.All(l => l.State == "up" && l.Lane == "up")
                && s.Services.Count > 0 && s.Services.All(v => v.Sites.All(x => x.State == "healthy")));
        }

        await Controller.Until("the cheapest links and the first sites chosen", Limit, s =>
            s.Links.GroupBy(l => l.Peer).All(p => p.MinBy(l => now.Links.First(x => x.Name == l.Name).Cost)!.Role == "active")
            && s.Services.All(v => v.ChosenSite == now.Services.Single(x => x.FullName == v.Name).Exports[0].Site));
    }

    /// <summary>It ends, and starts again as its unit has it: without CAP_NET_RAW, and with systemd waiting for 10 s.</summary>
    public async Task Restrict(string name)
    {
        var gateway = Gateway(name);
        await gateway.Stop();
        _restricted.Add(name);
        gateway.Start();
        await gateway.Ready(Limit);
    }

    public Task<CommandResult> Drill(string file, params string[] more) => Command.Run(_mesh.FabricCommand(
        ["drill", "run", file, "--history", _work!.Of("drills"), "--topology", Controller.TopologyFolder, "--socket", Controller.Socket, .. more]), TimeSpan.FromMinutes(2));

    public string Write(string name, string text)
    {
        File.WriteAllText(_work!.Of(name), text);
        return _work.Of(name);
    }

    /// <summary>At no gateway.</summary>
    public async Task NothingInForce()
    {
        foreach (var gateway in _gateways)
        {
            var list = await gateway.Call(FaultsMethods.List, new ListFaultsRequest());
            Assert.DoesNotContain(list.Faults, f => f.State != "reverted");
        }
    }

    public string Tails() => string.Concat(_gateways.Select(g => g.Tail()));

    private async Task Start(FabricTopology topology, string[] names, string text)
    {
        _work = await WorkFolder.Take();
        var programs = Programs.Find();
        _mesh = new Mesh(_work, programs);
        await _mesh.Init(Trust, text);
        foreach (var name in names)
        {
            var site = topology.FindGateway(name)!.Site;
            _gateways.Add(new GatewayProcess(_work, site, programs, argv => _restricted.Contains(name) ? [.. Restricted, .. argv] : argv, ["--wireguard", "off", "--allow-faults"], name)
            {
                Ca = name == names[0] ? _mesh.Ca : null,
            });
        }

        await Join(Controller);
        await Task.WhenAll(_gateways.Skip(1).Select(Join));
    }

    private async Task Join(GatewayProcess gateway)
    {
        await _mesh.Join(gateway, $"{AddressOf(0)}:7443");
        gateway.Start();
        await gateway.Ready(Limit);
    }

    private async Task End()
    {
        await Task.WhenAll(_gateways.Select(g => g.DisposeAsync().AsTask()));
        _gateways.Clear();
        _restricted.Clear();
        if (_work is not null)
        {
            await _work.DisposeAsync();
        }

        (_work, _sample) = (null, "");
    }

    /// <summary>Nobody reads what it tells systemd.</summary>
    private string[] Restricted => ["env", $"NOTIFY_SOCKET={_work!.Of("nobody.sock")}", "WATCHDOG_USEC=10000000", "setpriv", "--bounding-set=-net_raw", "--inh-caps=-net_raw"];

    private static string AddressOf(int gateway) => $"127.{91 + gateway}.0.1";

    /// <summary>The same names, with addresses of this machine.</summary>
    private string OnLoopback(FabricTopology topology, TopologyFile sample)
    {
        var gateways = topology.Sites.OrderByDescending(s => topology.Drills.From.Contains(s.Name)).SelectMany(s => s.Gateways).Select(g => g.Name).ToList();
        string Address(string gateway) => AddressOf(gateways.IndexOf(gateway));
        var text = new StringBuilder("fabric: 1\n");
        void Line(FormattableString line) => text.Append(line.ToString(CultureInfo.InvariantCulture)).Append('\n');
        Line($"trustDomain: {Trust}\ndrills: {{ from: [ {string.Join(", ", topology.Drills.From)} ] }}\nsites:");
        foreach (var (site, i) in topology.Sites.Select((s, i) => (s, i)))
        {
            Line($"  - name: {site.Name}\n    serviceAddresses: 127.{101 + i}.0.0/16\n    gateways:");
            foreach (var gateway in site.Gateways)
            {
                var own = Address(gateway.Name);
                Line($"      - {{ name: {gateway.Name}, listen: [ {own} ], dns: \"{own}:5353\", metrics: \"{own}:9440\", dashboard: off }}");
            }
        }

        Line($"links:");
        foreach (var link in topology.Links.GroupBy(l => l.Name))
        {
            Line($"  - name: {link.Key}\n    type: interconnect\n    cost: {link.First().Cost}");
            if (link.First().Capacity is { } bits)
            {
                Line($"    capacity: {bits / 1_000_000}Mbit");
            }

            Line($"    ends:");
            foreach (var end in link.SelectMany(l => new[] { l.A, l.B }).DistinctBy(e => e.Gateway))
            {
                Line($"      - {{ gateway: {end.Gateway}{(end.Address is null ? "" : $", address: {Address(end.Gateway)}")} }}");
            }
        }

        Line($"services:");
        foreach (var service in topology.Services)
        {
            Line($"  - name: {service.Name}\n    namespace: {service.Namespace}\n    health: {{ type: none }}");
            Line($"    ports: [ {string.Join(", ", service.Ports.Select(p => $"{{ name: p{p.Port}, port: {p.Port}, protocol: {Word(p.Protocol)} }}"))} ]\n    exports:");
            foreach (var export in service.Exports)
            {
                // The drill of loopback.yaml has probes that only a responder answers.
                var endpoints = service.Ports.Select(p => (p.Port, To: p.Protocol == ServiceProtocol.Http && sample.Path != "loopback.yaml"
                    ? new Uri(_web.Urls.Single()).Port : _responder.Address.Port));
                Line($"      - {{ site: {export.Site}, endpoints: [ {string.Join(", ", endpoints.Select(e => $"{{ address: \"127.0.0.1:{e.To}\", port: {e.Port} }}"))} ] }}");
            }
        }

        // Who may call what, word for word; the shop is whoever calls on this machine.
        var rest = new[] { "\nworkloads:", "\npolicies:" }.Select(k => sample.Text.IndexOf(k, StringComparison.Ordinal)).Where(i => i >= 0).Min();
        return text.Append(sample.Text[rest..].Replace("10.1.0.0/24", "127.0.0.1/32", StringComparison.Ordinal)).ToString();
    }

    private static string Word(ServiceProtocol protocol) => protocol == ServiceProtocol.TcpAndUdp ? "tcp+udp" : protocol.ToString().ToLowerInvariant();
}
