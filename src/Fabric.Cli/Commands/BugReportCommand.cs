using System.CommandLine;
using System.ComponentModel;
using System.Diagnostics;
using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;
using Fabric.Cli.BugReports;
using Fabric.Cli.Output;
using Fabric.Protocol.Grpc;
using Fabric.Protocol.Proto;
using Fabric.Topology;
using TopologyFile = Fabric.Topology.TopologyFile;

namespace Fabric.Cli.Commands;

/// <summary>
/// <c>fabric bugreport</c>: what somebody else needs to see what this gateway sees, in one file. Keys, tokens and certificates' folders are not
/// read, and the file does not leave this host.
/// </summary>
internal static class BugReportCommand
{
    /// <summary>Of each program that is asked.</summary>
    private static readonly TimeSpan _patience = TimeSpan.FromSeconds(5);

    /// <summary>What the host's own tools say. <c>wg show</c> hides keys; <c>wg showconf</c> would not.</summary>
    private static readonly (string Name, string What, string[] Command)[] _asked =
    [
        ("log.txt", "the daemon's last 5,000 log lines, of its unit", ["journalctl", "--unit=fabricd", "--lines=5000", "--output=short-iso-precise", "--no-pager", "--quiet"]),
        ("unit.txt", "its unit's state", ["systemctl", "status", "fabricd", "--no-pager", "--lines=0"]),
        ("links.txt", "network interfaces and their counters", ["ip", "-s", "-d", "link"]),
        ("addresses.txt", "addresses", ["ip", "addr"]),
        ("rules.txt", "routing rules", ["ip", "rule"]),
        ("routes.txt", "routes of all tables", ["ip", "route", "show", "table", "all"]),
        ("routes6.txt", "routes of all tables, IPv6", ["ip", "-6", "route", "show", "table", "all"]),
        ("wireguard.txt", "WireGuard devices and peers, keys hidden", ["wg", "show"]),
        ("sockets.txt", "counts of sockets", ["ss", "-s"]),
    ];

    public static Command Create(CliHost host)
    {
        var file = new Option<string?>("--file") { Description = "Where to write it (default: fabric-bugreport-TIME.tar.gz in this folder)", HelpName = "path" };
        var socket = CommonOptions.Socket(host);
        var state = CommonOptions.State(host);
        var topology = CommonOptions.Topology(host);
        var command = new Command("bugreport", "One file with what the gateway sees, its topology, log and network, and no secrets, to look at or pass on")
        {
            file, socket, state, topology,
        };
        command.SetAction(async (result, ct) =>
        {
            var path = result.GetValue(file) ?? $"fabric-bugreport-{host.Time.GetUtcNow().ToString("yyyyMMdd'T'HHmmss'Z'", CultureInfo.InvariantCulture)}.tar.gz";
            var report = new BugReport(host.Time);
            // Read once, so that all parts are of the same one; where that fails, each part says so.
            var files = new Lazy<IReadOnlyList<TopologyFile>>(() => TopologyFiles.Read(result.GetRequiredValue(topology)));
            var loaded = new Lazy<TopologyResult>(() => TopologyLoader.Load(files.Value));
            await OfGateway(report, host, result.GetRequiredValue(socket), loaded, ct);
            await OfFiles(report, files, loaded, result.GetRequiredValue(state), ct);
            await report.Add("host.txt", "program, system", () => Task.FromResult(
                $"fabric {VersionCommand.Version}\n{RuntimeInformation.FrameworkDescription} on {RuntimeInformation.RuntimeIdentifier}\n{RuntimeInformation.OSDescription}\n"
                + string.Create(CultureInfo.InvariantCulture, $"{Environment.ProcessorCount} processors\n{host.Time.GetUtcNow():O}\n")));
            foreach (var (name, what, argv) in _asked)
            {
                await report.Add(name, what, () => Ask(argv, ct));
            }

            report.Write(path);
            host.Out.WriteLine(path);
            host.Error.WriteLine(report.LeftOut == 0 ? "no keys, no tokens; names, addresses and identities of callers are in it: read it before you pass it on"
                : string.Create(CultureInfo.InvariantCulture, $"left out because they look like secrets: {report.LeftOut} (contents.txt says where); read it before you pass it on"));
            return ExitCode.Ok;
        });
        return command;
    }

    private static async Task OfGateway(BugReport report, CliHost host, string socket, Lazy<TopologyResult> topology, CancellationToken ct)
    {
        using var admin = new AdminApi(host, socket);
        Status? status = null;
        await report.Add("status.json", "what the gateway sees", async () =>
        {
            status = await admin.CallAsync(AdminMethods.GetStatus, new GetStatusRequest(), ct);
            return Documents.Write(Documents.Of(status), "json");
        });
        if (status is null)
        {
            return;
        }

        await report.Add("status.txt", "the same for people", () => Task.FromResult(StatusScreen.Render(status, wide: true, host with { IsTerminal = false })));
        await report.Add("faults.json", "faults of drills, in force and over", async () =>
            Documents.Write(Documents.Of(await admin.CallAsync(FaultsMethods.List, new ListFaultsRequest(), ct)), "json"));
        await report.Add("metrics.txt", "its metrics", async () =>
        {
            var sites = (topology.Value.Topology ?? throw new IOException("the topology is not valid: findings.txt says why")).Sites;
            var address = sites.SelectMany(s => s.Gateways).FirstOrDefault(g => g.Name == status.Gateway)?.Metrics
                ?? throw new IOException($"the topology has no gateway {status.Gateway}");
            using var http = new HttpClient(new SocketsHttpHandler { UseProxy = false }) { Timeout = _patience, MaxResponseContentBufferSize = 8 * BugReport.MaxPart };
            return await http.GetStringAsync($"http://{address}/metrics", ct);
        });
    }

    private static async Task OfFiles(
        BugReport report, Lazy<IReadOnlyList<TopologyFile>> files, Lazy<TopologyResult> topology, string state, CancellationToken ct)
    {
        await report.Add("findings.txt", "what `fabric validate` says of the topology", () =>
        {
            var findings = topology.Value.Diagnostics;
            return Task.FromResult(findings.Length == 0 ? "valid\n" : string.Join('\n', findings) + "\n");
        });
        await report.Add("topology.yaml", "the topology, one file after the other", () =>
            Task.FromResult(string.Concat(files.Value.Select(f => $"# {f.Path}\n{f.Text}\n"))));
        await report.Add("audit.log", "the end of the audit log", () => Tail(Path.Combine(state, "audit.log"), 1 << 20, ct));
    }

    /// <summary>The file's last whole lines.</summary>
    private static async Task<string> Tail(string path, int bytes, CancellationToken ct)
    {
        await using var file = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
        var skipped = Math.Max(0, file.Length - bytes);
        file.Position = skipped;
        var text = await new StreamReader(file, Encoding.UTF8).ReadToEndAsync(ct);
        return skipped == 0 ? text : text[(text.IndexOf('\n', StringComparison.Ordinal) + 1)..];
    }

    private static async Task<string> Ask(string[] argv, CancellationToken ct)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(ct);
        limit.CancelAfter(_patience);
        using var process = new Process
        {
            StartInfo = new ProcessStartInfo(argv[0], argv[1..]) { RedirectStandardOutput = true, RedirectStandardError = true, RedirectStandardInput = true },
        };
        try
        {
            process.Start();
            process.StandardInput.Close();
            var output = process.StandardOutput.ReadToEndAsync(limit.Token);
            var error = process.StandardError.ReadToEndAsync(limit.Token);
            await process.WaitForExitAsync(limit.Token);
            return await output + await error;
        }
        catch (Win32Exception)
        {
            throw new IOException($"there is no {argv[0]} here");
        }
        catch (OperationCanceledException) when (!ct.IsCancellationRequested)
        {
            process.Kill(entireProcessTree: true);
            throw new IOException($"{argv[0]} took longer than {_patience.TotalSeconds:0} s");
        }
    }
}
