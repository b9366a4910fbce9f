using System.Collections.Immutable;
using System.Diagnostics.CodeAnalysis;

namespace Fabric.Protocol.Dns;

/// <summary>A whole message as objects: for clients, tests and tools. The server's path does without
/// (<see cref="DnsQuery"/>).</summary>
public sealed record DnsMessage
{
    public ushort Id { get; init; }
    public DnsFlags Flags { get; init; }
    public DnsOpcode Opcode { get; init; }

    /// <summary>With the upper bits of the OPT record, when there is one.</summary>
    public DnsRcode Rcode { get; init; }
    public ImmutableArray<DnsQuestion> Questions { get; init; } = [];
    public ImmutableArray<DnsRecord> Answers { get; init; } = [];
    public ImmutableArray<DnsRecord> Authorities { get; init; } = [];
    public ImmutableArray<DnsRecord> Additionals { get; init; } = [];

    public DnsRecord? Opt => Additionals.FirstOrDefault(r => r.Type == DnsType.Opt);

    /// <summary>
    /// Reads all of <paramref name="bytes"/>; bytes after the last record are an error. Work and memory are bounded by the
    /// message's length: a record takes at least 11 bytes and expands to at most one name of 255 bytes more per name in it.
    /// </summary>
    public static bool TryRead(ReadOnlySpan<byte> bytes, [NotNullWhen(true)] out DnsMessage? message)
    {
        message = null;
        var reader = new DnsReader(bytes, DnsLimits.Header);
        if (!DnsHeader.TryRead(bytes, out var header) || !TryReadQuestions(ref reader, header.Questions, out var questions)
            || !TryReadRecords(ref reader, bytes, header.Answers, out var answers)
            || !TryReadRecords(ref reader, bytes, header.Authorities, out var authorities)
            || !TryReadRecords(ref reader, bytes, header.Additionals, out var additionals) || !reader.AtEnd)
        {
            return false;
        }

        message = new DnsMessage
        {
            Id = header.Id,
            Flags = header.Flags,
            Opcode = header.Opcode,
            Questions = questions,
            Answers = answers,
            Authorities = authorities,
            Additionals = additionals,
        };
        message = message with { Rcode = (DnsRcode)((message.Opt?.Ttl ?? 0) >> 24 << 4 | (uint)header.Rcode) };
        return true;
    }

    /// <summary>
    /// Writes the message; returns its length. What does not fit is left out from the end: TC is set when that is an answer
    /// or an authority, not for additional records (RFC 2181 §9). An OPT record always fits, or the buffer is too small.
    /// </summary>
    /// <exception cref="ArgumentException">Not even header, questions and OPT fit.</exception>
    public int Write(Span<byte> buffer)
    {
        var writer = new DnsWriter(buffer);
        foreach (var question in Questions)
        {
            Require(writer.TryWriteQuestion(question), buffer);
        }

        // Measured by writing it once, where records will overwrite it.
        var trial = writer;
        Require(Opt is null || trial.TryWriteRecord(Opt), buffer);
        writer.Reserve(trial.Length - writer.Length);

        var answers = WriteRecords(ref writer, Answers);
        var authorities = answers == Answers.Length ? WriteRecords(ref writer, Authorities) : 0;
        var truncated = answers < Answers.Length || authorities < Authorities.Length;
        var additionals = truncated ? 0 : WriteRecords(ref writer, Additionals.Where(r => r.Type != DnsType.Opt));
        writer.Reserve(0);
        if (Opt is { } opt)
        {
            writer.TryWriteRecord(opt with { Ttl = opt.Ttl & 0x00FFFFFF | (uint)Rcode >> 4 << 24 });
            additionals++;
        }

        return writer.Finish(new DnsHeader(
            Id, truncated ? Flags | DnsFlags.Truncated : Flags, Opcode, Rcode, (ushort)Questions.Length, (ushort)answers,
            (ushort)authorities, (ushort)additionals));
    }

    private static int WriteRecords(ref DnsWriter writer, IEnumerable<DnsRecord> records)
    {
        var count = 0;
        foreach (var record in records)
        {
            if (count == ushort.MaxValue || !writer.TryWriteRecord(record))
            {
                break;
            }

            count++;
        }

        return count;
    }

    private static bool TryReadQuestions(ref DnsReader reader, int count, out ImmutableArray<DnsQuestion> questions)
    {
        var builder = ImmutableArray.CreateBuilder<DnsQuestion>();
        Span<byte> name = stackalloc byte[DnsLimits.Name];
        questions = [];
        for (var i = 0; i < count; i++)
        {
            if (!reader.TryReadName(name, out var length) || !reader.TryReadUInt16(out var type)
                || !reader.TryReadUInt16(out var @class))
            {
                return false;
            }

            builder.Add(new DnsQuestion(DnsName.FromWire(name[..length]), (DnsType)type, (DnsClass)@class));
        }

        questions = builder.ToImmutable();
        return true;
    }

    private static bool TryReadRecords(
        ref DnsReader reader, ReadOnlySpan<byte> bytes, int count, out ImmutableArray<DnsRecord> records)
    {
        var builder = ImmutableArray.CreateBuilder<DnsRecord>();
        Span<byte> name = stackalloc byte[DnsLimits.Name];
        records = [];
        for (var i = 0; i < count; i++)
        {
            if (!reader.TryReadName(name, out var length) || !reader.TryReadRecordHead(out var head)
                || !DnsData.TryRead(bytes, head, out var data))
            {
                return false;
            }

            builder.Add(new DnsRecord(DnsName.FromWire(name[..length]), head.Class, head.Ttl, data));
        }

        records = builder.ToImmutable();
        return true;
    }

    private static void Require(bool fits, Span<byte> buffer)
    {
        if (!fits)
        {
            throw new ArgumentException($"questions and OPT do not fit into {buffer.Length} bytes", nameof(buffer));
        }
    }
}
