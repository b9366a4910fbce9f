namespace Fabric.Tunnel.Core;

/// <summary>
/// Bytes in order, as segments. Drops (pieces under <see cref="SlabPool.CopyBelow"/>, or half a slab when memory is tight) are
/// copied together into small slabs of the queue's own, so that they hold little more than themselves; anything larger is kept
/// by reference. A ring that grows; it allocates nothing per byte once grown.
/// </summary>
internal struct SegmentQueue
{
    private Segment[]? _ring;
    private int _head;
    private Slab? _open;
    private int _openEnd;

    /// <summary>Segments in it.</summary>
    public int Count { get; private set; }

    /// <summary>Bytes in it.</summary>
    public long Length { get; private set; }

    public readonly Segment this[int index] => _ring![(_head + index) & (_ring.Length - 1)];

    /// <summary>Appends by reference, or by copying when it is a drop. The caller keeps its own reference.</summary>
    public void Append(Segment segment, SlabPool pool)
    {
        if (segment.Length < (pool.Budget.IsTight ? SlabPool.LargeSize / 2 : SlabPool.CopyBelow))
        {
            AppendCopy(segment.Span, pool);
            return;
        }

        segment.Retain();
        Push(segment);
    }

    /// <summary>Appends a copy.</summary>
    public void AppendCopy(ReadOnlySpan<byte> bytes, SlabPool pool)
    {
        while (!bytes.IsEmpty)
        {
            var tailIsOpen = _open is not null && Count > 0 && TailEndsAt(_open, _openEnd);
            if (!tailIsOpen || _openEnd == _open!.Size)
            {
                _open = pool.Rent(bytes.Length > SlabPool.SmallSize && !pool.Budget.IsTight ? SlabPool.LargeSize : SlabPool.SmallSize);
                _openEnd = 0;
                Push(new Segment(_open, 0, 0));
            }

            var take = Math.Min(bytes.Length, _open!.Size - _openEnd);
            bytes[..take].CopyTo(_open.Bytes.AsSpan(_openEnd));
            ref var tail = ref _ring![(_head + Count - 1) & (_ring.Length - 1)];
            tail = tail with { Length = tail.Length + take };
            _openEnd += take;
            Length += take;
            bytes = bytes[take..];
        }
    }

    private readonly bool TailEndsAt(Slab slab, int end)
    {
        var tail = this[Count - 1];
        return ReferenceEquals(tail.Owner, slab) && tail.Start + tail.Length == end;
    }

    private void Push(Segment segment)
    {
        // Most streams never hold more than one: thousands of idle ones keep theirs.
        _ring ??= new Segment[1];
        if (Count == _ring.Length)
        {
            var grown = new Segment[_ring.Length * 2];
            for (var i = 0; i < Count; i++)
            {
                grown[i] = this[i];
            }

            _ring = grown;
            _head = 0;
        }

        _ring[(_head + Count) & (_ring.Length - 1)] = segment;
        Count++;
        Length += segment.Length;
    }

    /// <summary>Lets go of the first bytes. Returns how many segments went whole, and how much of the next one went.</summary>
    public int Consume(long bytes, out int partial)
    {
        Length -= bytes;
        var gone = 0;
        while (bytes > 0)
        {
            ref var head = ref _ring![_head];
            if (bytes < head.Length)
            {
                head = head.Slice((int)bytes, head.Length - (int)bytes);
                break;
            }

            bytes -= head.Length;
            if (ReferenceEquals(head.Owner, _open))
            {
                _open = null;
            }

            head.Release();
            head = default;
            _head = (_head + 1) & (_ring.Length - 1);
            Count--;
            gone++;
        }

        partial = (int)bytes;
        return gone;
    }

    /// <summary>Moves all of another queue to the end of this one.</summary>
    public void TakeAll(ref SegmentQueue other)
    {
        for (var i = 0; i < other.Count; i++)
        {
            Push(other[i]);
        }

        other = default;
    }

    public void Clear()
    {
        Consume(Length, out _);
        _ring = null;
        _open = null;
        _head = 0;
    }
}
