namespace Fabric.Protocol.Dns;

/// <summary>What the form of a query alone decides.</summary>
public enum DnsVerdict
{
    /// <summary>Well formed: look its name up.</summary>
    Answer,

    /// <summary>Shorter than a header, or itself a response: never answered, so that two servers cannot echo each
    /// other.</summary>
    Drop,

    FormErr,
    NotImp,

    /// <summary>EDNS of a version above 0 (RFC 6891 §6.1.3).</summary>
    BadVers,
}

/// <summary>
/// A query as a server sees it: slices of the received message and the two things EDNS tells. Reading allocates nothing and
/// visits each byte a bounded number of times.
/// </summary>
public readonly ref struct DnsQuery
{
    public DnsVerdict Verdict { get; private init; }
    public DnsHeader Header { get; private init; }

    /// <summary>The whole question as received, to be echoed byte for byte (clients randomise its case); empty when
    /// unreadable.</summary>
    public ReadOnlySpan<byte> Question { get; private init; }

    /// <summary>QNAME in wire form, case kept.</summary>
    public ReadOnlySpan<byte> Name => Question.IsEmpty ? [] : Question[..^4];

    public DnsType Type { get; private init; }
    public DnsClass Class { get; private init; }

    /// <summary>Whether there was an OPT record; a response carries one if and only if so.</summary>
    public bool HasOpt { get; private init; }

    /// <summary>The DO bit, which a response repeats (RFC 3225 §3).</summary>
    public bool DnssecOk { get; private init; }

    /// <summary>Bytes that the client takes over UDP: at least 512, which is also the value without EDNS.</summary>
    public int UdpSize { get; private init; }

    /// <summary>
    /// Order of verdicts: response → Drop; opcode → NotImp; exactly one question (RFC 9619), sections that end where the
    /// message does, at most one OPT, at the root, in the additional section → else FormErr; version → BadVers.
    /// </summary>
    public static DnsQuery Read(ReadOnlySpan<byte> message)
    {
        if (!DnsHeader.TryRead(message, out var header) || header.IsResponse)
        {
            return new DnsQuery { Verdict = DnsVerdict.Drop, Header = header };
        }

        var notImp = header.Opcode != DnsOpcode.Query;
        var reader = new DnsReader(message, DnsLimits.Header);
        if (header.Questions != 1 || !reader.TryReadPlainName(out _) || !reader.TryReadUInt16(out var type)
            || !reader.TryReadUInt16(out var @class))
        {
            return new DnsQuery
            {
                Verdict = notImp ? DnsVerdict.NotImp : DnsVerdict.FormErr,
                Header = header,
                UdpSize = DnsLimits.ClassicUdp,
            };
        }

        var question = message[DnsLimits.Header..reader.Offset];
        var wellFormed = TryReadOpt(ref reader, header, message, out var opt);
        var version = opt is { } some ? (byte)(some.Ttl >> 16) : 0;
        return new DnsQuery
        {
            Verdict = notImp ? DnsVerdict.NotImp
                : !wellFormed || (DnsType)type == DnsType.Opt ? DnsVerdict.FormErr
                : version > 0 ? DnsVerdict.BadVers
                : DnsVerdict.Answer,
            Header = header,
            Question = question,
            Type = (DnsType)type,
            Class = (DnsClass)@class,
            HasOpt = opt is not null,
            DnssecOk = opt is { } o && (o.Ttl & DnsOpt.DnssecOk) != 0,
            UdpSize = Math.Max(DnsLimits.ClassicUdp, (int)(opt?.Class ?? 0)),
        };
    }

    private static bool TryReadOpt(ref DnsReader reader, in DnsHeader header, ReadOnlySpan<byte> message, out DnsRecordHead? opt)
    {
        opt = null;
        Span<byte> name = stackalloc byte[DnsLimits.Name];
        var beforeAdditional = header.Answers + header.Authorities;
        for (var i = 0; i < beforeAdditional + header.Additionals; i++)
        {
            if (!reader.TryReadName(name, out var length) || !reader.TryReadRecordHead(out var head))
            {
                return false;
            }

            if (head.Type != DnsType.Opt)
            {
                continue;
            }

            if (opt is not null || length != 1 || i < beforeAdditional
                || !DnsOpt.AreWellFormed(message.Slice(head.DataOffset, head.DataLength)))
            {
                opt ??= head;
                return false;
            }

            opt = head;
        }

        return reader.AtEnd;
    }
}
