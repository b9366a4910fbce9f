namespace Fabric.Drills.Measurement;

/// <summary>How long things took, in buckets of a sixteenth of an octave: within 3 %, from 1 µs to days, in memory by what was seen.</summary>
internal sealed class LatencyHistogram
{
    private const int PerOctave = 16;

    private readonly SortedList<short, long> _counts = [];

    public void Add(double ms) => Add(Bucket(ms), 1);

    public void Add(LatencyHistogram other)
    {
        foreach (var (bucket, count) in other._counts)
        {
            Add(bucket, count);
        }
    }

    /// <summary>Milliseconds that so many percent took at most; 0 when there are none.</summary>
    public double Percentile(double percent)
    {
        var rank = Math.Max(1, Math.Ceiling(_counts.Values.Sum() * percent / 100));
        long seen = 0;
        foreach (var (bucket, count) in _counts)
        {
            seen += count;
            if (seen >= rank)
            {
                return Middle(bucket);
            }
        }

        return 0;
    }

    private static short Bucket(double ms)
    {
        var microseconds = Math.Max(1, ms * 1000);
        var octave = Math.ILogB(microseconds);
        return (short)(octave * PerOctave + (int)((Math.ScaleB(microseconds, -octave) - 1) * PerOctave));
    }

    private static double Middle(short bucket) =>
        Math.ScaleB(1 + (bucket % PerOctave + 0.5) / PerOctave, bucket / PerOctave) / 1000;

    private void Add(short bucket, long count) => _counts[bucket] = _counts.GetValueOrDefault(bucket) + count;
}
