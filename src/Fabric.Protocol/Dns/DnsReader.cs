using System.Buffers.Binary;

namespace Fabric.Protocol.Dns;

/// <summary>What stands before the data of a record.</summary>
public readonly record struct DnsRecordHead(DnsType Type, DnsClass Class, uint Ttl, int DataOffset, int DataLength);

/// <summary>
/// Reads a message from front to back. Every method returns false on input that breaks the rules or ends early, and never
/// throws; after false the position means nothing. Allocates nothing.
/// </summary>
public ref struct DnsReader(ReadOnlySpan<byte> message, int offset = 0)
{
    private readonly ReadOnlySpan<byte> _message = message;

    /// <summary>Where the next byte is read.</summary>
    public int Offset { get; private set; } = offset;

    public readonly bool AtEnd => Offset == _message.Length;

    public bool TryReadUInt16(out ushort value)
    {
        value = 0;
        if (_message.Length - Offset < 2)
        {
            return false;
        }

        value = BinaryPrimitives.ReadUInt16BigEndian(_message[Offset..]);
        Offset += 2;
        return true;
    }

    public bool TryReadUInt32(out uint value)
    {
        value = 0;
        if (_message.Length - Offset < 4)
        {
            return false;
        }

        value = BinaryPrimitives.ReadUInt32BigEndian(_message[Offset..]);
        Offset += 4;
        return true;
    }

    public bool TryReadBytes(int length, out ReadOnlySpan<byte> bytes)
    {
        bytes = default;
        if (length < 0 || _message.Length - Offset < length)
        {
            return false;
        }

        bytes = _message.Slice(Offset, length);
        Offset += length;
        return true;
    }

    /// <summary>A name without compression, as a slice of the message: the first name of a message can point nowhere.</summary>
    public bool TryReadPlainName(out ReadOnlySpan<byte> name)
    {
        name = default;
        for (var at = Offset; at < _message.Length && at - Offset < DnsLimits.Name; at += _message[at] + 1)
        {
            if (_message[at] > DnsLimits.Label)
            {
                return false;
            }

            if (_message[at] == 0)
            {
                name = _message[Offset..(at + 1)];
                Offset = at + 1;
                return true;
            }
        }

        return false;
    }

    /// <summary>
    /// A name, expanded into <paramref name="name"/> (255 bytes suffice). A pointer must lead to before the part of the name
    /// that it ends, and not into the header; hops are counted as well. So a loop cannot be written, and the work is bounded.
    /// </summary>
    public bool TryReadName(scoped Span<byte> name, out int length)
    {
        length = 0;
        var (at, part, hops) = (Offset, Offset, 0);
        while (at < _message.Length)
        {
            var octet = _message[at];
            if (octet >= 0xC0)
            {
                if (at + 1 >= _message.Length || ++hops > DnsLimits.Labels)
                {
                    return false;
                }

                var target = BinaryPrimitives.ReadUInt16BigEndian(_message[at..]) & 0x3FFF;
                if (target >= part || target < DnsLimits.Header)
                {
                    return false;
                }

                Offset = hops == 1 ? at + 2 : Offset;
                at = part = target;
            }
            else if (octet > DnsLimits.Label || length + octet + 1 > Math.Min(name.Length, DnsLimits.Name)
                || at + octet + 1 > _message.Length)
            {
                return false;
            }
            else
            {
                _message.Slice(at, octet + 1).CopyTo(name[length..]);
                length += octet + 1;
                at += octet + 1;
                if (octet == 0)
                {
                    Offset = hops == 0 ? at : Offset;
                    return true;
                }
            }
        }

        return false;
    }

    /// <summary>What follows a record's name. The position is then after its data; <see cref="DnsData.TryRead"/> reads
    /// that.</summary>
    public bool TryReadRecordHead(out DnsRecordHead head)
    {
        head = default;
        if (!TryReadUInt16(out var type) || !TryReadUInt16(out var @class) || !TryReadUInt32(out var ttl)
            || !TryReadUInt16(out var length))
        {
            return false;
        }

        head = new DnsRecordHead((DnsType)type, (DnsClass)@class, ttl, Offset, length);
        return TryReadBytes(length, out _);
    }
}
