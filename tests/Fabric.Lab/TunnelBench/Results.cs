using Fabric.Lab.Measurement;

namespace Fabric.Lab.TunnelBench;

/// <summary>What every contestant did in every round.</summary>
/// <param name="peers">The columns that ours are compared with.</param>
public sealed class Results(IReadOnlyCollection<string> peers)
{
    public const string HaProxy = "haproxy";

    private readonly Dictionary<(string Contestant, string Measure, int Round), double?> _values = [];

    /// <param name="value">Null when it could not be measured.</param>
    public void Add(string contestant, string measure, int round, double? value) => _values[(contestant, measure, round)] = value;

    /// <summary>Of all rounds in which it was measured.</summary>
    public IReadOnlyList<double> Values(string contestant, string measure) =>
        [.. Rounds(measure).Select(r => Value(contestant, measure, r)).OfType<double>()];

    /// <summary>
    /// The ratios to the best peer, one for each round: rounds are compared within themselves, because the machine is not the same for
    /// all of them. All are compared with the same peer, as whoever chooses one has it: the luckiest of each round is nobody, and is the better
    /// the more peers there are and the more their figures jump. Values themselves where the measure is compared with nothing. A round
    /// in which ours could not be measured is its worst; one in which that peer could not says nothing.
    /// </summary>
    public IReadOnlyList<double> Ratios(string contestant, Measure measure) => [.. Rounds(measure.Name)
        .Select(r => (Value(contestant, measure.Name, r) ?? measure.Worst) / Base(measure, r)).OfType<double>()];

    /// <summary>The peer with the best median; "" when none was measured.</summary>
    public string BestPeer(Measure measure)
    {
        var measured = Standards(measure).Where(p => Values(p, measure.Name).Count > 0).ToArray();
        return measured.Length == 0 ? "" : measure.Best(measured, p => Figures.Percentile(Values(p, measure.Name), 50));
    }

    /// <summary>The verdict on a contestant; null for a measure that has no goal, or was not measured at all.</summary>
    public Figure? Verdict(string contestant, Measure measure)
    {
        if (measure.Goal is not { } goal || !Rounds(measure.Name).Any())
        {
            return null;
        }

        var ratios = Ratios(contestant, measure);
        var median = Figures.Percentile(ratios, 50);
        var note = ratios.Count == 0 ? "no peer was measured"
            : $"{Figures.Number(ratios.Min())}..{Figures.Number(ratios.Max())} {(measure.Against == Against.Nothing ? measure.What : $"to {BestPeer(measure)}")}";
        return new Figure(measure.Name, double.IsFinite(median) ? median : null, measure.Against == Against.Nothing ? measure.Unit : "ratio", goal, note)
        {
            AtLeast = measure.MoreIsBetter,
        };
    }

    private IEnumerable<int> Rounds(string measure) => _values.Keys.Where(k => k.Measure == measure).Select(k => k.Round).Distinct().Order();

    private double? Value(string contestant, string measure, int round) => _values.GetValueOrDefault((contestant, measure, round));

    private IEnumerable<string> Standards(Measure measure) => measure.Against == Against.HaProxy ? [HaProxy] : peers;

    private double? Base(Measure measure, int round) => measure.Against == Against.Nothing ? 1 : Value(BestPeer(measure), measure.Name, round);
}
