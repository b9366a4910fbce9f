using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Runtime.InteropServices;
using Fabric.Gateway.Hosting;
using Fabric.Identity;
using Fabric.Identity.Authority;
using Fabric.Identity.Joining;
using Fabric.Protocol.Proto;
using Fabric.Testing;
using Fabric.Tunnel;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace Fabric.Gateway.Tests.Hosting;

/// <summary>
/// Three whole gateways in this process: paris, where callers are, and virginia and factory, which export <c>web.shop</c>. They meet on
/// the loopback by two links, <c>dx</c> and the dearer <c>internet</c>; factory has only the latter.
/// Nobody relays: <see cref="RelayTests"/> have a fabric of their own. Virginia may have a second gateway,
/// on both links.
/// </summary>
internal sealed class LoopbackFabric : IAsyncDisposable
{
    public const string Paris = "paris-1";
    public const string Virginia = "virginia-1";
    public const string Virginia2 = "virginia-2";
    public const string Factory = "factory-1";

    private static int _ranges = Environment.ProcessId;

    private readonly TemporaryFolder _folder = new();
    private readonly int[] _ports = FreePorts.Take(13);
    private readonly int _range = 128 + (Interlocked.Increment(ref _ranges) % 40 * 3);
    private readonly Dictionary<string, GatewayProcess> _gateways = [];
    private readonly Dictionary<string, AdminClient> _admins = [];
    private ServiceStatus? _web;

    private readonly bool _two;
    private readonly TunnelDriver _driver;
    private Process? _process;

    private LoopbackFabric(bool two, TunnelDriver driver = TunnelDriver.Auto)
    {
        (_two, _driver) = (two, driver);
        Write(Topology());
    }

    private string[] Names => _two ? [Paris, Virginia, Virginia2, Factory] : [Paris, Virginia, Factory];

    /// <summary>The gateway's port.</summary>
    public IPEndPoint PortOf(string gateway) => new(IPAddress.Loopback, _ports[gateway switch { Paris => 0, Virginia => 3, Virginia2 => 10, _ => 6 }]);

    /// <summary>Where its metrics are.</summary>
    public IPEndPoint MetricsOf(string gateway) => new(IPAddress.Loopback, _ports[gateway switch { Paris => 2, Virginia => 5, Virginia2 => 12, _ => 8 }]);

    /// <summary>The mesh's authority.</summary>
    public string CaFolder => _folder["ca"];

    public int ServicePort => _ports[9];

    public NamedEndpoint InVirginia { get; } = new("virginia");
    public NamedEndpoint InFactory { get; } = new("factory");

    /// <summary>The mesh's authority; each gateway renews there, from the folder.</summary>
    public TrustAuthority Authority => TrustAuthority.Open(_folder["ca"], TimeProvider.System);

    public string TopologyPath => _folder["topology.yaml"];

    public GatewayProcess this[string gateway] => _gateways[gateway];

    /// <summary>With all started, and paris connected to the others over all links.</summary>
    /// <param name="two">Whether virginia has two gateways.</param>
    /// <param name="killable">The gateway that is a process of its own, which <see cref="Kill"/> ends; null: none.</param>
    /// <param name="driver">Of their tunnels.</param>
    public static async Task<LoopbackFabric> StartAsync(bool two = false, string? killable = null, TunnelDriver driver = TunnelDriver.Auto)
    {
        var fabric = new LoopbackFabric(two, driver);
        try
        {
            fabric.Join();
            if (killable is not null)
            {
                // First, for it takes longest: probes that nobody answers yet are lost, and its links are worse than the others' for a while.
                await fabric.StartProcessAsync(killable);
            }

            await Task.WhenAll(fabric.Names.Where(g => g != killable).Select(g => fabric.StartAsync(g)));
            await fabric.Admin(Paris).UntilAsync(s => s.Links.Count == (two ? 5 : 3) && s.Links.All(l => l is { State: "up", Lane: "up" })
                && s.Services is [{ Sites: [{ State: "healthy" }, { State: "healthy" }], ChosenSite: "virginia" }]
                && (!two || s.Services[0].ChosenReason.Contains("virginia-1 and virginia-2", StringComparison.Ordinal)
                    || s.Services[0].ChosenReason.Contains("virginia-2 and virginia-1", StringComparison.Ordinal)));
            return fabric;
        }
        catch
        {
            await fabric.DisposeAsync();
            throw;
        }
    }

    /// <summary>Nobody started yet; all have an identity.</summary>
    /// <param name="time">When they got it; default: now.</param>
    public static LoopbackFabric Joined(TimeProvider? time = null)
    {
        var fabric = new LoopbackFabric(false);
        fabric.Join(time);
        return fabric;
    }

    /// <summary>Every folder of a gateway's state.</summary>
    public IEnumerable<string> States => Directory.EnumerateDirectories(_folder.Root).Where(d => d != CaFolder);

    /// <summary>Where the DNS of paris is answered.</summary>
    public IPEndPoint Dns => new(IPAddress.Loopback, _ports[1]);

    public AdminClient Admin(string gateway) => _admins[gateway];

    private async Task StartProcessAsync(string gateway)
    {
        var options = Options(gateway);
        var dotnet = Path.Combine(RuntimeEnvironment.GetRuntimeDirectory(), "..", "..", "..", "dotnet");
        _process = Process.Start(new ProcessStartInfo(dotnet)
        {
            ArgumentList =
            {
                Path.Combine(AppContext.BaseDirectory, "fabricd.dll"), "--state", options.State, "--topology", options.Topology,
                "--socket", options.Socket, "--wireguard", options.WireGuard,
            },
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        })!;
        _process.OutputDataReceived += (_, _) => { };
        _process.ErrorDataReceived += (_, _) => { };
        _process.BeginOutputReadLine();
        _process.BeginErrorReadLine();
        await Wait.UntilAsync(() => File.Exists(options.Socket), () => $"{gateway} has its socket");
        lock (_gateways)
        {
            _admins[gateway] = new AdminClient(options.Socket);
        }
    }

    /// <summary>SIGKILL, for the gateway that is a process of its own.</summary>
    public void Kill() => _process!.Kill();

    /// <summary>SIGSTOP, likewise: it says nothing more, and the kernel still keeps its sockets open. Its end comes with that of the fabric.</summary>
    public void Freeze()
    {
        using var kill = Process.Start("sh", ["-c", $"kill -STOP {_process!.Id}"]);
        kill.WaitForExit();
        Assert.Equal(0, kill.ExitCode);
    }

    public async Task StopAsync(string gateway)
    {
        _admins.Remove(gateway, out var admin);
        admin!.Dispose();
        _gateways.Remove(gateway, out var stopped);
        await stopped!.DisposeAsync();
    }

    public async Task StartAsync(string gateway, ILoggerFactory? logs = null, TimeProvider? time = null)
    {
        var started = await LaunchAsync(gateway, logs, time);
        lock (_gateways)
        {
            _gateways[gateway] = started;
            _admins[gateway] = new AdminClient(Options(gateway).Socket);
        }
    }

    public Task<GatewayProcess> LaunchAsync(string gateway, ILoggerFactory? logs = null, TimeProvider? time = null) =>
        GatewayProcess.StartAsync(Options(gateway), time ?? TimeProvider.System, logs ?? NullLoggerFactory.Instance, default);

    public DaemonOptions Options(string gateway) => new()
    {
        State = State(gateway),
        Topology = TopologyPath,
        Socket = _folder[gateway + ".sock"],
        WireGuard = "off",
        AllowFaults = true,
        Ca = _folder["ca"],
        TunnelDriver = _driver,
        // No test has to be quick to meet a connection that waits.
        Patience = Wait.Limit,
    };

    public string State(string gateway, params string[] names) => _folder[[gateway, .. names]];

    /// <summary>Whole at once: gateways look at it by themselves.</summary>
    public void Write(string topology) => File.Move(_folder.Write("topology.next", topology), TopologyPath, overwrite: true);

    /// <summary>
    /// The topology, with more services when wanted. A link that is silent for a second and a half is not taken for dead, nor an endpoint after three: so
    /// long all of them, in one process, may have to wait for a core. Longer, and the tunnel gives a lane up before the probes' verdict.
    /// </summary>
    public string Topology(string moreServices = "") => $$"""
        fabric: 1
        trustDomain: acme.example
        probes: { active: 200ms, idle: 200ms, misses: 8, holdDown: 1s }
        sites:
          - name: paris
            relay: false
            serviceAddresses: 127.{{_range}}.0.0/16
            gateways: [ { name: paris-1, listen: [ 127.0.0.1 ], port: {{_ports[0]}}, dns: "127.0.0.1:{{_ports[1]}}", metrics: "127.0.0.1:{{_ports[2]}}", dashboard: off } ]
          - name: virginia
            relay: false
            serviceAddresses: 127.{{_range + 1}}.0.0/16
            gateways: [ { name: virginia-1, listen: [ 127.0.0.1 ], port: {{_ports[3]}}, dns: "127.0.0.1:{{_ports[4]}}", metrics: "127.0.0.1:{{_ports[5]}}", dashboard: off }{{(_two ? $$""", { name: virginia-2, listen: [ 127.0.0.1 ], port: {{_ports[10]}}, dns: "127.0.0.1:{{_ports[11]}}", metrics: "127.0.0.1:{{_ports[12]}}", dashboard: off }""" : "")}} ]
          - name: factory
            relay: false
            serviceAddresses: 127.{{_range + 2}}.0.0/16
            gateways: [ { name: factory-1, listen: [ 127.0.0.1 ], port: {{_ports[6]}}, dns: "127.0.0.1:{{_ports[7]}}", metrics: "127.0.0.1:{{_ports[8]}}", dashboard: off } ]
        links:
          - name: dx
            type: interconnect
            cost: {{(_two ? 300 : 0)}}
            ends: [ { gateway: paris-1, address: 127.0.0.1 }, { gateway: virginia-1, address: 127.0.0.1 }{{SecondEnd}} ]
          - name: internet
            type: interconnect
            cost: {{(_two ? 600 : 300)}}
            ends: [ { gateway: paris-1, address: 127.0.0.1 }, { gateway: virginia-1, address: 127.0.0.1 }{{SecondEnd}}, { gateway: factory-1 } ]
        workloads:
          - { name: shop, site: paris, addresses: [ 127.0.0.1/32 ] }
        policies:
          - { name: shop-may, action: allow, from: [ site/paris/workload/shop ], to: [ "*.shop" ] }
        services:
          - name: web
            namespace: shop
            ports: [ { port: {{_ports[9]}} } ]
            health: { interval: 1s, timeout: 1s, failures: 4 }
            exports:
              - { site: virginia, endpoints: [ "127.0.0.1:{{InVirginia.Port}}" ] }
              - { site: factory, endpoints: [ "127.0.0.1:{{InFactory.Port}}" ] }

        """ + moreServices;

    private string SecondEnd => _two ? ", { gateway: virginia-2, address: 127.0.0.1 }" : "";

    /// <summary>A connection to the service's address in paris, from an address of the caller.</summary>
    public async Task<Call> CallAsync(string from = "127.0.0.1")
    {
        // Asked once: who calls hundreds of times a second is no operator, and the admin API would say so.
        var service = _web ??= (await Admin(Paris).StatusAsync()).Services.Single(s => s.Name == "web.shop");
        var client = new TcpClient(new IPEndPoint(IPAddress.Parse(from), 0));
        await client.ConnectAsync(IPAddress.Parse(service.ServiceAddress), (int)service.Ports[0]).WaitAsync(Wait.Limit);
        return new Call(client);
    }

    /// <summary>Which site answers a new connection now; null when it is reset.</summary>
    public async Task<string?> AnsweredByAsync(string from = "127.0.0.1")
    {
        try
        {
            using var call = await CallAsync(from);
            return await call.ReadLineAsync();
        }
        catch (SocketException e) when (e.SocketErrorCode == SocketError.ConnectionReset)
        {
            // So quickly that the connect was not seen to be done.
            return null;
        }
    }

    public List<Dictionary<string, string>> Audit(string gateway) => AuditLines.Read(State(gateway, "audit.log"));

    public async ValueTask DisposeAsync()
    {
        foreach (var admin in _admins.Values)
        {
            admin.Dispose();
        }

        foreach (var gateway in _gateways.Values)
        {
            await gateway.DisposeAsync().AsTask().WaitAsync(Wait.Limit);
        }

        if (_process is not null)
        {
            _process.Kill();
            await _process.WaitForExitAsync();
            _process.Dispose();
        }

        InVirginia.Dispose();
        InFactory.Dispose();
        _folder.Dispose();
    }

    private void Join(TimeProvider? time = null)
    {
        time ??= TimeProvider.System;
        var ca = MeshCa.Create(_folder["ca"], "acme.example", time);
        foreach (var gateway in Names)
        {
            JoinClient.JoinLocally(ca.CreateToken(gateway.Split('-')[0], gateway), ca, new GatewayKeyStore(State(gateway, "identity")), time);
        }
    }

    /// <summary>One application's connection.</summary>
    internal sealed class Call(TcpClient client) : IDisposable
    {
        private readonly StreamReader _reader = new(client.GetStream());

        /// <summary>Waits for the end: whether it was a reset, and not an end in order.</summary>
        public async Task<bool> WasResetAsync()
        {
            try
            {
                Assert.Null(await _reader.ReadLineAsync().WaitAsync(Wait.Limit));
                return false;
            }
            catch (IOException e) when (e.InnerException is SocketException { SocketErrorCode: SocketError.ConnectionReset })
            {
                return true;
            }
        }

        /// <summary>Null when the other side has ended it, in order or not.</summary>
        public async Task<string?> ReadLineAsync()
        {
            try
            {
                return await _reader.ReadLineAsync().WaitAsync(Wait.Limit);
            }
            catch (IOException)
            {
                return null;
            }
        }

        /// <summary>Null when the other side has ended it, in order or not.</summary>
        public async Task<string?> EchoAsync(string line)
        {
            try
            {
                await client.GetStream().WriteAsync(System.Text.Encoding.ASCII.GetBytes(line + "\n")).AsTask().WaitAsync(Wait.Limit);
            }
            catch (IOException)
            {
                return null;
            }

            return await ReadLineAsync();
        }

        public void Dispose() => client.Dispose();
    }
}
