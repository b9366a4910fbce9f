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

    /// <summary>No question, but a cookie: the client asks for a server cookie and nothing else (RFC 7873 §5.4).</summary>
    CookieOnly,
}

/// <summary>
/// A query as a server sees it: slices of the received message and what EDNS tells. Reading allocates nothing and
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

    /// <summary>The COOKIE option as received, 8 or 16 to 40 bytes: 8 of the client, then the server's. Empty: none.</summary>
    public ReadOnlySpan<byte> Cookie { get; private init; }

    /// <summary>Whether the server's identifier is asked for (RFC 5001).</summary>
    public bool WantsNsid { get; private init; }

    /// <summary>Whether the query was padded, so that the answer should be (RFC 7830 §4).</summary>
    public bool WantsPadding { get; private init; }

    /// <summary>Whether the client asks how long its connection may be idle. An option that says how long is a server's, and counts for
    /// nothing here (RFC 7828 §3.2.1).</summary>
    public bool WantsKeepAlive { get; private init; }

    /// <summary>
    /// Order of verdicts: response → Drop; opcode → NotImp; exactly one question (RFC 9619), or none and a cookie, sections
    /// that end where the message does, at most one OPT, at the root, in the additional section, with a well-formed cookie →
    /// else FormErr; version → BadVers.
    /// </summary>
    public static DnsQuery Read(ReadOnlySpan<byte> message)
    {
        if (!DnsHeader.TryRead(message, out var header) || header.IsResponse)
        {
            return new DnsQuery { Verdict = DnsVerdict.Drop, Header = header };
        }

        var notImp = header.Opcode != DnsOpcode.Query;
        var reader = new DnsReader(message, DnsLimits.Header);
        ushort type = 0, @class = 0;
        if (header.Questions > 1 || header.Questions == 1
            && (!reader.TryReadPlainName(out _) || !reader.TryReadUInt16(out type) || !reader.TryReadUInt16(out @class)))
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
        var options = default(Options);
        if (wellFormed && opt is { } found)
        {
            wellFormed = Options.TryRead(message.Slice(found.DataOffset, found.DataLength), out options);
        }

        var version = opt is { } some ? (byte)(some.Ttl >> 16) : 0;
        return new DnsQuery
        {
            Verdict = notImp ? DnsVerdict.NotImp
                : !wellFormed || (DnsType)type == DnsType.Opt ? DnsVerdict.FormErr
                : version > 0 ? DnsVerdict.BadVers
                : !question.IsEmpty ? DnsVerdict.Answer
                : options.Cookie.IsEmpty ? DnsVerdict.FormErr
                : DnsVerdict.CookieOnly,
            Header = header,
            Question = question,
            Type = (DnsType)type,
            Class = (DnsClass)@class,
            HasOpt = opt is not null,
            DnssecOk = opt is { } o && (o.Ttl & DnsOpt.DnssecOk) != 0,
            UdpSize = Math.Max(DnsLimits.ClassicUdp, (int)(opt?.Class ?? 0)),
            Cookie = options.Cookie,
            WantsNsid = options.Nsid,
            WantsPadding = options.Padding,
            WantsKeepAlive = options.KeepAlive,
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

            if (opt is not null || length != 1 || i < beforeAdditional)
            {
                opt ??= head;
                return false;
            }

            opt = head;
        }

        return reader.AtEnd;
    }

    /// <summary>What the options of an OPT record tell a server; unknown ones are skipped.</summary>
    private ref struct Options
    {
        public ReadOnlySpan<byte> Cookie { get; private set; }

        public bool Nsid { get; private set; }

        public bool Padding { get; private set; }

        public bool KeepAlive { get; private set; }

        /// <summary>Whether code, length and value repeat until exactly the end, and a cookie has a legal length. Of several
        /// cookies the first counts (RFC 7873 §5.2).</summary>
        public static bool TryRead(ReadOnlySpan<byte> bytes, out Options options)
        {
            options = default;
            var reader = new DnsReader(bytes);
            while (!reader.AtEnd)
            {
                if (!reader.TryReadUInt16(out var code) || !reader.TryReadUInt16(out var length)
                    || !reader.TryReadBytes(length, out var value))
                {
                    return false;
                }

                switch ((DnsOptionCode)code)
                {
                    case DnsOptionCode.Cookie when value.Length is not (8 or >= 16 and <= 40):
                        return false;
                    case DnsOptionCode.Cookie when options.Cookie.IsEmpty:
                        options.Cookie = value;
                        break;
                    case DnsOptionCode.Nsid:
                        options.Nsid = true;
                        break;
                    case DnsOptionCode.KeepAlive:
                        options.KeepAlive = value.IsEmpty;
                        break;
                    case DnsOptionCode.Padding:
                        options.Padding = true;
                        break;
                }
            }

            return true;
        }
    }
}
