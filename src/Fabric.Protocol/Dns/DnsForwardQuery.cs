using System.Security.Cryptography;

namespace Fabric.Protocol.Dns;

/// <summary>
/// A question on its way to another server: a random id, and letters of random case, which the answer must repeat (0x20; RFC 5452 asks
/// for all the entropy that there is). With a random source port a forger has to guess 16 + 15 bits and one for each letter.
/// </summary>
public sealed class DnsForwardQuery
{
    private DnsForwardQuery(byte[] message, ushort id, int questionLength) =>
        (Message, Id, QuestionLength) = (message, id, questionLength);

    /// <summary>All of it, to be sent.</summary>
    public ReadOnlyMemory<byte> Message { get; }

    public ushort Id { get; }

    /// <summary>Bytes of name, type and class.</summary>
    public int QuestionLength { get; }

    public ReadOnlySpan<byte> Question => Message.Span.Slice(DnsLimits.Header, QuestionLength);

    /// <param name="question">Name, type and class in wire form; the name is not compressed.</param>
    /// <param name="dnssecOk">The DO bit.</param>
    /// <param name="checkingDisabled">The CD bit.</param>
    public static DnsForwardQuery Create(ReadOnlySpan<byte> question, bool dnssecOk, bool checkingDisabled)
    {
        var message = new byte[DnsLimits.Header + question.Length + DnsLimits.Opt];
        Span<byte> random = stackalloc byte[2 + DnsLimits.Name / 8 + 1];
        RandomNumberGenerator.Fill(random);
        var id = (ushort)(random[0] << 8 | random[1]);
        question.CopyTo(message.AsSpan(DnsLimits.Header));
        MixCase(message.AsSpan(DnsLimits.Header, question.Length - 4), random[2..]);

        var writer = new DnsWriter(message);
        writer.TryWriteQuestion(message.AsSpan(DnsLimits.Header, question.Length).ToArray());
        writer.TryWriteOpt(DnsRcode.NoError, dnssecOk);
        var flags = DnsFlags.RecursionDesired | (checkingDisabled ? DnsFlags.CheckingDisabled : DnsFlags.None);
        writer.Finish(new DnsHeader(id, flags, DnsOpcode.Query, DnsRcode.NoError, 1, 0, 0, 1));
        return new DnsForwardQuery(message, id, question.Length);
    }

    private static void MixCase(Span<byte> name, ReadOnlySpan<byte> random)
    {
        for (var at = 0; name[at] != 0; at += name[at] + 1)
        {
            for (var i = at + 1; i <= at + name[at]; i++)
            {
                if ((name[i] | 0x20) is >= 'a' and <= 'z' && (random[i / 8] >> i % 8 & 1) != 0)
                {
                    name[i] ^= 0x20;
                }
            }
        }
    }
}
