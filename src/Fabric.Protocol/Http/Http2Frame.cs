using System.Buffers;
using System.Buffers.Binary;

namespace Fabric.Protocol.Http;

/// <summary>RFC 9113 §6.</summary>
public enum Http2FrameType : byte
{
    Data = 0,
    Headers = 1,
    Priority = 2,
    ResetStream = 3,
    Settings = 4,
    PushPromise = 5,
    Ping = 6,
    GoAway = 7,
    WindowUpdate = 8,
    Continuation = 9,
}

/// <summary>RFC 9113 §7; those that are used here.</summary>
public enum Http2Error : uint
{
    None = 0,
    Protocol = 1,
    FrameSize = 6,
    RefusedStream = 7,
    Compression = 9,
    EnhanceYourCalm = 11,
}

/// <summary>The connection is over (RFC 9113 §5.4.1).</summary>
public sealed class Http2Exception(Http2Error error, string reason) : Exception(reason)
{
    public Http2Error Error { get; } = error;
}

/// <summary>The nine bytes before each payload (RFC 9113 §4.1).</summary>
public readonly record struct Http2Frame(int Length, Http2FrameType Type, byte Flags, int Stream)
{
    public const int Size = 9;

    /// <summary>The largest payload that everybody takes, and that nobody is told to exceed here.</summary>
    public const int MaxPayload = 16384;

    public const byte EndStream = 1;
    public const byte Acknowledges = 1;
    public const byte EndHeaders = 4;
    public const byte Padded = 8;
    public const byte HasPriority = 0x20;

    public bool Has(byte flag) => (Flags & flag) != 0;

    public static Http2Frame Read(ReadOnlySpan<byte> bytes) => new(
        (bytes[0] << 16) | (bytes[1] << 8) | bytes[2], (Http2FrameType)bytes[3], bytes[4], BinaryPrimitives.ReadInt32BigEndian(bytes[5..]) & int.MaxValue);

    public static void Write(IBufferWriter<byte> to, Http2FrameType type, byte flags, int stream, ReadOnlySpan<byte> payload)
    {
        var bytes = to.GetSpan(Size);
        BinaryPrimitives.WriteInt32BigEndian(bytes, payload.Length << 8);
        bytes[3] = (byte)type;
        bytes[4] = flags;
        BinaryPrimitives.WriteInt32BigEndian(bytes[5..], stream);
        to.Advance(Size);
        to.Write(payload);
    }

    public static void Write(IBufferWriter<byte> to, Http2FrameType type, int stream, uint value)
    {
        Span<byte> payload = stackalloc byte[4];
        BinaryPrimitives.WriteUInt32BigEndian(payload, value);
        Write(to, type, 0, stream, payload);
    }

    /// <summary>A block of fields, in as many frames as it needs.</summary>
    public static void WriteFields(IBufferWriter<byte> to, int stream, bool ends, ReadOnlySpan<byte> block)
    {
        var type = Http2FrameType.Headers;
        do
        {
            var part = block[..Math.Min(block.Length, MaxPayload)];
            block = block[part.Length..];
            var flags = (byte)((type == Http2FrameType.Headers && ends ? EndStream : 0) | (block.IsEmpty ? EndHeaders : 0));
            Write(to, type, flags, stream, part);
            type = Http2FrameType.Continuation;
        }
        while (!block.IsEmpty);
    }

    /// <summary>What is between padding, and after the priority, of DATA and HEADERS.</summary>
    public ReadOnlySpan<byte> Content(ReadOnlySpan<byte> payload)
    {
        var padding = 0;
        if (Has(Padded))
        {
            padding = payload.IsEmpty ? throw new Http2Exception(Http2Error.FrameSize, "a padded frame is empty") : payload[0];
            payload = payload[1..];
        }

        if (Type == Http2FrameType.Headers && Has(HasPriority))
        {
            payload = payload.Length < 5 ? throw new Http2Exception(Http2Error.FrameSize, "a priority is cut") : payload[5..];
        }

        return padding > payload.Length ? throw new Http2Exception(Http2Error.Protocol, "more padding than there is frame") : payload[..^padding];
    }
}
