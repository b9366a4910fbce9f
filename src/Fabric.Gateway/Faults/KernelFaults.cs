using System.Globalization;
using System.Text;
using Fabric.Protocol.Proto;

namespace Fabric.Gateway.Faults;

/// <summary>A table of nft for one fault: what arrives and what leaves, each packet of the link to what is done to it.</summary>
internal static class NftTable
{
    /// <param name="arriving">What is done to what arrives; null: nothing.</param>
    /// <param name="leaving">The same for what leaves.</param>
    /// <param name="inner">Whether what is inside of vpn links is hit as well.</param>
    public static string Write(string table, IEnumerable<LinkMatch> matches, string? arriving, string? leaving, bool inner = false)
    {
        var text = new StringBuilder($"table inet {table} {{\n");
        void Chain(string name, string hook, string? action, Func<LinkMatch, IEnumerable<string>> of)
        {
            if (action is not null)
            {
                text.Append(CultureInfo.InvariantCulture, $"  chain hit_{name} {{\n    {action}\n  }}\n");
                text.Append(CultureInfo.InvariantCulture, $"  chain {name} {{\n    type filter hook {hook} priority -300; policy accept;\n");
                text.AppendJoin("", matches.SelectMany(of).Select(m => $"    {m} counter jump hit_{name}\n")).Append("  }\n");
            }
        }

        Chain("arriving", "input", arriving, m => inner && m.Inner is { } i ? [.. m.Arriving, i.Arriving] : m.Arriving);
        Chain("leaving", "output", leaving, m => inner && m.Inner is { } i ? [.. m.Leaving, i.Leaving] : m.Leaving);
        return text.Append("}\n").ToString();
    }

    public static Task LoadAsync(string text) => NetTools.RunAsync(["nft", "-f", "-"], text);

    /// <summary>Made before it is deleted: so that what is gone is no error.</summary>
    public static Task DeleteAsync(string table, string family = "inet") =>
        LoadAsync($"add table {family} {table}\ndelete table {family} {table}\n");
}

/// <summary>link-down, link-blackhole, site-isolate, loss and flap: rules, and nothing else.</summary>
internal sealed class RulesFault : PreparedFault
{
    private const string Drop = "drop";

    /// <summary>What this machine sends is answered here; what arrives is answered to the peer, by a reset that has to get out.</summary>
    private const string Reject = "tcp flags & rst == rst accept\n    meta l4proto tcp reject with tcp reset\n    reject with icmpx type port-unreachable";
    private readonly FaultSpec _fault;
    private readonly KernelNames _names;
    private readonly string _rules;
    private readonly Flapping? _flapping;

    public RulesFault(FaultSpec fault, KernelNames names, IReadOnlyList<LinkMatch> matches, TimeProvider time)
    {
        (_fault, _names) = (fault, names);
        var action = fault.Kind switch
        {
            FaultKind.LinkDown => Reject,
            FaultKind.Loss when fault.LossPercent < 100 => string.Create(CultureInfo.InvariantCulture,
                $"numgen random mod 1000000 < {(long)Math.Round(fault.LossPercent * 10_000)} {Drop}"),
            _ => Drop,
        };
        _rules = NftTable.Write(Table, matches, fault.Direction == "out" ? null : action, fault.Direction == "in" ? null : action, fault.Kind == FaultKind.LinkDown);
        _flapping = fault.Kind != FaultKind.Flap ? null
            : new Flapping(SetAsync, TimeSpan.FromMilliseconds(fault.DownMs), TimeSpan.FromMilliseconds(fault.UpMs), time, static _ => { });
    }

    public override string Means => "nft";

    public override IReadOnlyList<string[]> Undo => KernelMeans.Undo(_names, _fault, "");

    public override Task ApplyAsync() => _flapping?.StartAsync() ?? SetAsync(true);

    public override Task RevertAsync() => _flapping?.StopAsync() ?? SetAsync(false);

    private string Table => _names.Table(_fault.Id);

    private Task SetAsync(bool on) => on ? NftTable.LoadAsync(_rules) : NftTable.DeleteAsync(Table);
}

/// <summary>
/// A narrower link: what leaves waits in a queue of tc (htb with one class, and everything else beside it), what arrives beyond the rate is
/// dropped, since what has arrived cannot wait.
/// </summary>
internal sealed class BandwidthFault(FaultSpec fault, KernelNames names, IReadOnlyList<LinkMatch> matches, string device) : PreparedFault
{
    private string Table => names.Table(fault.Id);

    public override string Means => device.Length > 0 ? "tc" : "nft";

    public override string Detail => device;

    public override IReadOnlyList<string[]> Undo => KernelMeans.Undo(names, fault, device);

    public override async Task ApplyAsync()
    {
        var bytes = fault.BitsPerSecond / 8;
        var rate = string.Create(CultureInfo.InvariantCulture, $"{fault.BitsPerSecond}bit");
        // A fifth of a second may wait, or a twentieth come at once; and never less than a few packets.
        var queue = Text(Math.Max(bytes / 5, 20_000));
        var burst = Text(Math.Clamp(bytes / 20, 10_000, 1 << 30));
        var arriving = $"limit rate over {bytes} bytes/second burst {burst} bytes drop";
        if (device.Length > 0)
        {
            await NetTools.RunAsync(["tc", "qdisc", "add", "dev", device, "root", "handle", KernelNames.Queue, "htb", "default", "0"]);
            await NetTools.RunAsync(["tc", "class", "add", "dev", device, "parent", KernelNames.Queue, "classid", KernelNames.Class, "htb", "rate", rate, "ceil", rate]);
            await NetTools.RunAsync(["tc", "qdisc", "add", "dev", device, "parent", KernelNames.Class, "bfifo", "limit", queue]);
        }

        await NftTable.LoadAsync(NftTable.Write(Table, matches, fault.Direction == "out" ? null : arriving,
            device.Length > 0 ? $"meta priority set {KernelNames.Class}" : null));
    }

    public override Task RevertAsync() => KernelMeans.TakeBackAsync(names, fault, device);

    private static string Text(ulong number) => number.ToString(CultureInfo.InvariantCulture);
}
