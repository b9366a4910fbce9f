using System.Diagnostics;
using System.Text.Json.Nodes;

using Fabric.Lab.Gateways;
using Fabric.Lab.Processes;
using Fabric.Testing;

namespace Fabric.Lab.Deployments;

/// <summary>
/// The unit in a Debian without .NET: provisioned by the script that the Vagrantfile runs, with the build that scripts/publish.sh made.
/// One machine goes through all of it, in the order in which an operator meets it.
/// </summary>
public sealed class SystemdMachineTests
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(30);

    private const string More = """
        fabric: 1
        services:
          - name: more
            namespace: ops
            ports: [ { port: 2223 } ]
            exports:
              - { site: virginia, endpoints: [ "127.0.0.1:23" ] }

        """;

    [RequiresFact("root", "systemd-nspawn", "debootstrap", "nsenter")]
    public async Task The_unit_runs_the_gateway_of_a_machine()
    {
        var build = await PublishedBuild.Linux;
        var tree = await DebianTree.Ensure();
        await using var work = await WorkFolder.Take();
        await using var machine = await Machine.Boot(work, "fabric-paris", tree, new Dictionary<string, string>
        {
            [build] = "/vagrant/artifacts/linux-x64",
            [Path.Combine(Programs.Repository, "scripts")] = "/vagrant/scripts",
            [Path.Combine(Programs.Repository, "topologies")] = "/vagrant/topologies",
        }, "NetworkManager", "NetworkManager-wait-online", "systemd-resolved");
        try
        {
            await Without_an_identity_it_does_not_start(machine);
            await The_script_of_the_Vagrantfile_installs_joins_and_starts_it(machine);
            await It_is_ready_and_says_so(machine);
            await Its_files_are_its_own(machine);
            await A_stream_goes_over_both_links_to_another_site(machine);
            await A_reload_is_in_force_when_it_returns(machine);
            await SIGHUP_reloads_too(machine);
            await The_watchdog_is_fed_and_bites(machine);
            await Killed_it_starts_from_its_state(machine);
            await It_stops_gracefully(machine);
            await Provisioned_again_it_goes_on(machine);
        }
        catch (Exception e) when (e is not OperationCanceledException)
        {
            throw new LabException($"{e}\n--- its journal\n{(await machine.Run("journalctl", "-u", "fabricd", "--no-pager", "-n", "60")).Output}");
        }
    }

    private static async Task Without_an_identity_it_does_not_start(Machine machine)
    {
        await machine.Do("install", "-m", "0644", "/vagrant/artifacts/linux-x64/fabricd.service", "/etc/systemd/system/");
        await machine.Do("systemctl", "daemon-reload");
        var started = await machine.Run("systemctl", "start", "fabricd");
        Assert.NotEqual(0, started.ExitCode);
        Assert.Contains("Assertion failed", started.Error);
    }

    private static async Task The_script_of_the_Vagrantfile_installs_joins_and_starts_it(Machine machine)
    {
        // As udev's rules have it on a machine; a container has no udev, and the mode of the host's device.
        await machine.Do("chmod", "0666", "/dev/net/tun");

        // The addresses of its two networks, which the Vagrantfile gives. Virginia is at the other end of the cable.
        await machine.Do("ip", "netns", "add", "virginia");
        await machine.Do("ip", "link", "add", "cable", "type", "veth", "peer", "name", "cable", "netns", "virginia");
        foreach (var (host, end) in new[] { (11, Array.Empty<string>()), (12, ["ip", "netns", "exec", "virginia"]) })
        {
            await machine.Do([.. end, "ip", "link", "set", "lo", "up"]);
            await machine.Do([.. end, "ip", "link", "set", "cable", "up"]);
            await machine.Do([.. end, "ip", "address", "add", $"10.10.0.{host}/24", "dev", "cable"]);
            await machine.Do([.. end, "ip", "address", "add", $"10.20.0.{host}/24", "dev", "cable"]);
        }

        Assert.False((await machine.Run("sh", "-c", "command -v dotnet")).ExitCode == 0, "the machine has .NET: this proves nothing");
        await machine.Do("/vagrant/scripts/vagrant.sh", "paris");
        Assert.Contains("revision", await machine.Do("fabricd", "--check"));
        Assert.Contains("--topology", await machine.Do("fabricd", "--help"));
    }

    private static async Task It_is_ready_and_says_so(Machine machine)
    {
        // enable --now came back, so it is active already: Type=notify waits for READY.
        Assert.Equal("active", await Show(machine, "ActiveState"));
        Assert.Equal("enabled", await machine.Do("systemctl", "is-enabled", "fabricd"));
        Assert.StartsWith("paris-1 of paris", await Show(machine, "StatusText"));
        Assert.Contains("paris-1 of paris", await machine.Do("systemctl", "status", "--no-pager", "fabricd"));
        var status = await Status(machine);
        Assert.All(Items(status, "listeners"), l => Assert.True((bool)l["open"]!, l.ToString()));
        await Poll.Until("the WireGuard interface", Limit, async () =>
        {
            status = await Status(machine);
            return (await machine.Do("wg", "show", "interfaces")).Contains("fab-vpn", StringComparison.Ordinal);
        }, () => $"{status["problems"]}");
        var links = await machine.Do("ip", "address", "show", "dev", "fab-vpn");
        Assert.Contains("inet6 fd", links);
    }

    private static async Task Its_files_are_its_own(Machine machine)
    {
        async Task<string> Mode(string path) => await machine.Do("stat", "-c", "%a %U", path);
        Assert.Equal("750 fabric", await Mode("/run/fabric"));
        Assert.Equal("750 fabric", await Mode("/run/wireguard"));
        Assert.Equal("660 fabric", await Mode("/run/fabric/fabricd.sock"));
        Assert.Equal("fabric", await machine.Do("stat", "-c", "%G", "/run/fabric/fabricd.sock"));
        Assert.Equal("700 fabric", await Mode("/var/lib/fabric"));
        Assert.Equal("755 root", await Mode("/etc/fabric"));
        Assert.Equal("700 fabric", await Mode("/etc/fabric/ca"));
        // What root typed (init, token create, join) is the daemon's too.
        Assert.Equal("", await machine.Do("find", "/var/lib/fabric", "/etc/fabric/ca", "!", "-user", "fabric"));
        Assert.Equal("", await machine.Do("find", "/var/lib/fabric", "/etc/fabric/ca", "-type", "f", "!", "-perm", "600"));
        Assert.Equal("", await machine.Do("find", "/var/lib/fabric", "/etc/fabric/ca", "-type", "d", "!", "-perm", "700"));

        var pid = await Show(machine, "MainPID");
        var process = await machine.Do("cat", $"/proc/{pid}/status");
        var user = await machine.Do("id", "-u", "fabric");
        Assert.NotEqual("0", user);
        Assert.Contains($"Uid:\t{user}\t{user}\t{user}\t{user}", process);
        // CAP_NET_BIND_SERVICE is bit 10, CAP_NET_ADMIN bit 12.
        Assert.Contains("CapEff:\t0000000000001400", process);
        Assert.Contains("CapAmb:\t0000000000001400", process);
        Assert.Contains("CapBnd:\t0000000000001400", process);
        Assert.Contains("NoNewPrivs:\t1", process);
        Assert.Contains("Seccomp:\t2", process);
    }

    /// <summary>
    /// Virginia's gateway runs beside it, in a network of its own, as the same user and with the same powers: it joins over the network with what root typed,
    /// and a stream goes through both daemons.
    /// </summary>
    private static async Task A_stream_goes_over_both_links_to_another_site(Machine machine)
    {
        const string State = "/var/lib/fabric-virginia";
        await machine.Do("install", "-d", "-o", "fabric", "-g", "fabric", "-m", "0700", State);
        await machine.Do("sh", "-ec", $"""
            fabric token create virginia/virginia-1 > /run/virginia.token
            FABRIC_STATE={State} ip netns exec virginia fabric join --token-file /run/virginia.token
            """);
        Assert.Equal("", await machine.Do("find", State, "!", "-user", "fabric"));
        string[] there = ["systemd-run", "--quiet", "--uid=fabric", "--gid=fabric", "-p", "NetworkNamespacePath=/run/netns/virginia"];
        await File.WriteAllTextAsync(machine.Of("/usr/local/lib/answer.pl"), """
            use IO::Socket::INET;
            my $port = IO::Socket::INET->new(Listen => 9, LocalAddr => '127.0.0.1:22', ReuseAddr => 1) or die $!;
            while (my $client = $port->accept) { my $line = <$client>; print $client "$> says $line" if defined $line; close $client }
            """);
        await machine.Do([.. there, "--unit=virginia-ssh", "-p", "AmbientCapabilities=CAP_NET_BIND_SERVICE", "perl", "/usr/local/lib/answer.pl"]);
        await machine.Do([.. there, "--unit=virginia", "-p", "AmbientCapabilities=CAP_NET_ADMIN CAP_NET_BIND_SERVICE", "fabricd", "--state", State,
            "--socket", "/run/fabric/virginia.sock", "--interface-prefix", "vir-"]);

        JsonObject status = [];
        await Poll.Until("both links to virginia", Limit, async () =>
        {
            status = await Status(machine);
            return Items(status, "links").Where(l => Text(l, "peer") == "virginia-1").Count(l => Text(l, "state") == "up" && Text(l, "lane") == "up") == 2;
        }, () => $"{status}");
        var address = Text(Items(status, "services").Single(s => Text(s, "name") == "ssh.ops"), "serviceAddress");
        var answer = "";
        await Poll.Until("an answer from virginia", Limit, async () =>
        {
            answer = (await machine.Run("bash", "-c", $"exec 3<>/dev/tcp/{address}/2222 && echo hello >&3 && cat <&3")).Output;
            return answer.Length > 0;
        }, () => machine.Do("fabric", "status").GetAwaiter().GetResult());
        Assert.Equal($"{await machine.Do("id", "-u", "fabric")} says hello\n", answer);

        await machine.Do("systemctl", "stop", "virginia", "virginia-ssh");
    }

    private static async Task A_reload_is_in_force_when_it_returns(Machine machine)
    {
        var before = await Status(machine);
        var pid = await Show(machine, "MainPID");
        await File.WriteAllTextAsync(machine.Of("/etc/fabric/topology/more.yaml"), More);
        await machine.Do("systemctl", "reload", "fabricd");
        var after = await Status(machine);
        Assert.NotEqual(Text(before, "topologyRevision"), Text(after, "topologyRevision"));
        Assert.Contains(Items(after, "services"), s => Text(s, "name") == "more.ops");

        // A bad one is refused: systemctl says that the reload failed, the journal says why, and the old one stays.
        await File.WriteAllTextAsync(machine.Of("/etc/fabric/topology/more.yaml"), More.Replace("site: virginia", "site: virginja"));
        Assert.NotEqual(0, (await machine.Run("systemctl", "reload", "fabricd")).ExitCode);
        Assert.Contains("virginja", await machine.Do("journalctl", "-u", "fabricd", "--no-pager"));
        var refused = await Status(machine);
        Assert.Equal(Text(after, "topologyRevision"), Text(refused, "topologyRevision"));
        Assert.Equal("active", await Show(machine, "ActiveState"));
        Assert.Equal(pid, await Show(machine, "MainPID"));
    }

    private static async Task SIGHUP_reloads_too(Machine machine)
    {
        var pid = await Show(machine, "MainPID");
        File.Delete(machine.Of("/etc/fabric/topology/more.yaml"));
        await Signal(machine, "HUP");
        await Poll.Until("the service to go", Limit, async () => Items(await Status(machine), "services").All(s => Text(s, "name") != "more.ops"));
        Assert.Equal(pid, await Show(machine, "MainPID"));
        await Active(machine);
    }

    private static async Task The_watchdog_is_fed_and_bites(Machine machine)
    {
        Assert.Equal("10s", await Show(machine, "WatchdogUSec"));
        Directory.CreateDirectory(machine.Of("/etc/systemd/system/fabricd.service.d"));
        await File.WriteAllTextAsync(machine.Of("/etc/systemd/system/fabricd.service.d/watchdog.conf"), "[Service]\nWatchdogSec=4s\n");
        await machine.Do("systemctl", "daemon-reload");
        await machine.Do("systemctl", "restart", "fabricd");
        var pid = await Show(machine, "MainPID");
        var restarts = await Restarts(machine);

        // Longer than it would live unfed.
        await Task.Delay(TimeSpan.FromSeconds(9));
        Assert.Equal(pid, await Show(machine, "MainPID"));
        Assert.Equal("active", await Show(machine, "ActiveState"));

        // Stopped in its tracks, it is not fed.
        await Signal(machine, "STOP");
        await Poll.Until("the watchdog to start it again", Limit, async () => await Restarts(machine) > restarts && await Active(machine) != pid);
        Assert.Contains("Watchdog timeout", await machine.Do("journalctl", "-u", "fabricd", "--no-pager"));
        File.Delete(machine.Of("/etc/systemd/system/fabricd.service.d/watchdog.conf"));
        await machine.Do("systemctl", "daemon-reload");
    }

    private static async Task Killed_it_starts_from_its_state(Machine machine)
    {
        var before = await Status(machine);
        // Its source is gone: it starts from the last good topology.
        Directory.Move(machine.Of("/etc/fabric/topology"), machine.Of("/etc/fabric/topology.away"));
        for (var kill = 0; kill < 3; kill++)
        {
            var pid = await Active(machine);
            await Signal(machine, "KILL");
            await Poll.Until("systemd to start it again", Limit, async () => await Active(machine) != pid);
        }

        var after = await Status(machine);
        Assert.Equal(Text(before, "topologyRevision"), Text(after, "topologyRevision"));
        Assert.Equal("fab-vpn", await machine.Do("wg", "show", "interfaces"));
        Directory.Move(machine.Of("/etc/fabric/topology.away"), machine.Of("/etc/fabric/topology"));
    }

    private static async Task It_stops_gracefully(Machine machine)
    {
        await Active(machine);
        var watch = Stopwatch.StartNew();
        await machine.Do("systemctl", "stop", "fabricd");
        Assert.True(watch.Elapsed < TimeSpan.FromSeconds(8), $"stopping took {watch.Elapsed.TotalSeconds:0.0} s, without a stream to wait for");
        Assert.Equal("success", await Show(machine, "Result"));
        Assert.Equal("0", await Show(machine, "ExecMainStatus"));
        // Nothing of it is left.
        Assert.Equal("", await machine.Do("wg", "show", "interfaces"));
        Assert.NotEqual(0, (await machine.Run("sh", "-c", "grep -l '^wireguard-go$' /proc/[0-9]*/comm")).ExitCode);
    }

    private static async Task Provisioned_again_it_goes_on(Machine machine)
    {
        await machine.Do("/vagrant/scripts/vagrant.sh", "paris");
        Assert.Equal("active", await Show(machine, "ActiveState"));

        // Another site of it, which has no token yet, is told how to get one.
        await machine.Do("systemctl", "stop", "fabricd");
        await machine.Do("mv", "/var/lib/fabric", "/var/lib/fabric.away");
        Assert.Contains("fabric token create factory/factory-1", await machine.Do("/vagrant/scripts/vagrant.sh", "factory"));
    }

    private static Task<string> Show(Machine machine, string property) => machine.Do("systemctl", "show", "-P", property, "fabricd");

    private static Task<string> Signal(Machine machine, string signal) =>
        machine.Do("systemctl", "kill", $"--signal={signal}", "--kill-whom=main", "fabricd");

    private static async Task<int> Restarts(Machine machine) => int.Parse(await Show(machine, "NRestarts"), System.Globalization.CultureInfo.InvariantCulture);

    /// <summary>Waits until it is active; its main process. One look at both: in between, it may be killed.</summary>
    private static async Task<string> Active(Machine machine)
    {
        var pid = "0";
        await Poll.Until("fabricd to be active", Limit, async () =>
        {
            var shown = (await machine.Do("systemctl", "show", "-p", "ActiveState", "-p", "MainPID", "fabricd")).Split('\n');
            pid = shown.Single(l => l.StartsWith("MainPID=", StringComparison.Ordinal))["MainPID=".Length..].Trim();
            return shown.Any(l => l.Trim() == "ActiveState=active") && pid != "0";
        });
        return pid;
    }

    private static async Task<JsonObject> Status(Machine machine) => JsonNode.Parse(await machine.Do("fabric", "status", "-o", "json"))!.AsObject();

    private static IEnumerable<JsonObject> Items(JsonObject status, string name) => (status[name]?.AsArray() ?? []).Select(i => i!.AsObject());

    private static string Text(JsonObject of, string name) => (string?)of[name] ?? "";
}
