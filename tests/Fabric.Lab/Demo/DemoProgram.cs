using Fabric.Drills.Reports;
using Fabric.Lab.Gateways;
using Fabric.Lab.Networks;
using Fabric.Lab.Processes;

namespace Fabric.Lab.Demo;

/// <summary><c>demo</c> and <c>remove</c>, as <c>scripts/demo.sh</c> calls them.</summary>
public static class DemoProgram
{
    private const long PayloadBytes = 1L << 30;
    private static readonly string[] Tools = ["nginx", "redis-server", "redis-cli", "curl", "kdig", "setsid"];
    private static readonly string[] RootTools = ["ip", "nft", "wg", "ping"];

    /// <summary>0 when each step held; 1 when one did not, or something was in the way; 2 for a wrong command line; 130 after a signal.</summary>
    public static async Task<int> Run(string[] args)
    {
        var teller = Teller.OnConsole();
        string? json = null;
        var mode = Environment.IsPrivilegedProcess ? "namespaces" : "loopback";
        var keep = false;
        for (var i = 1; i < args.Length; i++)
        {
            switch (args[i])
            {
                case "--mode" when i + 1 < args.Length && args[i + 1] is "namespaces" or "loopback":
                    mode = args[++i];
                    break;
                case "--json" when i + 1 < args.Length:
                    json = args[++i];
                    break;
                case "--keep":
                    keep = true;
                    break;
                default:
                    teller.Line($"unknown argument: {args[i]}");
                    return 2;
            }
        }

        if (args.Length == 0 || args[0] is not ("demo" or "remove"))
        {
            teller.Line("usage: Fabric.Lab demo [--mode namespaces|loopback] [--keep] [--json FILE] | remove");
            return 2;
        }

        try
        {
            return args[0] == "remove" ? await Remove() : await Demo(teller, mode, keep, json);
        }
        catch (LabException e)
        {
            await Console.Error.WriteLineAsync($"error: {e.Message}");
            return 1;
        }
    }

    private static async Task<int> Demo(Teller teller, string mode, bool keep, string? json)
    {
        var missing = (mode == "namespaces" ? Tools.Concat(RootTools) : Tools).Where(t => !OnPath(t)).ToArray();
        if (missing.Length > 0)
        {
            throw new LabException($"missing programs: {string.Join(", ", missing)}; scripts/demo.sh says which packages have them");
        }

        teller.Line($"Three sites on this machine ({mode}): paris, virginia, factory.");
        DemoReport? report = null;
        LabFabric? fabric = null;
        try
        {
            await Interruption.Guard(async () =>
            {
                fabric = await LabFabric.Build(mode);
                await using var story = new Story(fabric, teller, PayloadBytes);
                report = await story.Tell();
                if (story.ReportFolder is { } folder)
                {
                    teller.Line($"The drill's report: {Path.Combine(folder, DrillReports.HtmlName)}");
                }
            });

            if (!report!.Ok)
            {
                // What failed comes last: of a log that is long, its end is what is read.
                await Console.Error.WriteLineAsync(fabric!.Tails() + report.Failures());
            }

            if (json is not null)
            {
                await File.WriteAllTextAsync(json, report.ToJson() + "\n");
            }

            if (keep)
            {
                Invite(teller, fabric!);
                fabric = null;
            }

            return report.Ok ? 0 : 1;
        }
        catch (OperationCanceledException)
        {
            teller.Line("interrupted: removing everything");
            return 130;
        }
        finally
        {
            if (fabric is not null)
            {
                await fabric.DisposeAsync();
            }
        }
    }

    /// <summary>Removes what a kept or killed demo of this user left.</summary>
    private static async Task<int> Remove()
    {
        await using var work = await WorkFolder.Take();
        if (Environment.IsPrivilegedProcess && OnPath("ip"))
        {
            await NamespaceNetwork.Remove();
        }

        return 0;
    }

    private static void Invite(Teller teller, LabFabric fabric)
    {
        var network = fabric.Network;
        var fabricCommand = string.Join(' ', fabric.FabricCommand());
        string Inside(params string[] argv) => string.Join(' ', network.AtShop(argv));
        var host = $"{LabNetwork.Web}:{network.WebPort}";
        teller.Line($"""

            It is still running. Try:
              {fabricCommand} status --socket {fabric.Paris.Socket}
              {Inside("kdig", $"@{network.Paris.Dns.Address}", "-p", $"{network.Paris.Dns.Port}", "+short", LabNetwork.Web)}
              {(network.Mode == "namespaces" ? Inside("curl", $"http://{host}/")
                : $"curl --resolve {host}:$(kdig @{network.Paris.Dns.Address} -p {network.Paris.Dns.Port} +short {LabNetwork.Web}) http://{host}/")}
              {fabricCommand} fault cut dx --socket {fabric.Paris.Socket}
              {fabricCommand} fault clear dx --socket {fabric.Paris.Socket}
              tail -f {fabric.Factory.AuditLog}
            Remove it:
              scripts/demo.sh --remove
            """);
    }

    private static bool OnPath(string tool) => Environment.GetEnvironmentVariable("PATH")!.Split(':').Any(d => d.Length > 0 && File.Exists(Path.Combine(d, tool)));
}
