using System.Diagnostics.Metrics;
using Tag = System.Collections.Generic.KeyValuePair<string, object?>;

namespace Fabric.Gateway.Telemetry.Metrics;

/// <summary>
/// A counter of what happens often: it is counted here, by one addition, and read when somebody collects. At most <see cref="Measure.MostSeries"/> combinations of attributes;
/// what is beyond them is summed up in one more.
/// </summary>
internal sealed class CountTable<TKey>
    where TKey : notnull
{
    private readonly SeriesCache<TKey, CountedSeries> _series;

    /// <param name="attributes">Names.</param>
    /// <param name="values">Those of a key, in the same order.</param>
    public CountTable(string[] attributes, Func<TKey, string[]> values) => _series = new(
        Measure.MostSeries, Rest, key => new CountedSeries([.. attributes.Zip(values(key), (name, value) => new Tag(name, value))]));

    /// <summary>What is beyond the limit.</summary>
    public CountedSeries Rest { get; } = new([Measure.Rest]);

    public CountedSeries Of(TKey key) => _series.Of(key);

    /// <summary>What was never counted is not there.</summary>
    public IEnumerable<Measurement<long>> Read() =>
        _series.Made.Append(Rest).Where(s => s.Count > 0).Select(s => new Measurement<long>(s.Count, s.Tags));
}

/// <summary>The count of one combination of attributes.</summary>
internal sealed class CountedSeries(Tag[] tags)
{
    private long _count;

    public Tag[] Tags => tags;

    public long Count => Interlocked.Read(ref _count);

    public void Add(long more) => Interlocked.Add(ref _count, more);
}
