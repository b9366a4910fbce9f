using Fabric.Protocol.Dns;
using Fabric.Protocol.Proto;

namespace Fabric.Gateway.Telemetry.Metrics;

/// <summary>What <c>status</c> shows of the gateway itself, as instruments: one source for both, so that they cannot disagree.</summary>
internal static class StateInstruments
{
    public static void Create(GatewayMeter meter)
    {
        Gateway(meter);
        Datagrams(meter);
        Memory(meter);
        Loops(meter);
        Names(meter);
    }

    private static void Gateway(GatewayMeter meter)
    {
        meter.Gauge<Status>("fabric.info", "{gateway}", "The daemon, in its attributes; always 1.", ["gateway", "site", "version", "revision"],
            now => [now.Status], _ => 1, s => [s.Gateway, s.Site, s.Version, s.TopologyRevision]);
        meter.Gauge("fabric.state.age", "s", "Time since the state loop last looked at everything.", now => now.Counters.StateAge);
        meter.Gauge("fabric.certificate.expires", "s", "Time until the gateway's certificate ends.", now => now.Status.CertificateExpiresInSeconds);
        meter.Gauge("fabric.trust.version", "{version}", "Version of the trust document that the gateway goes by; 0: there is none.",
            now => now.Status.Trust?.Version ?? 0);
        meter.Count("fabric.trust.evicted", "{gateway}", "Sites and gateways that the trust document evicts.", now => now.Status.Trust?.Evicted.Count ?? 0);
        meter.Count("fabric.streams", "{stream}", "Streams carried now.", now => now.Status.Streams);
        meter.Total("fabric.streams.carried", "{stream}", "Streams carried.", now => now.Status.StreamsTotal);
        meter.Total("fabric.streams.refused", "{stream}", "Streams refused.", now => now.Status.StreamsRefused);
        meter.Count("fabric.streams.held", "{stream}", "New connections and flows that wait for a site to serve them, each at most 5 s.", now => now.Counters.Held);
        meter.Total("fabric.policy.shadow", "{decision}", "Decisions that the shadow policy would have made the opposite, were it in force.", ["policy"],
            now => now.Counters.Shadow, s => s.Count, s => [s.Policy]);
        meter.Total("fabric.audit.dropped", "{entry}", "Audit entries lost.", now => now.Counters.AuditDropped);
        meter.Total("fabric.audit.written", "{entry}", "Audit entries written.", now => now.Status.Audit?.Written ?? 0);
        meter.Total("fabric.audit.sampled_out", "{entry}", "Audit entries of allowed streams left out by the share that is asked for.",
            now => now.Status.Audit?.SampledOut ?? 0);
        meter.Total("fabric.peer.claims.refused", "{claim}", "What a gateway claimed of things that are not its own, and nobody believed.", ["peer", "claim"],
            now => now.Status.Claims, c => c.Count, c => [c.Peer, c.Claim]);
        meter.Total("fabric.probes.sent", "{probe}", "Link probes sent.", now => now.Counters.Probes.Sent);
        meter.Total("fabric.probes.answered", "{probe}", "Link probes whose answer came.", now => now.Counters.Probes.Answered);
        meter.Gauge("fabric.listener.open", "{listener}", "1 when the address is listened on.", ["name", "address"],
            now => now.Status.Listeners, l => l.Open ? 1 : 0, l => [l.Name, l.Address]);
    }

    private static void Datagrams(GatewayMeter meter)
    {
        meter.Count("fabric.flows", "{flow}", "UDP flows carried now.", now => now.Status.Datagrams?.Flows ?? 0);
        meter.Total("fabric.flows.carried", "{flow}", "UDP flows carried.", now => now.Status.Datagrams?.FlowsTotal ?? 0);
        meter.Total<(string Direction, ulong Count)>("fabric.datagrams", "{datagram}", "Datagrams carried.", ["direction"],
            now => [("to-endpoint", now.Status.Datagrams?.ToEndpoints ?? 0), ("to-client", now.Status.Datagrams?.ToClients ?? 0)],
            d => d.Count, d => [d.Direction]);
        meter.Total<(string Direction, ulong Bytes)>("fabric.datagram.io", "By", "Bytes of datagrams carried.", ["direction"],
            now => [("to-endpoint", now.Status.Datagrams?.BytesToEndpoints ?? 0), ("to-client", now.Status.Datagrams?.BytesToClients ?? 0)],
            d => d.Bytes, d => [d.Direction]);
        meter.Total("fabric.datagrams.dropped", "{datagram}", "Datagrams dropped, by reason.", ["reason"],
            now => (now.Status.Datagrams?.Dropped ?? []).OrderBy(d => d.Key, StringComparer.Ordinal), d => d.Value, d => [d.Key]);
    }

    private static void Memory(GatewayMeter meter)
    {
        static CapacityStatus Of(Reading now) => now.Status.Capacity ?? new CapacityStatus();
        meter.Gauge("fabric.memory.limit", "By", "The cap of the daemon's buffers.", now => Of(now).MemoryLimit);
        meter.Count("fabric.memory.used", "By", "Buffers (slabs) in use.", now => Of(now).MemoryUsed);
        meter.Count("fabric.memory.retained", "By", "Bytes kept until the other gateway has acknowledged them.", now => Of(now).Retained);
        meter.Count("fabric.memory.promised", "By", "Windows: credit given to other gateways that applications have not taken yet.", now => Of(now).Promised);
        meter.Count("fabric.handshakes", "{handshake}", "Handshakes under way.", now => Of(now).Handshakes);
        meter.Total("fabric.turned_away", "{request}", "Connections, lanes and streams turned away at a limit or for abuse, by kind.", ["kind"],
            now => Of(now).Refusals, r => r.Count, r => [r.Kind]);
        meter.Total("fabric.certificates.refused", "{certificate}", "Certificates of peers and callers that were refused, by the code of the reason.", ["code"],
            now => Of(now).Certificates, r => r.Count, r => [r.Kind]);
        meter.Count("fabric.tls.sessions", "{connection}", "TLS connections of the Linux driver.", now => Of(now).TlsSessions);
        meter.Count("fabric.tls.buffer", "By", "Bytes of their buffers.", now => Of(now).TlsBytes);
    }

    private static void Loops(GatewayMeter meter)
    {
        static IEnumerable<LoopStatus> Of(Reading now) => now.Status.Capacity?.Loops ?? [];
        meter.Total("fabric.loop.turns", "{turn}", "Turns of the event loop.", ["loop"], Of, l => l.Turns, l => [l.Name]);
        meter.Total("fabric.loop.busy", "s", "Time that the event loop spent in turns.", ["loop"], Of, l => l.BusySeconds, l => [l.Name]);
        meter.Gauge("fabric.loop.longest_turn", "s", "Longest turn of the last 10 to 20 seconds.", ["loop"], Of, l => l.LongestTurnSeconds, l => [l.Name]);
        meter.Gauge("fabric.loop.longest_queue", "{item}", "Most items that were ready in one turn of the last 10 to 20 seconds.", ["loop"], Of,
            l => l.LongestQueue, l => [l.Name]);
        meter.Count("fabric.loop.sockets", "{socket}", "Sockets that the event loop watches.", ["loop"], Of, l => l.Sockets, l => [l.Name]);
        meter.Total("fabric.loop.system_calls", "{call}", "Reads and writes of sockets.", ["loop"], Of, l => l.SystemCalls, l => [l.Name]);
        meter.Total("fabric.loop.io", "By", "Bytes that they moved.", ["loop"], Of, l => l.Bytes, l => [l.Name]);
    }

    /// <summary>Attributes are zones and servers of the topology or resolv.conf, at most 16 servers a zone; never names or clients.</summary>
    private static void Names(GatewayMeter meter)
    {
        meter.Total<(string Transport, long Count)>("fabric.dns.queries", "{query}", "DNS queries received, those in TLS among those of TCP.", ["network.transport"],
            now => [("udp", now.Counters.Dns.UdpQueries), ("tcp", now.Counters.Dns.TcpQueries)], q => q.Count, q => [q.Transport]);
        meter.Total("fabric.dns.responses", "{response}", "DNS answers, by rcode.", ["rcode"],
            now => (now.Counters.Dns.ByRcode.IsDefault ? [] : now.Counters.Dns.ByRcode).Select((count, rcode) => (Rcode: (DnsRcode)rcode, Count: count))
                .Where(r => r.Count > 0 || r.Rcode is DnsRcode.NoError or DnsRcode.NxDomain or DnsRcode.ServFail),
            r => r.Count, r => [r.Rcode.ToString().ToUpperInvariant()]);
        meter.Total("fabric.dns.truncated", "{response}", "DNS answers that did not fit, and were asked for again over TCP.", now => now.Counters.Dns.Truncated);
        meter.Total("fabric.dns.dropped", "{query}", "DNS queries not answered: malformed, or over the limit of answers.", now => now.Counters.Dns.Dropped);
        meter.Total("fabric.dns.faults", "{query}", "DNS queries answered SERVFAIL because of a fault here.", now => now.Counters.Dns.Faults);
        meter.Count("fabric.dns.connections", "{connection}", "DNS connections open now.", now => now.Counters.Dns.TcpConnections);
        meter.Total("fabric.dns.forwarded", "{question}", "Questions asked of other DNS servers, retries not counted.", now => now.Counters.Forwarding.Questions);
        meter.Count("fabric.dns.forwarding", "{question}", "Questions that other DNS servers are being asked.", now => now.Counters.Forwarding.UnderWay);
        meter.Total("fabric.dns.joined", "{query}", "Queries that waited for a question under way already.", now => now.Counters.Forwarding.Joined);
        meter.Total("fabric.dns.cache.hits", "{query}", "Queries for names of others answered from the cache.", now => now.Counters.Forwarding.Hits);
        meter.Total("fabric.dns.stale", "{query}", "Queries answered with what was stale.", now => now.Counters.Forwarding.Stale);
        meter.Total("fabric.dns.prefetches", "{question}", "Questions asked to renew popular answers before their end.", now => now.Counters.Forwarding.Prefetches);
        meter.Total("fabric.dns.failed", "{query}", "Queries for names of others answered SERVFAIL.", now => now.Counters.Forwarding.Failed);
        meter.Total("fabric.dns.limited", "{query}", "Queries for names of others that met a limit.", now => now.Counters.Forwarding.Limited);
        meter.Count("fabric.dns.cache.entries", "{answer}", "Answers kept.", now => now.Counters.Forwarding.Entries);
        meter.Count("fabric.dns.cache.size", "By", "Bytes of answers kept.", now => now.Counters.Forwarding.Bytes);
        meter.Total("fabric.dns.cache.evicted", "{answer}", "Answers that had to go before their time.", now => now.Counters.Forwarding.Evicted);

        string[] upstream = ["zone", "server"];
        static IEnumerable<DnsUpstreamStatus> Upstreams(Reading now) => now.Status.DnsUpstreams;
        static string[] Labels(DnsUpstreamStatus u) => [u.Zone, u.Server];
        meter.Gauge("fabric.dns.upstream.up", "{server}", "1 when the server answers, or was never asked.", upstream, Upstreams,
            u => u.State is "up" or "unused" ? 1 : 0, Labels);
        meter.Gauge("fabric.dns.upstream.rtt", "s", "Smoothed round-trip time.", upstream, Upstreams, u => u.RttMs / 1000, Labels);
        meter.Total("fabric.dns.upstream.queries", "{query}", "Queries sent to the server.", upstream, Upstreams, u => u.Queries, Labels);
        meter.Total("fabric.dns.upstream.failures", "{query}", "Queries that it did not answer in time, or not usefully.", upstream, Upstreams, u => u.Failures, Labels);
    }
}
