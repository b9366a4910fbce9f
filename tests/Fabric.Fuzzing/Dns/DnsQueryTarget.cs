using Fabric.Gateway.Dns;
using Fabric.Gateway.Dns.Forwarding;
using Fabric.Protocol.Dns;

namespace Fabric.Fuzzing.Dns;

/// <summary>A datagram at the server, with a forwarder behind it: an answer that reads as one, or none.</summary>
internal sealed class DnsQueryTarget : FuzzTarget
{
    private static readonly byte[] _address = [192, 0, 2, 1];

    private readonly DnsServer _server = Server();
    private readonly DnsCounters _counters = new();
    private readonly byte[] _response = new byte[DnsResponder.UdpBuffer];

    public override string Name => "dns-query";

    public override byte[][] Seeds => [.. DnsSamples.Queries.Select(q => q.Bytes())];

    /// <summary>One that is not started: what it would do with what comes over sockets.</summary>
    public static DnsServer Server() => new(
        new DnsServerOptions { Identifier = "paris-1", Forwarder = new Others(), ResponsesPerSecond = 0 }, () => DnsSamples.Zone, TimeProvider.System);

    public override ulong Read(byte[] input)
    {
        var faults = Faults();
        var length = _server.AnswerUdp(input, _response, _address, _counters);
        Must(Faults() == faults, "no exception inside");
        var query = DnsQuery.Read(input);
        var options = (query.HasOpt ? 1 : 0) | (query.WantsNsid ? 2 : 0) | (query.WantsPadding ? 4 : 0) | (query.WantsKeepAlive ? 8 : 0) | (query.Cookie.IsEmpty ? 0 : 16)
            | (query.DnssecOk ? 32 : 0);
        if (length <= 0)
        {
            Must(length < 0 || query.Verdict == DnsVerdict.Drop, "what is no response is answered");
            return Way(length, (int)query.Verdict, options);
        }

        Must(DnsMessage.TryRead(_response.AsSpan(0, length), out var message), "an answer reads as one");
        Must(message.Id == (input[0] << 8 | input[1]) && (message.Flags & DnsFlags.Response) != 0 && message.Questions.Length <= 1, "it is an answer to that query");
        Must(message.Opt is not null == query.HasOpt, "it has an OPT record if and only if the query has one");
        Must(message.Rcode is not (DnsRcode.Refused or DnsRcode.FormErr or DnsRcode.NotImp) || length <= input.Length, "refusals are no longer than the query");
        return Way(
            [(int)query.Verdict, (int)message.Rcode, (int)message.Flags, DnsSamples.TypeOf(query.Type), options, Size(length), .. DnsSamples.Sections(message)]);
    }

    private long Faults() => DnsCounters.Read([_counters], 0).Faults;

    /// <summary>Others, who know nothing and say so at once.</summary>
    private sealed class Others : IDnsForwarder
    {
        public bool Serves(ReadOnlySpan<byte> address) => true;

        public int TryAnswer(ReadOnlySpan<byte> query, Span<byte> response, in DnsAsker asker) => 0;

        public ValueTask<DnsAnswerWriter> AskAsync(DnsForwardedQuery query) => ValueTask.FromResult<DnsAnswerWriter>(response => DnsForwardReply.Fail(
            DnsQuery.Read(query.Message.Span), query.Asker, response, DnsRcode.ServFail, DnsExtendedError.NoReachableAuthority, "nobody is asked"));
    }
}
