using System.Buffers.Binary;
using System.Runtime.CompilerServices;

namespace Fabric.Protocol.Dns;

/// <summary>
/// Writes a message into a span, front to back, compressing names against those before (RFC 1035 §4.1.4). A method returns
/// false when the room does not suffice, and records then leave no trace: what was written so far is still a message. The
/// header's 12 bytes are skipped at first and written last, by <see cref="Finish"/>. Allocates nothing.
/// </summary>
public ref struct DnsWriter
{
    private readonly Span<byte> _buffer;
    private Offsets _labels;
    private int _known;
    private int _reserved;

    /// <summary>The buffer's length is the message's limit. At least 12 bytes.</summary>
    public DnsWriter(Span<byte> buffer)
    {
        _buffer = buffer;
        Length = DnsLimits.Header;
    }

    /// <summary>Bytes so far, the header included.</summary>
    public int Length { get; private set; }

    /// <summary>Keeps that many bytes back, for what must fit at the end (an OPT record); 0 releases them.</summary>
    public void Reserve(int bytes) => _reserved = bytes;

    /// <summary>A question as it was received: its case is kept, and later names point into it.</summary>
    public bool TryWriteQuestion(scoped ReadOnlySpan<byte> question)
    {
        Remember(question[..^4], Length);
        return TryWriteBytes(question);
    }

    public bool TryWriteQuestion(DnsQuestion question) => TryWriteName(question.Name.Wire)
        && TryWriteUInt16((ushort)question.Type) && TryWriteUInt16((ushort)question.Class);

    public bool TryWriteRecord(DnsRecord record) => TryWriteRecord(record.Name.Wire, record.Class, record.Ttl, record.Data);

    public bool TryWriteRecord(scoped ReadOnlySpan<byte> name, DnsClass @class, uint ttl, DnsData data)
    {
        var (start, known) = (Length, _known);
        if (TryWriteName(name) && TryWriteUInt16((ushort)data.Type) && TryWriteUInt16((ushort)@class) && TryWriteUInt32(ttl)
            && TryWriteUInt16(0))
        {
            var dataStart = Length;
            if (data.TryWrite(ref this) && Length - dataStart <= ushort.MaxValue)
            {
                BinaryPrimitives.WriteUInt16BigEndian(_buffer[(dataStart - 2)..], (ushort)(Length - dataStart));
                return true;
            }
        }

        (Length, _known) = (start, known);
        return false;
    }

    /// <summary>An OPT record without options, of version 0, offering <see cref="DnsLimits.Udp"/> bytes.</summary>
    public bool TryWriteOpt(DnsRcode rcode, bool dnssecOk)
    {
        if (Room < DnsLimits.Opt)
        {
            return false;
        }

        var at = _buffer[Length..];
        at[0] = 0;
        BinaryPrimitives.WriteUInt16BigEndian(at[1..], (ushort)DnsType.Opt);
        BinaryPrimitives.WriteUInt16BigEndian(at[3..], DnsLimits.Udp);
        BinaryPrimitives.WriteUInt32BigEndian(at[5..], (uint)rcode >> 4 << 24 | (dnssecOk ? DnsOpt.DnssecOk : 0));
        BinaryPrimitives.WriteUInt16BigEndian(at[9..], 0);
        Length += DnsLimits.Opt;
        return true;
    }

    /// <summary>Writes the header; returns the message's length.</summary>
    public readonly int Finish(in DnsHeader header)
    {
        header.Write(_buffer);
        return Length;
    }

    /// <summary>An uncompressed wire name, written with as much of its end as possible replaced by a pointer.</summary>
    public bool TryWriteName(scoped ReadOnlySpan<byte> name)
    {
        var at = 0;
        while (name[at] != 0)
        {
            if (TryFind(name[at..], out var pointer))
            {
                Remember(name[..at], Length);
                return TryWriteBytes(name[..at]) && TryWriteUInt16((ushort)(0xC000 | pointer));
            }

            at += name[at] + 1;
        }

        Remember(name, Length);
        return TryWriteBytes(name);
    }

    public bool TryWriteUInt16(ushort value)
    {
        if (Room < 2)
        {
            return false;
        }

        BinaryPrimitives.WriteUInt16BigEndian(_buffer[Length..], value);
        Length += 2;
        return true;
    }

    public bool TryWriteUInt32(uint value)
    {
        if (Room < 4)
        {
            return false;
        }

        BinaryPrimitives.WriteUInt32BigEndian(_buffer[Length..], value);
        Length += 4;
        return true;
    }

    public bool TryWriteBytes(scoped ReadOnlySpan<byte> bytes)
    {
        if (Room < bytes.Length)
        {
            return false;
        }

        bytes.CopyTo(_buffer[Length..]);
        Length += bytes.Length;
        return true;
    }

    private readonly int Room => _buffer.Length - _reserved - Length;

    /// <summary>Notes where the labels stand that are about to be written; pointers reach 14 bits, the table 64 labels.</summary>
    private void Remember(scoped ReadOnlySpan<byte> labels, int start)
    {
        for (var at = 0; at < labels.Length && labels[at] != 0; at += labels[at] + 1)
        {
            if (start + at >= 0x4000 || _known == Offsets.Size)
            {
                return;
            }

            _labels[_known++] = (ushort)(start + at);
        }
    }

    private readonly bool TryFind(scoped ReadOnlySpan<byte> suffix, out int pointer)
    {
        for (var i = 0; i < _known; i++)
        {
            pointer = _labels[i];
            if (pointer < Length && Stands(suffix, pointer))
            {
                return true;
            }
        }

        pointer = 0;
        return false;
    }

    /// <summary>Whether the name at that place of the message, pointers followed, is this one. What is here was written
    /// here.</summary>
    private readonly bool Stands(scoped ReadOnlySpan<byte> suffix, int at)
    {
        for (var i = 0; ;)
        {
            while (_buffer[at] >= 0xC0)
            {
                at = BinaryPrimitives.ReadUInt16BigEndian(_buffer[at..]) & 0x3FFF;
            }

            var length = _buffer[at] + 1;
            if (suffix.Length - i < length || !DnsNameComparer.Equal(_buffer.Slice(at, length), suffix.Slice(i, length)))
            {
                return false;
            }

            if (length == 1)
            {
                return true;
            }

            (i, at) = (i + length, at + length);
        }
    }

    [InlineArray(Size)]
    private struct Offsets
    {
        public const int Size = 64;
        private ushort _first;
    }
}
