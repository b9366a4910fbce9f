using System.Buffers.Binary;
using System.Text;
using Fabric.Protocol.Dns;

namespace Fabric.Gateway.Dns.Forwarding;

/// <summary>What a client gets: the kept sections under its own question, TTLs counted down, and an OPT record of ours. AD is cleared: we have
/// checked no signature, and the way to the upstream is not protected (RFC 6840 §5.7 lets only who validated set it).</summary>
internal static class DnsForwardReply
{
    private const int MaxText = 200;

    /// <summary>An answer.</summary>
    /// <param name="query">The client's.</param>
    /// <param name="asker">The client.</param>
    /// <param name="response">Where to.</param>
    /// <param name="found">What was kept.</param>
    /// <param name="age">Seconds since it arrived.</param>
    /// <param name="maxTtl">Seconds.</param>
    /// <param name="staleTtl">For one that is stale: the TTL of all its records.</param>
    public static int Write(
        in DnsQuery query, in DnsAsker asker, Span<byte> response, DnsResponse found, uint age, uint maxTtl, uint? staleTtl)
    {
        var reply = new DnsReply(response, DnsResponder.Limit(query, asker), query.Question, DnsResponder.Reserved(query, asker));
        var flags = DnsFlags.RecursionAvailable;
        var start = DnsLimits.Header + query.Question.Length;
        var records = found.Records.Span;
        if (reply.TryPut(records))
        {
            (reply.Answers, reply.Authorities) = (found.Answers, found.Authorities);
            CountDown(response[start..], found, records.Length, age, maxTtl, staleTtl);
        }
        else if (!found.IsNegative && reply.TryPut(records[..found.AnswerLength]))
        {
            // Who wants the authority section as well has no need of it (RFC 2181 §9).
            reply.Answers = found.Answers;
            CountDown(response[start..], found, found.AnswerLength, age, maxTtl, staleTtl);
        }
        else
        {
            flags |= DnsFlags.Truncated;
        }

        var why = default(DnsFound);
        if (staleTtl is not null)
        {
            (why.Why, why.Code) = ([], found.Rcode == DnsRcode.NxDomain ? DnsExtendedError.StaleNxDomain : DnsExtendedError.StaleAnswer);
        }

        return Finish(ref reply, query, asker, flags, found.Rcode, why);
    }

    /// <summary>SERVFAIL or REFUSED, with the reason.</summary>
    public static int Fail(
        in DnsQuery query, in DnsAsker asker, Span<byte> response, DnsRcode rcode, DnsExtendedError code, string why)
    {
        var reply = new DnsReply(response, DnsResponder.Limit(query, asker), query.Question, DnsResponder.Reserved(query, asker));
        var found = new DnsFound { Why = Encoding.UTF8.GetBytes(why.Length <= MaxText ? why : why[..MaxText]), Code = code };
        return Finish(ref reply, query, asker, DnsFlags.RecursionAvailable, rcode, found);
    }

    private static int Finish(
        ref DnsReply reply, in DnsQuery query, in DnsAsker asker, DnsFlags flags, DnsRcode rcode, in DnsFound why)
    {
        if (query.HasOpt)
        {
            reply.PutOpt(rcode, query.DnssecOk);
            DnsResponder.PutOptions(ref reply, query, asker, why);
        }

        return reply.Finish(query.Header, flags, rcode);
    }

    private static void CountDown(Span<byte> sections, DnsResponse found, int length, uint age, uint maxTtl, uint? staleTtl)
    {
        foreach (var offset in found.TtlOffsets)
        {
            if (offset >= length)
            {
                return;
            }

            var ttl = BinaryPrimitives.ReadUInt32BigEndian(sections[offset..]);
            ttl = staleTtl ?? Math.Min(ttl > int.MaxValue ? 0 : ttl, maxTtl);
            BinaryPrimitives.WriteUInt32BigEndian(sections[offset..], staleTtl is not null ? ttl : ttl - Math.Min(ttl, age));
        }
    }
}
