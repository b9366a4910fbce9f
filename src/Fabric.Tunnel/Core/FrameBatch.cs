using System.Buffers.Binary;
using Fabric.Protocol.Tunnel;

namespace Fabric.Tunnel.Core;

/// <summary>
/// One turn's output of a lane: headers with their payloads by reference. A driver writes it out after it has left the
/// session, and then releases the segments with <see cref="Clear"/>.
/// </summary>
internal sealed class FrameBatch
{
    /// <summary>A turn passes its budget by at most this: one stream's share, with its acknowledgement and FIN.</summary>
    public const int Slack = SessionCore.BulkQuantum + 64;

    /// <summary>Frames after which a turn ends: fewer than a batch takes, by what one stream may add.</summary>
    public const int MostFrames = 500;

    private readonly Entry[] _entries = new Entry[512];

    private struct Entry
    {
        public FrameHeader Header;
        public Segment Payload;
        public byte[]? Bytes;
        public long Credit;
    }

    public int Count { get; private set; }

    /// <summary>Bytes of all frames, headers included.</summary>
    public int Bytes { get; private set; }

    public bool IsFull => Count == _entries.Length;

    /// <summary>A turn may have ended for the number of frames.</summary>
    public bool IsNearlyFull => Count >= MostFrames;

    /// <summary>The batch takes over the reference to the segment.</summary>
    public void Add(FrameHeader header, Segment payload) => Add(new Entry { Header = header, Payload = payload });

    public void Add(FrameHeader header, byte[]? bytes = null) => Add(new Entry { Header = header, Bytes = bytes });

    public void AddAck(uint stream, long received, long credit) => Add(new Entry
    {
        Header = new FrameHeader(FrameType.Ack, FrameHeader.AckPayload, stream, received),
        Credit = credit,
    });

    private void Add(Entry entry)
    {
        _entries[Count++] = entry;
        Bytes += FrameHeader.Size + entry.Header.Length;
    }

    /// <summary>Header of a frame, for traces.</summary>
    public FrameHeader Header(int index) => _entries[index].Header;

    /// <summary>Copies all frames into <paramref name="destination"/>, which has at least <see cref="Bytes"/> bytes.</summary>
    public void CopyTo(Span<byte> destination)
    {
        for (var i = 0; i < Count; i++)
        {
            Copy(_entries[i], destination);
            destination = destination[(FrameHeader.Size + _entries[i].Header.Length)..];
        }
    }

    private static void Copy(in Entry entry, Span<byte> destination)
    {
        entry.Header.Write(destination);
        destination = destination[FrameHeader.Size..];
        if (entry.Payload.Owner is not null)
        {
            entry.Payload.Span.CopyTo(destination);
        }
        else if (entry.Header.Type == FrameType.Ack)
        {
            BinaryPrimitives.WriteInt64LittleEndian(destination, entry.Credit);
        }
        else
        {
            entry.Bytes.CopyTo(destination);
        }
    }

    /// <summary>
    /// Gives all frames to the sink, in order, in few pieces. Small ones are put side by side in <paramref name="staging"/>, which takes the
    /// largest frame. A large payload that begins a slab is given where it lies, its header in the gap that readers of sockets leave
    /// there: its bytes are not copied.
    /// </summary>
    public void WriteTo(IFrameSink sink, Span<byte> staging)
    {
        var staged = 0;
        for (var i = 0; i < Count; i++)
        {
            ref var entry = ref _entries[i];
            var size = FrameHeader.Size + entry.Header.Length;
            var inPlace = entry.Payload is { Owner: not null, Start: FrameHeader.Size, Length: >= SlabPool.CopyBelow };
            if (staged > 0 && (inPlace || staged + size > staging.Length))
            {
                sink.Write(staging[..staged]);
                staged = 0;
            }

            if (inPlace)
            {
                var bytes = entry.Payload.Owner!.Bytes.AsSpan(0, size);
                entry.Header.Write(bytes);
                sink.Write(bytes);
            }
            else
            {
                Copy(entry, staging[staged..]);
                staged += size;
            }
        }

        if (staged > 0)
        {
            sink.Write(staging[..staged]);
        }
    }

    /// <summary>Empties it and lets go of the segments.</summary>
    public void Clear()
    {
        for (var i = 0; i < Count; i++)
        {
            _entries[i].Payload.Owner?.Release();
            _entries[i] = default;
        }

        Count = 0;
        Bytes = 0;
    }
}

/// <summary>Where frames go.</summary>
internal interface IFrameSink
{
    void Write(ReadOnlySpan<byte> bytes);
}
