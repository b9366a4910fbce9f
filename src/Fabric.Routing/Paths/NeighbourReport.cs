using System.Collections.Immutable;

namespace Fabric.Routing.Paths;

/// <summary>A gateway that is reached over a direct link: what others need to know to be relayed to it.</summary>
/// <param name="Gateway">Its name.</param>
/// <param name="Rtt">Smoothed round trip of the best direct link; null while unknown.</param>
/// <param name="Score">Its score in milliseconds, as <see cref="PathChoice.Score"/> counts; null while unknown.</param>
public sealed record Neighbour(string Gateway, TimeSpan? Rtt, double? Score);

/// <summary>
/// What a gateway tells the others of its neighbours: who is one, at once; figures when they have moved by more than 5 % and 1 ms, half of what
/// a choice between relays turns on, so that noise makes no messages. Not safe for concurrent use.
/// </summary>
public sealed class NeighbourReport
{
    private const double Share = 0.05;
    private const double Milliseconds = 1;

    /// <summary>What was told last, by name.</summary>
    public ImmutableArray<Neighbour> Told { get; private set; } = [];

    /// <summary>Takes in how it is now. True when a neighbour came or went, which cannot wait; figures can, for the next message.</summary>
    public bool Update(IEnumerable<Neighbour> neighbours)
    {
        var before = Told;
        var now = neighbours.OrderBy(n => n.Gateway, StringComparer.Ordinal)
            .Select(n => before.FirstOrDefault(t => t.Gateway == n.Gateway) is { } told && !Moved(told, n) ? told : n).ToImmutableArray();
        if (!now.SequenceEqual(before))
        {
            Told = now;
        }

        return !now.Select(n => n.Gateway).SequenceEqual(before.Select(t => t.Gateway));
    }

    private static bool Moved(Neighbour told, Neighbour now) =>
        Moved(told.Rtt?.TotalMilliseconds, now.Rtt?.TotalMilliseconds) || Moved(told.Score, now.Score);

    private static bool Moved(double? told, double? now) => told is { } t && now is { } n
        ? Math.Abs(t - n) > Math.Max(Milliseconds, t * Share)
        : told is null != now is null;
}
