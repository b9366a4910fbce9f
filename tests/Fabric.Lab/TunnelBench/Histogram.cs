namespace Fabric.Lab.TunnelBench;

/// <summary>How often each latency was seen, to the microsecond: one addition for each, and no list that grows while others are measured.</summary>
public sealed class Histogram
{
    // Beyond 4 s all count as 4 s.
    private readonly int[] _counts = new int[4_000_001];

    public long Count { get; private set; }

    public void Add(double microseconds)
    {
        _counts[(int)Math.Clamp(microseconds, 0, _counts.Length - 1)]++;
        Count++;
    }

    /// <summary>The p-th percentile (0 to 100) in milliseconds, by nearest rank. NaN of nothing.</summary>
    public double Percentile(double p)
    {
        var rank = Math.Max(1, (long)Math.Ceiling(p / 100 * Count));
        var seen = 0L;
        for (var i = 0; i < _counts.Length && Count > 0; i++)
        {
            seen += _counts[i];
            if (seen >= rank)
            {
                return i / 1000.0;
            }
        }

        return double.NaN;
    }
}
