using System.Net;
using System.Text;

using Fabric.Lab.Gateways;
using Fabric.Lab.Processes;

namespace Fabric.Lab.DnsBench;

/// <summary>A name server under load: how it is configured to serve the zone, on 127.0.0.1 and a number of threads.</summary>
/// <param name="Name">Its column.</param>
/// <param name="Prepare">Writes its files into a folder for that many names, a port and a number of threads; gives the command that runs it in the foreground.</param>
public sealed record DnsContestant(string Name, Func<string, int, int, int, string[]> Prepare)
{
    public const string Domain = "svc.clusterset.local";
    private const string Zone = "clusterset.local";

    // The daemon's own nice value (ThreadNice.Daemon), which the threads of its name server have: what is measured is what ships.
    public static DnsContestant Fabric { get; } = new("fabric", (_, names, port, threads) =>
        ["nice", "-n", "-5", "env", "DOTNET_TieredPGO=0", Dotnet, Path.Combine(Programs.Repository, "tests", "Fabric.Benchmarks", "bin", "Release", "net10.0", "Fabric.Benchmarks.dll"), "dns-serve", $"{names}", $"{port}", $"{threads}"]);

    public static IReadOnlyList<DnsContestant> Peers { get; } = [new("knot", Knot), new("unbound", Unbound), new("bind9", Bind), new("dnsmasq", Dnsmasq)];

    private static string Dotnet => Path.Combine(Programs.Environment["DOTNET_ROOT"], "dotnet");

    public static string NameOf(int i) => $"s{i}.ns{i % 50}.{Domain}";

    private static IPAddress AddressOf(int i) => new([10, (byte)(i >> 16), (byte)(i >> 8), (byte)i]);

    private static string[] Knot(string folder, int names, int port, int threads)
    {
        WriteZone(folder, names);
        File.WriteAllText(Path.Combine(folder, "knot.conf"), $"""
            server:
                rundir: "{folder}"
                listen: 127.0.0.1@{port}
                udp-workers: {threads}
                tcp-workers: 1
                background-workers: 1
            database:
                storage: "{folder}"
            zone:
              - domain: {Zone}
                storage: "{folder}"
                file: zone
                zonefile-sync: -1
                journal-content: none
            """);
        return ["/usr/sbin/knotd", "-c", Path.Combine(folder, "knot.conf")];
    }

    private static string[] Bind(string folder, int names, int port, int threads)
    {
        WriteZone(folder, names);
        File.WriteAllText(Path.Combine(folder, "named.conf"), $$"""
            options {
              directory "{{folder}}"; pid-file none; session-keyfile "{{folder}}/session.key"; recursion no; dnssec-validation no;
              listen-on port {{port}} { 127.0.0.1; }; listen-on-v6 { none; }; minimal-responses no-auth;
            };
            controls { };
            zone "{{Zone}}" { type primary; file "zone"; };
            """);
        return ["/usr/sbin/named", "-f", "-n", $"{threads}", "-c", Path.Combine(folder, "named.conf")];
    }

    private static string[] Unbound(string folder, int names, int port, int threads)
    {
        var text = new StringBuilder($"""
            server:
              interface: 127.0.0.1@{port}
              port: {port}
              num-threads: {threads}
              so-reuseport: yes
              username: ""
              chroot: ""
              directory: "{folder}"
              pidfile: ""
              use-syslog: no
              do-ip6: no
              local-zone: "{Zone}" static

            """);
        for (var i = 0; i < names; i++)
        {
            text.AppendLine($"  local-data: \"{NameOf(i)}. 5 A {AddressOf(i)}\"");
        }

        text.AppendLine("remote-control:\n  control-enable: no");
        File.WriteAllText(Path.Combine(folder, "unbound.conf"), text.ToString());
        return ["/usr/sbin/unbound", "-d", "-c", Path.Combine(folder, "unbound.conf")];
    }

    private static string[] Dnsmasq(string folder, int names, int port, int threads)
    {
        File.WriteAllLines(Path.Combine(folder, "hosts"), Enumerable.Range(0, names).Select(i => $"{AddressOf(i)} {NameOf(i)}"));
        return
        [
            "/usr/sbin/dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--pid-file=", "--user=", "--no-resolv", "--no-hosts",
            $"--port={port}", "--listen-address=127.0.0.1", "--bind-interfaces", $"--addn-hosts={Path.Combine(folder, "hosts")}", $"--local=/{Zone}/",
        ];
    }

    private static void WriteZone(string folder, int names)
    {
        var text = new StringBuilder($"$ORIGIN {Zone}.\n@ 5 SOA ns hostmaster 1 3600 600 86400 1\n@ 5 NS ns\nns 5 A 127.0.0.1\n");
        for (var i = 0; i < names; i++)
        {
            text.AppendLine($"{NameOf(i)}. 5 A {AddressOf(i)}");
        }

        File.WriteAllText(Path.Combine(folder, "zone"), text.ToString());
    }
}
