namespace Fabric.Tunnel.Core;

/// <summary>
/// Output and retention of one direction of a stream, in one: bytes stay from when the application wrote them until the peer
/// has acknowledged them. Offsets: <c>Base ≤ Next ≤ End ≤ Limit</c>, and <c>Next ≤ MaxSent</c>, for each of the two cursors.
/// </summary>
internal sealed class SendBuffer
{
    /// <summary>How far the main path has got.</summary>
    public SendCursor Main;

    /// <summary>How far the path of copies has got; only of meaning while there is one.</summary>
    public SendCursor Copy;

    private SegmentQueue _queue;

    /// <summary>First byte that is not acknowledged.</summary>
    public long Base { get; private set; }

    /// <summary>Next byte to put on a lane of the main path.</summary>
    public long Next => Main.Next;

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

    /// <summary>The next piece to send, retained for the caller; its offset is the cursor's before the call.</summary>
    public bool TryTake(ref SendCursor cursor, int limit, out Segment piece)
    {
        piece = default;
        if (cursor.Next == End || limit <= 0)
        {
            return false;
        }

        var segment = _queue[cursor.Segment];
        if (cursor.Offset == segment.Length)
        {
            cursor.Segment++;
            cursor.Offset = 0;
            segment = _queue[cursor.Segment];
        }

        piece = segment.Slice(cursor.Offset, Math.Min(limit, segment.Length - cursor.Offset));
        piece.Retain();
        cursor.Offset += piece.Length;
        cursor.Next += piece.Length;
        MaxSent = Math.Max(MaxSent, cursor.Next);
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
        Main.Acknowledged(offset, gone, partial);
        Copy.Acknowledged(offset, gone, partial);
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

    /// <summary>A cursor from which everything that is not acknowledged is sent, again or as a copy.</summary>
    public SendCursor FromBase(int mistake = 0)
    {
        var skip = (int)Math.Min(mistake, Retained);
        return new SendCursor { Next = Base + skip, Offset = skip };
    }

    /// <summary>Lets go of everything. Returns the bytes let go.</summary>
    public long Clear()
    {
        var bytes = Retained;
        _queue.Clear();
        Base = End = MaxSent;
        Main = Copy = new SendCursor { Next = MaxSent };
        return bytes;
    }
}

/// <summary>A place in a <see cref="SendBuffer"/>: the offset of the next byte, and where it is.</summary>
internal struct SendCursor
{
    public long Next;
    public int Segment;
    public int Offset;

    /// <summary>The buffer let go of everything before <paramref name="offset"/>: whole segments, and a part of the first left.</summary>
    public void Acknowledged(long offset, int segments, int partial)
    {
        if (offset >= Next)
        {
            this = new SendCursor { Next = offset };
            return;
        }

        Segment -= segments;
        Offset -= Segment == 0 ? partial : 0;
    }
}
