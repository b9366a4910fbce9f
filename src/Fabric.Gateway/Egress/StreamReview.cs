using Fabric.Gateway.Telemetry;
using Microsoft.Extensions.Logging;

namespace Fabric.Gateway.Egress;

/// <summary>
/// Has live streams decided again when a topology was accepted. On the thread pool: neither the state loop, which judges links, nor the loops
/// that carry wait for it. One review at a time, and another when a topology was accepted meanwhile: the last one accepted always has one
/// that began after it was swapped in.
/// </summary>
/// <param name="review">Does it; returns how many streams were reset.</param>
/// <param name="revision">Of the topology that holds now, for the log.</param>
/// <param name="log">Where it is told.</param>
internal sealed class StreamReview(Func<int> review, Func<string> revision, ILogger log)
{
    private int _asked;

    /// <summary>A topology was accepted. Any thread; never waits.</summary>
    public void Signal()
    {
        if (Interlocked.Increment(ref _asked) == 1)
        {
            ThreadPool.UnsafeQueueUserWorkItem(static r => r.Run(), this, preferLocal: false);
        }
    }

    private void Run()
    {
        int seen;
        do
        {
            seen = Volatile.Read(ref _asked);
            try
            {
                if (review() is > 0 and var count)
                {
                    Log.StreamsRevoked(log, revision(), count);
                }
            }
            catch (Exception e)
            {
                Log.Failed(log, "A review of live streams", e.ToString());
            }
        }
        while (Interlocked.CompareExchange(ref _asked, 0, seen) != seen);
    }
}
