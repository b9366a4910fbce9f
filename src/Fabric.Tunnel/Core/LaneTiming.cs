namespace Fabric.Tunnel.Core;

/// <summary>
/// How long a lane takes to answer, and whether it owes an answer for too long: one write at a time is timed until it is
/// acknowledged (Karn's rule: what went out on another lane as well is not timed), smoothed as RFC 6298 smooths. An answer is late
/// after the smoothed time and four deviations, with a floor for acknowledgements that wait for company and for busy machines.
/// Being wrong costs some bytes twice, being slow costs a pause: so this is much quicker than a retransmission timeout.
/// </summary>
internal struct LaneTiming
{
    /// <summary>What an answer may take beyond what it usually takes.</summary>
    public static readonly TimeSpan Slack = TimeSpan.FromMilliseconds(10);

    /// <summary>Never late before that: the peer's delay of acknowledgements, and a turn of a scheduler on a busy machine.</summary>
    public static readonly TimeSpan Floor = TimeSpan.FromMilliseconds(30);

    /// <summary>Before anything was measured.</summary>
    private static readonly TimeSpan _unknown = TimeSpan.FromMilliseconds(250);

    private TimeSpan _deviation;
    private TimeSpan _sent;
    private long _end;

    /// <summary>Stream of the write that is timed; 0 when none is.</summary>
    public uint Stream { get; private set; }

    /// <summary>Smoothed time to an answer; zero before the first.</summary>
    public TimeSpan Smoothed { get; private set; }

    /// <summary>When the newest bytes left of which it is known that they arrived; null before the first.</summary>
    public TimeSpan? Carried { get; private set; }

    /// <summary>When the answer to the write that is timed is late; null when none is timed.</summary>
    public readonly TimeSpan? LateAt => Stream == 0 ? null : _sent + LateAfter;

    public readonly TimeSpan LateAfter
    {
        get
        {
            if (Smoothed == TimeSpan.Zero)
            {
                return _unknown;
            }

            var after = Smoothed + 4 * _deviation + Slack;
            return after > Floor ? after : Floor;
        }
    }

    /// <summary>Bytes of a stream up to that offset leave now. Nothing when another write is timed already.</summary>
    public void Began(uint stream, long end, TimeSpan now)
    {
        if (Stream == 0)
        {
            (Stream, _end, _sent) = (stream, end, now);
        }
    }

    /// <summary>The peer has that stream up to there.</summary>
    public void Answered(uint stream, long received, TimeSpan now)
    {
        if (Stream == stream && received >= _end)
        {
            Stream = 0;
            Add(_sent, now);
        }
    }

    /// <summary>What is timed went out elsewhere as well, or will not be answered.</summary>
    public void Forget() => Stream = 0;

    /// <summary>What left then was answered now.</summary>
    /// <param name="sent">When it left.</param>
    /// <param name="now">When it was answered.</param>
    /// <param name="counts">Whether it shows that the lane carries what it is for: a PING on a lane for bulk does not.</param>
    public void Add(TimeSpan sent, TimeSpan now, bool counts = true)
    {
        var sample = now - sent;
        Carried = !counts || Carried > sent ? Carried : sent;
        if (Smoothed == TimeSpan.Zero)
        {
            (Smoothed, _deviation) = (sample, sample / 2);
            return;
        }

        _deviation = 0.75 * _deviation + 0.25 * (sample - Smoothed).Duration();
        Smoothed = 0.875 * Smoothed + 0.125 * sample;
    }
}
