using System.Globalization;

namespace Fabric.Routing.Peers;

/// <summary>How long a session is kept that has no lane left.</summary>
/// <param name="Keep">From when the last lane ended; zero: its streams are reset at once.</param>
/// <param name="Reason">One sentence without a full stop: why they are reset when that time is over.</param>
public readonly record struct PeerVerdict(TimeSpan Keep, string Reason);

/// <summary>Figures of <see cref="PeerLoss"/>.</summary>
public sealed record PeerLossOptions
{
    /// <summary>While nothing is known. Default 30 s.</summary>
    public TimeSpan Grace { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>While other gateways of the peer's site are reached. Default 5 s.</summary>
    public TimeSpan GraceWithSiblings { get; init; } = TimeSpan.FromSeconds(5);

    /// <summary>How long a link must have refused. Default 500 ms.</summary>
    public TimeSpan RefusedFor { get; init; } = TimeSpan.FromMilliseconds(500);

    /// <summary>A link that refused longer than that before the last lane ended has refused for a reason of its own. Default 5 s.</summary>
    public TimeSpan Recent { get; init; } = TimeSpan.FromSeconds(5);
}

/// <summary>
/// Tells a gateway that is gone from one that is only out of reach, when no lane to it is left. One instance for each peer. Not safe
/// for concurrent use.
/// </summary>
/// <remarks>
/// A gateway that died cannot resume a session, which lives in its memory: to keep the streams only makes applications hang. A network
/// that is cut can come back, and then a reset was needless. What speaks for death: the peer said that it stops; or its machine
/// answers, and says that nobody listens on its port any more. Only the machine (or something that answers in its name) refuses; a
/// cut line is silent. Something else may do so once, as a NAT that lost its table: so the refusals must last, and no link may say
/// otherwise. Where neither is known, a reset is worth the more, the surer a new connection is served: by the other gateways of the site.
/// </remarks>
public sealed class PeerLoss(PeerLossOptions options)
{
    private readonly Dictionary<string, Answer> _answers = new(StringComparer.Ordinal);

    /// <param name="First">When it first refused, and has done nothing else since; null when it accepted.</param>
    /// <param name="Last">When it answered last.</param>
    private readonly record struct Answer(TimeSpan? First, TimeSpan Last);

    /// <summary>The peer said that it stops.</summary>
    public bool SaidGoodbye { get; set; }

    /// <summary>Another gateway of its site is reached.</summary>
    public bool SiteReachable { get; set; }

    /// <summary>The peer's machine refused a connection to its gateway port over the link.</summary>
    public void Refused(string link, TimeSpan now) =>
        _answers[link] = new Answer(_answers.TryGetValue(link, out var before) ? before.First ?? now : now, now);

    /// <summary>A connection to its gateway port was accepted, whatever became of it.</summary>
    public void Accepted(string link, TimeSpan now) => _answers[link] = new Answer(null, now);

    /// <summary>Nothing came back, or the link is no longer tried: it does not speak for or against.</summary>
    public void Silent(string link) => _answers.Remove(link);

    /// <summary>A lane came up over the link: what others refused before is remembered, since it did not mean death.</summary>
    public void Reached(string link)
    {
        _answers.Remove(link);
        SaidGoodbye = false;
    }

    /// <summary>How long the session is kept.</summary>
    /// <param name="alone">When its last lane ended.</param>
    public PeerVerdict Decide(TimeSpan alone)
    {
        if (SaidGoodbye)
        {
            return new PeerVerdict(TimeSpan.Zero, "the gateway stopped");
        }

        var heard = _answers.Where(a => a.Value.Last >= alone && !(a.Value.First < alone - options.Recent)).ToArray();
        if (heard.Length > 0 && heard.All(a => a.Value.First is { } first && a.Value.Last - first >= options.RefusedFor))
        {
            var links = string.Join(" and ", heard.Select(a => a.Key).Order(StringComparer.Ordinal));
            return new PeerVerdict(TimeSpan.Zero, $"the gateway is gone: its port is closed over {links}");
        }

        return SiteReachable && options.GraceWithSiblings < options.Grace
            ? new PeerVerdict(options.GraceWithSiblings, $"no lane for {Seconds(options.GraceWithSiblings)}, while other gateways of its site are reached")
            : new PeerVerdict(options.Grace, $"no lane for {Seconds(options.Grace)}");
    }

    private static string Seconds(TimeSpan span) => string.Create(CultureInfo.InvariantCulture, $"{span.TotalSeconds:0.#} s");
}
