using System.Diagnostics;

using Fabric.Lab.Measurement;
using Fabric.Lab.Processes;
using Fabric.Testing.Links;

namespace Fabric.Lab.Failover;

/// <summary>
/// Moves with both links whole: the operator changes the cost of the active link, there and back; a link that was cut comes back; the
/// other link becomes faster, and slow again. Under the load of <see cref="CutSeries"/>.
/// </summary>
/// <remarks>
/// The pause of a move is the longest time by which an echo came later than the connection's median round trip before the first
/// move, among messages on their way at its cause or sent from it until the move was over (status says so) and half a second more.
/// The second link is 4 ms slower, and those count: a user does not ask why.
/// </remarks>
public sealed class PlannedMoves(int changes, int returns, Progress progress)
{
    private static readonly TimeSpan After = TimeSpan.FromMilliseconds(500);
    private static readonly TimeSpan Limit = TimeSpan.FromMinutes(3);

    private readonly List<(string Kind, long From, long To)> _moves = [];
    private IReadOnlyList<Echo> _messages = [];
    private IReadOnlyList<GatewayEvent> _events = [];
    private long _firstMove;

    public static IReadOnlyList<Wire> Wires => [new(20), new(24, Cost: 1)];

    public (int Dropped, long BytesLost) Losses { get; private set; }

    public async Task Run(FailoverFabric fabric)
    {
        await fabric.UntilActive(0, Limit);
        using var load = await fabric.OpenEcho();
        using var bulk = await fabric.OpenBulk(0, bytesPerSecond: 8 << 20);
        await Task.Delay(TimeSpan.FromSeconds(4), Interruption.Token);
        _firstMove = Stopwatch.GetTimestamp();
        for (var i = 0; i < changes; i++)
        {
            progress.Now($"planned moves: cost {i + 1} of {changes}");
            var away = i % 2 == 0;
            await Move("cost", () => fabric.Change(FailoverFabric.Topology([Wires[0] with { Cost = away ? 50 : 0 }, Wires[1]], "", mirrored: false)), away ? 1 : 0);
        }

        for (var i = 0; i < returns; i++)
        {
            progress.Now($"planned moves: return {i + 1} of {returns}");
            fabric.Links[0].Cut();
            await fabric.UntilActive(1, Limit);
            await Task.Delay(After, Interruption.Token);
            await Move("return", () => Task.Run(() => fabric.Links[0].Cut(false)), 0);
            // Falls in quick succession would be held back.
            await Task.Delay(TimeSpan.FromSeconds(i + 1 < returns ? 10 : 0), Interruption.Token);
        }

        progress.Now("planned moves: latency");
        await Move("latency", () => Task.Run(() => fabric.Links[1].Conditions = new LinkConditions { Delay = TimeSpan.FromMilliseconds(2) }), 1);
        await Move("latency", () => Task.Run(() => fabric.Links[1].Conditions = new LinkConditions { Delay = TimeSpan.FromMilliseconds(12) }), 0);

        var (dropped, lost) = await load.Finish(TimeSpan.FromSeconds(20));
        var (cut, bytes) = await bulk.Stop();
        Losses = (dropped + cut, lost + bytes);
        _messages = load.Messages();
        _events = fabric.Events(_firstMove);

        async Task Move(string kind, Func<Task> cause, int to)
        {
            var from = Stopwatch.GetTimestamp();
            await cause();
            await fabric.UntilActive(to, Limit);
            await Task.Delay(After, Interruption.Token);
            _moves.Add((kind, from, Stopwatch.GetTimestamp()));
            // What is on its way now is not to meet the cause of the next move.
            await Task.Delay(After, Interruption.Token);
        }
    }

    /// <summary>Milliseconds, one for each move: cost, return or latency, and the worst connection's pause.</summary>
    public IReadOnlyList<(string Kind, double Ms)> Pauses()
    {
        var baseline = _messages.Where(m => m.ReceivedAt > 0 && m.ReceivedAt < _firstMove).GroupBy(m => m.Connection)
            .ToDictionary(g => g.Key, g => Figures.Percentile([.. g.Select(m => m.Ms)], 50));
        return [.. _moves.Select(move => (move.Kind, _messages
            .Where(m => m.SentAt < move.To && (m.ReceivedAt > move.From || m.ReceivedAt == 0))
            .Select(m => m.ReceivedAt == 0 ? double.PositiveInfinity : m.Ms - baseline[m.Connection]).Append(0).Max()))];
    }

    /// <summary>What happened at the worst move, in order, as lines.</summary>
    public IEnumerable<string> Timeline()
    {
        var pauses = Pauses();
        var worst = Enumerable.Range(0, pauses.Count).MaxBy(i => pauses[i].Ms);
        var (kind, from, to) = _moves[worst];
        var during = _messages.Where(m => m.SentAt < to && m.ReceivedAt > from).ToArray();
        var slow = during.MaxBy(m => m.Ms);
        List<(long At, string What)> lines =
        [
            (from, $"cause: {kind}"),
            (slow.SentAt, $"the slowest message was sent, and took {Figures.Number(slow.Ms)} ms"),
            (slow.ReceivedAt, "its echo came"),
            .. _events.Where(e => e.At >= from && e.At < to).Select(e => (e.At, $"{e.Gateway}: {e.Text}")),
        ];
        return [$"all moves: {string.Join(", ", pauses.Select(p => $"{p.Kind} {Figures.Number(p.Ms)}"))} ms", "the worst of them:",
            .. lines.OrderBy(l => l.At).Select(l => $"  {Stopwatch.GetElapsedTime(from, l.At).TotalMilliseconds,8:0.0} ms  {l.What}")];
    }
}
