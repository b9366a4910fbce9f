using System.Collections.Immutable;
using System.Diagnostics.CodeAnalysis;

namespace Fabric.Protocol.Dns;

/// <summary>What a message is to somebody who waits for the answer to one question.</summary>
public enum DnsMatch
{
    /// <summary>Not an answer to it: another id or question, or no answer at all.</summary>
    None,

    /// <summary>Id and question are right but for the case of letters: a server that does not repeat it, or a forger.</summary>
    OtherCase,

    Answer,
}

/// <summary>
/// The answer to one question as a forwarder keeps it: the answer and authority sections as bytes that follow the question, so that
/// compression within them stays right under any question of the same length. The additional section, OPT among it, is left out:
/// nobody asked for it. Every name in the answer section is the one asked for, or what an alias there leads to (RFC 2181 §5.4.1).
/// </summary>
public sealed class DnsResponse
{
    /// <summary>Records of one answer; more is an error. Bounds the work that one message causes.</summary>
    public const int MaxRecords = 4096;

    /// <summary>Aliases that are followed within one answer.</summary>
    private const int MaxAliases = 16;

    private const DnsType Dname = (DnsType)39;
    private const DnsType Rrsig = (DnsType)46;

    public DnsFlags Flags { get; private init; }

    /// <summary>With the upper bits of the OPT record, when there is one.</summary>
    public DnsRcode Rcode { get; private init; }

    public ushort Answers { get; private init; }

    public ushort Authorities { get; private init; }

    /// <summary>Both sections; offsets in it count from where the question ends.</summary>
    public ReadOnlyMemory<byte> Records { get; private init; }

    /// <summary>Bytes of the answer section, which comes first.</summary>
    public int AnswerLength { get; private init; }

    /// <summary>Where the TTLs are in <see cref="Records"/>.</summary>
    public ImmutableArray<int> TtlOffsets { get; private init; } = [];

    /// <summary>
    /// Seconds that all of it may be kept: the least TTL of the answer section (RFC 2181 §8: one with the upper bit is 0); for NXDOMAIN and
    /// NODATA the lesser of the SOA record's TTL and minimum (RFC 2308 §5). Null: it must not be kept.
    /// </summary>
    public uint? Ttl { get; private init; }

    public bool IsTruncated => (Flags & DnsFlags.Truncated) != 0;

    /// <summary>NXDOMAIN, or no record of the type that was asked for.</summary>
    public bool IsNegative { get; private init; }

    /// <summary>Whether a message answers a question that was sent. Allocates nothing, and costs a comparison of at most 271 bytes.</summary>
    /// <param name="message">As received.</param>
    /// <param name="id">As sent.</param>
    /// <param name="question">As sent: name, type and class, byte for byte.</param>
    public static DnsMatch Match(ReadOnlySpan<byte> message, ushort id, ReadOnlySpan<byte> question)
    {
        if (!DnsHeader.TryRead(message, out var header) || !header.IsResponse || header.Id != id || header.Questions != 1
            || header.Opcode != DnsOpcode.Query || message.Length < DnsLimits.Header + question.Length)
        {
            return DnsMatch.None;
        }

        var theirs = message.Slice(DnsLimits.Header, question.Length);
        return theirs.SequenceEqual(question) ? DnsMatch.Answer
            : DnsNameComparer.Equal(theirs[..^4], question[..^4]) && theirs[^4..].SequenceEqual(question[^4..]) ? DnsMatch.OtherCase
            : DnsMatch.None;
    }

    /// <summary>
    /// Reads an answer that has matched. False when it is malformed, when it says more than was asked, or when it has more than
    /// <see cref="MaxRecords"/>. A truncated one is read as far as its header: what it holds is no answer.
    /// </summary>
    public static bool TryRead(ReadOnlySpan<byte> message, int questionLength, [NotNullWhen(true)] out DnsResponse? response)
    {
        response = null;
        var asked = new DnsReader(message, DnsLimits.Header);
        if (!DnsHeader.TryRead(message, out var header) || message.Length < DnsLimits.Header + questionLength
            || !asked.TryReadPlainName(out var name) || name.Length + 4 != questionLength)
        {
            return false;
        }

        if ((header.Flags & DnsFlags.Truncated) != 0)
        {
            response = new DnsResponse { Flags = header.Flags, Rcode = header.Rcode };
            return true;
        }

        if (header.Answers + header.Authorities + header.Additionals > MaxRecords)
        {
            return false;
        }

        var start = DnsLimits.Header + questionLength;
        var walk = new Walk(message, start, header);
        if (!walk.ReadAll())
        {
            return false;
        }

        var question = message[DnsLimits.Header..start];
        var rcode = (DnsRcode)(walk.ExtendedRcode << 4 | (int)header.Rcode);
        var chain = new Chain(message, start, question);
        if (!chain.Follow(header.Answers))
        {
            return false;
        }

        // An answer that ends in an alias, with nothing at its end, is negative as well (RFC 2308 §2.1, 2.2).
        var negative = rcode == DnsRcode.NxDomain || rcode == DnsRcode.NoError && !chain.HasData;
        response = new DnsResponse
        {
            Flags = header.Flags,
            Rcode = rcode,
            Answers = header.Answers,
            Authorities = header.Authorities,
            Records = message[start..walk.End].ToArray(),
            AnswerLength = walk.AnswerEnd - start,
            TtlOffsets = walk.Ttls.ToImmutable(),
            IsNegative = negative,
            Ttl = rcode is not (DnsRcode.NoError or DnsRcode.NxDomain) ? null
                : !negative ? walk.AnswerTtl
                : walk.NegativeTtl is { } ttl ? Math.Min(ttl, walk.AnswerTtl ?? uint.MaxValue) : null,
        };
        return true;
    }

    private static uint Sane(uint ttl) => ttl > int.MaxValue ? 0 : ttl;

    /// <summary>Reads each record once, for form, TTLs and where the sections end.</summary>
    private ref struct Walk(ReadOnlySpan<byte> message, int start, DnsHeader header)
    {
        private readonly ReadOnlySpan<byte> _message = message;
        private readonly DnsHeader _header = header;
        private DnsReader _reader = new(message, start);

        public int End { get; private set; } = start;

        public int AnswerEnd { get; private set; } = start;

        public uint? AnswerTtl { get; private set; }

        public uint? NegativeTtl { get; private set; }

        public int ExtendedRcode { get; private set; }

        public ImmutableArray<int>.Builder Ttls { get; } = ImmutableArray.CreateBuilder<int>();

        public bool ReadAll()
        {
            var (start, opts) = (End, 0);
            Span<byte> name = stackalloc byte[DnsLimits.Name];
            var kept = _header.Answers + _header.Authorities;
            for (var i = 0; i < kept + _header.Additionals; i++)
            {
                if (!_reader.TryReadName(name, out _) || !_reader.TryReadRecordHead(out var head))
                {
                    return false;
                }

                if (i >= kept)
                {
                    if (head.Type == DnsType.Opt)
                    {
                        ExtendedRcode = (int)(head.Ttl >> 24);
                        opts++;
                    }

                    continue;
                }

                if (head.Type == DnsType.Opt || !IsWellFormed(head))
                {
                    return false;
                }

                Ttls.Add(head.DataOffset - 6 - start);
                var ttl = Sane(head.Ttl);
                if (i < _header.Answers)
                {
                    AnswerTtl = Math.Min(AnswerTtl ?? uint.MaxValue, ttl);
                    AnswerEnd = _reader.Offset;
                }
                else if (head.Type == DnsType.Soa && DnsData.TryRead(_message, head, out var data) && data is DnsSoa soa)
                {
                    NegativeTtl = Math.Min(NegativeTtl ?? uint.MaxValue, Math.Min(ttl, Sane(soa.Minimum)));
                }

                End = _reader.Offset;
            }

            return opts <= 1 && _reader.AtEnd;
        }

        /// <summary>Data that a client would choke on is not passed on.</summary>
        private readonly bool IsWellFormed(in DnsRecordHead head) => head.Type switch
        {
            DnsType.A or DnsType.Aaaa or DnsType.Ns or DnsType.Cname or DnsType.Ptr or DnsType.Soa or DnsType.Srv
                => DnsData.TryRead(_message, head, out _),
            _ => true,
        };
    }

    /// <summary>Follows aliases from the question through the answer section, in whatever order they stand.</summary>
    private ref struct Chain(ReadOnlySpan<byte> message, int start, ReadOnlySpan<byte> question)
    {
        private readonly ReadOnlySpan<byte> _message = message;
        private readonly ReadOnlySpan<byte> _question = question;

        /// <summary>Whether a record of the type that was asked for stands in the chain.</summary>
        public bool HasData { get; private set; }

        /// <summary>False when a record belongs to no name of the chain.</summary>
        public bool Follow(int count)
        {
            var type = (DnsType)(_question[^4] << 8 | _question[^3]);
            var names = new List<DnsName>(2) { DnsName.FromWire(_question[..^4]) };
            Span<byte> wire = stackalloc byte[DnsLimits.Name];
            for (var known = 0; known < names.Count;)
            {
                known = names.Count;
                var reader = new DnsReader(_message, start);
                var stray = false;
                for (var i = 0; i < count; i++)
                {
                    if (!reader.TryReadName(wire, out var length) || !reader.TryReadRecordHead(out var head))
                    {
                        return false;
                    }

                    var belongs = false;
                    foreach (var name in names)
                    {
                        belongs |= DnsNameComparer.Equal(name.Wire, wire[..length]);
                    }

                    // A DNAME record stands at an ancestor, and its signature with it (RFC 6672).
                    belongs |= head.Type is Dname or Rrsig && IsAncestor(names, wire[..length]);
                    stray |= !belongs;
                    HasData |= belongs && (head.Type == type || type == DnsType.Any);
                    if (belongs && head.Type == DnsType.Cname && DnsData.TryRead(_message, head, out var data)
                        && data is DnsTarget target && !names.Contains(target.Name))
                    {
                        names.Add(target.Name);
                    }
                }

                if (names.Count > MaxAliases)
                {
                    return false;
                }

                if (names.Count == known)
                {
                    return !stray;
                }
            }

            return true;
        }

        private static bool IsAncestor(List<DnsName> names, ReadOnlySpan<byte> wire)
        {
            var ancestor = DnsName.FromWire(wire);
            return names.Exists(n => n.IsAtOrBelow(ancestor));
        }
    }
}
