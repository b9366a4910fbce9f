namespace Fabric.Tunnel.Core;

/// <summary>
/// Datagrams that wait, whole and in order, copied together into slabs. Bounded by count and bytes: at the limit the oldest goes,
/// because of two datagrams the younger is worth more. Allocates nothing per datagram once grown; empty, it holds no memory.
/// </summary>
internal sealed class DatagramQueue(SlabPool pool, int most = DatagramQueue.Most, int mostBytes = DatagramQueue.MostBytes)
{
    /// <summary>Datagrams that wait in one direction of a flow.</summary>
    public const int Most = 64;

    /// <summary>Bytes that wait in one direction of a flow: never less than the largest datagram.</summary>
    public const int MostBytes = 256 * 1024;

    private readonly Queue<(Segment Datagram, long Number)> _queue = new();
    private Slab? _open;
    private int _end;

    public int Count => _queue.Count;

    public int Bytes { get; private set; }

    /// <summary>Appends a copy, under a number of the caller's. Returns how many older ones were dropped for it.</summary>
    public int Add(ReadOnlySpan<byte> datagram, long number = 0)
    {
        var dropped = 0;
        while (_queue.Count > 0 && (_queue.Count >= most || Bytes + datagram.Length > mostBytes))
        {
            TryTake(out var oldest, out _);
            oldest.Release();
            dropped++;
        }

        if (_open is null || _open.Size - _end < datagram.Length)
        {
            _open?.Release();
            _open = pool.Rent(datagram.Length > SlabPool.SmallSize ? SlabPool.LargeSize : SlabPool.SmallSize);
            _end = 0;
        }

        var segment = new Segment(_open, _end, datagram.Length);
        datagram.CopyTo(segment.Span);
        segment.Retain();
        _queue.Enqueue((segment, number));
        _end += datagram.Length;
        Bytes += datagram.Length;
        return dropped;
    }

    /// <summary>The oldest; the caller takes over the reference.</summary>
    public bool TryTake(out Segment datagram) => TryTake(out datagram, out _);

    public bool TryTake(out Segment datagram, out long number)
    {
        var taken = _queue.TryDequeue(out var head);
        (datagram, number) = head;
        if (!taken)
        {
            return false;
        }

        Bytes -= datagram.Length;
        if (_queue.Count == 0)
        {
            _open!.Release();
            _open = null;
        }

        return true;
    }

    public void Clear()
    {
        while (TryTake(out var datagram))
        {
            datagram.Release();
        }
    }
}
