using System.Collections.Immutable;
using System.Globalization;

namespace Fabric.Routing.Paths;

/// <summary>
/// Chooses the gateway through which a lane to one peer is kept ready, or none; one instance for each peer, since hysteresis remembers.
/// Only the end that dials asks it. Not safe for concurrent use.
/// </summary>
/// <remarks>
/// The lowest sum of both legs wins, each measured by the gateway that it begins at. A lane is prepared while a single failure
/// could leave the peer without a direct link, and not only after it: learning, dialling and two handshakes would be the pause.
/// One lane is enough, since it is replaced in the time that a lane needs to come up. Legs are direct by definition: a gateway tells of
/// none that it reaches through another, so what is chosen here has one relay, and no loop can come of it.
/// </remarks>
public sealed class RelayChoice(RelayChoiceOptions options)
{
    private readonly Dictionary<string, TimeSpan> _avoided = new(StringComparer.Ordinal);
    private string? _current;
    private string? _previous;
    private string? _challenger;
    private TimeSpan _challengedAt;
    private TimeSpan? _enoughSince;
    private TimeSpan _chosenAt;

    public RelayChoice()
        : this(new RelayChoiceOptions())
    {
    }

    private readonly record struct Ranked(RelayCandidate Relay, int Tier)
    {
        public double Score => Relay.Score ?? double.PositiveInfinity;
    }

    /// <summary>Decides anew. Call at each change, and about once a second.</summary>
    /// <param name="directUp">Direct links to the peer that are up and have a lane.</param>
    /// <param name="candidates">Gateways that the topology links to both ends and lets relay.</param>
    /// <param name="now">The instant.</param>
    public RelayDecision Decide(int directUp, IReadOnlyList<RelayCandidate> candidates, TimeSpan now)
    {
        _enoughSince = directUp > options.EnoughLinks - 1 ? _enoughSince ?? now : null;
        if (_enoughSince is { } since && (_current is null || now - since >= options.LetGoAfter))
        {
            return Choose(null, $"{directUp} direct links are up", [], now);
        }

        Avoid(candidates, now);
        var ranked = candidates.Select(c => new Ranked(c, TierOf(c))).Where(r => r.Tier < 3)
            .OrderBy(r => r.Tier).ThenBy(r => r.Tier == 2 ? _avoided[r.Relay.Relay] : default).ThenBy(r => r.Score).ThenBy(r => r.Relay.Relay, StringComparer.Ordinal).ToImmutableArray();
        if (ranked.IsEmpty)
        {
            return Choose(null, candidates.Count == 0 ? "no gateway has a link to both"
                : string.Join("; ", candidates.Select(c => $"{c.Relay} does not serve: {c.Unusable}")), [], now);
        }

        var best = ranked[0];
        var active = ranked.Where(r => r.Relay.Relay == _current).Select(r => (Ranked?)r).FirstOrDefault();
        if (active is not { } current || best.Relay.Relay == _current || best.Tier < current.Tier || best.Tier == 2)
        {
            _challenger = null;
            return Choose(best, Lowest(best, ranked), ranked, now);
        }

        if (best.Score > current.Score - options.BetterByMs || best.Score > current.Score * (1 - options.BetterByShare))
        {
            _challenger = null;
            return Choose(current,
                $"stays: {Name(best)} is not better than {Name(current)} by {Number(options.BetterByShare * 100)} % and {Number(options.BetterByMs)} ms", ranked, now);
        }

        if (_challenger != best.Relay.Relay)
        {
            (_challenger, _challengedAt) = (best.Relay.Relay, now);
        }

        return now - _challengedAt < options.BetterFor
            ? Choose(current, $"stays: {Name(best)} is better than {Name(current)} for {Number((now - _challengedAt).TotalSeconds)} s of {Number(options.BetterFor.TotalSeconds)} s", ranked, now)
            : Choose(best, $"{Lowest(best, ranked)}; better for {Number(options.BetterFor.TotalSeconds)} s", ranked, now);
    }

    /// <summary>A relay that refused, or through which no lane came up in time, is the last choice for a while.</summary>
    private void Avoid(IReadOnlyList<RelayCandidate> candidates, TimeSpan now)
    {
        if (candidates.FirstOrDefault(c => c.Relay == _current) is { HasLane: false } current
            && (current.LaneError.Length > 0 || now - _chosenAt >= options.GiveUpAfter))
        {
            // Also when it failed before: those that failed take turns.
            _avoided[current.Relay] = now + options.AvoidFor;
        }

        foreach (var relay in _avoided.Where(a => a.Value <= now || candidates.All(c => c.Relay != a.Key)).Select(a => a.Key).ToList())
        {
            _avoided.Remove(relay);
        }
    }

    /// <summary>0: good; 1: its lane works, though what is known of it says that it should not; 2: failed lately; 3: of no use.</summary>
    private int TierOf(RelayCandidate relay) =>
        relay.Unusable.Length == 0 && (relay.HasLane || !_avoided.ContainsKey(relay.Relay)) ? 0
        : relay.HasLane ? 1
        : relay.Unusable.Length == 0 ? 2 : 3;

    private RelayDecision Choose(Ranked? chosen, string reason, ImmutableArray<Ranked> ranked, TimeSpan now)
    {
        var relay = chosen?.Relay.Relay;
        var before = _current;
        if (relay != before)
        {
            (_previous, _current, _challenger, _chosenAt) = (before, relay, null, now);
        }

        // Make before break: what worked is let go of when its successor has a lane.
        if (chosen is not { Relay.HasLane: false } || !ranked.Any(r => r.Relay.Relay == _previous && r.Relay.HasLane))
        {
            _previous = null;
        }

        return new RelayDecision(
            relay, relay is null ? [] : _previous is { } previous ? [relay, previous] : [relay], reason, chosen?.Relay.Rtt, chosen?.Relay.Score, relay != before);
    }

    private static string Lowest(Ranked best, ImmutableArray<Ranked> ranked)
    {
        var others = ranked.Where(r => r.Relay.Relay != best.Relay.Relay).Select(Name).ToArray();
        return best.Tier switch
        {
            1 => $"only relay left, though {best.Relay.Unusable}",
            2 => "only relay left, though it failed lately",
            _ => others.Length == 0 ? "only relay" : $"lowest sum of both legs {Ms(best)}; {string.Join(", ", others)}",
        };
    }

    private static string Name(Ranked relay) => $"{relay.Relay.Relay} {Ms(relay)}";

    private static string Ms(Ranked relay) => relay.Relay.Score is { } score ? $"{Number(score)} ms" : "unknown";

    private static string Number(double value) => value.ToString("0.#", CultureInfo.InvariantCulture);
}

/// <summary>One gateway through which the peer may be reached.</summary>
public sealed record RelayCandidate(string Relay)
{
    /// <summary>Empty, or why it cannot carry a lane to the peer now.</summary>
    public string Unusable { get; init; } = "";

    /// <summary>Round trip of both legs together; null while unknown.</summary>
    public TimeSpan? Rtt { get; init; }

    /// <summary>Score of both legs together in milliseconds, as <see cref="PathChoice.Score"/> counts; null while unknown.</summary>
    public double? Score { get; init; }

    /// <summary>Whether a lane through it is up.</summary>
    public bool HasLane { get; init; }

    /// <summary>Empty, or why the last lane through it ended or never was.</summary>
    public string LaneError { get; init; } = "";
}

/// <summary>Figures of relay choice.</summary>
public sealed record RelayChoiceOptions
{
    /// <summary>With that many direct links up no lane is prepared: one may fail. Default 2.</summary>
    public int EnoughLinks { get; init; } = 2;

    /// <summary>How long they must have been up until a prepared lane is let go of. Default 30 s: a link that flaps costs no handshakes.</summary>
    public TimeSpan LetGoAfter { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>Another relay is taken for latency only when better by this share. Default 0.1.</summary>
    public double BetterByShare { get; init; } = 0.10;

    /// <summary>… and by that many milliseconds. Default 2.</summary>
    public double BetterByMs { get; init; } = 2;

    /// <summary>… for that long without a break. Default 10 s.</summary>
    public TimeSpan BetterFor { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>A relay that has no lane by then is passed over. Default 5 s: a dial has 3 s.</summary>
    public TimeSpan GiveUpAfter { get; init; } = TimeSpan.FromSeconds(5);

    /// <summary>… for that long, while there are others. Default 30 s.</summary>
    public TimeSpan AvoidFor { get; init; } = TimeSpan.FromSeconds(30);
}

/// <summary>Through which gateway a peer is to be reached.</summary>
/// <param name="Relay">The one chosen; null when none is needed or none serves.</param>
/// <param name="Keep">Lanes through these are kept up: the chosen one and, until its lane is up, the one before.</param>
/// <param name="Reason">One sentence: why that one, or why none.</param>
/// <param name="Rtt">Of both legs together; null while unknown.</param>
/// <param name="Score">Of both legs together in milliseconds; null while unknown.</param>
/// <param name="Changed">Whether the relay differs from the last decision's.</param>
public sealed record RelayDecision(string? Relay, ImmutableArray<string> Keep, string Reason, TimeSpan? Rtt, double? Score, bool Changed);
