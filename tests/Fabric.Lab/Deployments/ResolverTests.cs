using System.Text.RegularExpressions;

using Fabric.Lab.Gateways;
using Fabric.Lab.Processes;
using Fabric.Testing;

namespace Fabric.Lab.Deployments;

/// <summary>
/// The configurations of Dns/Resolvers.md, as they stand there, in a Debian with the programs that they are for: names of the fabric come from
/// the gateway, and all others from the server of the network, which is a dnsmasq at the other end of a cable.
/// </summary>
public sealed class ResolverTests
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(30);

    private const string Web = "web.shop.svc.clusterset.local";

    private const string Profile = "/etc/NetworkManager/system-connections/network.nmconnection";

    private const string Topology = """
        fabric: 1
        trustDomain: lab.example
        # It knows no server of others, so that what they answer is not from here.
        dns: { forward: { servers: [] } }
        sites:
          - name: paris
            serviceAddresses: 10.81.0.0/16
            gateways: [ { name: paris-1, dns: "10.0.0.5:53" } ]
        services:
          - name: web
            namespace: shop
            ports: [ { port: 80 } ]
            exports:
              - { site: paris, endpoints: [ "10.0.0.2:53" ] }

        """;

    private static readonly string Document = File.ReadAllText(Path.Combine(Programs.Repository, "src/Fabric.Gateway/Dns/Resolvers.md"));

    [RequiresFact("root", "systemd-nspawn", "debootstrap", "nsenter", "kdig")]
    public async Task Configurations_of_resolvers_send_the_domain_here_and_nothing_else()
    {
        var build = await PublishedBuild.Linux;
        var tree = await DebianTree.Ensure();
        await using var work = await WorkFolder.Take();
        await using var machine = await Machine.Boot(work, "fabric-names", tree, new Dictionary<string, string> { [build] = "/usr/local/lib/fabric" });
        try
        {
            await A_network_with_a_server_of_its_own(machine);
            var address = await A_gateway(machine);
            await Systemd_resolved(machine, address);
            await Dnsmasq(machine, address);
            await NetworkManager(machine);
            await NetworkManager_with_a_dnsmasq_of_its_own(machine, address);
        }
        catch (Exception e) when (e is not OperationCanceledException)
        {
            throw new LabException($"{e}\n--- its journal\n{(await machine.Run("journalctl", "--no-pager", "-n", "80")).Output}");
        }
    }

    private static async Task A_network_with_a_server_of_its_own(Machine machine)
    {
        // It comes later: until then nobody else sets up this network.
        await machine.Do("systemctl", "stop", "NetworkManager");
        await machine.Do("ip", "netns", "add", "network");
        await machine.Do("ip", "link", "add", "lan0", "type", "veth", "peer", "name", "lan0", "netns", "network");
        foreach (var (addresses, end) in new[] { (new[] { "10.0.0.5/24", "10.0.0.10/24" }, Array.Empty<string>()), (["10.0.0.2/24"], ["ip", "netns", "exec", "network"]) })
        {
            await machine.Do([.. end, "ip", "link", "set", "lo", "up"]);
            await machine.Do([.. end, "ip", "link", "set", "lan0", "up"]);
            foreach (var address in addresses)
            {
                await machine.Do([.. end, "ip", "address", "add", address, "dev", "lan0"]);
            }
        }

        // It says of every name that it is 198.18.0.77, that of the fabric too: who asks here is seen by the answer.
        await machine.Do("systemd-run", "--quiet", "--unit=network-dns", "-p", "NetworkNamespacePath=/run/netns/network",
            "dnsmasq", "--keep-in-foreground", "--no-resolv", "--no-hosts", "--address=/#/198.18.0.77", "--listen-address=10.0.0.2", "--bind-interfaces",
            "--pid-file=/run/network-dns.pid");
        await Poll.Until("the server of the network", Limit, async () => await Ask(machine, "10.0.0.2", Web) == "198.18.0.77");
    }

    /// <summary>The service's address.</summary>
    private static async Task<string> A_gateway(Machine machine)
    {
        await File.WriteAllTextAsync(machine.Of("/srv/topology.yaml"), Topology);
        await machine.Do("sh", "-ec", """
            PATH=/usr/local/lib/fabric:$PATH
            fabric init --dir /etc/fabric --topology /srv/topology.yaml
            fabric token create paris/paris-1 --via 10.0.0.5:7443 > /run/paris.token
            fabric join --token-file /run/paris.token --ca /etc/fabric/ca
            systemd-run --quiet --unit=gateway -p RuntimeDirectory=fabric fabricd --wireguard off
            """);
        var address = "";
        await Poll.Until("the service to have an address", Limit, async () =>
        {
            address = await Ask(machine, "10.0.0.5", Web);
            return address.StartsWith("10.81.", StringComparison.Ordinal);
        });
        return address;
    }

    private static async Task Systemd_resolved(Machine machine, string address)
    {
        const string Path = "/etc/systemd/resolved.conf.d/fabric.conf";
        // The network's server, as DHCP would tell it.
        await machine.Do("systemctl", "start", "systemd-resolved");
        await machine.Do("resolvectl", "dns", "lan0", "10.0.0.2");
        Assert.Contains("198.18.0.77", await machine.Do("resolvectl", "query", "www.example.org"));

        await Write(machine, Path, Configuration(Path));
        await machine.Do("systemctl", "restart", "systemd-resolved");
        await machine.Do("resolvectl", "dns", "lan0", "10.0.0.2");
        Assert.Contains($"{Web}: {address}", await machine.Do("resolvectl", "query", Web));
        Assert.Contains(Web, await machine.Do("resolvectl", "query", address));
        // What is not there is not there, and nobody else is asked for it.
        var nothing = await machine.Run("resolvectl", "query", "nothing.shop.svc.clusterset.local");
        Assert.NotEqual(0, nothing.ExitCode);
        Assert.Contains("not found", nothing.Error);
        Assert.Contains("198.18.0.77", await machine.Do("resolvectl", "query", "www.example.org"));
        // What programs ask: the stub.
        Assert.Equal(address, await Ask(machine, "127.0.0.53", Web));
        Assert.Equal("198.18.0.77", await Ask(machine, "127.0.0.53", "www.example.org"));
    }

    private static async Task Dnsmasq(Machine machine, string address)
    {
        const string Path = "/etc/dnsmasq.d/fabric.conf";
        await Write(machine, Path, Configuration(Path));
        await machine.Do("systemd-run", "--quiet", "--unit=dnsmasq", "dnsmasq", "--keep-in-foreground", "--conf-dir=/etc/dnsmasq.d", "--no-resolv",
            "--server=10.0.0.2", "--stop-dns-rebind", "--listen-address=127.0.0.2", "--bind-interfaces", "--pid-file=/run/dnsmasq.pid");
        await Poll.Until("dnsmasq to ask the gateway", Limit, async () => await Ask(machine, "127.0.0.2", Web) == address);
        Assert.Equal($"{Web}.", await Ask(machine, "127.0.0.2", "-x", address));
        Assert.Equal("", await Ask(machine, "127.0.0.2", "nothing.shop.svc.clusterset.local"));
        Assert.Equal("198.18.0.77", await Ask(machine, "127.0.0.2", "www.example.org"));
        await machine.Do("systemctl", "stop", "dnsmasq");
    }

    /// <summary>It reads them as they are meant; the resolvers that it then runs are those above.</summary>
    private static async Task NetworkManager(Machine machine)
    {
        foreach (var path in new[] { "/etc/NetworkManager/conf.d/fabric.conf", "/etc/NetworkManager/conf.d/fabric-dnsmasq.conf", "/etc/NetworkManager/conf.d/fabric-all.conf" })
        {
            var configuration = Configuration(path);
            await Write(machine, path, configuration);
            var printed = await machine.Do("NetworkManager", "--print-config");
            Assert.All(configuration.Trim().Split('\n'), line => Assert.Contains(line, printed));
            File.Delete(machine.Of(path));
        }
    }

    /// <summary>NetworkManager itself, which starts a dnsmasq, gives it the network's server over D-Bus, and the folder with our lines.</summary>
    private static async Task NetworkManager_with_a_dnsmasq_of_its_own(Machine machine, string address)
    {
        const string Path = "/etc/NetworkManager/conf.d/fabric-dnsmasq.conf";
        await machine.Do("systemctl", "stop", "systemd-resolved");
        await Write(machine, Path, Configuration(Path));
        await Write(machine, "/etc/NetworkManager/dnsmasq.d/fabric.conf", Configuration("/etc/dnsmasq.d/fabric.conf"));
        // In a container it takes no interface by itself.
        await Write(machine, "/etc/NetworkManager/conf.d/lan0.conf", "[device-lan0]\nmatch-device=interface-name:lan0\nmanaged=1\n");
        await Write(machine, Profile, """
            [connection]
            id=network
            type=ethernet
            interface-name=lan0
            [ipv4]
            method=manual
            address1=10.0.0.5/24
            address2=10.0.0.10/24
            dns=10.0.0.2;
            [ipv6]
            method=disabled

            """);
        // It reads none that others may read.
        File.SetUnixFileMode(machine.Of(Profile), UnixFileMode.UserRead | UnixFileMode.UserWrite);
        await machine.Do("systemctl", "restart", "NetworkManager");
        // It finds the interface with addresses already, and leaves it as it is until it is told.
        await machine.Do("nmcli", "--wait", "20", "connection", "up", "network");
        await Poll.Until("NetworkManager's dnsmasq to ask the gateway", Limit, async () => await Ask(machine, "127.0.0.1", Web) == address);
        Assert.Equal($"{Web}.", await Ask(machine, "127.0.0.1", "-x", address));
        Assert.Equal("", await Ask(machine, "127.0.0.1", "nothing.shop.svc.clusterset.local"));
        await Poll.Until("NetworkManager's dnsmasq to ask the network's server", Limit, async () => await Ask(machine, "127.0.0.1", "www.example.org") == "198.18.0.77");

        // Everything to the gateway: which knows no others here, and says so.
        const string All = "/etc/NetworkManager/conf.d/fabric-all.conf";
        File.Delete(machine.Of("/etc/NetworkManager/dnsmasq.d/fabric.conf"));
        await Write(machine, All, Configuration(All));
        await machine.Do("systemctl", "restart", "NetworkManager");
        await Poll.Until("NetworkManager's dnsmasq to ask the gateway for all", Limit, async () =>
            await Ask(machine, "127.0.0.1", Web) == address && await Ask(machine, "127.0.0.1", "www.example.org") == "");
        await machine.Do("systemctl", "stop", "NetworkManager");
    }

    /// <summary>The block that the document has for that file.</summary>
    private static string Configuration(string path)
    {
        var block = Regex.Match(Document, $"`{Regex.Escape(path)}`:\n\n```\n(.*?)```", RegexOptions.Singleline);
        Assert.True(block.Success, $"Resolvers.md has no block for {path}");
        return block.Groups[1].Value;
    }

    private static async Task Write(Machine machine, string path, string text)
    {
        Directory.CreateDirectory(System.IO.Path.GetDirectoryName(machine.Of(path))!);
        await File.WriteAllTextAsync(machine.Of(path), text);
    }

    /// <summary>What a server says: the records' data, empty for none and while it does not answer.</summary>
    private static async Task<string> Ask(Machine machine, string server, params string[] question)
    {
        try
        {
            return await machine.DoInNetwork(["kdig", $"@{server}", "+short", "+timeout=2", "+retry=0", .. question]);
        }
        catch (LabException)
        {
            return "";
        }
    }
}
