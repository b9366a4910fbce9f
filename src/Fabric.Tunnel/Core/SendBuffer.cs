namespace Fabric.Tunnel.Core;

/// <summary>
/// Output and retention of one direction of a stream, in one: bytes stay from when the application wrote them until the peer
/// has acknowledged them. Offsets: <c>Base ≤ Next ≤ End ≤ Limit</c>, and <c>Next ≤ MaxSent</c>.
/// </summary>
internal sealed class SendBuffer
{
    private SegmentQueue _queue;
    private int _cursorSegment;
    private int _cursorOffset;

    /// <summary>First byte that is not acknowledged.</summary>
    public long Base { get; private set; }

    /// <summary>Next byte to put on a lane.</summary>
    public long Next { get; private set; }

    /// <summary>After the last byte the application wrote.</summary>
    public long End { get; private set; }

    /// <summary>After the last byte that was ever on a lane.</summary>
    public long MaxSent { get; private set; }

    /// <summary>The peer's credit: bytes from here on are not asked for yet.</summary>
    public long Limit { get; private set; }

    /// <summary>Bytes that the application may write now.</summary>
    public long Room => Limit - End;

    public long Retained => End - Base;

    public long Unsent => End - Next;

    public void Append(Segment segment, SlabPool pool)
    {
        _queue.Append(segment, pool);
        End += segment.Length;
    }

    public void AppendCopy(ReadOnlySpan<byte> bytes, SlabPool pool)
    {
        _queue.AppendCopy(bytes, pool);
        End += bytes.Length;
    }

    /// <summary>The next piece to send, retained for the caller; its offset is <see cref="Next"/> before the call.</summary>
    public bool TryTake(int limit, out Segment piece)
    {
        piece = default;
        if (Next == End || limit <= 0)
        {
            return false;
        }

        var segment = _queue[_cursorSegment];
        if (_cursorOffset == segment.Length)
        {
            _cursorSegment++;
            _cursorOffset = 0;
            segment = _queue[_cursorSegment];
        }

        piece = segment.Slice(_cursorOffset, Math.Min(limit, segment.Length - _cursorOffset));
        piece.Retain();
        _cursorOffset += piece.Length;
        Next += piece.Length;
        MaxSent = Math.Max(MaxSent, Next);
        return true;
    }

    /// <summary>
    /// The peer has everything before <paramref name="offset"/>: lets go of it, and never sends it again. Returns the bytes let
    /// go. The caller has checked that it was sent.
    /// </summary>
    public long Acknowledge(long offset)
    {
        var bytes = offset - Base;
        if (bytes <= 0)
        {
            return 0;
        }

        var gone = _queue.Consume(bytes, out var partial);
        Base = offset;
        if (offset >= Next)
        {
            Next = offset;
            _cursorSegment = 0;
            _cursorOffset = 0;
        }
        else
        {
            _cursorSegment -= gone;
            _cursorOffset -= _cursorSegment == 0 ? partial : 0;
        }

        return bytes;
    }

    /// <summary>The peer allows bytes up to <paramref name="limit"/>; a smaller limit than before is a late one. True when it grew.</summary>
    public bool Allow(long limit)
    {
        if (limit <= Limit)
        {
            return false;
        }

        Limit = limit;
        return true;
    }

    /// <summary>What is not acknowledged may be lost: it is sent again, from the first byte of it.</summary>
    public void Rewind(int mistake = 0)
    {
        Next = Base + Math.Min(mistake, Retained);
        _cursorSegment = 0;
        _cursorOffset = (int)(Next - Base);
    }

    /// <summary>Lets go of everything. Returns the bytes let go.</summary>
    public long Clear()
    {
        var bytes = Retained;
        _queue.Clear();
        Base = Next = End = MaxSent;
        _cursorSegment = 0;
        _cursorOffset = 0;
        return bytes;
    }
}
