namespace Fabric.Gateway.Lan;

/// <summary>Something heard, until its time is over.</summary>
internal sealed class LanKept<T>
{
    // Asked for again at 80, 85, 90 and 95 % of its time (RFC 6762 §5.2).
    private const int FirstRefresh = 80;
    private static readonly TimeSpan _second = TimeSpan.FromSeconds(1);
    private int _refresh = FirstRefresh;

    public LanKept(T data, uint ttl, TimeSpan heard)
    {
        // A goodbye counts one second later: whoever said the same may say that it is still there (§10.1).
        (Data, Heard, Ttl) = (data, heard, ttl == 0 ? _second : TimeSpan.FromSeconds(Math.Min(ttl, Mdns.OtherTtl)));
        _refresh = ttl == 0 ? 100 : FirstRefresh;
        Due = RefreshAt;
    }

    public T Data { get; }

    public TimeSpan Heard { get; }

    public TimeSpan Ttl { get; private init; }

    /// <summary>When something is to be done about it.</summary>
    public TimeSpan Due { get; private set; }

    private TimeSpan RefreshAt => Heard + Ttl * _refresh / 100;

    public TimeSpan Left(TimeSpan now) => Heard + Ttl - now;

    public bool IsOver(TimeSpan now) => Left(now) <= TimeSpan.Zero;

    public bool IsRefreshDue(TimeSpan now, Random random)
    {
        if (_refresh >= 100 || now < Due)
        {
            return false;
        }

        _refresh += 5;
        // Up to 2 % later, so that not all ask at once.
        Due = RefreshAt + (_refresh < 100 ? Ttl * 0.02 * random.NextDouble() : TimeSpan.Zero);
        return true;
    }

    /// <summary>Over in a second.</summary>
    public LanKept<T> Ending(TimeSpan now) => Left(now) <= _second ? this : new LanKept<T>(Data, 0, now);
}
