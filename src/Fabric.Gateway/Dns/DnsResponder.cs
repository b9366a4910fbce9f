using Fabric.Protocol.Dns;

namespace Fabric.Gateway.Dns;

public enum DnsTransport
{
    Udp,
    Tcp,
}

/// <summary>Query bytes and a zone in, response bytes out. Pure, and allocates nothing.</summary>
public static class DnsResponder
{
    /// <summary>Bytes that hold any answer to a query over UDP; over TCP it is <see cref="DnsLimits.Tcp"/>.</summary>
    public const int UdpBuffer = DnsLimits.Udp;

    /// <summary>Answers one query.</summary>
    /// <param name="zone">What to answer from.</param>
    /// <param name="message">The query as received.</param>
    /// <param name="response">At least <see cref="UdpBuffer"/> bytes.</param>
    /// <param name="transport">Over UDP the client's EDNS size is the limit, within 512 and 1,232; TC tells that it was
    /// hit.</param>
    /// <param name="rcode">What was answered.</param>
    /// <returns>Bytes of the response; 0: no answer is due.</returns>
    public static int Respond(
        DnsZone zone, ReadOnlySpan<byte> message, Span<byte> response, DnsTransport transport, out DnsRcode rcode)
    {
        rcode = DnsRcode.NoError;
        var query = DnsQuery.Read(message);
        switch (query.Verdict)
        {
            case DnsVerdict.Drop:
                return 0;
            case DnsVerdict.FormErr:
                return Fail(query, response, rcode = DnsRcode.FormErr);
            case DnsVerdict.NotImp:
                return Fail(query, response, rcode = DnsRcode.NotImp);
            case DnsVerdict.BadVers:
                return Fail(query, response, rcode = DnsRcode.BadVers);
        }

        // Nothing here is of another class, and the zone is not transferred.
        if (query.Class != DnsClass.Internet || query.Type is DnsType.Axfr or DnsType.Ixfr
            || zone.Find(query.Name, out var exact) is not { } node)
        {
            return Fail(query, response, rcode = DnsRcode.Refused);
        }

        var due = transport == DnsTransport.Tcp ? DnsLimits.Tcp : Math.Min(query.UdpSize, DnsLimits.Udp);
        var limit = Math.Min(response.Length, due);
        rcode = exact ? DnsRcode.NoError : DnsRcode.NxDomain;
        var answer = !exact ? null
            : query.Type == DnsType.Any ? node.Answers.FirstOrDefault() // one RRset is enough (RFC 8482 §4.1)
            : node.Of(query.Type);
        return answer is null
            ? Deny(query, response[..limit], node.NegativeSoa, rcode)
            : Give(query, response[..limit], answer);
    }

    /// <summary>SERVFAIL, for when <see cref="Respond"/> could not be brought to its end. 0: no answer is due.</summary>
    public static int ServFail(ReadOnlySpan<byte> message, Span<byte> response)
    {
        var query = DnsQuery.Read(message);
        return query.Verdict == DnsVerdict.Drop ? 0 : Fail(query, response, DnsRcode.ServFail);
    }

    private static int Give(in DnsQuery query, Span<byte> response, DnsAnswer answer)
    {
        var writer = Begin(query, response);
        var whole = writer.TryWriteBytes(answer.Bytes);
        var withAnswer = whole || writer.TryWriteBytes(answer.Bytes.AsSpan(0, answer.AnswerLength));
        var flags = withAnswer ? DnsFlags.Authoritative : DnsFlags.Authoritative | DnsFlags.Truncated;
        return Finish(
            ref writer, query, DnsRcode.NoError, flags,
            withAnswer ? answer.AnswerCount : 0, 0, whole ? answer.AdditionalCount : 0);
    }

    /// <summary>NXDOMAIN or NODATA, with the SOA record that says for how long (RFC 2308).</summary>
    private static int Deny(in DnsQuery query, Span<byte> response, DnsRecord soa, DnsRcode rcode)
    {
        var writer = Begin(query, response);
        var fits = writer.TryWriteRecord(soa);
        var flags = fits ? DnsFlags.Authoritative : DnsFlags.Authoritative | DnsFlags.Truncated;
        return Finish(ref writer, query, rcode, flags, 0, fits ? 1 : 0, 0);
    }

    private static int Fail(in DnsQuery query, Span<byte> response, DnsRcode rcode)
    {
        var writer = Begin(query, response);
        return Finish(ref writer, query, rcode, DnsFlags.None, 0, 0, 0);
    }

    private static DnsWriter Begin(in DnsQuery query, Span<byte> response)
    {
        var writer = new DnsWriter(response);
        if (!query.Question.IsEmpty)
        {
            writer.TryWriteQuestion(query.Question);
        }

        writer.Reserve(query.HasOpt ? DnsLimits.Opt : 0);
        return writer;
    }

    private static int Finish(
        ref DnsWriter writer, in DnsQuery query, DnsRcode rcode, DnsFlags flags, int answers, int authorities, int additionals)
    {
        writer.Reserve(0);
        if (query.HasOpt)
        {
            writer.TryWriteOpt(rcode, query.DnssecOk);
            additionals++;
        }

        // RD and CD are repeated (RFC 1035 §4.1.1, RFC 4035 §3.1.6); RA stays 0: this server asks nobody.
        var echoed = query.Header.Flags & (DnsFlags.RecursionDesired | DnsFlags.CheckingDisabled);
        var questions = (ushort)(query.Question.IsEmpty ? 0 : 1);
        return writer.Finish(new DnsHeader(
            query.Header.Id, DnsFlags.Response | echoed | flags, query.Header.Opcode, rcode,
            questions, (ushort)answers, (ushort)authorities, (ushort)additionals));
    }
}
