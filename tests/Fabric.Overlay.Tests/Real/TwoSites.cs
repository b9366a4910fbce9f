using System.Diagnostics;
using System.Text.Json;
using Fabric.Overlay.Keys;
using Fabric.Overlay.Tests.Host;

namespace Fabric.Overlay.Tests.Real;

/// <summary>
/// Two network namespaces joined by a cable, and a host (an overlay of its own process) in each:
/// <code>
///   fabov{id}a  10.77.0.1/24 ── veth, 1500 ── 10.77.0.2/24  fabov{id}b
///               overlay fd77::1  ═ WireGuard ═  fd77::2
/// </code>
/// UAPI sockets are shared by all namespaces: the sides differ by interface prefix.
/// </summary>
internal sealed class TwoSites : IAsyncDisposable
{
    private readonly string _id = Convert.ToHexStringLower(Guid.NewGuid().ToByteArray().AsSpan(0, 2));
    private readonly string _directory = Directory.CreateTempSubdirectory("fabric-overlay-").FullName;
    private readonly List<OverlayHost> _hosts = [];

    public WireGuardKey KeyA { get; } = WireGuardKey.Generate();
    public WireGuardKey KeyB { get; } = WireGuardKey.Generate();
    public string A => $"fabov{_id}a";
    public string B => $"fabov{_id}b";
    public string InterfaceA => $"fa{_id}-vpn";
    public string InterfaceB => $"fb{_id}-vpn";
    public string PrefixA => $"fa{_id}-";
    public string PrefixB => $"fb{_id}-";

    public string Driver { get; private init; } = "userspace";

    public static async Task<TwoSites> CreateAsync(string driver = "userspace")
    {
        var sites = new TwoSites { Driver = driver };
        try
        {
            await Shell.RunAsync($"ip netns add {sites.A} && ip netns add {sites.B}"
                + $" && ip link add v{sites._id}a netns {sites.A} type veth peer name v{sites._id}b netns {sites.B}"
                + $" && ip -n {sites.A} addr add 10.77.0.1/24 dev v{sites._id}a && ip -n {sites.B} addr add 10.77.0.2/24 dev v{sites._id}b"
                + $" && ip -n {sites.A} link set v{sites._id}a up && ip -n {sites.B} link set v{sites._id}b up"
                + $" && ip -n {sites.A} link set lo up && ip -n {sites.B} link set lo up");
            return sites;
        }
        catch
        {
            await sites.DisposeAsync();
            throw;
        }
    }

    /// <param name="site">Its namespace.</param>
    /// <param name="owner">Default: the site.</param>
    /// <param name="wrapper">Words before the command of the host.</param>
    public async Task<OverlayHost> StartAsync(string site, string owner = "", params string[] wrapper)
    {
        var prefix = site == A ? PrefixA : PrefixB;
        var host = await OverlayHost.StartAsync(site, wrapper,
            ["host", prefix, owner.Length > 0 ? owner : site, Driver, _directory]);
        _hosts.Add(host);
        return host;
    }

    public HostInterface PlanA(string? endpoint = "10.77.0.2:51820", int? keepalive = null, int mtu = 1440,
        params HostPeer[] more) =>
        new("vpn", InterfaceA, Secret(KeyA), 51820, "fd77::1", mtu,
            [new(KeyB.PublicKey.ToBase64(), endpoint, ["fd77::2/128"], keepalive), .. more]);

    public HostInterface PlanB(string? endpoint = null, int mtu = 1440, params HostPeer[] more) =>
        new("vpn", InterfaceB, Secret(KeyB), 51820, "fd77::2", mtu,
            [new(KeyA.PublicKey.ToBase64(), endpoint, ["fd77::1/128"], null), .. more]);

    public Task<string> InAsync(string site, string command) => Shell.RunAsync($"ip netns exec {site} {command}");

    /// <summary>Lines of <c>wg show NAME dump</c>, split at tabs.</summary>
    public async Task<string[][]> WgDumpAsync(string site, string name) =>
        [.. (await InAsync(site, $"wg show {name} dump")).Split('\n', StringSplitOptions.RemoveEmptyEntries)
            .Select(l => l.Split('\t'))];

    public async ValueTask DisposeAsync()
    {
        foreach (var host in _hosts)
        {
            await host.DisposeAsync();
        }

        foreach (var site in (string[])[A, B])
        {
            // Ends what still runs inside, a WireGuard process above all, and only that.
            await Shell.TryAsync($"for p in $(ip netns pids {site}); do kill -9 $p; done; ip netns del {site}");
        }

        await Shell.TryAsync($"rm -f /var/run/wireguard/{PrefixA}*.sock /var/run/wireguard/{PrefixB}*.sock");
        Directory.Delete(_directory, recursive: true);
    }

    internal static string Secret(WireGuardKey key) => Convert.ToBase64String(key.Secret);
}

/// <summary>A host process inside a namespace.</summary>
internal sealed class OverlayHost : IAsyncDisposable
{
    private readonly Process _process;
    private readonly List<string> _log = [];

    private OverlayHost(Process process)
    {
        _process = process;
        process.ErrorDataReceived += (_, e) =>
        {
            lock (_log)
            {
                _log.Add(e.Data ?? "");
            }
        };
        process.BeginErrorReadLine();
    }

    public string Log
    {
        get
        {
            lock (_log)
            {
                return string.Join('\n', _log);
            }
        }
    }

    public static async Task<OverlayHost> StartAsync(string site, string[] wrapper, string[] arguments)
    {
        var start = new ProcessStartInfo("ip")
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        foreach (var argument in (string[])["netns", "exec", site, .. wrapper, "dotnet", typeof(Program).Assembly.Location,
            .. arguments])
        {
            start.ArgumentList.Add(argument);
        }

        var host = new OverlayHost(Process.Start(start)!);
        Assert.Equal("ready", await host.ReadAsync());
        return host;
    }

    /// <summary>Throws when there are faults.</summary>
    public async Task ReconcileAsync(params HostInterface[] interfaces) =>
        Assert.Empty((await AskAsync(new("reconcile") { Interfaces = interfaces })).Faults);

    public async Task<HostAnswer> AskAsync(HostRequest request)
    {
        await _process.StandardInput.WriteLineAsync(JsonSerializer.Serialize(request));
        await _process.StandardInput.FlushAsync();
        return JsonSerializer.Deserialize<HostAnswer>(await ReadAsync())!;
    }

    /// <summary>SIGKILL: nothing of it runs any more.</summary>
    public async Task KillAsync()
    {
        _process.Kill();
        await _process.WaitForExitAsync().WaitAsync(TimeSpan.FromSeconds(10));
    }

    /// <summary>The end of its input: it detaches.</summary>
    public async Task DetachAsync()
    {
        _process.StandardInput.Close();
        await _process.WaitForExitAsync().WaitAsync(TimeSpan.FromSeconds(10));
    }

    public async ValueTask DisposeAsync()
    {
        if (!_process.HasExited)
        {
            await KillAsync();
        }

        _process.Dispose();
    }

    private async Task<string> ReadAsync()
    {
        var line = await _process.StandardOutput.ReadLineAsync().WaitAsync(TimeSpan.FromSeconds(60));
        return line ?? throw new InvalidOperationException($"the host ended: {Log}");
    }
}
