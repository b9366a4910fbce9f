using System.Buffers.Binary;
using System.Collections.Immutable;
using System.Text;

namespace Fabric.Protocol.Tunnel;

/// <summary>
/// First frame both ways on a lane. The dialler says which link and lane it is; the acceptor repeats both, and that it is
/// accepted is what its HELLO means.
/// </summary>
/// <param name="Session">Who the sender is in this session: 12 random bytes of the process, then a generation, big-endian, that
/// grows when the process gives a session up.</param>
/// <param name="Epoch">Number of the lane, chosen by the dialler: greater than that of any lane the session has had.</param>
/// <param name="ProbeKey">Key (32 bytes) with which the receiver signs the link probes that it sends to the sender.</param>
/// <param name="MaxStreams">How many streams the receiver of this frame may have open at once.</param>
/// <param name="Channel">Which lane of its link it is: 0 is the first, which streams share; further ones are for bulk.</param>
public sealed record HelloFrame(
    Guid Session,
    uint Epoch,
    string Link,
    ImmutableArray<byte> ProbeKey,
    int MaxStreams,
    byte Channel = 0)
{
    public const ushort Version = 1;
    public const int ProbeKeySize = 32;
    public const int MaxLinkName = 255;

    public byte[] ToPayload()
    {
        var writer = new PayloadWriter();
        writer.U16(Version);
        Span<byte> id = stackalloc byte[16];
        Session.TryWriteBytes(id, bigEndian: true, out _);
        writer.Raw(id);
        writer.U32(Epoch);
        writer.Text(Link, MaxLinkName);
        writer.Raw(ProbeKey.AsSpan());
        writer.U32((uint)MaxStreams);
        writer.Raw([Channel]);
        return writer.ToArray();
    }

    public static HelloFrame Parse(ReadOnlySpan<byte> payload)
    {
        var reader = new PayloadReader(payload, "HELLO");
        var version = reader.U16("version");
        if (version != Version)
        {
            throw new FrameException($"HELLO of protocol version {version}: this gateway speaks version {Version}");
        }

        var session = new Guid(reader.Raw(16, "session"), bigEndian: true);
        var epoch = reader.U32("epoch");
        var link = reader.Text(MaxLinkName, "link");
        var key = reader.Raw(ProbeKeySize, "probe key").ToImmutableArray();
        var streams = reader.U32("streams");
        var channel = reader.Raw(1, "channel")[0];
        reader.End();
        if (epoch == 0 || streams > int.MaxValue || link.Length == 0)
        {
            throw new FrameException("HELLO with epoch 0, an empty link name, or more than 2^31-1 streams");
        }

        return new HelloFrame(session, epoch, link, key, (int)streams, channel);
    }
}

/// <summary>What a stream asks for; the numbers are on the wire.</summary>
[Flags]
public enum OpenFlags : byte
{
    None = 0,

    /// <summary>Its frames go out on the two best lanes at once, both ways.</summary>
    Mirrored = 1,

    /// <summary>It carries the datagrams of one flow instead of bytes in order.</summary>
    Datagrams = 2,

    /// <summary>A tracestate follows the traceparent. Not for streams: it is set and read by <see cref="OpenFrame"/>.</summary>
    TraceState = 4,

    All = Mirrored | Datagrams | TraceState,
}

/// <summary>Payload of OPEN; the initial credit is in the header's offset.</summary>
public sealed record OpenFrame(string Service, int Port, string Caller, string TraceParent, OpenFlags Flags = OpenFlags.None)
{
    public const int MaxService = 255;
    public const int MaxCaller = 2_048;
    public const int MaxTraceParent = 128;

    /// <summary>Bytes: what W3C trace-context (§3.3.1.1) asks everybody to pass on. A longer one is not sent.</summary>
    public const int MaxTraceState = 512;

    /// <summary>W3C tracestate, or empty. It is on the wire only where there is one.</summary>
    public string TraceState { get; init; } = "";

    /// <summary>Throws <see cref="FrameException"/> when a field is longer than its limit.</summary>
    public byte[] ToPayload()
    {
        var writer = new PayloadWriter();
        var hasState = TraceState.Length > 0 && Encoding.UTF8.GetByteCount(TraceState) <= MaxTraceState;
        writer.Raw([(byte)(Flags | (hasState ? OpenFlags.TraceState : 0))]);
        writer.U16((ushort)Port);
        writer.Text(Service, MaxService);
        writer.Text(Caller, MaxCaller);
        writer.Text(TraceParent, MaxTraceParent);
        if (hasState)
        {
            writer.Text(TraceState, MaxTraceState);
        }

        return writer.ToArray();
    }

    public static OpenFrame Parse(ReadOnlySpan<byte> payload)
    {
        var reader = new PayloadReader(payload, "OPEN");
        var flags = reader.Raw(1, "flags")[0];
        var port = reader.U16("port");
        var service = reader.Text(MaxService, "service");
        var caller = reader.Text(MaxCaller, "caller");
        var trace = reader.Text(MaxTraceParent, "traceparent");
        var known = (OpenFlags)flags;
        var state = known.HasFlag(OpenFlags.TraceState) ? reader.Text(MaxTraceState, "tracestate") : "";
        reader.End();
        return (flags & ~(byte)OpenFlags.All) == 0
            ? new OpenFrame(service, port, caller, trace, known & ~OpenFlags.TraceState) { TraceState = state }
            : throw new FrameException($"OPEN with flags 0x{flags:x2}: the known ones are 0x{(byte)OpenFlags.All:x2}");
    }
}

/// <summary>Payload of RESET and of CLOSE: a code and words for people.</summary>
public sealed record ReasonFrame(byte Code, string Reason)
{
    /// <summary>Bytes of UTF-8; longer reasons are cut by the writer and refused by the reader.</summary>
    public const int MaxReason = 256;

    public byte[] ToPayload()
    {
        var reason = Reason;
        while (Encoding.UTF8.GetByteCount(reason) > MaxReason)
        {
            reason = reason[..Math.Min(reason.Length - 1, MaxReason)];
        }

        var writer = new PayloadWriter();
        writer.Raw([Code]);
        writer.Text(reason, MaxReason);
        return writer.ToArray();
    }

    public static ReasonFrame Parse(ReadOnlySpan<byte> payload)
    {
        var reader = new PayloadReader(payload, "RESET or CLOSE");
        var code = reader.Raw(1, "code")[0];
        var reason = reader.Text(MaxReason, "reason");
        reader.End();
        return new ReasonFrame(code, reason);
    }
}

internal sealed class PayloadWriter
{
    private readonly MemoryStream _bytes = new();

    public void Raw(ReadOnlySpan<byte> value) => _bytes.Write(value);

    public void U16(ushort value)
    {
        Span<byte> bytes = stackalloc byte[2];
        BinaryPrimitives.WriteUInt16LittleEndian(bytes, value);
        _bytes.Write(bytes);
    }

    public void U32(uint value)
    {
        Span<byte> bytes = stackalloc byte[4];
        BinaryPrimitives.WriteUInt32LittleEndian(bytes, value);
        _bytes.Write(bytes);
    }

    /// <summary>Length u16, then UTF-8.</summary>
    public void Text(string value, int limit)
    {
        var bytes = Encoding.UTF8.GetBytes(value);
        if (bytes.Length > limit)
        {
            throw new FrameException($"'{value[..Math.Min(value.Length, 32)]}…' has {bytes.Length} bytes: at most {limit} fit");
        }

        U16((ushort)bytes.Length);
        _bytes.Write(bytes);
    }

    public byte[] ToArray() => _bytes.ToArray();
}

internal ref struct PayloadReader(ReadOnlySpan<byte> rest, string frame)
{
    private static readonly UTF8Encoding _strict = new(false, throwOnInvalidBytes: true);
    private ReadOnlySpan<byte> _rest = rest;

    public ReadOnlySpan<byte> Raw(int count, string field)
    {
        if (_rest.Length < count)
        {
            throw new FrameException($"{frame} ends inside its {field}: {_rest.Length} bytes left, {count} needed");
        }

        var value = _rest[..count];
        _rest = _rest[count..];
        return value;
    }

    public ushort U16(string field) => BinaryPrimitives.ReadUInt16LittleEndian(Raw(2, field));

    public uint U32(string field) => BinaryPrimitives.ReadUInt32LittleEndian(Raw(4, field));

    public string Text(int limit, string field)
    {
        var length = U16(field);
        if (length > limit)
        {
            throw new FrameException($"{frame} with a {field} of {length} bytes: at most {limit} are allowed");
        }

        try
        {
            return _strict.GetString(Raw(length, field));
        }
        catch (DecoderFallbackException)
        {
            throw new FrameException($"{frame} with a {field} that is not UTF-8");
        }
    }

    public readonly void End()
    {
        if (!_rest.IsEmpty)
        {
            throw new FrameException($"{frame} with {_rest.Length} bytes after its last field");
        }
    }
}
