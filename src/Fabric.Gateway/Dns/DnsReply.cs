using System.Buffers.Binary;
using Fabric.Protocol.Dns;

namespace Fabric.Gateway.Dns;

/// <summary>
/// One response as it is written: header's room, the question as it came, records, OPT, and the header last. A method that returns
/// false has written nothing. Allocates nothing.
/// </summary>
internal ref struct DnsReply
{
    private readonly Span<byte> _buffer;
    private readonly int _limit;
    private readonly int _question;
    private int _length;
    private int _reserved;
    private int _optLength;

    /// <param name="buffer">Where to.</param>
    /// <param name="limit">Bytes of the whole response.</param>
    /// <param name="question">To be repeated, byte for byte.</param>
    /// <param name="reserved">Bytes kept back for the OPT record.</param>
    public DnsReply(Span<byte> buffer, int limit, ReadOnlySpan<byte> question, int reserved)
    {
        _buffer = buffer;
        (_limit, _question, _reserved) = (Math.Min(limit, buffer.Length), question.Length, reserved);
        question.CopyTo(buffer[DnsLimits.Header..]);
        _length = DnsLimits.Header + question.Length;
    }

    public ushort Answers;
    public ushort Authorities;
    public ushort Additionals;

    private readonly int Room => _limit - _reserved - _length;

    /// <summary>What the answer section should hold did not fit.</summary>
    public bool Full;

    /// <summary>Appends to the answer section; when it does not fit, the section becomes empty: a part of it is no answer.</summary>
    public bool TryPutAnswer(ReadOnlySpan<byte> bytes, ushort count)
    {
        if (TryPut(bytes))
        {
            Answers += count;
            return true;
        }

        return Overflow();
    }

    public bool TryPut(ReadOnlySpan<byte> bytes)
    {
        if (Room < bytes.Length)
        {
            return false;
        }

        bytes.CopyTo(_buffer[_length..]);
        _length += bytes.Length;
        return true;
    }

    /// <summary>A PTR record of the question's name, in the way of <see cref="TryPutAnswer"/>.</summary>
    /// <param name="labels">What it names, up to the domain.</param>
    /// <param name="domain">The rest.</param>
    /// <param name="ttl">Seconds.</param>
    public bool TryPutPointer(ReadOnlySpan<byte> labels, ReadOnlySpan<byte> domain, uint ttl)
    {
        if (Room < 2 + DnsHead.Length + labels.Length + domain.Length)
        {
            return Overflow();
        }

        PutHead(DnsHead.PointerTo(0), DnsType.Ptr, ttl, labels.Length + domain.Length);
        Put(labels);
        Put(domain);
        Answers++;
        return true;
    }

    /// <summary>The SOA record of a negative answer.</summary>
    /// <param name="soa">Its data.</param>
    /// <param name="zoneOffset">Where the zone's name begins within the question.</param>
    /// <param name="inFull">The names in it are not within the zone, and cannot point to it.</param>
    public bool TryPutSoa(DnsNegativeSoa soa, int zoneOffset, bool inFull)
    {
        var names = inFull ? soa.Names.Length : soa.Server.Length + soa.Mailbox.Length + 4;
        if (Room < 12 + names + soa.Numbers.Length)
        {
            return false;
        }

        var zone = DnsHead.PointerTo(zoneOffset);
        PutHead(zone, DnsType.Soa, soa.Ttl, names + soa.Numbers.Length);
        if (inFull)
        {
            Put(soa.Names);
        }
        else
        {
            Put(soa.Server);
            PutUInt16(zone);
            Put(soa.Mailbox);
            PutUInt16(zone);
        }

        Put(soa.Numbers);
        Authorities++;
        return true;
    }

    /// <summary>What ANY is answered with (RFC 8482 §4.2).</summary>
    public bool TryPutHinfo(uint ttl)
    {
        if (Room < 21)
        {
            Full = true;
            return false;
        }

        PutHead(DnsHead.PointerTo(0), DnsType.Hinfo, ttl, 9);
        Put("\x07RFC8482\0"u8);
        Answers++;
        return true;
    }

    /// <summary>An OPT record of version 0; options may follow. It was reserved for, so it fits.</summary>
    public void PutOpt(DnsRcode rcode, bool dnssecOk)
    {
        _reserved = 0;
        _buffer[_length++] = 0;
        PutUInt16((ushort)DnsType.Opt);
        PutUInt16(DnsLimits.Udp);
        PutUInt16((ushort)((int)rcode >> 4 << 8));
        PutUInt16((ushort)(dnssecOk ? DnsOpt.DnssecOk : 0));
        PutUInt16(0);
        _optLength = _length - 2;
        Additionals++;
    }

    /// <summary>Room for an option of the OPT record, to be filled; empty when it does not fit.</summary>
    public Span<byte> Option(DnsOptionCode code, int length)
    {
        if (Room < 4 + length)
        {
            return default;
        }

        PutUInt16((ushort)code);
        PutUInt16((ushort)length);
        _length += length;
        BinaryPrimitives.WriteUInt16BigEndian(_buffer[_optLength..], (ushort)(_length - _optLength - 2));
        return _buffer.Slice(_length - length, length);
    }

    /// <summary>Fills up to a multiple of so many bytes, as far as it fits (RFC 8467 §4.1).</summary>
    public void Pad(int block)
    {
        var length = (block - (_length + 4) % block) % block;
        Option(DnsOptionCode.Padding, Math.Min(length, Math.Max(0, Room - 4))).Clear();
    }

    /// <summary>Writes the header; returns the response's length.</summary>
    public readonly int Finish(in DnsHeader query, DnsFlags flags, DnsRcode rcode)
    {
        // RD and CD are repeated (RFC 1035 §4.1.1, RFC 4035 §3); RA is the forwarder's to set: for its own names this
        // server asks nobody.
        var echoed = query.Flags & (DnsFlags.RecursionDesired | DnsFlags.CheckingDisabled);
        new DnsHeader(
            query.Id, DnsFlags.Response | echoed | flags, query.Opcode, rcode, (ushort)(_question == 0 ? 0 : 1), Answers, Authorities,
            Additionals).Write(_buffer);
        return _length;
    }

    private bool Overflow()
    {
        (_length, Answers, Full) = (DnsLimits.Header + _question, 0, true);
        return false;
    }

    private void PutHead(ushort owner, DnsType type, uint ttl, int dataLength)
    {
        PutUInt16(owner);
        DnsHead.Write(_buffer[_length..], type, ttl, dataLength);
        _length += DnsHead.Length;
    }

    private void PutUInt16(ushort value)
    {
        BinaryPrimitives.WriteUInt16BigEndian(_buffer[_length..], value);
        _length += 2;
    }

    private void Put(ReadOnlySpan<byte> bytes)
    {
        bytes.CopyTo(_buffer[_length..]);
        _length += bytes.Length;
    }
}
