using Fabric.Drills.Definition;
using Fabric.Drills.Measurement;
using Fabric.Drills.Reports;

namespace Fabric.Drills.Tests.Reports;

/// <summary>A run as real ones are: 75 s, a link that goes dark for half a minute, five probes; its figures follow from a seed.</summary>
internal static class SampleRecord
{
    public static readonly DateTimeOffset Began = new(2026, 3, 14, 9, 30, 0, 120, TimeSpan.Zero);

    public static DrillDefinition Drill(string name = "cut-dx") => new(
        name,
        "network-team@acme.example",
        "The interconnect to Virginia is one carrier's: show each month that the VPN takes over, before a night does",
        "../topology",
        new SteadyState(TimeSpan.FromSeconds(5), TimeSpan.FromSeconds(30), ["dx", "vpn"], ["web.shop", "orders.shop"], 100),
        [
            new DrillAction("dark", "link-blackhole", TimeSpan.FromSeconds(5), TimeSpan.FromSeconds(30), "paris-1", Link: "dx", Peer: "virginia-1"),
            new DrillAction("slow-vpn", "delay", TimeSpan.FromSeconds(12), TimeSpan.FromSeconds(15), "virginia-1", Link: "vpn", DelayMs: 40, JitterMs: 5),
        ],
        [
            Plan("new connections", "connect", 20), Plan("cart sessions", "live", 80), Plan("nightly export", "bulk", 20),
            Plan("storefront", "http", 40), Plan("names", "dns", 20),
        ],
        new DrillGuards(1, 50, 1, ["billing.finance"], ["mon-fri 09:00-16:00 Europe/Paris"], 80),
        new StopConditions(50, TimeSpan.FromSeconds(60), true),
        new DrillExpectations(250, 1000, 0, 0, 0, 10_000));

    public static DrillRecord Build(int seed = 1, double pauseMs = 312.4, string name = "cut-dx", bool fails = false)
    {
        var random = new Random(seed);
        var drill = Drill(name);
        var applied = Began.AddSeconds(10.204);
        var reverted = Began.AddSeconds(40.311);
        var detected = 84.0 + seed;
        var pauseBegan = applied.AddMilliseconds(6.3);
        var failed = fails ? 17 : 0;
        ProbeFigures[] probes =
        [
            new("new connections", "connect", "web.shop", 1500, failed, 0, pauseMs * 0.8, applied.AddMilliseconds(31), 41.6, 388, 0, 0, 0,
                fails ? [new("connection reset", 12), new("connected, and no answer within 5 s", 5)] : []),
            new("cart sessions", "live", "orders.shop", 6000, 0, 0, pauseMs, pauseBegan, 21.2, 96.0, 6000 * 64, 0, 0, []),
            new("nightly export", "bulk", "orders.shop", 184_220, 0, 0, pauseMs * 0.71, applied.AddMilliseconds(2.2), 0.3, 4.1, 1_932_735_283, 0, 0, []),
            new("storefront", "http", "web.shop", 3000, 0, 0, pauseMs * 0.9, applied.AddMilliseconds(12), 22.9, 121.4, 61_440_000, 0, 0, []),
            new("names", "dns", "web.shop", 1500, 0, 0, 62, Began.AddSeconds(31), 0.21, 0.9, 96_000, 0, 0, []),
        ];
        DrillEvent[] events =
        [
            new(applied.AddMilliseconds(0.4), "paris-1", "fault-applied", "dx", "virginia-1", "", 0, 0, "link-blackhole by nft, for 30 s"),
            new(applied.AddMilliseconds(61), "paris-1", "stream-moved", "vpn", "virginia-1", "", 0, 71, "42 streams, copies of what was not acknowledged"),
            new(applied.AddMilliseconds(detected), "paris-1", "link-down", "dx", "virginia-1", "", detected, 0, "3 probes missed, round trip was 20.1 ms"),
            new(applied.AddMilliseconds(detected + 2), "paris-1", "path-moved", "vpn", "virginia-1", "", 0, 0, "dx down"),
            new(applied.AddMilliseconds(112), "virginia-1", "link-down", "dx", "paris-1", "", 101, 0, "3 probes missed, round trip was 20.1 ms"),
            new(applied.AddMilliseconds(114), "virginia-1", "path-moved", "vpn", "paris-1", "", 0, 0, "dx down"),
            new(applied.AddMilliseconds(2120), "paris-1", "lane-down", "dx", "virginia-1", "", 0, 0, "no acknowledgement for 2 s"),
            new(reverted.AddMilliseconds(0.2), "paris-1", "fault-reverted", "dx", "virginia-1", "", 0, 0, "asked"),
            new(reverted.AddMilliseconds(980), "paris-1", "link-up", "dx", "virginia-1", "", 0, 0, "full-size packets pass"),
            new(reverted.AddMilliseconds(1040), "paris-1", "lane-up", "dx", "virginia-1", "", 0, 0, ""),
            new(reverted.AddMilliseconds(1065), "virginia-1", "link-up", "dx", "paris-1", "", 0, 0, "full-size packets pass"),
            new(reverted.AddSeconds(10.2), "paris-1", "path-moved", "dx", "virginia-1", "", 0, 0, "better by 31 % for 10 s"),
            new(reverted.AddSeconds(10.3), "virginia-1", "path-moved", "dx", "paris-1", "", 0, 0, "better by 31 % for 10 s"),
        ];
        DrillVerdict[] verdicts =
        [
            new("steady state before", "100 % of probes, dx and vpn up", "100 %, all up", true),
            new("detectionMsMax", "250", $"{detected:0.#}", true),
            new("pauseMsMax", "1000", $"{pauseMs:0.#}", pauseMs <= 1000, "cart sessions, connection 3"),
            new("requestsFailedMax", "0", $"{failed}", !fails, fails ? "12 connection reset, 5 no answer within 5 s" : ""),
            new("connectionsDroppedMax", "0", "0", true),
            new("bytesLostMax", "0", "0", true),
            new("recoveryMsMax", "10000", "1065", true),
        ];
        return new DrillRecord(
            $"{name}-20260314T093000Z", drill, "acme.example", "0.1.0", "r41-9f2c81", Began, Began.AddSeconds(75.6),
            fails || pauseMs > 1000 ? DrillOutcome.Failed : DrillOutcome.Passed,
            fails ? "17 requests failed: the budget is 0" : "Every budget held, and the steady state is back.",
            verdicts,
            [
                new("sites", true, "1 site has a target (paris), at most 1"), new("links", true, "1 of 3 links at once, at most 50 %"),
                new("paths", true, "web.shop and orders.shop keep vpn and the relay through frankfurt"), new("window", true, "Saturday is no day of mon-fri: overridden by --force-window"),
            ],
            [
                new(drill.Actions[0], "paris-1", "nft", applied, reverted, "asked", true),
                new(drill.Actions[1], "virginia-1", "tc", Began.AddSeconds(17.2), Began.AddSeconds(32.2), "duration", !fails),
            ],
            probes, events, [.. Seconds(random, applied, pauseMs, fails)],
            [new("paris-1", 0.3, 0.2), new("virginia-1", -1204.6, 10.4)], detected, pauseMs, 1065);
    }

    private static IEnumerable<ProbeSecond> Seconds(Random random, DateTimeOffset applied, double pauseMs, bool fails)
    {
        var first = new DateTimeOffset(Began.UtcTicks / TimeSpan.TicksPerSecond * TimeSpan.TicksPerSecond, TimeSpan.Zero);
        for (var second = 0; second < 76; second++)
        {
            var at = first.AddSeconds(second);
            var isCut = at <= applied && applied < at.AddSeconds(1);
            var slow = second is >= 17 and < 32;
            double Ms(double usual) => isCut ? pauseMs : usual * (1 + random.NextDouble()) + (slow ? 80 : 0);
            yield return new ProbeSecond(at, "new connections", fails && second is > 9 and < 16 ? 17 : 20, fails && second is > 9 and < 16 ? 3 : 0, 0, Ms(42));
            yield return new ProbeSecond(at, "cart sessions", isCut ? 71 : 80, 0, 5120, Ms(21));
            yield return new ProbeSecond(at, "nightly export", slow ? 900 : 2600 + random.Next(500), 0, (isCut ? 12L : slow ? 9 : 24 + random.Next(5)) << 20, Ms(2));
            yield return new ProbeSecond(at, "storefront", 40, 0, 819_200, Ms(23));
            yield return new ProbeSecond(at, "names", 20, 0, 1280, 0.2 + random.NextDouble());
        }
    }

    private static ProbePlan Plan(string name, string kind, int perSecond) => new(
        name, kind, kind is "connect" or "http" or "dns" ? "web.shop" : "orders.shop", 80, perSecond, kind == "bulk" ? 1 : 4, 64 << 20, "", "/",
        TimeSpan.FromSeconds(5));
}
