using System.Diagnostics.CodeAnalysis;
using System.Diagnostics.Metrics;
using Tag = System.Collections.Generic.KeyValuePair<string, object?>;

namespace Fabric.Gateway.Telemetry.Metrics;

/// <summary>
/// What one instrument measured, by attributes, for <see cref="MetricsPage"/>: at most so many series, and one more for all that has no place any more: its
/// sum, or of a gauge, which has none, how many there are. Known attributes are found without an allocation.
/// </summary>
internal sealed class SeriesTable
{
    private static readonly Tag[] _overflow = [Measure.Rest];

    private readonly Lock _lock = new();
    private readonly Dictionary<Tag[], Series> _series = new(new TagComparer());
    private readonly Dictionary<Tag[], Series>.AlternateLookup<ReadOnlySpan<Tag>> _lookup;
    private readonly int _limit;
    private readonly bool _adds;

    public SeriesTable(Instrument instrument, int limit)
    {
        (Instrument, _limit) = (instrument, limit);
        Kind = Measure.KindOf(instrument);
        Boundaries = Kind == "histogram" ? [.. (instrument as Instrument<double>)?.Advice?.HistogramBucketBoundaries ?? GatewayMeter.Durations] : [];
        // What is observed says how much there is; what is told, how much more.
        _adds = !instrument.IsObservable && Kind != "gauge";
        _lookup = _series.GetAlternateLookup<ReadOnlySpan<Tag>>();
    }

    public Instrument Instrument { get; }

    public string Kind { get; }

    public double[] Boundaries { get; }

    public void Add(double value, ReadOnlySpan<Tag> tags)
    {
        lock (_lock)
        {
            var known = _lookup.TryGetValue(tags, out var series);
            var isRest = !known && _series.Count >= _limit;
            if (!known && !_series.TryGetValue(isRest ? _overflow : tags.ToArray(), out series))
            {
                _series[isRest ? _overflow : tags.ToArray()] = series = new Series { Buckets = Kind == "histogram" ? new long[Boundaries.Length + 1] : null };
            }

            series!.Count++;
            series.Value = isRest && Kind == "gauge" ? series.Count : _adds || isRest ? series.Value + value : value;
            if (series.Buckets is { } buckets)
            {
                var bucket = Array.BinarySearch(Boundaries, value);
                buckets[bucket < 0 ? ~bucket : bucket]++;
            }
        }
    }

    /// <summary>Before an observation: what is not observed any more is not there any more.</summary>
    public void Forget()
    {
        lock (_lock)
        {
            if (Instrument.IsObservable)
            {
                _series.Clear();
            }
        }
    }

    /// <summary>A copy.</summary>
    public List<(Tag[] Tags, Series Series)> Read()
    {
        lock (_lock)
        {
            return [.. _series.Select(s => (s.Key, s.Value with { Buckets = (long[]?)s.Value.Buckets?.Clone() }))];
        }
    }

    internal sealed record Series
    {
        /// <summary>The value, or the sum of a histogram.</summary>
        public double Value { get; set; }

        public long Count { get; set; }

        /// <summary>Of a histogram: measurements up to each boundary, and beyond the last one.</summary>
        public long[]? Buckets { get; init; }
    }

    private sealed class TagComparer : IEqualityComparer<Tag[]>, IAlternateEqualityComparer<ReadOnlySpan<Tag>, Tag[]>
    {
        public bool Equals(Tag[]? x, Tag[]? y) => Equals(x.AsSpan(), y!);

        public int GetHashCode([DisallowNull] Tag[] tags) => GetHashCode(tags.AsSpan());

        public Tag[] Create(ReadOnlySpan<Tag> tags) => tags.ToArray();

        public bool Equals(ReadOnlySpan<Tag> x, Tag[] y)
        {
            if (x.Length != y.Length)
            {
                return false;
            }

            for (var i = 0; i < x.Length; i++)
            {
                if (!string.Equals(x[i].Key, y[i].Key, StringComparison.Ordinal) || !Equals(x[i].Value, y[i].Value))
                {
                    return false;
                }
            }

            return true;
        }

        public int GetHashCode(ReadOnlySpan<Tag> tags)
        {
            var hash = new HashCode();
            foreach (var tag in tags)
            {
                hash.Add(tag.Value);
            }

            return hash.ToHashCode();
        }
    }
}
