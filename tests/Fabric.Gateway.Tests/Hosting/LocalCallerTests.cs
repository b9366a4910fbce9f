using System.Diagnostics;
using System.Net;
using Fabric.Testing;
using static Fabric.Gateway.Tests.Hosting.LoopbackFabric;

namespace Fabric.Gateway.Tests.Hosting;

/// <summary>Processes of the gateway's own machine, told apart by user and cgroup though they share an address.</summary>
public sealed class LocalCallerTests : IAsyncLifetime
{
    private LoopbackFabric _fabric = null!;
    private IPEndPoint _service = null!;

    public async Task InitializeAsync()
    {
        _fabric = await LoopbackFabric.StartAsync();
        var service = (await _fabric.Admin(Paris).StatusAsync()).Services.Single(s => s.Name == "web.shop");
        _service = new IPEndPoint(IPAddress.Parse(service.ServiceAddress), (int)service.Ports[0]);
    }

    public Task DisposeAsync() => _fabric.DisposeAsync().AsTask();

    private async Task UseAsync(params string[] workloads)
    {
        _fabric.Write(_fabric.Topology().Replace("  - { name: shop, site: paris, addresses: [ 127.0.0.1/32 ] }",
            string.Join('\n', workloads.Select(w => $"  - {{ site: paris, {w} }}")), StringComparison.Ordinal));
        foreach (var gateway in new[] { Paris, Virginia, Factory })
        {
            var revision = (await _fabric.Admin(gateway).ReloadAsync()).Revision;
            await _fabric.Admin(gateway).UntilAsync(s => s.TopologyRevision == revision);
        }
    }

    /// <summary>What a process that connects from 127.0.0.1 is answered; empty when it is reset.</summary>
    private async Task<string> AskAsync(string before, params string[] command)
    {
        string[] shell = ["bash", "-c", $"{before} exec 3<>/dev/tcp/{_service.Address}/{_service.Port} && read -t 15 line <&3; echo \"$line\""];
        string[] all = [.. command, .. shell];
        using var process = Process.Start(new ProcessStartInfo(all[0], all[1..]) { RedirectStandardOutput = true, RedirectStandardError = true })!;
        var answer = await process.StandardOutput.ReadToEndAsync().WaitAsync(Wait.Limit);
        await process.WaitForExitAsync().WaitAsync(Wait.Limit);
        return answer.Trim();
    }

    private Task<string> AskAsUserAsync(int user) => AskAsync("", "setpriv", $"--reuid={user}", "--clear-groups");

    [RequiresFact("root", "setpriv")]
    public async Task Two_users_are_two_callers()
    {
        await UseAsync("name: shop, unixUser: nobody", "name: root, unixUser: 0");

        Assert.Equal("virginia", await AskAsUserAsync(65534));
        Assert.Equal("", await AskAsUserAsync(1));
        Assert.Equal("", await AskAsync(""));
        await Wait.UntilAsync(() => Denied().Length == 2, () => "both are written");
        Assert.Equal(["spiffe://acme.example/site/paris/unidentified", "spiffe://acme.example/site/paris/workload/root"], Denied());
    }

    [RequiresFact("root", "setpriv")]
    public async Task The_gateway_that_serves_its_own_site_writes_how_it_knows_the_caller()
    {
        _fabric.Write(_fabric.Topology().Replace("  - { name: shop, site: paris, addresses: [ 127.0.0.1/32 ] }",
                "  - { name: root, site: virginia, unixUser: \"0\" }\n  - { name: others, site: virginia, addresses: [ 127.0.0.1/32 ] }", StringComparison.Ordinal)
            .Replace("from: [ site/paris/workload/shop ]", "from: [ \"site/virginia/*\" ]", StringComparison.Ordinal));
        foreach (var gateway in new[] { Paris, Virginia, Factory })
        {
            var revision = (await _fabric.Admin(gateway).ReloadAsync()).Revision;
            await _fabric.Admin(gateway).UntilAsync(s => s.TopologyRevision == revision);
        }

        _service.Address = IPAddress.Parse((await _fabric.Admin(Virginia).StatusAsync()).Services.Single(s => s.Name == "web.shop").ServiceAddress);
        Assert.Equal("virginia", await AskAsync(""));
        Assert.Equal("virginia", await AskAsUserAsync(1));
        await Wait.UntilAsync(() => Own().Length == 2, () => "both are written");
        Assert.Equal([("spiffe://acme.example/site/virginia/workload/others", "address"), ("spiffe://acme.example/site/virginia/workload/root", "process")], Own());
    }

    private (string, string)[] Own() => [.. _fabric.Audit(Virginia).Where(l => l["assertedBy"] == "self").Select(l => (l["caller"], l["established"])).Order()];

    private string[] Denied() => [.. _fabric.Audit(Virginia).Where(l => l["verdict"] == "deny").Select(l => l["caller"])];

    [RequiresFact("root", "setpriv")]
    public async Task A_process_that_no_workload_means_is_whoever_has_its_address()
    {
        await UseAsync("name: shop, unixUser: nobody", "name: others, addresses: [ 127.0.0.1/32 ]");
        Assert.Equal("virginia", await AskAsUserAsync(65534));
        Assert.Equal("", await AskAsUserAsync(1));
        await Wait.UntilAsync(() => Denied().Length == 1, () => "it is written");
        Assert.Equal(["spiffe://acme.example/site/paris/workload/others"], Denied());
    }

    [RequiresFact("root", "setpriv")]
    public async Task A_cgroup_is_a_caller_with_all_below_it()
    {
        var name = $"fabric-test-{Environment.ProcessId}";
        var root = Directory.Exists("/sys/fs/cgroup/unified") ? "/sys/fs/cgroup/unified" : "/sys/fs/cgroup";
        var (folder, below) = ($"{root}/{name}", $"{root}/{name}/below");
        Directory.CreateDirectory(below);
        try
        {
            await UseAsync($"name: shop, cgroup: /{name}");
            Assert.Equal("", await AskAsync(""));
            Assert.Equal("virginia", await AskAsync($"echo $$ >{folder}/cgroup.procs;"));
            Assert.Equal("virginia", await AskAsync($"echo $$ >{below}/cgroup.procs;"));

            await UseAsync($"name: shop, cgroup: /{name}, unixUser: nobody");
            Assert.Equal("", await AskAsync($"echo $$ >{folder}/cgroup.procs;"));
            Assert.Equal("virginia", await AskAsync("", "bash", "-c", $"echo $$ >{folder}/cgroup.procs; exec setpriv --reuid=65534 --clear-groups \"$@\"", "sh"));
        }
        finally
        {
            await Wait.UntilAsync(() => IsGone(below) && IsGone(folder), () => "the cgroups are removed");
        }
    }

    private static bool IsGone(string folder)
    {
        try
        {
            Directory.Delete(folder);
            return true;
        }
        catch (IOException)
        {
            return !Directory.Exists(folder);
        }
    }
}
