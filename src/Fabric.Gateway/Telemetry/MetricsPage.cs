using System.Globalization;
using System.Text;
using Fabric.Gateway.Probing;
using Fabric.Protocol.Proto;

namespace Fabric.Gateway.Telemetry;

/// <summary>
/// The Prometheus text exposition (version 0.0.4) of the state that <c>status</c> shows: one source for both, so that they
/// cannot disagree. Labels are sites, gateways, links and services, whose number the topology bounds.
/// </summary>
internal sealed class MetricsPage
{
    private readonly StringBuilder _text = new();

    public static string Render(Status status, DaemonCounters counters)
    {
        var page = new MetricsPage();
        page.Head("fabric_info", "gauge", "The daemon, in its labels.");
        page.Line("fabric_info", 1, ("gateway", status.Gateway), ("site", status.Site), ("version", status.Version),
            ("revision", status.TopologyRevision));
        page.Single("fabric_uptime_seconds", "gauge", "Time since the daemon started.", status.UptimeSeconds);
        page.Single("dotnet_gc_pause_seconds_total", "counter", "Time that the runtime stopped the process to collect garbage.",
            GC.GetTotalPauseDuration().TotalSeconds);
        page.Each("dotnet_gc_collections_total", "counter", "Garbage collections, by the oldest generation collected.",
            Enumerable.Range(0, GC.MaxGeneration + 1), g => GC.CollectionCount(g) - (g < GC.MaxGeneration ? GC.CollectionCount(g + 1) : 0),
            g => [("generation", $"{g}")]);
        page.Single("fabric_certificate_expires_seconds", "gauge", "Time until the gateway's certificate ends.",
            status.CertificateExpiresInSeconds);
        page.Single("fabric_trust_version", "gauge", "Version of the trust document that the gateway goes by; 0: there is none.", status.Trust?.Version ?? 0);
        page.Single("fabric_trust_evicted", "gauge", "Sites and gateways that it evicts.", status.Trust?.Evicted.Count ?? 0);
        page.Single("fabric_streams", "gauge", "Streams carried now.", status.Streams);
        page.Single("fabric_streams_total", "counter", "Streams carried since the start.", status.StreamsTotal);
        page.Single("fabric_streams_refused_total", "counter", "Streams refused since the start.", status.StreamsRefused);
        page.Single("fabric_streams_held", "gauge", "New connections and flows that wait for a site to serve them, each at most 5 s.", counters.Held);
        page.Each("fabric_policy_shadow_total", "counter", "Decisions that the shadow policy would have made the opposite, were it in force.",
            counters.Shadow ?? [], s => s.Count, s => [("policy", s.Policy)]);
        page.Single("fabric_audit_dropped_total", "counter", "Audit entries lost.", counters.AuditDropped);
        page.Single("fabric_audit_written_total", "counter", "Audit entries written.", status.Audit?.Written ?? 0);
        page.Single("fabric_audit_sampled_out_total", "counter", "Audit entries of allowed streams left out by the share that is asked for.",
            status.Audit?.SampledOut ?? 0);
        page.Each("fabric_peer_claims_refused_total", "counter", "What a gateway claimed of things that are not its own, and nobody believed.",
            status.Claims, c => c.Count, c => [("peer", c.Peer), ("claim", c.Claim)]);
        page.Single("fabric_dns_queries_total", "counter", "DNS queries answered.", counters.DnsQueries);
        page.Forwarding(status, counters.Forwarding);
        page.Single("fabric_probes_sent_total", "counter", "Link probes sent.", counters.Probes.Sent);
        page.Single("fabric_probes_answered_total", "counter", "Link probes whose answer came.", counters.Probes.Answered);

        page.Single("fabric_flows", "gauge", "UDP flows carried now.", status.Datagrams?.Flows ?? 0);
        page.Single("fabric_flows_total", "counter", "UDP flows since the start.", status.Datagrams?.FlowsTotal ?? 0);
        page.Head("fabric_datagrams_total", "counter", "Datagrams carried.");
        page.Line("fabric_datagrams_total", status.Datagrams?.ToEndpoints ?? 0, ("direction", "to-endpoint"));
        page.Line("fabric_datagrams_total", status.Datagrams?.ToClients ?? 0, ("direction", "to-client"));
        page.Head("fabric_datagram_bytes_total", "counter", "Bytes of datagrams carried.");
        page.Line("fabric_datagram_bytes_total", status.Datagrams?.BytesToEndpoints ?? 0, ("direction", "to-endpoint"));
        page.Line("fabric_datagram_bytes_total", status.Datagrams?.BytesToClients ?? 0, ("direction", "to-client"));
        page.Each("fabric_datagrams_dropped_total", "counter", "Datagrams dropped, by reason.",
            (status.Datagrams?.Dropped ?? []).OrderBy(d => d.Key, StringComparer.Ordinal), d => d.Value, d => [("reason", d.Key)]);

        var capacity = status.Capacity ?? new CapacityStatus();
        page.Single("fabric_memory_limit_bytes", "gauge", "The cap of the daemon's buffers.", capacity.MemoryLimit);
        page.Single("fabric_memory_used_bytes", "gauge", "Bytes of buffers in use.", capacity.MemoryUsed);
        page.Single("fabric_memory_retained_bytes", "gauge", "Bytes kept until the other gateway has acknowledged them.",
            capacity.Retained);
        page.Single("fabric_memory_promised_bytes", "gauge", "Credit given to other gateways that applications have not taken yet.",
            capacity.Promised);
        page.Single("fabric_handshakes", "gauge", "Handshakes under way.", capacity.Handshakes);
        page.Each("fabric_turned_away_total", "counter", "Connections, lanes and streams turned away at a limit or for abuse, by kind.",
            capacity.Refusals, r => r.Count, r => [("kind", r.Kind)]);
        page.Each("fabric_certificates_refused_total", "counter", "Certificates of peers that were refused, by the code of the reason.",
            capacity.Certificates, r => r.Count, r => [("code", r.Kind)]);

        page.Single("fabric_tls_sessions", "gauge", "TLS connections of the Linux driver.", capacity.TlsSessions);
        page.Single("fabric_tls_buffer_bytes", "gauge", "Bytes of their buffers.", capacity.TlsBytes);
        page.Each("fabric_loop_turns_total", "counter", "Turns of the event loop.",
            capacity.Loops, l => l.Turns, l => [("loop", l.Name)]);
        page.Each("fabric_loop_busy_seconds_total", "counter", "Time that the event loop spent in turns.",
            capacity.Loops, l => l.BusySeconds, l => [("loop", l.Name)]);
        page.Each("fabric_loop_longest_turn_seconds", "gauge", "Longest turn of the last 10 to 20 seconds.",
            capacity.Loops, l => l.LongestTurnSeconds, l => [("loop", l.Name)]);
        page.Each("fabric_loop_longest_queue", "gauge", "Most items that were ready in one turn of the last 10 to 20 seconds.",
            capacity.Loops, l => l.LongestQueue, l => [("loop", l.Name)]);
        page.Each("fabric_loop_sockets", "gauge", "Sockets that the event loop watches.",
            capacity.Loops, l => l.Sockets, l => [("loop", l.Name)]);
        page.Each("fabric_loop_system_calls_total", "counter", "Reads and writes of sockets.",
            capacity.Loops, l => l.SystemCalls, l => [("loop", l.Name)]);
        page.Each("fabric_loop_bytes_total", "counter", "Bytes that they moved.",
            capacity.Loops, l => l.Bytes, l => [("loop", l.Name)]);

        page.Each("fabric_link_up", "gauge", "1 when full-size packets pass over the link.",
            status.Links, l => l.State is "up" or "suspect" ? 1 : 0, LinkLabels);
        page.Each("fabric_link_active", "gauge", "1 when streams to the peer take the link.",
            status.Links, l => l.Role == "active" ? 1 : 0, LinkLabels);
        page.Each("fabric_link_rtt_seconds", "gauge", "Smoothed round-trip time.",
            status.Links, l => l.RttMs / 1000, LinkLabels);
        page.Each("fabric_link_loss_ratio", "gauge", "Probes lost, of those sent lately.",
            status.Links, l => l.LossRatio, LinkLabels);

        var peers = status.Sites.SelectMany(s => s.Gateways.Where(g => g.State != "self").Select(g => (Site: s.Name, Gateway: g))).ToList();
        page.Each("fabric_peer_sent_bytes_total", "counter", "Bytes of streams sent to the peer.",
            peers, p => p.Gateway.BytesSent, PeerLabels);
        page.Each("fabric_peer_received_bytes_total", "counter", "Bytes of streams received from the peer.",
            peers, p => p.Gateway.BytesReceived, PeerLabels);
        page.Each("fabric_peer_resent_bytes_total", "counter", "Bytes sent again after a link failed.",
            peers, p => p.Gateway.BytesResent, PeerLabels);
        page.Each("fabric_peer_copied_bytes_total", "counter", "Bytes sent on a second link as well because the first was suspect.",
            peers, p => p.Gateway.BytesCopied, PeerLabels);
        page.Each("fabric_peer_mirrored_bytes_total", "counter", "Bytes of mirrored services sent on a second link as well.",
            peers, p => p.Gateway.BytesMirrored, PeerLabels);
        page.Each("fabric_peer_suspicions_total", "counter", "How often the active link to the peer owed an answer.",
            peers, p => p.Gateway.Suspicions, PeerLabels);
        page.Each("fabric_peer_moves_total", "counter", "Streams moved from one link to another.",
            peers, p => p.Gateway.Moves, PeerLabels);

        page.Each("fabric_peer_relayed_lanes", "gauge", "Lanes to others that this gateway carries for the peer now.",
            peers, p => p.Gateway.RelayedLanes, PeerLabels);
        page.Each("fabric_peer_relayed_bytes_total", "counter", "Bytes carried for the peer to and from others.",
            peers, p => p.Gateway.RelayedBytes, PeerLabels);
        page.Each("fabric_relay_active", "gauge", "1 when streams to the peer run through that other gateway, 0 while a lane stands by.",
            status.Relays.Where(r => r.Role.Length > 0), r => r.Role == "active" ? 1 : 0, r => [("peer", r.Peer), ("relay", r.Relay)]);
        page.Each("fabric_relay_rtt_seconds", "gauge", "Round-trip time of both legs together.",
            status.Relays.Where(r => r.Role.Length > 0), r => r.RttMs / 1000, r => [("peer", r.Peer), ("relay", r.Relay)]);

        var exports = status.Services.SelectMany(s => s.Sites.Select(x => (Service: s.Name, Site: x))).ToList();
        page.Each("fabric_service_healthy_endpoints", "gauge", "Endpoints that answer, as the exporting site sees them.",
            exports, e => e.Site.Healthy, e => [("service", e.Service), ("site", e.Site.Site)]);
        return page._text.ToString();
    }

    /// <summary>Labels are zones and servers of the topology or resolv.conf, at most 16 servers a zone; never names or clients.</summary>
    private void Forwarding(Status status, Dns.Forwarding.DnsForwardStatistics now)
    {
        Single("fabric_dns_forwarded_total", "counter", "Questions asked of other DNS servers, retries not counted.", now.Questions);
        Single("fabric_dns_forwarding", "gauge", "Questions that other DNS servers are being asked.", now.UnderWay);
        Single("fabric_dns_joined_total", "counter", "Queries that waited for a question under way already.", now.Joined);
        Single("fabric_dns_cache_hits_total", "counter", "Queries for names of others answered from the cache.", now.Hits);
        Single("fabric_dns_stale_total", "counter", "Queries answered with what was stale.", now.Stale);
        Single("fabric_dns_prefetches_total", "counter", "Questions asked to renew popular answers before their end.", now.Prefetches);
        Single("fabric_dns_failed_total", "counter", "Queries for names of others answered SERVFAIL.", now.Failed);
        Single("fabric_dns_limited_total", "counter", "Queries for names of others that met a limit.", now.Limited);
        Single("fabric_dns_cache_entries", "gauge", "Answers kept.", now.Entries);
        Single("fabric_dns_cache_bytes", "gauge", "Bytes of answers kept.", now.Bytes);
        Single("fabric_dns_cache_evicted_total", "counter", "Answers that had to go before their time.", now.Evicted);
        Each("fabric_dns_upstream_up", "gauge", "1 when the server answers, or was never asked.",
            status.DnsUpstreams, u => u.State is "up" or "unused" ? 1 : 0, UpstreamLabels);
        Each("fabric_dns_upstream_rtt_seconds", "gauge", "Smoothed round-trip time.", status.DnsUpstreams, u => u.RttMs / 1000, UpstreamLabels);
        Each("fabric_dns_upstream_queries_total", "counter", "Queries sent to the server.", status.DnsUpstreams, u => u.Queries, UpstreamLabels);
        Each("fabric_dns_upstream_failures_total", "counter", "Queries that it did not answer in time, or not usefully.",
            status.DnsUpstreams, u => u.Failures, UpstreamLabels);
    }

    private static (string, string)[] UpstreamLabels(DnsUpstreamStatus upstream) => [("zone", upstream.Zone), ("server", upstream.Server)];

    private static (string, string)[] LinkLabels(LinkStatus link) =>
        [("link", link.Name), ("peer", link.Peer), ("kind", link.Kind)];

    private static (string, string)[] PeerLabels((string Site, GatewayStatus Gateway) peer) =>
        [("peer_site", peer.Site), ("peer", peer.Gateway.Name)];

    private void Single(string name, string type, string help, double value)
    {
        Head(name, type, help);
        Line(name, value);
    }

    private void Each<T>(
        string name, string type, string help, IEnumerable<T> items, Func<T, double> value, Func<T, (string, string)[]> labels)
    {
        Head(name, type, help);
        foreach (var item in items)
        {
            Line(name, value(item), labels(item));
        }
    }

    private void Head(string name, string type, string help) =>
        _text.Append("# HELP ").Append(name).Append(' ').Append(help).Append("\n# TYPE ").Append(name).Append(' ').Append(type).Append('\n');

    private void Line(string name, double value, params (string Name, string Value)[] labels)
    {
        _text.Append(name);
        if (labels.Length > 0)
        {
            _text.Append('{').AppendJoin(',', labels.Select(l => $"{l.Name}=\"{Escape(l.Value)}\"")).Append('}');
        }

        _text.Append(' ').Append(value.ToString("R", CultureInfo.InvariantCulture)).Append('\n');
    }

    private static string Escape(string value) =>
        value.Replace("\\", "\\\\", StringComparison.Ordinal).Replace("\"", "\\\"", StringComparison.Ordinal)
            .Replace("\n", "\\n", StringComparison.Ordinal);
}

/// <summary>Counts that are the daemon's own and not part of <c>status</c>.</summary>
internal readonly record struct DaemonCounters(long AuditDropped, long DnsQueries, ProberCounters Probes)
{
    public Dns.Forwarding.DnsForwardStatistics Forwarding { get; init; }

    /// <summary>By shadow policy: at most 101 (<see cref="Egress.ShadowTally"/>). Null: none.</summary>
    public IReadOnlyList<(string Policy, long Count)>? Shadow { get; init; }

    /// <summary>New connections that wait for a site.</summary>
    public int Held { get; init; }
}
