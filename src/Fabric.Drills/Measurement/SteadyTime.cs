namespace Fabric.Drills.Measurement;

/// <summary>
/// UTC that only goes forward: the wall clock is read once, and counted on by the monotonic one. A step of the machine's clock
/// during a drill is no pause, and all that measure by one of these are on one clock.
/// </summary>
public sealed class SteadyTime : TimeProvider
{
    private readonly TimeProvider _time;
    private readonly DateTimeOffset _utc;
    private readonly long _origin;

    private SteadyTime(TimeProvider time)
    {
        _time = time;
        _utc = time.GetUtcNow();
        _origin = time.GetTimestamp();
    }

    public override long TimestampFrequency => _time.TimestampFrequency;

    public override TimeZoneInfo LocalTimeZone => _time.LocalTimeZone;

    /// <summary>That one itself, where it is steady already.</summary>
    public static SteadyTime Of(TimeProvider time) => time as SteadyTime ?? new SteadyTime(time);

    /// <summary>The UTC of a timestamp.</summary>
    public DateTimeOffset At(long timestamp) => _utc + _time.GetElapsedTime(_origin, timestamp);

    /// <summary>A span, in timestamps.</summary>
    public long Stamps(TimeSpan span) => (long)(span.TotalSeconds * TimestampFrequency);

    public override DateTimeOffset GetUtcNow() => At(_time.GetTimestamp());

    public override long GetTimestamp() => _time.GetTimestamp();

    public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period) =>
        _time.CreateTimer(callback, state, dueTime, period);
}
