using System.Globalization;
using System.Net.Sockets;
using System.Text.RegularExpressions;
using Fabric.Gateway.Snapshot;
using Fabric.Gateway.Telemetry;
using Fabric.Protocol.Grpc;
using Fabric.Protocol.Proto;
using Microsoft.Extensions.Logging;

namespace Fabric.Gateway.Faults;

/// <summary>
/// Faults by the kernel: rules of nft in a table of their own, a queue of tc, a stage that packets are routed through, and signals. They hit
/// what leaves and reaches the machine, and so also what the gateway does not know that it does.
/// </summary>
internal sealed partial class KernelMeans(KernelNames names, Func<FabricSnapshot?> current, TimeProvider time, ILogger log) : IFaultMeans
{
    /// <summary>A program that is installed meanwhile is seen after that long.</summary>
    private static readonly TimeSpan _believed = TimeSpan.FromSeconds(10);

    private static readonly TimeSpan _told = TimeSpan.FromSeconds(2);

    private readonly Lock _lock = new();
    private (long At, string? Why)? _nft;

    /// <summary>Within which time systemd has to hear from this process; null: it does not watch it.</summary>
    public TimeSpan? Watchdog { get; init; }

    public string Name => "kernel";

    public string? WhyNot(string kind) => kind switch
    {
        FaultKind.GatewayKill or FaultKind.GatewayPause => OperatingSystem.IsLinux() ? null : "signals are sent on Linux only",
        FaultKind.Delay => WhyNoNft() ?? DelayStage.WhyNot(),
        FaultKind.LinkDown or FaultKind.LinkBlackhole or FaultKind.Flap or FaultKind.SiteIsolate or FaultKind.Loss or FaultKind.Bandwidth => WhyNoNft(),
        _ => "it is about what the gateway believes, which the kernel knows nothing of",
    };

    /// <summary>It was last told up to a quarter of the time and a second ago, and a process that is stopped goes on up to half a second late.</summary>
    public (TimeSpan Longest, string Why)? Limit(string kind) => kind != FaultKind.GatewayPause || Watchdog is not { } within ? null
        : (within * 0.75 > _told ? (within * 0.75) - _told : TimeSpan.Zero, string.Create(CultureInfo.InvariantCulture,
            $"systemd ends whoever is silent for {within.TotalSeconds:0.###} s (hint: WatchdogSec=0 in a drop-in while there are drills, or gateway-kill)"));

    public async Task<PreparedFault> PrepareAsync(FaultSpec fault)
    {
        if (FaultKind.IsDeaf(fault.Kind))
        {
            return new ProcessFault(fault);
        }

        var now = current() ?? throw new GrpcException(GrpcStatus.Unavailable, "the gateway is starting");
        var matches = LinksOf.Find(now, fault).Select(l => LinkMatch.Of(now, l)).ToList();
        return fault.Kind switch
        {
            FaultKind.Bandwidth => new BandwidthFault(fault, names, matches, fault.Direction == "in" ? "" : await FreeDeviceAsync(fault, matches)),
            FaultKind.Delay when DelayFault.WhyNot(fault) is { } why => throw new GrpcException(GrpcStatus.FailedPrecondition, why),
            FaultKind.Delay => new DelayFault(fault, names, matches, await DeviceAsync(fault, matches), log),
            _ => new RulesFault(fault, names, matches, time),
        };
    }

    /// <summary>A process that was to be paused has ended, and one that was killed has been started.</summary>
    public Task RevertLeftAsync(FaultLease lease) => FaultKind.IsDeaf(lease.Fault.Kind) ? Task.CompletedTask : TakeBackAsync(names, lease.Fault, lease.Detail);

    /// <summary>What no lease tells of: tables of ours that are there all the same.</summary>
    public async Task SweepAsync()
    {
        try
        {
            foreach (Match table in Tables().Matches(await NetTools.RunAsync(["nft", "list", "tables"])))
            {
                if (names.IsTable(table.Groups[2].Value))
                {
                    await DropAsync(table.Groups[1].Value, table.Groups[2].Value);
                }
            }
        }
        catch (IOException)
        {
            // Without nft or without the right to use it, there is none of ours that no lease tells of: a lease goes last.
        }
    }

    private async Task DropAsync(string family, string table)
    {
        try
        {
            await NftTable.DeleteAsync(table, family);
        }
        catch (IOException e)
        {
            Log.Failed(log, $"Deleting the table {family} {table} of an earlier drill", e.Message);
        }
    }

    /// <summary>Takes a fault of that kind back, whatever is left of it. Throws <see cref="IOException"/> when something of it may still be in force.</summary>
    internal static async Task TakeBackAsync(KernelNames names, FaultSpec fault, string device)
    {
        var table = names.Table(fault.Id);
        await NftTable.DeleteAsync(table);
        // Of all devices: one that is gone has taken its queue along.
        if (fault.Kind == FaultKind.Bandwidth && device.Length > 0
            && (await NetTools.RunAsync(["tc", "qdisc", "show"])).Contains($" {KernelNames.Queue} dev {device} root", StringComparison.Ordinal))
        {
            await NetTools.RunAsync(["tc", "qdisc", "del", "dev", device, "root", "handle", KernelNames.Queue]);
        }

        if (fault.Kind == FaultKind.Delay)
        {
            await NftTable.DeleteAsync(table, "netdev");
            await DeleteRulesAsync(Mark(names, fault));
        }
    }

    /// <summary>The rules by which a delay routes what leaves. Throws <see cref="IOException"/> when one may still be there.</summary>
    internal static async Task DeleteRulesAsync(string mark)
    {
        foreach (var family in (string[])["-4", "-6"])
        {
            if (family == "-6" && !Socket.OSSupportsIPv6)
            {
                continue;
            }

            // Whether it failed because there was none, only the list says for certain.
            await NetTools.TryAsync(Rule(family, "del", mark));
            if ((await NetTools.RunAsync(["ip", family, "rule", "show"])).Split('\n').Any(l =>
                l.StartsWith($"{DelayFault.Priority}:", StringComparison.Ordinal) && l.TrimEnd().EndsWith($" {mark}", StringComparison.Ordinal)))
            {
                throw new IOException($"'{string.Join(' ', Rule(family, "del", mark))}' failed: the rule is there yet");
            }
        }
    }

    internal static string[] Rule(string family, string action, string mark) => ["ip", family, "rule", action, "pref", DelayFault.Priority, "fwmark", mark, "lookup", mark];

    private static string Mark(KernelNames names, FaultSpec fault) => names.Mark(fault.Id).ToString(CultureInfo.InvariantCulture);

    /// <summary>All that takes a fault of that kind back, whatever is left of it.</summary>
    internal static IReadOnlyList<string[]> Undo(KernelNames names, FaultSpec fault, string device)
    {
        var table = names.Table(fault.Id);
        List<string[]> undo = [["nft", "delete", "table", "inet", table]];
        if (fault.Kind == FaultKind.Bandwidth && device.Length > 0)
        {
            undo.Add(["tc", "qdisc", "del", "dev", device, "root", "handle", KernelNames.Queue]);
        }

        if (fault.Kind == FaultKind.Delay)
        {
            undo.Add(["nft", "delete", "table", "netdev", table]);
            undo.AddRange(((string[])["-4", "-6"]).Select(f => Rule(f, "del", Mark(names, fault))));
        }

        return undo;
    }

    /// <summary>The one device that all of these links leave through.</summary>
    private static async Task<string> DeviceAsync(FaultSpec fault, List<LinkMatch> matches)
    {
        var devices = new HashSet<string>(StringComparer.Ordinal);
        foreach (var match in matches)
        {
            var route = await TellAsync(["ip", "-o", "route", "get", match.Towards.ToString()]);
            devices.Add(Devices().Match(route) is { Success: true } found ? found.Groups[1].Value
                : throw new GrpcException(GrpcStatus.FailedPrecondition, $"there is no route to {match.Towards}"));
        }

        return devices.Count == 1 ? devices.Single() : throw new GrpcException(GrpcStatus.FailedPrecondition,
            $"link {fault.Link} leaves through {string.Join(" and ", devices)}: say which peer");
    }

    /// <summary>And whose queue nobody has set, so that removing ours is all there is to putting it back.</summary>
    private static async Task<string> FreeDeviceAsync(FaultSpec fault, List<LinkMatch> matches)
    {
        var device = await DeviceAsync(fault, matches);
        var root = Roots().Matches(await TellAsync(["tc", "qdisc", "show", "dev", device])).FirstOrDefault(m => m.Groups[2].Value != "0");
        return root is null ? device : throw new GrpcException(GrpcStatus.FailedPrecondition,
            $"{device} has a queue of its own already ({root.Groups[1].Value} {root.Groups[2].Value}:), which a drill does not replace");
    }

    private static async Task<string> TellAsync(string[] argv)
    {
        try
        {
            return await NetTools.RunAsync(argv);
        }
        catch (IOException e)
        {
            throw new GrpcException(GrpcStatus.FailedPrecondition, e.Message);
        }
    }

    private string? WhyNoNft()
    {
        lock (_lock)
        {
            if (_nft is not { } known || time.GetElapsedTime(known.At) > _believed)
            {
                _nft = known = (time.GetTimestamp(), AskNft());
            }

            return known.Why;
        }
    }

    private static string? AskNft()
    {
        if (!OperatingSystem.IsLinux())
        {
            return "nft is of Linux only";
        }

        if (Capability.NetAdmin.WhyNot("for rules of nft and queues of tc") is { } missing)
        {
            return missing;
        }

        try
        {
            NetTools.RunAsync(["nft", "list", "tables"]).GetAwaiter().GetResult();
            return null;
        }
        catch (IOException e)
        {
            return e.Message;
        }
    }

    [GeneratedRegex(@"^table (\w+) (\S+)$", RegexOptions.Multiline)]
    private static partial Regex Tables();

    [GeneratedRegex(@" dev (\S+)")]
    private static partial Regex Devices();

    [GeneratedRegex(@"^qdisc (\S+) ([0-9a-f]+): root", RegexOptions.Multiline)]
    private static partial Regex Roots();
}
