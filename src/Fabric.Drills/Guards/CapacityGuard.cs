using Fabric.Drills.Definition;
using Fabric.Drills.Reports;
using Fabric.Topology.Model;

namespace Fabric.Drills.Guards;

/// <summary>Whether the links that remain can carry what moves to them. Only the load of the gateway that the drill is run through is measured.</summary>
internal static class CapacityGuard
{
    public static DrillGuardVerdict Capacity(DrillDefinition drill, FabricView view, IReadOnlyList<(TimeSpan At, Damage Damage)> moments)
    {
        var (against, known, unknown) = (new SortedSet<string>(StringComparer.Ordinal), new SortedSet<string>(StringComparer.Ordinal), new SortedSet<string>(StringComparer.Ordinal));
        var peers = view.Status.Sites.SelectMany(s => s.Gateways).Where(g => g.State != "self" && g.ActiveLink.Length > 0).ToArray();
        foreach (var (_, damage) in moments)
        {
            // Load by the link that carries it after the move; each end of a link with n ends shares one capacity here.
            var after = new Dictionary<string, (double Bits, bool Moved, long? Capacity)>(StringComparer.Ordinal);
            foreach (var peer in peers)
            {
                var current = view.Topology.Links.FirstOrDefault(l => l.Name == peer.ActiveLink && l.Touches(peer.Name) && l.Touches(view.Status.Gateway));
                var moves = current is null || damage.Has(current);
                var next = moves ? Next(view, damage, peer.Name) : current;
                if (moves && current is not null)
                {
                    if (next is null)
                    {
                        unknown.Add($"no link to {peer.Name} is left: what its load does elsewhere is not known");
                    }
                    else if (next.Capacity is null)
                    {
                        unknown.Add($"link {next.Name}, which takes the load to {peer.Name}, declares no capacity");
                    }
                    else if (!view.BitsPerSecond.ContainsKey(peer.Name))
                    {
                        unknown.Add($"the load to {peer.Name} was not measured");
                    }
                }

                if (next is not null && view.BitsPerSecond.TryGetValue(peer.Name, out var bits))
                {
                    var before = after.GetValueOrDefault(next.Name);
                    after[next.Name] = (before.Bits + bits, before.Moved || moves, next.Capacity);
                }
            }

            foreach (var (name, (bits, _, capacity)) in after.Where(a => a.Value is { Moved: true, Capacity: not null }))
            {
                var percent = 100 * bits / capacity!.Value;
                (percent > drill.Guards.CapacityPercentMax ? against : known).Add(
                    $"link {name} would carry {Words.Bits(bits)}, {Words.Number(percent)} % of its {Words.Bits(capacity.Value)}, at most {Words.Number(drill.Guards.CapacityPercentMax)} %");
            }
        }

        if (moments.Any(m => m.Damage.Links.Any(l => !l.Touches(view.Status.Gateway))))
        {
            unknown.Add($"the load of links between other gateways is not seen from {view.Status.Gateway}");
        }

        return against.Count > 0 ? new DrillGuardVerdict("capacity", false, string.Join("; ", against))
            : new DrillGuardVerdict("capacity", true, (known.Count, unknown.Count) switch
            {
                (0, 0) => "no load moves to another link",
                (_, 0) => string.Join("; ", known),
                _ => string.Join("; ", known.Append($"unknown: {string.Join("; ", unknown)}")),
            });
    }

    /// <summary>Of the healthy links to a gateway, the one with the best score, as the gateway itself chooses.</summary>
    private static Link? Next(FabricView view, Damage damage, string peer) => ServicePaths.Between(view, damage, view.Status.Gateway, peer)
        .OrderBy(l => view.Status.Links.FirstOrDefault(s => s.Name == l.Name && s.Peer == peer) is { Score: > 0 } s ? s.Score : double.MaxValue).FirstOrDefault();
}
