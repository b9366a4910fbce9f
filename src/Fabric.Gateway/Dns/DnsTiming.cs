namespace Fabric.Gateway.Dns;

/// <summary>
/// Measures how long answers take on one thread: of one query in <see cref="OneIn"/>, the first among them, by the batch that it came with. To look at a clock twice for each query,
/// and to tell what it said, would take a good part of the time that an answer takes. What a query waited in the socket's queue before it was read is not known here. For one thread.
/// </summary>
internal sealed class DnsTiming(Action<TimeSpan> told, TimeProvider time)
{
    public const int OneIn = 64;

    /// <summary>Queries until the next one that is timed.</summary>
    private int _left;
    private long _began;
    private bool _times;

    /// <summary>So many queries were read.</summary>
    /// <param name="queries">At most <see cref="OneIn"/>; none, and less, is nothing.</param>
    public void Read(int queries)
    {
        _times = queries > _left;
        _left -= Math.Max(queries, 0);
        if (_times)
        {
            _left += OneIn;
            _began = time.GetTimestamp();
        }
    }

    /// <summary>What could be answered at once was sent.</summary>
    /// <param name="any">Whether there was an answer among them: what others are asked for is measured where they are.</param>
    public void Sent(bool any)
    {
        if (_times && any)
        {
            told(time.GetElapsedTime(_began));
        }
    }
}
