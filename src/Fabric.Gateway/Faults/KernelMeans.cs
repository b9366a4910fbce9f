using System.Globalization;
using System.Text.RegularExpressions;
using Fabric.Gateway.Snapshot;
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

    private readonly Lock _lock = new();
    private (long At, string? Why)? _nft;

    public string Name => "kernel";

    public string? WhyNot(string kind) => kind switch
    {
        FaultKind.GatewayKill or FaultKind.GatewayPause => OperatingSystem.IsLinux() ? null : "signals are sent on Linux only",
        FaultKind.Delay => WhyNoNft() ?? DelayStage.WhyNot(),
        FaultKind.LinkDown or FaultKind.LinkBlackhole or FaultKind.Flap or FaultKind.SiteIsolate or FaultKind.Loss or FaultKind.Bandwidth => WhyNoNft(),
        _ => "it is about what the gateway believes, which the kernel knows nothing of",
    };

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
            FaultKind.Delay => new DelayFault(fault, names, matches, await DeviceAsync(fault, matches), log),
            _ => new RulesFault(fault, names, matches, time),
        };
    }

    public async Task RevertLeftAsync(FaultLease lease)
    {
        foreach (var undo in Undo(names, lease.Fault, lease.Detail))
        {
            await NetTools.TryAsync(undo);
        }
    }

    /// <summary>What no lease tells of: tables of ours that are there all the same.</summary>
    public async Task SweepAsync()
    {
        try
        {
            foreach (Match table in Tables().Matches(await NetTools.RunAsync(["nft", "list", "tables"])))
            {
                if (names.IsTable(table.Groups[2].Value))
                {
                    await NetTools.TryAsync("nft", "delete", "table", table.Groups[1].Value, table.Groups[2].Value);
                }
            }
        }
        catch (IOException)
        {
            // Without nft or without the right to use it, there is none of ours.
        }
    }

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
            var mark = names.Mark(fault.Id).ToString(CultureInfo.InvariantCulture);
            undo.Add(["nft", "delete", "table", "netdev", table]);
            undo.AddRange(((string[])["-4", "-6"]).Select(f => (string[])["ip", f, "rule", "del", "pref", DelayFault.Priority, "fwmark", mark, "lookup", mark]));
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
