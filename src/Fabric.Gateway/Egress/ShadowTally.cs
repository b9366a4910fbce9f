using Fabric.Topology.Model;

namespace Fabric.Gateway.Egress;

/// <summary>
/// How often each shadow policy would have turned a verdict into its opposite, and when that may be told again. At most 100 policies are
/// counted by name, and the rest together: so the metric has at most 101 values, and the audit log 101 lines a second.
/// </summary>
internal sealed class ShadowTally(TimeProvider time)
{
    public const int MostNames = 100;

    /// <summary>No name of a policy.</summary>
    public const string Others = "(others)";

    private static readonly TimeSpan _pause = TimeSpan.FromSeconds(1);

    private readonly Lock _lock = new();
    private readonly Dictionary<string, Tally> _tallies = new(StringComparer.Ordinal);
    private FabricTopology? _tidiedFor;

    /// <summary>In order of the names.</summary>
    public IReadOnlyList<(string Policy, long Count)> Counts
    {
        get
        {
            lock (_lock)
            {
                return [.. _tallies.OrderBy(t => t.Key, StringComparer.Ordinal).Select(t => (t.Key, t.Value.Count))];
            }
        }
    }

    /// <summary>Counts one more. True when it is to be told: once a second.</summary>
    public bool Count(string policy, FabricTopology topology)
    {
        lock (_lock)
        {
            if (!_tallies.TryGetValue(policy, out var tally) && !HasPlace(topology))
            {
                policy = Others;
                _tallies.TryGetValue(policy, out tally);
            }

            tally ??= _tallies[policy] = new Tally();
            tally.Count++;
            var now = time.GetTimestamp();
            if (tally.Told is { } told && time.GetElapsedTime(told, now) < _pause)
            {
                return false;
            }

            tally.Told = now;
            return true;
        }
    }

    /// <summary>Room for one more name, once those are gone that are no shadow policies any more. Looked for once for each topology.</summary>
    private bool HasPlace(FabricTopology topology)
    {
        if (Names < MostNames || ReferenceEquals(topology, _tidiedFor))
        {
            return Names < MostNames;
        }

        _tidiedFor = topology;
        var present = topology.Policies.Where(p => p.Mode == PolicyMode.Shadow).Select(p => p.Name).ToHashSet(StringComparer.Ordinal);
        foreach (var gone in _tallies.Keys.Where(n => n != Others && !present.Contains(n)).ToArray())
        {
            _tallies.Remove(gone);
        }

        return Names < MostNames;
    }

    private int Names => _tallies.Count - (_tallies.ContainsKey(Others) ? 1 : 0);

    private sealed class Tally
    {
        public long Count { get; set; }
        public long? Told { get; set; }
    }
}
