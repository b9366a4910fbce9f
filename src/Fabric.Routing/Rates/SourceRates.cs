namespace Fabric.Routing.Rates;

/// <summary>What one source may do.</summary>
/// <param name="PerSecond">In the long run.</param>
/// <param name="AtOnce">After a pause: the size of its bucket.</param>
/// <param name="Sources">Sources that are told apart; at it, see <see cref="SourceRates{TSource}"/>. Default 4,096.</param>
public sealed record SourceLimit(double PerSecond, int AtOnce, int Sources = 4_096);

/// <summary>
/// How often each of many sources may do something: a token bucket for each, in a table of fixed size. Whoever is refused has to come again; nobody
/// waits here. A source with a full bucket is forgotten when its place is needed, which changes nothing for it. While all places are taken by
/// sources whose buckets are not full, all others share one bucket: so many strangers at once cost what two would. Safe to call from any thread.
/// </summary>
/// <typeparam name="TSource">What tells sources apart: <see cref="AddressSource"/>, a user's number, a gateway's name.</typeparam>
public sealed class SourceRates<TSource>(SourceLimit limit)
    where TSource : notnull
{
    private readonly Lock _lock = new();
    private readonly Dictionary<TSource, LinkedListNode<Bucket>> _places = [];

    /// <summary>Whoever was heard of last is last.</summary>
    private readonly LinkedList<Bucket> _order = [];
    private readonly Bucket _shared = new() { Left = limit.AtOnce };
    private long _refused;

    public SourceLimit Limit => limit;

    /// <summary>Attempts that were one too many, since the start.</summary>
    public long Refused => Interlocked.Read(ref _refused);

    /// <summary>Sources that have a place now.</summary>
    public int Count
    {
        get
        {
            lock (_lock)
            {
                return _places.Count;
            }
        }
    }

    /// <summary>One attempt. False when it is one too many.</summary>
    /// <param name="source">Whose.</param>
    /// <param name="now">The instant, since any one start.</param>
    public bool TryTake(TSource source, TimeSpan now)
    {
        lock (_lock)
        {
            var bucket = Find(source, now);
            Refill(bucket, now);
            if (bucket.Left >= 1)
            {
                bucket.Left--;
                return true;
            }
        }

        Interlocked.Increment(ref _refused);
        return false;
    }

    private Bucket Find(TSource source, TimeSpan now)
    {
        if (_places.TryGetValue(source, out var place))
        {
            _order.Remove(place);
            _order.AddLast(place);
            return place.Value;
        }

        if (_places.Count >= limit.Sources && !ForgetQuietest(now))
        {
            return _shared;
        }

        var bucket = new Bucket { Source = source, Left = limit.AtOnce, Since = now };
        _places[source] = _order.AddLast(bucket);
        return bucket;
    }

    /// <summary>The one that was heard of first has had the longest pause: if its bucket is not full, some that came later may have a full one, and keep their place.</summary>
    private bool ForgetQuietest(TimeSpan now)
    {
        var quietest = _order.First!;
        Refill(quietest.Value, now);
        if (quietest.Value.Left < limit.AtOnce)
        {
            return false;
        }

        _order.RemoveFirst();
        _places.Remove(quietest.Value.Source!);
        return true;
    }

    private void Refill(Bucket bucket, TimeSpan now)
    {
        // Of two callers at once, the one that looked at the clock first may come second.
        var passed = now > bucket.Since ? now - bucket.Since : TimeSpan.Zero;
        bucket.Left = Math.Min(limit.AtOnce, bucket.Left + passed.TotalSeconds * limit.PerSecond);
        bucket.Since += passed;
    }

    private sealed class Bucket
    {
        public TSource? Source { get; init; }
        public double Left { get; set; }
        public TimeSpan Since { get; set; }
    }
}
