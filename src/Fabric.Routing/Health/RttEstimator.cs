namespace Fabric.Routing.Health;

/// <summary>Smoothed round trip and jitter of one link.</summary>
/// <remarks>
/// RFC 6298 smoothing, α = 1/8 and β = 1/4. Its gains serve: a probe goes out every 50 ms, so the memory is about 0.4 s, short
/// enough to follow a rerouted path and long enough to ignore one packet. What does not serve is the rest of it:
/// <list type="bullet">
/// <item>its minimum timeout of 1 s hides every failure that this project exists to hide from applications: the floor here is
/// 60 ms (<see cref="LinkHealthOptions.SuspectFloor"/>);</item>
/// <item>its timeout SRTT + 4·RTTVAR has no room for a peer that is scheduled late, since a probe is answered by a thread and not
/// by a kernel: it is 2·SRTT + 4·RTTVAR here;</item>
/// <item>Karn's rule is not needed: every answer names the probe that it answers. A late answer is a sample as well, or the timeout
/// could never follow a path that became slower. One sample counts for at most twice the present timeout, so that one
/// pause of the peer does not blind the link for a second.</item>
/// </list>
/// </remarks>
public sealed class RttEstimator
{
    /// <summary>Smoothed round trip; zero before the first sample.</summary>
    public TimeSpan Smoothed { get; private set; }

    /// <summary>Smoothed mean deviation (RTTVAR); zero before the first sample.</summary>
    public TimeSpan Jitter { get; private set; }

    public bool HasSample { get; private set; }

    /// <summary>2·RTT + 4·jitter: an answer later than that, and than a floor, is overdue.</summary>
    public TimeSpan Timeout => 2 * Smoothed + 4 * Jitter;

    /// <summary>Takes one measured round trip. Negative ones count as zero. Returns how far it is from the smoothed one; null for the first.</summary>
    /// <param name="floor">The floor of the timeout, which the limit on one sample respects.</param>
    public TimeSpan? Sample(TimeSpan rtt, TimeSpan floor)
    {
        rtt = rtt < TimeSpan.Zero ? TimeSpan.Zero : rtt;
        if (!HasSample)
        {
            (HasSample, Smoothed, Jitter) = (true, rtt, rtt / 2);
            return null;
        }

        var most = 2 * (Timeout > floor ? Timeout : floor);
        rtt = rtt > most ? most : rtt;
        var distance = (rtt - Smoothed).Duration();
        Jitter += (distance - Jitter) / 4;
        Smoothed += (rtt - Smoothed) / 8;
        return distance;
    }
}
