using System.Globalization;
using System.Text.RegularExpressions;
using Fabric.Lab.Gateways;
using Fabric.Lab.Networks;
using Fabric.Lab.Processes;
using Fabric.Topology;

namespace Fabric.Lab.Faults;

/// <summary>Packets of one link between paris and virginia, as the kernel of paris counts them.</summary>
/// <param name="Asked">Probes that paris sent.</param>
/// <param name="Answers">What virginia answered to them.</param>
/// <param name="Requests">Probes that virginia sent.</param>
/// <param name="Lanes">Packets of virginia with bytes of a lane.</param>
/// <param name="Ends">Packets of virginia that end a connection.</param>
public sealed record Traffic(long Asked, long Answers, long Requests, long Lanes, long Ends)
{
    /// <summary>Nothing that virginia's gateway itself sends arrives, though paris asks.</summary>
    public bool IsSilent => Asked > 0 && Answers + Requests + Lanes == 0;

    /// <summary>Virginia speaks, and hears nothing.</summary>
    public bool IsDeaf => Asked > 0 && Answers == 0 && Requests > 0;

    /// <summary>Virginia hears, and says so.</summary>
    public bool IsWhole => Answers > 0 && Requests > 0;
}

/// <summary>
/// Counters of nft in paris, where what virginia's gateway does shows whatever it says of it. Which of the two kinds a probe is stands in its second byte.
/// </summary>
public static partial class LinkTraffic
{
    private const string Table = "fabric_lab_traffic";
    private static readonly string[] Kinds = ["asked", "answers", "requests", "lanes", "ends"];

    /// <summary>The links, by the family and the address that virginia has on each.</summary>
    private static readonly IReadOnlyDictionary<string, (string Family, string Address)> Links = new Dictionary<string, (string, string)>
    {
        ["dx"] = ("ip", "10.10.0.2"),
        ["vpn"] = ("ip6", $"{OverlayAddresses.Of("lab.example", "vpn", "virginia-1")}"),
    };

    /// <summary>From now on, until the network is gone.</summary>
    public static async Task Count(LabFabric lab)
    {
        static string Lines(Func<string, string, string[]> of) => string.Join("\n", Links.SelectMany(l => of(l.Key, l.Value.Family)));
        (await Command.Run(lab.Network.Inside(lab.Network.Paris, "nft", "-f", "-"), input: $$"""
            table inet {{Table}} {
            {{Lines((link, _) => [.. Kinds.Select(k => $"counter {link}_{k} {{ }}")])}}
              chain arriving {
                type filter hook input priority -310; policy accept;
            {{Lines((link, family) => [
                $"{family} saddr {Links[link].Address} udp sport 7443 @th,72,8 2 counter name {link}_answers",
                $"{family} saddr {Links[link].Address} udp sport 7443 @th,72,8 1 counter name {link}_requests",
                $"{family} saddr {Links[link].Address} tcp flags & psh != 0 counter name {link}_lanes",
                $"{family} saddr {Links[link].Address} tcp flags & (fin | rst) != 0 counter name {link}_ends",
            ])}}
              }
              chain leaving {
                type filter hook output priority -310; policy accept;
            {{Lines((link, family) => [$"{family} daddr {Links[link].Address} udp dport 7443 @th,72,8 1 counter name {link}_asked"])}}
              }
            }

            """)).Checked();
    }

    /// <summary>What was counted in that time, by the name of the link.</summary>
    public static async Task<IReadOnlyDictionary<string, Traffic>> During(LabFabric lab, TimeSpan time)
    {
        await Reset(lab);
        await Task.Delay(time);
        var counted = Counters().Matches(await Reset(lab)).ToDictionary(m => m.Groups[1].Value, m => long.Parse(m.Groups[2].Value, CultureInfo.InvariantCulture));
        return Links.Keys.ToDictionary(l => l, l => new Traffic(counted[$"{l}_asked"], counted[$"{l}_answers"], counted[$"{l}_requests"], counted[$"{l}_lanes"], counted[$"{l}_ends"]));
    }

    /// <summary>Connections over dx that are open at paris.</summary>
    public static async Task<int> OpenOverDx(LabFabric lab) =>
        (await Command.Run(lab.Network.Inside(lab.Network.Paris, "ss", "-Htn", "state", "established", "dst", "10.10.0.2"))).Checked().Output
            .Split('\n', StringSplitOptions.RemoveEmptyEntries).Length;

    private static async Task<string> Reset(LabFabric lab) =>
        (await Command.Run(lab.Network.Inside(lab.Network.Paris, "nft", "reset", "counters", "table", "inet", Table))).Checked().Output;

    [GeneratedRegex(@"counter (\w+) \{\s*packets (\d+)")]
    private static partial Regex Counters();
}
