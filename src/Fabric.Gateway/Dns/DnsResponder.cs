using System.Buffers.Binary;
using Fabric.Protocol.Dns;

namespace Fabric.Gateway.Dns;

/// <summary>Query bytes and a zone in, response bytes out. Touches nothing but the asker's guard, and allocates nothing.</summary>
public static class DnsResponder
{
    /// <summary>Bytes that hold any answer to a query over UDP; over TCP it is <see cref="DnsLimits.Tcp"/>.</summary>
    public const int UdpBuffer = DnsLimits.Udp;

    /// <summary>What <see cref="Respond"/> returns when the asker's forwarder is to answer.</summary>
    internal const int Forward = -1;

    private const int OptionHead = 4;
    private const int PaddingBlock = 468;

    /// <summary>Answers one query.</summary>
    /// <param name="zone">What to answer from.</param>
    /// <param name="message">The query as received.</param>
    /// <param name="response">At least <see cref="UdpBuffer"/> bytes.</param>
    /// <param name="asker">Over UDP the client's EDNS size is the limit, within 512 and 1,232; TC tells that it was hit.</param>
    /// <param name="rcode">What was answered.</param>
    /// <returns>Bytes of the response; 0: no answer is due; negative: the asker's forwarder is to answer.</returns>
    public static int Respond(
        DnsZone zone, ReadOnlySpan<byte> message, Span<byte> response, in DnsAsker asker, out DnsRcode rcode)
    {
        rcode = DnsRcode.NoError;
        var query = DnsQuery.Read(message);
        var found = default(DnsFound);
        switch (query.Verdict)
        {
            case DnsVerdict.Drop:
                return 0;
            case DnsVerdict.FormErr:
                rcode = DnsRcode.FormErr;
                break;
            case DnsVerdict.NotImp:
                rcode = DnsRcode.NotImp;
                break;
            case DnsVerdict.BadVers:
                rcode = DnsRcode.BadVers;
                break;
            case DnsVerdict.Answer:
                rcode = Look(zone, query, ref found);
                break;
        }

        var forwards = rcode == DnsRcode.Refused && asker.Forwarder is { } forwarder && IsForwardable(query) && forwarder.Serves(asker.Address);
        rcode = forwards ? DnsRcode.NoError : rcode;
        var forgeable = asker.Transport == DnsTransport.Udp;
        if (forgeable && asker.Guard is { } guard && guard.Check(query.Cookie, asker.Address) is var cookie
            && cookie != DnsCookieState.Valid)
        {
            switch (guard.Count(asker.Address, rcode, query.Name))
            {
                case DnsLimit.Drop:
                    return 0;
                case DnsLimit.Slip when cookie == DnsCookieState.Client:
                    return Refuse(query, message, response, asker, rcode = DnsRcode.BadCookie);
                case DnsLimit.Slip:
                    return Truncate(query, message, response, rcode = DnsRcode.NoError);
            }
        }

        return rcode switch
        {
            _ when forwards => Forward,
            DnsRcode.NoError when query.Verdict == DnsVerdict.CookieOnly => Refuse(query, message, response, asker, rcode),
            DnsRcode.NoError or DnsRcode.NxDomain => Answer(zone, query, found, response, asker, rcode),
            DnsRcode.ServFail => Fail(query, found, response, asker),
            _ => Refuse(query, message, response, asker, rcode),
        };
    }

    /// <summary>A plain question, of a client that wants it looked up.</summary>
    private static bool IsForwardable(in DnsQuery query) => query.Class == DnsClass.Internet
        && query.Type is not (DnsType.Axfr or DnsType.Ixfr or DnsType.Tkey or DnsType.Tsig)
        && (query.Header.Flags & DnsFlags.RecursionDesired) != 0;

    /// <summary>SERVFAIL, for when <see cref="Respond"/> could not be brought to its end. 0: no answer is due.</summary>
    public static int ServFail(ReadOnlySpan<byte> message, Span<byte> response)
    {
        var query = DnsQuery.Read(message);
        return query.Verdict == DnsVerdict.Drop ? 0 : Fail(query, default, response, default);
    }

    private static DnsRcode Look(DnsZone zone, in DnsQuery query, ref DnsFound found)
    {
        // Nothing here is of another class, and the zone is not transferred.
        if (query.Class != DnsClass.Internet || query.Type is DnsType.Axfr or DnsType.Ixfr)
        {
            return DnsRcode.Refused;
        }

        found = zone.Find(query.Name);
        return found.Place switch
        {
            DnsPlace.Outside => DnsRcode.Refused,
            DnsPlace.NoName => DnsRcode.NxDomain,
            DnsPlace.Failed => DnsRcode.ServFail,
            _ => DnsRcode.NoError,
        };
    }

    /// <summary>Data; or NXDOMAIN or NODATA with the SOA record that says for how long (RFC 2308).</summary>
    private static int Answer(
        DnsZone zone, in DnsQuery query, in DnsFound found, Span<byte> response, in DnsAsker asker, DnsRcode rcode)
    {
        var reply = new DnsReply(response, Limit(query, asker), query.Question, Reserved(query, asker));
        var whole = rcode == DnsRcode.NoError && PutAnswer(ref reply, zone, query, found)
            || reply.Answers == 0 && !reply.Full && reply.TryPutSoa(zone.NegativeSoa, found.ZoneOffset, found.InReverse);
        var flags = whole ? DnsFlags.Authoritative : DnsFlags.Authoritative | DnsFlags.Truncated;
        if (query.HasOpt)
        {
            reply.PutOpt(rcode, query.DnssecOk);
            PutOptions(ref reply, query, asker, found);
        }

        return reply.Finish(query.Header, flags, rcode);
    }

    /// <summary>False when there is none, or it does not fit: then the reply is <see cref="DnsReply.Full"/>. Additional records are left
    /// out first, which is no truncation (RFC 2181 §9).</summary>
    private static bool PutAnswer(ref DnsReply reply, DnsZone zone, in DnsQuery query, in DnsFound found)
    {
        if (query.Type == DnsType.Any)
        {
            var hasData = !found.Pointers.IsEmpty || !found.Answers.IsEmpty && found.Answers[0].Type != DnsType.None;
            return hasData && reply.TryPutHinfo(zone.Ttl);
        }

        if (query.Type == DnsType.Ptr)
        {
            foreach (var pointer in found.Pointers)
            {
                if (!reply.TryPutPointer(pointer, zone.Names.Root.Wire, zone.Ttl))
                {
                    return false;
                }
            }

            return !found.Pointers.IsEmpty;
        }

        if (!found.TryGet(query.Type, out var answer))
        {
            return false;
        }

        var bytes = found.Set!.Bytes.AsSpan(answer.Start, answer.Length);
        if (!reply.TryPutAnswer(bytes[..answer.AnswerLength], answer.Count))
        {
            return false;
        }

        reply.Additionals += reply.TryPut(bytes[answer.AnswerLength..]) ? answer.Additionals : (ushort)0;
        return true;
    }

    /// <summary>SERVFAIL, with the reason.</summary>
    private static int Fail(in DnsQuery query, in DnsFound found, Span<byte> response, in DnsAsker asker)
    {
        var reply = new DnsReply(response, Limit(query, asker), query.Question, Reserved(query, asker));
        if (query.HasOpt)
        {
            reply.PutOpt(DnsRcode.ServFail, query.DnssecOk);
            PutOptions(ref reply, query, asker, found);
        }

        return reply.Finish(query.Header, DnsFlags.None, DnsRcode.ServFail);
    }

    /// <summary>An answer without records. Over UDP it is never longer than the query, for the asker may be forged: options that do not
    /// fit are left out. A client that has our cookie has sent as many bytes of it as come back.</summary>
    private static int Refuse(
        in DnsQuery query, ReadOnlySpan<byte> message, Span<byte> response, in DnsAsker asker, DnsRcode rcode)
    {
        // To ask for a cookie is to be answered one: the only growth, and one of 16 bytes.
        var limit = asker.Transport != DnsTransport.Udp ? DnsLimits.Tcp
            : rcode is DnsRcode.BadCookie or DnsRcode.NoError ? message.Length + DnsServerCookie.Length
            : message.Length;
        var reply = new DnsReply(response, limit, query.Question, 0);
        if (query.HasOpt)
        {
            reply.PutOpt(rcode, query.DnssecOk);
            PutCookie(ref reply, query, asker);
            PutKeepAlive(ref reply, query, asker);
            // Strangers to a forwarder are told nothing.
            if (rcode == DnsRcode.NotImp || rcode == DnsRcode.Refused && asker.Forwarder is null)
            {
                var code = rcode == DnsRcode.NotImp ? DnsExtendedError.NotSupported : DnsExtendedError.NotAuthoritative;
                PutError(ref reply, code, []);
            }
        }

        return reply.Finish(query.Header, DnsFlags.None, rcode);
    }

    /// <summary>Come again over TCP.</summary>
    private static int Truncate(in DnsQuery query, ReadOnlySpan<byte> message, Span<byte> response, DnsRcode rcode)
    {
        var reply = new DnsReply(response, message.Length, query.Question, 0);
        if (query.HasOpt)
        {
            reply.PutOpt(rcode, query.DnssecOk);
        }

        return reply.Finish(query.Header, DnsFlags.Truncated, rcode);
    }

    internal static void PutOptions(ref DnsReply reply, in DnsQuery query, in DnsAsker asker, in DnsFound found)
    {
        PutCookie(ref reply, query, asker);
        if (found.Why is { } why)
        {
            PutError(ref reply, found.Code, why);
        }

        if (query.WantsNsid && asker.Guard is { Nsid.Length: > 0 } guard)
        {
            var option = reply.Option(DnsOptionCode.Nsid, guard.Nsid.Length);
            guard.Nsid.AsSpan(0, option.Length).CopyTo(option);
        }

        PutKeepAlive(ref reply, query, asker);
        if (query.WantsPadding && asker.Transport == DnsTransport.Tls)
        {
            reply.Pad(PaddingBlock);
        }
    }

    private static void PutCookie(ref DnsReply reply, in DnsQuery query, in DnsAsker asker)
    {
        if (!query.Cookie.IsEmpty && asker.Guard is { } guard)
        {
            var option = reply.Option(DnsOptionCode.Cookie, DnsServerCookie.Length);
            if (!option.IsEmpty)
            {
                guard.WriteCookie(option, query.Cookie, asker.Address);
            }
        }
    }

    /// <summary>In tenths of a second. Over UDP the option means nothing (RFC 7828 §3.3.1).</summary>
    private static void PutKeepAlive(ref DnsReply reply, in DnsQuery query, in DnsAsker asker)
    {
        if (query.WantsKeepAlive && asker.Transport != DnsTransport.Udp && reply.Option(DnsOptionCode.KeepAlive, 2) is { IsEmpty: false } option)
        {
            BinaryPrimitives.WriteUInt16BigEndian(option, (ushort)Math.Min(ushort.MaxValue, asker.KeepAlive.TotalMilliseconds / 100));
        }
    }

    private static void PutError(ref DnsReply reply, DnsExtendedError code, ReadOnlySpan<byte> text)
    {
        var option = reply.Option(DnsOptionCode.ExtendedError, 2 + text.Length);
        if (!option.IsEmpty)
        {
            BinaryPrimitives.WriteUInt16BigEndian(option, (ushort)code);
            text.CopyTo(option[2..]);
        }
    }

    internal static int Limit(in DnsQuery query, in DnsAsker asker) =>
        asker.Transport == DnsTransport.Udp ? Math.Min(query.UdpSize, DnsLimits.Udp) : DnsLimits.Tcp;

    internal static int Reserved(in DnsQuery query, in DnsAsker asker) => !query.HasOpt ? 0
        : query.Cookie.IsEmpty || asker.Guard is null ? DnsLimits.Opt
        : DnsLimits.Opt + OptionHead + DnsServerCookie.Length;
}
