namespace Fabric.Testing.Links;

/// <summary>How one direction of an emulated link is. A copy; set another one at run time, and it holds for packets from then on.</summary>
public sealed record LinkConditions
{
    /// <summary>Time from one end to the other. Default: none.</summary>
    public TimeSpan Delay { get; init; }

    /// <summary>Each packet takes longer by a random part of this, evenly spread; packets stay in order. Default: none.</summary>
    public TimeSpan Jitter { get; init; }

    /// <summary>Share of packets that are lost, 0 to 1. Default 0.</summary>
    public double Loss { get; init; }

    /// <summary>Share of packets that arrive twice, 0 to 1. Default 0.</summary>
    public double Duplicate { get; init; }

    /// <summary>Share of packets that are held back by <see cref="ReorderBy"/>, so that later ones overtake them, 0 to 1. Default 0.</summary>
    public double Reorder { get; init; }

    /// <summary>How long a packet that is to be overtaken is held back. Default 5 ms.</summary>
    public TimeSpan ReorderBy { get; init; } = TimeSpan.FromMilliseconds(5);

    /// <summary>Bits of IP packets per second; 0: no limit. Default 0.</summary>
    public long BitsPerSecond { get; init; }

    /// <summary>Bytes that may wait for <see cref="BitsPerSecond"/>; what comes beyond them is dropped. Default 1 MiB.</summary>
    public int QueueBytes { get; init; } = 1 << 20;

    /// <summary>Nothing passes, in silence, and what is on the way is lost as well. Default: it passes.</summary>
    public bool Cut { get; init; }

    /// <summary>Throws <see cref="ArgumentOutOfRangeException"/> for what no link can be.</summary>
    public LinkConditions Checked()
    {
        foreach (var (name, share) in new[] { (nameof(Loss), Loss), (nameof(Duplicate), Duplicate), (nameof(Reorder), Reorder) })
        {
            if (share is not (>= 0 and <= 1))
            {
                throw new ArgumentOutOfRangeException(name, share, "a share is between 0 and 1");
            }
        }

        foreach (var (name, span) in new[] { (nameof(Delay), Delay), (nameof(Jitter), Jitter), (nameof(ReorderBy), ReorderBy) })
        {
            if (span < TimeSpan.Zero || span > TimeSpan.FromMinutes(1))
            {
                throw new ArgumentOutOfRangeException(name, span, "a delay is between 0 and 1 min");
            }
        }

        ArgumentOutOfRangeException.ThrowIfNegative(BitsPerSecond);
        ArgumentOutOfRangeException.ThrowIfNegative(QueueBytes);
        return this;
    }
}

/// <summary>What became of the packets of one direction since the start.</summary>
/// <param name="Delivered">Arrived at the other end, copies included.</param>
/// <param name="Lost">Lost by <see cref="LinkConditions.Loss"/>.</param>
/// <param name="Cut">Lost because the direction was cut when they were sent, or when they were to arrive.</param>
/// <param name="Overflowed">Dropped: too many waited for the bandwidth, or the emulator's memory was full.</param>
/// <param name="Refused">The device at the other end did not take them: it is down.</param>
public readonly record struct LineCounters(long Sent, long Delivered, long Lost, long Cut, long Overflowed, long Refused);
