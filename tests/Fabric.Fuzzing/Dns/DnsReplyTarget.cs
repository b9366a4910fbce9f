using Fabric.Gateway.Dns;
using Fabric.Gateway.Dns.Forwarding;
using Fabric.Protocol.Dns;

namespace Fabric.Fuzzing.Dns;

/// <summary>What another server says to the forwarder: it is no answer, or one that a client can read whole.</summary>
internal sealed class DnsReplyTarget : FuzzTarget
{
    private static readonly DnsMessage _asked = DnsSamples.Query("www.shop.example", DnsType.A);

    private readonly byte[] _query = _asked.Bytes();
    private readonly byte[] _response = new byte[DnsLimits.Tcp];

    public override string Name => "dns-reply";

    public override byte[][] Seeds => [.. DnsSamples.Replies(_asked).Select(r => r.Bytes())];

    public override ulong Read(byte[] input)
    {
        var length = _asked.Questions[0].Name.Wire.Length + 4;
        var question = _query.AsSpan(DnsLimits.Header, length);
        var match = DnsResponse.Match(input, _asked.Id, question);
        if (!DnsResponse.TryRead(input, length, out var found))
        {
            return Way((int)match, -1);
        }

        var way = Way(
            (int)match, (int)found.Rcode, found.IsTruncated ? 1 : 0, found.IsNegative ? 1 : 0, found.Ttl is null ? 0 : Size((int)(found.Ttl & int.MaxValue)),
            Math.Min((int)found.Answers, 5), Math.Min((int)found.Authorities, 5), Size(found.Records.Length));
        if (match == DnsMatch.None || found.Rcode is not (DnsRcode.NoError or DnsRcode.NxDomain) || found.IsTruncated)
        {
            return way;
        }

        foreach (var transport in new[] { DnsTransport.Udp, DnsTransport.Tcp })
        {
            var written = DnsForwardReply.Write(DnsQuery.Read(_query), new DnsAsker(transport), _response, found, 7, 86_400, transport == DnsTransport.Udp ? 30u : null);
            Must(transport != DnsTransport.Udp || written <= DnsLimits.Udp, "an answer over UDP is no longer than it may be");
            Must(DnsResponse.TryRead(_response.AsSpan(0, written), length, out var ours), "a client reads the answer");
            Must(DnsResponse.Match(_response.AsSpan(0, written), _asked.Id, question) == DnsMatch.Answer, "it is an answer to its query");
            Must(ours.Rcode == found.Rcode && (ours.IsTruncated || ours.Answers == found.Answers), "it says what the other server said");
        }

        return way;
    }
}
