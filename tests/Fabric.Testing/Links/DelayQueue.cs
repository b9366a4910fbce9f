namespace Fabric.Testing.Links;

/// <summary>
/// Packets on their way, by arrival time and, of equal times, in the order of their coming. Bytes lie in buffers of two sizes that
/// are made once and used again; together they hold at most the limit, and a packet beyond it is refused.
/// </summary>
/// <param name="memory">Most bytes of buffers.</param>
public sealed class DelayQueue(long memory)
{
    private const int Small = 2048;

    /// <summary>Largest packet, bytes: an IP packet and the header that a device puts before it.</summary>
    public const int Large = 65_536 + 64;

    /// <summary>A packet on its way.</summary>
    /// <param name="Line">Number of the direction, as the caller counts them.</param>
    public readonly record struct Packet(int Line, byte[] Buffer, int Length)
    {
        public ReadOnlySpan<byte> Bytes => Buffer.AsSpan(0, Length);
    }

    private readonly PriorityQueue<Packet, (TimeSpan At, long Number)> _queue = new();
    private readonly Stack<byte[]> _small = new();
    private readonly Stack<byte[]> _large = new();
    private long _made;
    private long _number;

    public int Count => _queue.Count;

    /// <summary>When the next packet arrives; null when none is on its way.</summary>
    public TimeSpan? NextAt => _queue.TryPeek(out _, out var key) ? key.At : null;

    /// <summary>Copies a packet in. False when there is no memory for it, or it is larger than any packet.</summary>
    public bool Add(int line, ReadOnlySpan<byte> packet, TimeSpan at)
    {
        if (packet.Length > Large || Rent(packet.Length) is not { } buffer)
        {
            return false;
        }

        packet.CopyTo(buffer);
        _queue.Enqueue(new Packet(line, buffer, packet.Length), (at, _number++));
        return true;
    }

    /// <summary>Takes the next packet out if it has arrived by now. Give it to <see cref="Return"/> when it is done with.</summary>
    public bool TryTake(TimeSpan now, out Packet packet)
    {
        if (_queue.TryPeek(out packet, out var key) && key.At <= now)
        {
            _queue.Dequeue();
            return true;
        }

        packet = default;
        return false;
    }

    public void Return(in Packet packet) => (packet.Buffer.Length == Small ? _small : _large).Push(packet.Buffer);

    private byte[]? Rent(int length)
    {
        var (size, free) = length <= Small ? (Small, _small) : (Large, _large);
        if (free.TryPop(out var buffer))
        {
            return buffer;
        }

        if (_made + size > memory)
        {
            return null;
        }

        _made += size;
        return GC.AllocateUninitializedArray<byte>(size, pinned: true);
    }
}
