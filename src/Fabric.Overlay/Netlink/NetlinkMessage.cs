using System.Runtime.InteropServices;
using System.Text;

namespace Fabric.Overlay.Netlink;

/// <summary>
/// Builds one netlink message: header (16 bytes), body, attributes (length and type, u16 each; value; padding to 4). All numbers
/// are in the host's byte order but for ports and addresses. Source: linux/netlink.h.
/// </summary>
internal sealed class NetlinkMessage
{
    public const int HeaderSize = 16;
    public const ushort Request = 0x1, Ack = 0x4, Replace = 0x100, Exclusive = 0x200, Create = 0x400, Dump = 0x300;

    /// <summary>Flag of an attribute that holds attributes.</summary>
    public const ushort NestedFlag = 0x8000;

    private byte[] _buffer = new byte[512];
    private int _length = HeaderSize;

    /// <param name="type">Of the message.</param>
    /// <param name="flags">Besides <see cref="Request"/>, which is always set.</param>
    public NetlinkMessage(ushort type, ushort flags)
    {
        Write(4, type);
        Write(6, (ushort)(flags | Request));
        IsDump = (flags & Dump) == Dump;
    }

    public bool IsDump { get; }

    public int Length => _length;

    /// <summary>Appends a fixed structure, padded to 4.</summary>
    public NetlinkMessage Body(ReadOnlySpan<byte> bytes)
    {
        bytes.CopyTo(Reserve(bytes.Length));
        return this;
    }

    public NetlinkMessage Attribute(ushort type, ReadOnlySpan<byte> value)
    {
        if (value.Length > ushort.MaxValue - 4)
        {
            throw new ArgumentException($"attribute {type} of {value.Length} bytes: netlink allows {ushort.MaxValue - 4}",
                nameof(value));
        }

        var start = _length;
        var space = Reserve(4 + value.Length);
        value.CopyTo(space[4..]);
        Write(start, (ushort)(4 + value.Length));
        Write(start + 2, type);
        return this;
    }

    public NetlinkMessage Attribute<T>(ushort type, T value) where T : unmanaged =>
        Attribute(type, MemoryMarshal.AsBytes(new ReadOnlySpan<T>(ref value)));

    /// <summary>Text with its final zero byte.</summary>
    public NetlinkMessage Text(ushort type, string value) => Attribute(type, Encoding.UTF8.GetBytes(value + '\0'));

    /// <summary>Appends an attribute that holds what <paramref name="content"/> appends.</summary>
    public NetlinkMessage Nested(ushort type, Action<NetlinkMessage> content)
    {
        var start = _length;
        Reserve(4);
        content(this);
        if (_length - start > ushort.MaxValue)
        {
            throw new ArgumentException($"attribute {type} holds {_length - start} bytes: netlink allows {ushort.MaxValue}",
                nameof(content));
        }

        Write(start, (ushort)(_length - start));
        Write(start + 2, (ushort)(type | NestedFlag));
        return this;
    }

    /// <summary>The message, stamped. The bytes are valid until the next call on this object.</summary>
    public ReadOnlySpan<byte> Finish(uint sequence, uint port, bool acknowledge)
    {
        Write(0, (uint)_length);
        if (acknowledge)
        {
            Write(6, (ushort)(MemoryMarshal.Read<ushort>(_buffer.AsSpan(6)) | Ack));
        }

        Write(8, sequence);
        Write(12, port);
        return _buffer.AsSpan(0, _length);
    }

    /// <summary>Overwrites all of it: it may hold a private key.</summary>
    public void Clear() => _buffer.AsSpan().Clear();

    private Span<byte> Reserve(int size)
    {
        var start = _length;
        _length += (size + 3) & ~3;
        if (_length > _buffer.Length)
        {
            var larger = new byte[Math.Max(_length, _buffer.Length * 2)];
            _buffer.AsSpan(0, start).CopyTo(larger);
            Clear();
            _buffer = larger;
        }

        return _buffer.AsSpan(start, size);
    }

    private void Write<T>(int offset, T value) where T : unmanaged => MemoryMarshal.Write(_buffer.AsSpan(offset), value);
}
