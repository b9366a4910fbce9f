using System.Buffers.Binary;

namespace Fabric.Protocol.Tunnel;

/// <summary>What a frame is. The numbers are on the wire.</summary>
public enum FrameType : byte
{
    Hello = 1,
    Open = 2,
    Opened = 3,
    Data = 4,
    Fin = 5,
    Reset = 6,
    Ack = 7,
    Fence = 8,
    Ping = 9,
    Pong = 10,
    GoAway = 11,
    Close = 12,
    Datagram = 13,
}

/// <summary>
/// The 16 bytes that begin every frame, little-endian: type u8, flags u8, payload length u16, stream u32, offset u64.
/// What <see cref="Offset"/> means depends on the type: see <c>src/Fabric.Protocol/README.md</c>.
/// </summary>
public readonly record struct FrameHeader(FrameType Type, int Length, uint Stream, long Offset)
{
    /// <summary>Bytes of a header.</summary>
    public const int Size = 16;

    /// <summary>Bytes of the largest frame, header included: four full TLS records.</summary>
    public const int MaxFrame = 65_536;

    /// <summary>Bytes of the largest DATA payload.</summary>
    public const int MaxData = MaxFrame - Size;

    /// <summary>Bytes of the largest DATAGRAM payload: what UDP carries over IPv4.</summary>
    public const int MaxDatagram = 65_507;

    /// <summary>Bytes of the largest payload of any other frame.</summary>
    public const int MaxControl = 4_096;

    /// <summary>Bytes of an ACK payload: the credit limit, u64.</summary>
    public const int AckPayload = 8;

    /// <summary>Flag of a frame that leaves on a second lane because the first is suspect (OPEN, OPENED, DATA, FIN, RESET,
    /// DATAGRAM).</summary>
    public const byte CopyFlag = 1;

    /// <summary>It carries <see cref="CopyFlag"/>: what it says left on the sender's main lane as well.</summary>
    public bool IsCopy { get; init; }

    /// <summary>Writes the header into the first <see cref="Size"/> bytes.</summary>
    public void Write(Span<byte> destination)
    {
        BinaryPrimitives.WriteUInt64LittleEndian(destination[8..], (ulong)Offset);
        BinaryPrimitives.WriteUInt32LittleEndian(destination[4..], Stream);
        BinaryPrimitives.WriteUInt16LittleEndian(destination[2..], (ushort)Length);
        destination[1] = IsCopy ? CopyFlag : (byte)0;
        destination[0] = (byte)Type;
    }

    /// <summary>
    /// Reads a header and checks what can be checked without state. Throws <see cref="FrameException"/> on an unknown type,
    /// an unknown flag, a length that the type does not allow, a stream where there must be none (or none where there must be), an
    /// offset past 2^62, and a datagram without a number.
    /// </summary>
    public static FrameHeader Read(ReadOnlySpan<byte> source)
    {
        var type = (FrameType)source[0];
        int length = BinaryPrimitives.ReadUInt16LittleEndian(source[2..]);
        var stream = BinaryPrimitives.ReadUInt32LittleEndian(source[4..]);
        var offset = BinaryPrimitives.ReadUInt64LittleEndian(source[8..]);
        var (least, most, ofStream) = type switch
        {
            FrameType.Hello => (1, MaxControl, false),
            FrameType.Open => (1, MaxControl, true),
            FrameType.Opened => (0, 0, true),
            FrameType.Data => (1, MaxData, true),
            FrameType.Fin => (0, 0, true),
            FrameType.Reset => (1, MaxControl, true),
            FrameType.Ack => (AckPayload, AckPayload, true),
            FrameType.Fence => (0, 0, false),
            FrameType.Ping or FrameType.Pong => (0, 0, false),
            FrameType.GoAway => (0, 0, false),
            FrameType.Close => (1, MaxControl, false),
            FrameType.Datagram => (0, MaxDatagram, true),
            _ => throw new FrameException($"frame type {source[0]}: the known types are 1 to 13"),
        };
        var copies = type is FrameType.Open or FrameType.Opened or FrameType.Data or FrameType.Fin or FrameType.Reset
            or FrameType.Datagram;
        if ((source[1] & ~(copies ? CopyFlag : 0)) != 0)
        {
            throw new FrameException($"{type} with flags 0x{source[1]:x2}: {(copies ? "only 0x01 is known" : "it has none")}");
        }

        if (length < least || length > most)
        {
            throw new FrameException($"{type} with a payload of {length} bytes: {least} to {most} are allowed");
        }

        if (ofStream != stream > 0)
        {
            throw new FrameException(ofStream ? $"{type} on stream 0: it needs a stream" : $"{type} on stream {stream}: it is of the lane");
        }

        if (offset > 1UL << 62)
        {
            throw new FrameException($"{type} with offset {offset}: at most 2^62");
        }

        if (type == FrameType.Datagram && offset == 0)
        {
            throw new FrameException("DATAGRAM with number 0: they count from 1");
        }

        return new FrameHeader(type, length, stream, (long)offset) { IsCopy = source[1] != 0 };
    }
}

/// <summary>The peer broke the protocol; the message says how. The lane is closed with it.</summary>
public sealed class FrameException(string message) : Exception(message);
