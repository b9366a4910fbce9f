using System.Collections.Concurrent;

namespace Fabric.Gateway.Telemetry.Metrics;

/// <summary>
/// What is made once for each combination of attributes, so that what happens often finds it ready. It is made for so many; all others share one. What is known is found without
/// a lock or an allocation. Any thread.
/// </summary>
/// <param name="limit">Most that are kept; none is ever given up.</param>
/// <param name="rest">For all others.</param>
/// <param name="make">Called once for each.</param>
internal sealed class SeriesCache<TKey, TValue>(int limit, TValue rest, Func<TKey, TValue> make)
    where TKey : notnull
{
    private readonly Lock _making = new();
    private readonly ConcurrentDictionary<TKey, TValue> _known = new();
    private volatile bool _isFull;

    /// <summary>Those that were made, in no order.</summary>
    public IEnumerable<TValue> Made => _known.Select(k => k.Value);

    public TValue Of(TKey key) => _known.TryGetValue(key, out var known) ? known : _isFull ? rest : Make(key);

    private TValue Make(TKey key)
    {
        lock (_making)
        {
            if (_known.TryGetValue(key, out var known))
            {
                return known;
            }

            if (_known.Count >= limit)
            {
                _isFull = true;
                return rest;
            }

            return _known[key] = make(key);
        }
    }
}
