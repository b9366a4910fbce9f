using System.Collections.Immutable;
using System.Globalization;
using Fabric.Routing.Health;

namespace Fabric.Routing.Paths;

/// <summary>
/// Chooses the active link to one peer and orders the standbys; one instance for each peer, since hysteresis remembers.
/// Not safe for concurrent use.
/// </summary>
/// <remarks>
/// The lowest score wins: score (ms) = smoothed RTT + 2·jitter + loss · 1,000 + cost. A plain minimum does not serve: two links of nearly the
/// same latency would exchange streams at every sample, and the link that gets the load gets the queueing with it, so that the
/// idle one always looks better. So a switch for latency needs 10 % and 2 ms for 10 s (RFC 8966 §3.6 asks for hysteresis and leaves
/// it open), and repeated ones are damped. A dead link is left at once; one of lower cost that is up again has served
/// its hold-down and is returned to at once.
/// </remarks>
public sealed class PathChoice(PathChoiceOptions options)
{
    /// <summary>What a link is good for; lower is better.</summary>
    private enum Tier
    {
        Up,
        Suspect,
        Relayed,
        Unprobed,
        Recovering,
        Drained,
        NoLane,
        Down,
    }

    private readonly record struct Ranked(PathCandidate Link, Tier Tier, double Score);

    private readonly FlapDamping _damping = new(options.Damping);
    private string? _active;
    private string _activeReason = "";
    private string? _challenger;
    private TimeSpan _challengedAt;

    public PathChoice()
        : this(new PathChoiceOptions())
    {
    }

    /// <summary>Milliseconds that paths are compared by; null while no round trip is known.</summary>
    public double? Score(PathCandidate link) => link.Rtt is not { } rtt ? null
        : rtt.TotalMilliseconds + 2 * link.Jitter.TotalMilliseconds + link.Loss * options.LossWeightMs + link.Cost;

    /// <summary>Decides anew. Call at each change of a link or lane, and about once a second.</summary>
    public PathDecision Decide(IReadOnlyList<PathCandidate> links, TimeSpan now)
    {
        var ranked = links
            .Select(l => new Ranked(l, TierOf(l), Score(l) ?? double.PositiveInfinity))
            .OrderBy(r => r.Tier).ThenBy(r => r.Score).ThenBy(r => r.Link.Cost)
            .ThenByDescending(r => r.Link.Capacity ?? 0).ThenBy(r => r.Link.Link, StringComparer.Ordinal)
            .ToImmutableArray();
        var usable = ranked.Where(r => r.Tier < Tier.NoLane).ToImmutableArray();
        var before = _active;
        var chosen = Choose(ranked, usable, now);
        _active = chosen?.Link.Link;
        // Links without a lane stay in the list: the tunnel moves to the first that has a live one, before anybody asks again.
        return new PathDecision(
            _active,
            [.. ranked.Where(r => r.Tier < Tier.Down && r.Link.Link != _active).Select(r => r.Link.Link)],
            [.. ranked.Where(r => r.Tier == Tier.Down).Select(r => r.Link.Link)],
            _activeReason,
            chosen is { Score: < double.PositiveInfinity } c ? c.Score : null,
            before != _active);
    }

    private Ranked? Choose(ImmutableArray<Ranked> ranked, ImmutableArray<Ranked> usable, TimeSpan now)
    {
        if (usable.IsEmpty)
        {
            _challenger = null;
            _activeReason = ranked.IsEmpty ? "no link is declared" : string.Join("; ", ranked.Select(WhyNot));
            return null;
        }

        var best = usable[0];
        var current = usable.Where(r => r.Link.Link == _active).Select(r => (Ranked?)r).FirstOrDefault();
        if (current is not { } active)
        {
            // The active link is gone: leave at once. Nothing was active: begin with the best.
            var gone = ranked.Where(r => r.Link.Link == _active).Select(r => (Ranked?)r).FirstOrDefault();
            _activeReason = gone is { } g && (best.Tier != Tier.Relayed || g.Link.Relayed) ? $"{WhyNot(g)}; {Lowest(best, ranked)}" : Lowest(best, ranked);
            _challenger = null;
            return best;
        }

        if (best.Link.Link == active.Link.Link || !Better(best, active))
        {
            _challenger = null;
            _activeReason = best.Link.Link == active.Link.Link
                ? Lowest(active, ranked)
                : $"stays: {Name(best)} is not better than {Name(active)} by {Share} and {Number(options.BetterByMs)} ms";
            return active;
        }

        if (active.Tier == Tier.Relayed && best.Tier == Tier.Suspect)
        {
            _challenger = null;
            _activeReason = $"stays: {Name(active)} works, and {best.Link.Link} {Weak(best)}";
            return active;
        }

        if (best.Tier == Tier.Drained)
        {
            // From one drained link to another: for nothing.
            _challenger = null;
            _activeReason = Lowest(active, ranked);
            return active;
        }

        if (best.Tier < active.Tier && active.Tier > Tier.Suspect)
        {
            _activeReason = $"{Lowest(best, ranked)}; {active.Link.Link} {Weak(active)}";
            _challenger = null;
            return best;
        }

        // It was trusted with a hold-down already, and the operator says that it is the cheaper one.
        if (best.Link.Cost < active.Link.Cost && best.Tier == Tier.Up)
        {
            _challenger = null;
            _activeReason = $"{Lowest(best, ranked)}; lower cost than {active.Link.Link}";
            return best;
        }

        return Challenge(best, active, ranked, now);
    }

    private Ranked Challenge(Ranked best, Ranked active, ImmutableArray<Ranked> ranked, TimeSpan now)
    {
        if (_challenger != best.Link.Link)
        {
            (_challenger, _challengedAt) = (best.Link.Link, now);
        }

        var held = _damping.HoldFor(now);
        if (now - _challengedAt < options.BetterFor || held > TimeSpan.Zero)
        {
            _activeReason = held > TimeSpan.Zero
                ? $"stays: {Name(best)} is better than {Name(active)}, and switches are damped for {Seconds(held)}"
                : $"stays: {Name(best)} is better than {Name(active)} for {Seconds(now - _challengedAt)} of {Seconds(options.BetterFor)}";
            return active;
        }

        _challenger = null;
        _damping.Fell(now);
        _activeReason = $"{Lowest(best, ranked)}; better for {Seconds(options.BetterFor)}";
        return best;
    }

    private bool Better(Ranked best, Ranked active) => best.Tier < active.Tier && active.Tier > Tier.Suspect
        || best.Score <= active.Score - options.BetterByMs && best.Score <= active.Score * (1 - options.BetterByShare);

    private static Tier TierOf(PathCandidate link) => link.State switch
    {
        LinkState.Down when !link.Recovering => Tier.Down,
        _ when !link.HasLane => Tier.NoLane,
        _ when link.Relayed => Tier.Relayed,
        _ when link.Drained is not null => Tier.Drained,
        LinkState.Up => Tier.Up,
        LinkState.Suspect => Tier.Suspect,
        LinkState.Unknown => Tier.Unprobed,
        _ => Tier.Recovering,
    };

    private static string Lowest(Ranked best, ImmutableArray<Ranked> ranked)
    {
        var others = ranked.Where(r => r.Link.Link != best.Link.Link && r.Tier == best.Tier).ToArray();
        return best.Tier switch
        {
            Tier.Up when others.Length == 0 => "only link up",
            Tier.Relayed => $"{Without(ranked)}; {best.Link.Link} {Weak(best)}",
            Tier.Up => $"lowest score {Ms(best.Score)}; {string.Join(", ", others.Select(Name))}",
            Tier.Drained => $"no other link is left; {best.Link.Link} {Weak(best)}",
            _ => $"no link is up; {best.Link.Link} {Weak(best)}",
        };
    }

    /// <summary>Why no declared link is used.</summary>
    private static string Without(ImmutableArray<Ranked> ranked) => ranked.Where(r => !r.Link.Relayed).ToArray() is { Length: > 0 } links
        ? string.Join("; ", links.Select(l => l.Tier < Tier.NoLane ? $"{l.Link.Link} {Weak(l)}" : WhyNot(l))) : "no link is declared";

    private static string Weak(Ranked link) => link.Tier switch
    {
        Tier.Relayed => $"leads there in {Ms(link.Score)}: {link.Link.StateReason}",
        Tier.Suspect => $"is suspect: {link.Link.StateReason}",
        Tier.Drained => $"is drained {link.Link.Drained}",
        Tier.Unprobed => "has a lane, and no probe was answered yet",
        Tier.Recovering => "answers again and has a lane, before its hold-down is over",
        _ => $"is {link.Tier.ToString().ToLowerInvariant()}",
    };

    private static string WhyNot(Ranked link) => link.Tier == Tier.NoLane && link.Link.State != LinkState.Down
        ? $"{link.Link.Link} has no lane"
        : link.Link.StateReason.Length == 0 ? $"{link.Link.Link} is down" : $"{link.Link.Link} is down: {link.Link.StateReason}";

    private string Share => string.Create(CultureInfo.InvariantCulture, $"{options.BetterByShare * 100:0.#} %");

    private static string Name(Ranked link) => $"{link.Link.Link} {Ms(link.Score)}";

    private static string Ms(double ms) => double.IsInfinity(ms) ? "unknown" : $"{Number(ms)} ms";

    private static string Number(double value) => value.ToString("0.#", CultureInfo.InvariantCulture);

    private static string Seconds(TimeSpan span) => string.Create(CultureInfo.InvariantCulture, $"{span.TotalSeconds:0.0} s");
}
