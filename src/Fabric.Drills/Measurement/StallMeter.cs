namespace Fabric.Drills.Measurement;

/// <summary>
/// How evenly bytes arrive: the longest pause, and the rate before and after it. Instants are on one clock that only goes
/// forward, from any origin.
/// </summary>
/// <param name="start">When the first byte could have come: a pause before it counts.</param>
public sealed class StallMeter(TimeSpan start)
{
    private readonly TimeSpan _start = start;
    private TimeSpan _last = start;
    private Pause _longest = new(start, start, 0);
    private long _total;

    /// <summary>Bytes arrived. Throws <see cref="ArgumentOutOfRangeException"/> for an instant before the last one.</summary>
    public void Arrived(TimeSpan at, int bytes)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(bytes);
        _longest = LongestUntil(at);
        _last = at;
        _total += bytes;
    }

    /// <summary>What was measured up to <paramref name="at"/>: a pause that lasts until then counts. Changes nothing.</summary>
    public StallSummary Until(TimeSpan at)
    {
        var longest = LongestUntil(at);
        return new StallSummary(
            _total,
            at - _start,
            longest.Length,
            longest.From - _start,
            Rate(longest.BytesBefore, longest.From - _start),
            Rate(_total - longest.BytesBefore, at - longest.To));
    }

    private Pause LongestUntil(TimeSpan at)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(at, _last);
        return at - _last > _longest.Length ? new Pause(_last, at, _total) : _longest;
    }

    private static double? Rate(long bytes, TimeSpan span) => span > TimeSpan.Zero ? bytes / span.TotalSeconds : null;

    private readonly record struct Pause(TimeSpan From, TimeSpan To, long BytesBefore)
    {
        public TimeSpan Length => To - From;
    }
}

/// <param name="LongestPause">The longest time without a byte; the first of equals.</param>
/// <param name="PausedAfter">From the start to where that pause begins.</param>
/// <param name="BytesPerSecondBefore">Up to that pause; null when it begins at the start.</param>
/// <param name="BytesPerSecondAfter">From its end; null when it lasts to the end.</param>
public sealed record StallSummary(
    long TotalBytes,
    TimeSpan Duration,
    TimeSpan LongestPause,
    TimeSpan PausedAfter,
    double? BytesPerSecondBefore,
    double? BytesPerSecondAfter);
