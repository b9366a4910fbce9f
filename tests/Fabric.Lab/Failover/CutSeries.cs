using System.Diagnostics;

using Fabric.Lab.Measurement;
using Fabric.Lab.Processes;

namespace Fabric.Lab.Failover;

/// <summary>One silent cut of one direction of one link.</summary>
/// <param name="Out">From paris to virginia, else back.</param>
/// <param name="Both">Whether the bytes of both directions took that link.</param>
public sealed record Cut(long At, int Link, bool Out, bool Both);

/// <summary>
/// Silent cuts, one after the other, each of the link that the cut direction's bytes take, in turn away from the importing site and
/// back to it, under load: 50 connections with 200 messages a second and one bulk stream of 8 MiB/s, which leaves the two cores idle
/// for the most part.
/// </summary>
/// <remarks>
/// There are four links of nearly the same round trip, because flap damping would hold a link that falls every few seconds: the cut
/// link heals after a second, and takes its rest while others are cut.
/// <para>
/// The <b>pause</b> of a connection at a cut is the longest time by which an echo came later than that connection's median round
/// trip, among messages that were on their way at the cut or were sent in the second for which the link was dark. Of the 50
/// connections, many have nothing on their way in so short a time, and see none. What a user means is the connection that was hit: so the pause of a
/// cut is that of the worst connection, and percentiles are over cuts. Over all pairs of connection and cut they are much smaller;
/// they are printed too.
/// </para>
/// </remarks>
public sealed class CutSeries(int cutsEachWay, Progress progress)
{
    private static readonly TimeSpan Period = TimeSpan.FromSeconds(3);
    private static readonly TimeSpan Dark = TimeSpan.FromSeconds(1);

    private static readonly TimeSpan CalmBefore = TimeSpan.FromSeconds(1.2);

    private readonly List<Cut> _cuts = [];
    private readonly Random _random = new(5);
    private IReadOnlyList<GatewayEvent> _events = [];

    public static IReadOnlyList<Wire> Wires => [new(20), new(20.3), new(20.6), new(20.9)];

    /// <summary>Messages of each load, by the name of its service.</summary>
    public Dictionary<string, IReadOnlyList<Echo>> Messages { get; } = [];

    public int Dropped { get; private set; }
    public long BytesLost { get; private set; }
    public IReadOnlyList<Cut> Cuts => _cuts;

    /// <param name="services">Echo services that are called: <c>echo</c>, <c>mirrored</c>.</param>
    public async Task Run(FailoverFabric fabric, string[] services)
    {
        var loads = new Dictionary<string, EchoLoad>();
        var bulk = await fabric.OpenBulk(0, bytesPerSecond: 8 << 20);
        try
        {
            foreach (var service in services)
            {
                loads[service] = await fabric.OpenEcho(service);
            }

            await Task.Delay(Period, Interruption.Token);
            var started = Stopwatch.GetTimestamp();
            for (var i = 0; i < 2 * cutsEachWay; i++)
            {
                progress.Now($"silent cuts: {i + 1} of {2 * cutsEachWay}");
                await One(fabric, outwards: i % 2 == 0);
            }

            foreach (var (service, load) in loads)
            {
                Add(await load.Finish(TimeSpan.FromSeconds(20)));
                Messages[service] = load.Messages();
            }

            Add(await bulk.Stop());
            _events = fabric.Events(started);
        }
        finally
        {
            foreach (var load in loads.Values)
            {
                load.Dispose();
            }

            bulk.Dispose();
        }

        void Add((int Dropped, long Bytes) x) => (Dropped, BytesLost) = (Dropped + x.Dropped, BytesLost + x.Bytes);
    }

    /// <summary>Milliseconds, one for each cut: the worst connection's.</summary>
    public IReadOnlyList<double> WorstPauses(string service) => Worst(Pauses(service));

    /// <summary>The same in a second shortly before each cut, when nothing was dark: what the machine makes of it by itself.</summary>
    public IReadOnlyList<double> CalmPauses(string service) => Worst(Pauses(service, -CalmBefore));

    private static IReadOnlyList<double> Worst(IEnumerable<(int Cut, double Ms)> pauses) => [.. pauses.GroupBy(p => p.Cut).Select(g => g.Max(p => p.Ms))];

    /// <summary>Milliseconds, one for each connection and cut.</summary>
    public IReadOnlyList<double> AllPauses(string service) => [.. Pauses(service).Select(p => p.Ms)];

    /// <summary>
    /// Milliseconds from each cut until every gateway whose bytes took the link called it down; null where one never did. Each gateway
    /// chooses for itself: most of the time both take the same link, and then the later one counts.
    /// </summary>
    public IReadOnlyList<double?> Detections() => [.. _cuts.Select((cut, i) =>
    {
        string[] users = cut.Both ? ["paris-1", "virginia-1"] : [cut.Out ? "paris-1" : "virginia-1"];
        var falls = users.Select(g => Within(i).FirstOrDefault(e => e.Gateway == g && e.State == "down" && e.Link == $"line{cut.Link}")).ToArray();
        return falls.Any(f => f is null) ? (double?)null : falls.Max(f => Ms(cut.At, f!.At));
    })];

    /// <summary>What happened at the cut whose pause is nearest to the median, and at the worst one, in order, as lines.</summary>
    public IEnumerable<string> Timeline(string service)
    {
        var pauses = WorstPauses(service);
        var median = Figures.Percentile(pauses, 50);
        var typical = Enumerable.Range(0, pauses.Count).MinBy(i => Math.Abs(pauses[i] - median));
        var worst = Enumerable.Range(0, pauses.Count).MaxBy(i => pauses[i]);
        return [
            $"a typical cut ({service}, pause {Figures.Number(pauses[typical])} ms):", .. Lines(service, typical),
            $"the worst cut ({service}, pause {Figures.Number(pauses[worst])} ms):", .. Lines(service, worst)];
    }

    private IEnumerable<string> Lines(string service, int index)
    {
        var cut = _cuts[index];
        var baseline = Baselines(service);
        var late = Hit(service, index).Select(m => (Message: m, Late: m.Ms - baseline[m.Connection])).Where(m => m.Late > 5).ToArray();
        List<(long At, string What)> lines =
        [
            (cut.At, $"line{cut.Link} goes dark {(cut.Out ? "from paris to virginia" : "from virginia to paris")}"),
            .. Within(index).Where(e => Ms(cut.At, e.At) < 1000).Select(e => (e.At, $"{e.Gateway}: {e.Text}")),
        ];
        if (late.Length > 0)
        {
            lines.Add((late.Min(m => m.Message.SentAt), "the first message that is late was sent"));
            lines.Add((late.Min(m => m.Message.ReceivedAt), "the first late echo came"));
            lines.Add((late.Max(m => m.Message.ReceivedAt), $"the last late echo of {late.Length} came"));
            var latest = late.MaxBy(m => m.Late).Message;
            lines.Add((latest.SentAt, $"the message that was latest was sent, on connection {latest.Connection}"));
            lines.Add((latest.ReceivedAt, "its echo came"));
        }

        return lines.OrderBy(l => l.At).Select(l => $"  {Ms(cut.At, l.At),8:0.0} ms  {l.What}");
    }

    private async Task One(FailoverFabric fabric, bool outwards)
    {
        var began = Stopwatch.GetTimestamp();
        var (here, there) = (await FailoverFabric.ActiveAt(fabric.Paris), await FailoverFabric.ActiveAt(fabric.Virginia));
        var link = outwards ? here : there;
        // Not in step with the probes, nor with the messages.
        await Task.Delay(TimeSpan.FromMilliseconds(100 * _random.NextDouble()), Interruption.Token);
        var line = outwards ? fabric.Links[link].AToB : fabric.Links[link].BToA;
        line.Cut();
        _cuts.Add(new Cut(Stopwatch.GetTimestamp(), link, outwards, here == there));
        await Task.Delay(Dark, Interruption.Token);
        line.Cut(false);
        var rest = Period - Stopwatch.GetElapsedTime(began);
        await Task.Delay(rest > TimeSpan.Zero ? rest : TimeSpan.Zero, Interruption.Token);
        // Something must be left to move to, as the next cut takes one away.
        await fabric.Until("two links up", s => s.Links.Count(l => l.State == "up" && l.Lane == "up") >= 2, TimeSpan.FromMinutes(2));
    }

    private IEnumerable<(int Cut, double Ms)> Pauses(string service, TimeSpan later = default)
    {
        var baseline = Baselines(service);
        for (var i = 0; i < _cuts.Count; i++)
        {
            var worst = new double[baseline.Count];
            foreach (var message in Hit(service, i, later))
            {
                var late = message.ReceivedAt == 0 ? double.PositiveInfinity : message.Ms - baseline[message.Connection];
                worst[message.Connection] = Math.Max(worst[message.Connection], late);
            }

            foreach (var ms in worst)
            {
                yield return (i, ms);
            }
        }
    }

    /// <summary>Messages that the cut may have hit: on their way at it, or sent while the link was dark.</summary>
    private IEnumerable<Echo> Hit(string service, int index, TimeSpan later = default)
    {
        var from = _cuts[index].At + (long)(later.TotalSeconds * Stopwatch.Frequency);
        var to = from + (long)(Dark.TotalSeconds * Stopwatch.Frequency);
        return Messages[service].Where(m => m.SentAt < to && (m.ReceivedAt > from || m.ReceivedAt == 0));
    }

    private Dictionary<int, double> Baselines(string service) => Messages[service].GroupBy(m => m.Connection)
        .ToDictionary(g => g.Key, g => Figures.Percentile([.. g.Where(m => m.ReceivedAt > 0).Select(m => m.Ms)], 50));

    private IEnumerable<GatewayEvent> Within(int index) => _events.Where(e => e.At >= _cuts[index].At
        && (index + 1 == _cuts.Count || e.At < _cuts[index + 1].At));

    private static double Ms(long from, long to) => (to - from) * 1000.0 / Stopwatch.Frequency;
}
