using Fabric.Protocol.Tunnel;

namespace Fabric.Tunnel.Core;

/// <summary>
/// Reassembly of one direction of a stream: bytes come from any lane, in any order, more than once; the application gets each
/// once, in order. Holds at most the credit that it gave.
/// </summary>
internal sealed class ReceiveBuffer
{
    /// <summary>Gaps that are stashed at once. A gap comes from a move to another lane while the first still delivers.</summary>
    public const int MaxRuns = 256;

    private readonly List<Run> _stash = [];
    private SegmentQueue _ready;

    private sealed class Run
    {
        public long Start;
        public SegmentQueue Bytes;

        public long End => Start + Bytes.Length;
    }

    /// <summary>Everything before it has arrived; FIN and RESET count one each.</summary>
    public long Received { get; private set; }

    /// <summary>Everything before it was handed to the application.</summary>
    public long Delivered { get; private set; }

    /// <summary>Where the stream ends, once FIN was seen, in order or not.</summary>
    public long? Fin { get; private set; }

    /// <summary>FIN has arrived, and all bytes before it.</summary>
    public bool IsComplete => Fin is { } fin && Received == fin + 1;

    public long ReadyBytes => _ready.Length;

    /// <summary>Nothing is held, in order or not.</summary>
    public bool IsEmpty => _ready.Length == 0 && _stash.Count == 0;

    /// <summary>Segments that are ready, the first first.</summary>
    public int ReadySegments => _ready.Count;

    public long StashedBytes => _stash.Sum(r => r.Bytes.Length);

    public Segment Ready(int index) => _ready[index];

    /// <summary>
    /// Takes a piece in. Returns true when <see cref="Received"/> moved. Throws <see cref="FrameException"/> when the peer went
    /// past its credit, past its own FIN, or left more gaps than <see cref="MaxRuns"/>.
    /// </summary>
    public bool Accept(long offset, Segment piece, long limit, SlabPool pool)
    {
        var end = offset + piece.Length;
        if (end > limit)
        {
            throw new FrameException($"DATA up to offset {end}: the credit ends at {limit}");
        }

        if (Fin is { } fin && end > fin)
        {
            throw new FrameException($"DATA up to offset {end}: FIN was at {fin}");
        }

        if (end <= Received)
        {
            return false;
        }

        if (offset < Received)
        {
            var skip = (int)(Received - offset);
            piece = piece.Slice(skip, piece.Length - skip);
            offset = Received;
        }

        if (offset > Received)
        {
            Stash(offset, piece, pool);
            return false;
        }

        _ready.Append(piece, pool);
        Received += piece.Length;
        Unstash();
        return true;
    }

    /// <summary>FIN at <paramref name="offset"/>. Returns true when it completes the stream now.</summary>
    public bool AcceptFin(long offset)
    {
        if (Fin is { } known)
        {
            return known == offset ? false : throw new FrameException($"FIN at offset {offset}: it was at {known}");
        }

        if (offset < Received || (_stash.Count > 0 && _stash[^1].End > offset))
        {
            throw new FrameException($"FIN at offset {offset}: bytes after it have arrived");
        }

        Fin = offset;
        return CompleteFin();
    }

    private bool CompleteFin()
    {
        if (Fin != Received)
        {
            return false;
        }

        Received++;
        return true;
    }

    /// <summary>The application took the first bytes.</summary>
    public void Consume(int bytes)
    {
        _ready.Consume(bytes, out _);
        Delivered += bytes;
    }

    public void Clear()
    {
        _ready.Clear();
        foreach (var run in _stash)
        {
            run.Bytes.Clear();
        }

        _stash.Clear();
    }

    private void Stash(long offset, Segment piece, SlabPool pool)
    {
        while (piece.Length > 0)
        {
            var index = _stash.FindIndex(r => r.End >= offset);
            if (index >= 0 && _stash[index].Start <= offset)
            {
                var known = (int)Math.Min(piece.Length, _stash[index].End - offset);
                piece = piece.Slice(known, piece.Length - known);
                offset += known;
            }
            else
            {
                index = index < 0 ? _stash.Count : index;
                _stash.Insert(index, new Run { Start = offset });
                if (_stash.Count > MaxRuns)
                {
                    throw new FrameException($"more than {MaxRuns} gaps in one stream");
                }
            }

            var room = index + 1 < _stash.Count ? _stash[index + 1].Start - offset : long.MaxValue;
            var take = (int)Math.Min(piece.Length, room);
            if (take > 0)
            {
                _stash[index].Bytes.Append(piece.Slice(0, take), pool);
                offset += take;
                piece = piece.Slice(take, piece.Length - take);
            }

            if (index + 1 < _stash.Count && _stash[index + 1].Start == _stash[index].End)
            {
                _stash[index].Bytes.TakeAll(ref _stash[index + 1].Bytes);
                _stash.RemoveAt(index + 1);
            }
        }
    }

    private void Unstash()
    {
        while (_stash.Count > 0 && _stash[0].Start <= Received)
        {
            var run = _stash[0];
            _stash.RemoveAt(0);
            run.Bytes.Consume(Math.Min(Received - run.Start, run.Bytes.Length), out _);
            Received += run.Bytes.Length;
            _ready.TakeAll(ref run.Bytes);
        }

        CompleteFin();
    }
}
