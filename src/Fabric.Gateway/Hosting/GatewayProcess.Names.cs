using System.Collections.Immutable;
using System.Globalization;
using System.Net;
using Fabric.Gateway.Dns;
using Fabric.Gateway.Dns.Forwarding;
using Fabric.Gateway.Snapshot;
using Fabric.Protocol.Dns;
using Fabric.Protocol.Grpc;
using Fabric.Protocol.Proto;
using Fabric.Topology.Model;

namespace Fabric.Gateway.Hosting;

/// <summary>Where names of others are looked up, and why a name is answered as it is.</summary>
internal sealed partial class GatewayProcess
{
    private const string ResolvConf = "/etc/resolv.conf";

    private static readonly ImmutableArray<IPNetwork> _loopback = new DnsForwardRules().Clients;

    /// <summary>What the topology says of forwarding for this gateway's site. Without a word: the machine's own servers, for loopback and for the
    /// site's workloads.</summary>
    private DnsForwardRules Forwarding(FabricTopology topology)
    {
        var self = topology.FindGateway(Identity.Id.Gateway)!;
        var wish = topology.Sites.First(s => s.Name == self.Site).Forward ?? topology.Dns.Forward;
        var zones = wish.Zones.Select(z => new DnsForwardZone(DnsName.Parse(z.Zone), z.Servers)).ToList();
        if (wish.Servers is { IsEmpty: false } servers)
        {
            zones.Add(new DnsForwardZone(DnsName.Root, servers));
        }

        return new DnsForwardRules
        {
            Clients = wish.Clients
                ?? [.. _loopback, .. topology.Workloads.Where(w => w.Site == self.Site).SelectMany(w => w.Addresses)],
            Zones = [.. zones],
            ResolvConf = wish.Servers is null ? ResolvConf : null,
            Own = self.DnsTls is { } tls ? [self.Dns, tls] : [self.Dns],
        };
    }

    /// <summary>Zones none of whose servers answers, though they are asked for.</summary>
    private IEnumerable<string> ForwardingProblems() => _forwarder.Upstreams.GroupBy(u => u.Zone)
        .Where(z => z.All(u => u.Upstream.State is "down" or "loop"))
        .Select(z => $"DNS: no server for {(z.Key == "." ? "names of others" : z.Key)} answers: "
            + string.Join("; ", z.Select(u => $"{u.Upstream.Server}: {u.Upstream.Problem}")));

    private async Task<ResolveNameReply> ResolveNameAsync(ResolveNameRequest request)
    {
        if (_loop.Current is not { } now)
        {
            throw new GrpcException(GrpcStatus.Unavailable, "the gateway is starting");
        }

        var question = new DnsQuestion(Name(request.Name), Type(request.Type), DnsClass.Internet);
        var query = new byte[DnsLimits.ClassicUdp];
        query = query[..new DnsMessage
        {
            Flags = DnsFlags.RecursionDesired,
            Questions = [question],
            Additionals = [new DnsRecord(DnsName.Root, (DnsClass)DnsLimits.Udp, 0, new DnsOpt([]))],
        }.Write(query)];
        var reply = new ResolveNameReply
        {
            Revision = now.Topology.Revision,
            AgeSeconds = Math.Round(_time.GetElapsedTime(Interlocked.Read(ref _lastTurn)).TotalSeconds, 3),
            Source = "zone",
        };
        var zone = Zone();
        var response = new byte[DnsLimits.Tcp];
        ReadOnlyMemory<byte> answer = response.AsMemory(0, DnsResponder.Respond(zone, query, response, new DnsAsker(DnsTransport.Tcp), out var rcode));
        if (rcode == DnsRcode.Refused)
        {
            answer = await ForwardedAsync(query, reply);
        }
        else
        {
            NameExplanation.Tell(now, question.Name, reply);
        }

        return DnsMessage.TryRead(answer.Span, out var message) ? Tell(message, reply)
            : throw new GrpcException(GrpcStatus.Internal, "the answer cannot be read");
    }

    private async Task<ReadOnlyMemory<byte>> ForwardedAsync(byte[] query, ResolveNameReply reply)
    {
        var found = await _forwarder.ExplainAsync(query);
        reply.Zone = found.Zone ?? "";
        reply.Source = found.Zone is null ? "none" : found.Stale ? "stale" : found.Cached ? "cache" : "upstream";
        reply.Upstream = found.Server?.ToString() ?? "";
        reply.RttMs = Math.Round(found.RoundTrip?.TotalMilliseconds ?? 0, 2);
        reply.CachedSeconds = found.Age ?? 0;
        reply.RemainingSeconds = found.Remaining ?? 0;
        return found.Response;
    }

    private static ResolveNameReply Tell(DnsMessage message, ResolveNameReply reply)
    {
        reply.Rcode = message.Rcode.ToString().ToUpperInvariant();
        reply.Records.Add(message.Answers.Select(r => $"{r.Name} {r.Ttl} IN {DnsText.Of(r.Type)} {DnsText.Of(r.Data)}"));
        if (message.Opt?.Data is DnsOpt { Options: var options }
            && options.FirstOrDefault(o => o.Code == (ushort)DnsOptionCode.ExtendedError) is { Data.Length: >= 2 } error)
        {
            var code = (DnsExtendedError)(error.Data[0] << 8 | error.Data[1]);
            var text = System.Text.Encoding.UTF8.GetString(error.Data.AsSpan()[2..]);
            reply.Why = text.Length > 0 ? text : code.ToString();
        }

        return reply;
    }

    private static DnsName Name(string text) => DnsName.TryParse(text, out var name, out var error) ? name
        : throw new GrpcException(GrpcStatus.InvalidArgument, error);

    private static DnsType Type(string text) => DnsText.TryParseType(text.Length == 0 ? "A" : text, out var type) ? type
        : throw new GrpcException(GrpcStatus.InvalidArgument,
            string.Create(CultureInfo.InvariantCulture, $"'{text}' is not a record type: write A, AAAA, SRV, TXT ... or TYPE65"));
}
