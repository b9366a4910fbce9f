using System.Collections.Immutable;
using System.Text;
using Fabric.Protocol.Dns;

namespace Fabric.Gateway.Dns;

/// <summary>
/// The answer to one name and type, within <see cref="DnsAnswerSet.Bytes"/>: what follows the question, which has that name's length
/// wherever it is asked, so that pointers into it hold. The first <paramref name="AnswerLength"/> of <paramref name="Length"/> bytes
/// are the answer section, the rest is additional. Type None: the name exists, and there is no data.
/// </summary>
/// <param name="BelowStart">Where the labels stand that the name has in front of the set's own; with <paramref name="BelowLength"/>
/// bytes, 0 for the set's own name.</param>
internal readonly record struct DnsAnswer(
    int BelowStart, byte BelowLength, DnsType Type, int Start, ushort AnswerLength, ushort Length, ushort Count, ushort Additionals);

/// <summary>Answers of one name and of the names below it. Those of one name stand together.</summary>
internal sealed class DnsAnswerSet(byte[] bytes, DnsAnswer[] answers)
{
    public byte[] Bytes { get; } = bytes;

    /// <summary>Names and types, for the one who counts.</summary>
    public ReadOnlySpan<DnsAnswer> Answers => answers;

    /// <summary>The answers of the name with these labels in front; false when there is no such name. No answers: it only has names
    /// below it.</summary>
    public bool TryFind(scoped ReadOnlySpan<byte> below, out ReadOnlySpan<DnsAnswer> found)
    {
        found = default;
        var exists = false;
        for (var i = 0; i < answers.Length; i++)
        {
            var name = Bytes.AsSpan(answers[i].BelowStart, answers[i].BelowLength);
            if (name.Length == below.Length && Ascii.EqualsIgnoreCase(name, below))
            {
                var end = i + 1;
                while (end < answers.Length && (answers[end].BelowStart, answers[end].BelowLength) == (answers[i].BelowStart, answers[i].BelowLength))
                {
                    end++;
                }

                found = answers.AsSpan(i, end - i);
                return true;
            }

            exists |= IsAbove(below, name);
        }

        return exists;
    }

    /// <summary>Whether <paramref name="name"/> is <paramref name="below"/> with more labels in front.</summary>
    private static bool IsAbove(ReadOnlySpan<byte> below, ReadOnlySpan<byte> name)
    {
        while (name.Length > below.Length)
        {
            name = name[(name[0] + 1)..];
            if (name.Length == below.Length && Ascii.EqualsIgnoreCase(name, below))
            {
                return true;
            }
        }

        return false;
    }
}

/// <summary>A name of the zone itself, such as its apex.</summary>
internal sealed record DnsStaticNode(DnsName Name, DnsAnswerSet Set)
{
    /// <summary>Compiles records of one name; those of one type make one answer. Addresses of what an answer names come beside.</summary>
    public static DnsStaticNode Compile(DnsName name, IEnumerable<DnsRecord> records, ImmutableArray<DnsRecord> beside)
    {
        var buffer = new byte[DnsLimits.Tcp];
        var bytes = new List<byte>();
        var answers = new List<DnsAnswer>();
        foreach (var type in records.GroupBy(r => r.Type))
        {
            var writer = new DnsWriter(buffer);
            writer.TryWriteQuestion(new DnsQuestion(name, type.Key, DnsClass.Internet));
            var (start, count, additionals) = (writer.Length, 0, 0);
            foreach (var record in type)
            {
                count += writer.TryWriteRecord(record) ? 1 : 0;
            }

            var answerLength = writer.Length - start;
            foreach (var record in type.Key == DnsType.Ns ? beside : [])
            {
                additionals += writer.TryWriteRecord(record) ? 1 : 0;
            }

            answers.Add(new DnsAnswer(
                0, 0, type.Key, bytes.Count, (ushort)answerLength, (ushort)(writer.Length - start), (ushort)count, (ushort)additionals));
            bytes.AddRange(buffer[start..writer.Length]);
        }

        if (answers.Count == 0)
        {
            answers.Add(default);
        }

        return new DnsStaticNode(name, new DnsAnswerSet([.. bytes], [.. answers]));
    }
}
