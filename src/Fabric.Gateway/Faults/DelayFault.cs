using System.Globalization;
using System.Text;
using Fabric.Protocol.Proto;
using Fabric.Gateway.Telemetry;
using Microsoft.Extensions.Logging;

namespace Fabric.Gateway.Faults;

/// <summary>
/// A slower link: not every kernel has netem, and netem holds only what leaves. What leaves is marked, and routed into a device by the mark;
/// what arrives is handed to another before the kernel looks at it. <see cref="DelayStage"/> holds both. Without this process no packet
/// that leaves is held, and none that arrives passes until the table is gone, which is what its watchdog is for.
/// </summary>
internal sealed class DelayFault(FaultSpec fault, KernelNames names, IReadOnlyList<LinkMatch> matches, string device, ILogger log) : PreparedFault
{
    /// <summary>Of the routing rule: after the local table, before all that is usual.</summary>
    public const string Priority = "77";

    /// <summary>What <c>ip</c> says of a device whose packets have no link layer, as WireGuard's.</summary>
    private const string NoLinkLayer = " link/none";
    private const int Ethernet = 14;

    private readonly List<IDisposable> _parts = [];

    private string Table => names.Table(fault.Id);

    private string Mark => names.Mark(fault.Id).ToString(CultureInfo.InvariantCulture);

    public override string Means => "tun";

    public override string Detail => device;

    public override IReadOnlyList<string[]> Undo => KernelMeans.Undo(names, fault, device);

    public override async Task ApplyAsync()
    {
        var (delay, jitter) = (TimeSpan.FromMilliseconds(fault.DelayMs), TimeSpan.FromMilliseconds(fault.JitterMs));
        if (fault.Direction != "in")
        {
            var leaving = await OpenAsync('o');
            foreach (var family in (string[])["-4", "-6"])
            {
                await NetTools.RunAsync(["ip", family, "route", "replace", "default", "dev", leaving.Name, "table", Mark]);
                await NetTools.RunAsync(KernelMeans.Rule(family, "add", Mark));
            }

            Add(new DelayStage(leaving, leaving: true, 0, delay, jitter, TimeProvider.System));
            await NftTable.LoadAsync(Chains($"table inet {Table}", "route hook output priority mangle",
                [$"meta mark {KernelNames.Passed} return", .. matches.SelectMany(m => m.Leaving).Select(m => $"{m} counter meta mark set {Mark}")]));
        }

        if (fault.Direction != "out")
        {
            var arriving = await OpenAsync('i');
            var before = (await NetTools.RunAsync(["ip", "-o", "link", "show", "dev", device])).Contains(NoLinkLayer, StringComparison.Ordinal) ? 0 : Ethernet;
            Add(new DelayStage(arriving, leaving: false, before, delay, jitter, TimeProvider.System));
            await NftTable.LoadAsync(Chains($"table netdev {Table}", $"filter hook ingress device {device} priority 0",
                matches.SelectMany(m => m.Arriving).Select(m => $"{m} counter fwd to {arriving.Name}")));
        }
    }

    public override async Task RevertAsync()
    {
        await NftTable.DeleteAsync(Table);
        await NftTable.DeleteAsync(Table, "netdev");
        foreach (var part in _parts.AsEnumerable().Reverse())
        {
            part.Dispose();
        }

        _parts.Clear();
        await KernelMeans.DeleteRulesAsync(Mark);
    }

    private void Add(DelayStage stage) => _parts.Add(stage);

    private async Task<TunDevice> OpenAsync(char way)
    {
        var tun = TunDevice.Open(names.Device(fault.Id, way));
        _parts.Add(tun);
        await NetTools.TryAsync("ip", "link", "set", tun.Name, "addrgenmode", "none");
        await NetTools.RunAsync(["ip", "link", "set", tun.Name, "up", "mtu", "9216", "txqueuelen", "5000"]);
        if (way == 'i')
        {
            TakeAnySource(tun.Name);
        }

        return tun;
    }

    /// <summary>Null when what arrives can be held here, if that is asked for.</summary>
    public static string? WhyNot(FaultSpec fault)
    {
        try
        {
            // A new device has what is the default's, and the stricter of it and all of them holds.
            return fault.Direction == "out" || !IsStrict("all") && (!IsStrict("default") || IsWritable("default")) ? null : Strict;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return $"rp_filter cannot be read: {e.Message}";
        }
    }

    /// <summary>What comes out of the device comes, to the kernel, from somewhere that no route leads to.</summary>
    private void TakeAnySource(string name)
    {
        try
        {
            File.WriteAllText(Setting(name), "0");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            Log.Failed(log, $"Turning off rp_filter of {name}", e.Message);
        }

        // The stricter of the two holds.
        if (IsStrict("all") || IsStrict(name))
        {
            throw new IOException(Strict);
        }
    }

    private static string Strict => $"packets that arrive cannot be held while rp_filter is strict: set {Setting("all")} and {Setting("default")} to 0 or 2, or delay what leaves at the other end";

    private static string Setting(string of) => $"/proc/sys/net/ipv4/conf/{of}/rp_filter";

    private static bool IsStrict(string of) => File.ReadAllText(Setting(of)).Trim() == "1";

    /// <summary>systemd's ProtectKernelTunables makes it read-only.</summary>
    private static bool IsWritable(string of)
    {
        try
        {
            using var setting = File.OpenHandle(Setting(of), FileMode.Open, FileAccess.Write);
            return true;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return false;
        }
    }

    private static string Chains(string table, string hook, IEnumerable<string> rules) =>
        new StringBuilder($"{table} {{\n  chain held {{\n    type {hook};").AppendJoin("", rules.Select(r => $"\n    {r}")).Append("\n  }\n}\n").ToString();
}
