namespace Fabric.Routing.Health;

/// <summary>What the probes of one link said in one stretch of time: figures of that time alone, where those of <see cref="LinkReport"/> are smoothed.</summary>
/// <param name="Answered">Probes answered in time.</param>
/// <param name="Lost">Probes that were not, as <see cref="LossWindow"/> counts them.</param>
/// <param name="Jitter">Mean distance of the round trips from the smoothed one; null when there were none to compare.</param>
/// <param name="Passes">Whether the link was up, or suspect, at its end.</param>
public readonly record struct ProbeWindow(int Answered, int Lost, TimeSpan? Jitter, bool Passes)
{
    /// <summary>Share of the probes that was lost, 0 to 1.</summary>
    public double Loss => (double)Lost / (Answered + Lost);
}

/// <summary>
/// Cuts the time of a link into windows. By time and not by a number of probes: what is told of windows is then told of time, whether a link is probed every 50 ms or
/// every second.
/// </summary>
/// <param name="now">Instant of its making.</param>
internal sealed class ProbeWindows(TimeSpan now)
{
    /// <summary>200 probes of an active link, 10 of an idle one; and not longer than metrics are collected by.</summary>
    public static readonly TimeSpan Length = TimeSpan.FromSeconds(10);

    private TimeSpan _began = now;
    private int _answered;
    private int _lost;
    private TimeSpan _distance;
    private int _distances;

    public void Record(bool lost) => (_answered, _lost) = (_answered + (lost ? 0 : 1), _lost + (lost ? 1 : 0));

    /// <param name="distance">Of one round trip, from the smoothed one.</param>
    public void Record(TimeSpan distance) => (_distance, _distances) = (_distance + distance, _distances + 1);

    /// <summary>Whether a window has ended, which begins the next one. One without a probe does not end: it begins again.</summary>
    public bool TryTake(bool passes, TimeSpan now, out ProbeWindow window)
    {
        window = default;
        if (_answered + _lost == 0)
        {
            _began = now;
            return false;
        }

        if (now - _began < Length)
        {
            return false;
        }

        window = new ProbeWindow(_answered, _lost, _distances == 0 ? null : _distance / _distances, passes);
        (_began, _answered, _lost, _distance, _distances) = (now, 0, 0, TimeSpan.Zero, 0);
        return true;
    }
}
