using System.Collections.Immutable;

namespace Fabric.Routing.Sites;

/// <summary>
/// The order in which sites are told to whoever takes the first: the own one, then by the score of the path, as <see cref="SiteChoice"/> ranks them.
/// Unlike that, it stays while the scores only tremble: one site overtakes another when it is better by 2 ms and by 10 %, which is what path
/// choice calls a difference.
/// </summary>
public static class SiteOrder
{
    private const double BetterByMs = 2;
    private const double BetterByShare = 0.1;

    /// <param name="before">The order until now; sites that are not among the candidates have left it, and those that are new come last.</param>
    /// <param name="candidates">Sites that can serve, each once.</param>
    public static ImmutableArray<string> Follow(ImmutableArray<string> before, IReadOnlyCollection<SiteCandidate> candidates)
    {
        var sites = candidates.OrderBy(c => before.IndexOf(c.Site) is >= 0 and var at ? at : int.MaxValue)
            .ThenByDescending(c => c.Local).ThenBy(c => c.Score).ToArray();

        // Each exchange puts two right, and none puts two wrong: it ends.
        for (var changed = true; changed;)
        {
            changed = false;
            for (var i = 1; i < sites.Length; i++)
            {
                if (IsNearer(sites[i], sites[i - 1]))
                {
                    (sites[i - 1], sites[i]) = (sites[i], sites[i - 1]);
                    changed = true;
                }
            }
        }

        return [.. sites.Select(s => s.Site)];
    }

    private static bool IsNearer(SiteCandidate site, SiteCandidate other) => site.Local != other.Local ? site.Local
        : site.Score < other.Score && site.Score <= other.Score - BetterByMs && site.Score <= other.Score * (1 - BetterByShare);
}
