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
    public const int Slack = FrameHeader.MaxFrame + 64;

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
            ref var entry = ref _entries[i];
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

            destination = destination[entry.Header.Length..];
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
