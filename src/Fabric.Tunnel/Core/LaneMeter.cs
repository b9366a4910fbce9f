using Fabric.Protocol.Tunnel;

namespace Fabric.Tunnel.Core;

/// <summary>
/// How many frames of each kind a peer may send on one lane: a token bucket for each kind, refilled when it runs dry. An honest
/// peer never comes near; one that only makes work is told so and loses the lane. Nothing is counted for DATA that carries
/// <see cref="SmallData"/> bytes or more: bytes are bounded by credit and by TCP.
/// </summary>
internal sealed class LaneMeter(TimeSpan began)
{
    /// <summary>DATA with fewer bytes of payload costs more than it carries.</summary>
    public const int SmallData = 256;

    /// <summary>
    /// Frames a second, and at once. What stands behind the numbers: a small frame costs about half a microsecond, so 200,000 a
    /// second are a tenth of a core.
    /// </summary>
    private static readonly (double Rate, int Burst, string What)[] _rules =
    [
        // As many as 16,384 streams say in one turn, 24 times over.
        (200_000, 400_000, "DATA of less than 256 bytes"),
        (200_000, 400_000, "ACK"),

        // Each is a policy decision and a connection. At once: every stream of a session, both when a lane fails and its OPENs go
        // out again, and before that.
        (10_000, 32_768, "OPEN"),
        (20_000, 65_536, "OPENED and FIN"),
        (10_000, 32_768, "RESET"),

        // One in 5 s to see whether the peer lives; room for measuring.
        (1_000, 4_000, "PING and PONG"),

        // Each makes every stream look again. A new lane is told of 64 that are over; lanes do not end faster than they are dialled.
        (20, 512, "FENCE"),
        (1, 16, "GOAWAY"),

        // Streams end with frames of theirs under way, at most a window of them each.
        (50_000, 200_000, "frames of streams that are gone"),

        // One system call each at the other end, which makes no more than this.
        (500_000, 1_000_000, "DATAGRAM of less than 256 bytes"),
    ];

    private const int Stray = 8;
    private const int Small = 9;

    private readonly long[] _left = [.. _rules.Select(r => (long)r.Burst)];
    private readonly TimeSpan[] _since = [.. _rules.Select(_ => began)];

    /// <summary>A frame, or a piece of DATA, arrived. Throws <see cref="LaneFloodException"/> when it is one too many.</summary>
    public void Count(in FrameHeader header, TimeSpan now)
    {
        var rule = header.Type switch
        {
            FrameType.Data => header.Length < SmallData ? 0 : -1,
            FrameType.Datagram => header.Length < SmallData ? Small : -1,
            FrameType.Ack => 1,
            FrameType.Open => 2,
            FrameType.Opened or FrameType.Fin => 3,
            FrameType.Reset => 4,
            FrameType.Ping or FrameType.Pong => 5,
            FrameType.Fence => 6,
            FrameType.GoAway => 7,
            _ => -1,
        };
        if (rule >= 0)
        {
            Count(rule, now);
        }
    }

    /// <summary>The frame was of a stream that is gone.</summary>
    public void CountStray(TimeSpan now) => Count(Stray, now);

    private void Count(int rule, TimeSpan now)
    {
        if (--_left[rule] >= 0)
        {
            return;
        }

        var (rate, burst, what) = _rules[rule];
        var refill = (long)Math.Min(burst, (now - _since[rule]).TotalSeconds * rate);
        _since[rule] = now;
        _left[rule] = refill - 1;
        if (refill < 1)
        {
            throw new LaneFloodException($"flood of {what}: more than {rate:0} a second, {burst} at once");
        }
    }
}

/// <summary>The peer makes more work than any honest one; the message says which. The lane is closed with it.</summary>
internal sealed class LaneFloodException(string message) : Exception(message);
