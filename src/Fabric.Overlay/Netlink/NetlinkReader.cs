using System.Runtime.InteropServices;
using System.Text;

namespace Fabric.Overlay.Netlink;

/// <summary>One message that the kernel sent; <see cref="Payload"/> is what follows the header.</summary>
internal readonly record struct NetlinkFrame(ushort Type, ushort Flags, uint Sequence, uint Port, ReadOnlyMemory<byte> Payload);

/// <summary>One attribute, its flags taken off the type.</summary>
internal readonly record struct NetlinkAttribute(ushort Type, ReadOnlyMemory<byte> Value)
{
    public T Read<T>() where T : unmanaged => NetlinkReader.Read<T>(Value.Span, 0);

    /// <summary>Text up to its first zero byte.</summary>
    public string Text()
    {
        var end = Value.Span.IndexOf((byte)0);
        return Encoding.UTF8.GetString(end < 0 ? Value.Span : Value.Span[..end]);
    }
}

/// <summary>
/// An answer of the kernel to a request: <see cref="Errno"/> 0 is success; <see cref="Text"/> is its extended message.
/// </summary>
internal readonly record struct NetlinkVerdict(int Errno, string? Text);

/// <summary>
/// Parses what the kernel sends. Input that breaks the format gives <see cref="InvalidDataException"/> and nothing else.
/// </summary>
internal static class NetlinkReader
{
    public const ushort Noop = 1, Error = 2, Done = 3;
    public const ushort FlagMulti = 0x2, FlagDumpInterrupted = 0x10, FlagCapped = 0x100, FlagExtendedAck = 0x200;
    private const ushort TypeMask = 0x3fff;
    private const ushort MessageAttribute = 1;

    public static IEnumerable<NetlinkFrame> Frames(ReadOnlyMemory<byte> datagram)
    {
        while (datagram.Length > 0)
        {
            var length = Read<uint>(datagram.Span, 0);
            if (length < NetlinkMessage.HeaderSize || length > datagram.Length)
            {
                throw new InvalidDataException($"netlink message of {length} bytes in {datagram.Length}");
            }

            yield return new(Read<ushort>(datagram.Span, 4), Read<ushort>(datagram.Span, 6), Read<uint>(datagram.Span, 8),
                Read<uint>(datagram.Span, 12), datagram[NetlinkMessage.HeaderSize..(int)length]);
            datagram = datagram[Math.Min(datagram.Length, ((int)length + 3) & ~3)..];
        }
    }

    public static IEnumerable<NetlinkAttribute> Attributes(ReadOnlyMemory<byte> bytes)
    {
        while (bytes.Length > 0)
        {
            var length = Read<ushort>(bytes.Span, 0);
            if (length < 4 || length > bytes.Length)
            {
                throw new InvalidDataException($"netlink attribute of {length} bytes in {bytes.Length}");
            }

            yield return new((ushort)(Read<ushort>(bytes.Span, 2) & TypeMask), bytes[4..length]);
            bytes = bytes[Math.Min(bytes.Length, (length + 3) & ~3)..];
        }
    }

    /// <summary>Attributes after a fixed body of that many bytes.</summary>
    public static IEnumerable<NetlinkAttribute> Attributes(NetlinkFrame frame, int body) => frame.Payload.Length >= body
        ? Attributes(frame.Payload[body..])
        : throw new InvalidDataException($"netlink message {frame.Type} has {frame.Payload.Length} bytes: its body has {body}");

    /// <summary>The verdict in a message of type <see cref="Error"/> or <see cref="Done"/>.</summary>
    public static NetlinkVerdict Verdict(NetlinkFrame frame)
    {
        if (frame.Type == Done && frame.Payload.Length < 4)
        {
            return default;
        }

        var errno = -(long)Read<int>(frame.Payload.Span, 0);
        if (errno is < 0 or > 4095)
        {
            throw new InvalidDataException($"netlink error {errno} is not an errno");
        }

        if ((frame.Flags & FlagExtendedAck) == 0)
        {
            return new((int)errno, null);
        }

        // An error repeats the request's header, and its body too unless capped; the end of a dump repeats nothing.
        var skip = 4;
        if (frame.Type == Error)
        {
            var request = (frame.Flags & FlagCapped) != 0 ? NetlinkMessage.HeaderSize : (long)Read<uint>(frame.Payload.Span, 4);
            if (request < NetlinkMessage.HeaderSize || request > frame.Payload.Length - 4)
            {
                throw new InvalidDataException($"netlink error repeats {request} bytes in {frame.Payload.Length - 4}");
            }

            skip += ((int)request + 3) & ~3;
        }

        var text = skip < frame.Payload.Length
            ? Attributes(frame.Payload[skip..]).Where(a => a.Type == MessageAttribute).Select(a => a.Text()).FirstOrDefault()
            : null;
        return new((int)errno, text);
    }

    public static T Read<T>(ReadOnlySpan<byte> bytes, int offset) where T : unmanaged =>
        bytes.Length - offset >= Marshal.SizeOf<T>()
            ? MemoryMarshal.Read<T>(bytes[offset..])
            : throw new InvalidDataException($"netlink: {Marshal.SizeOf<T>()} bytes wanted at {offset} of {bytes.Length}");
}
