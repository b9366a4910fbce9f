using Fabric.Gateway.Probing;
using Fabric.Gateway.Telemetry;
using Fabric.Protocol.Proto;

namespace Fabric.Gateway.Tests.Telemetry;

public sealed class MetricsPageTests
{
    private static readonly Status Full = new()
    {
        Gateway = "paris-1",
        Site = "paris",
        Version = "1.2.3",
        TopologyRevision = "abc",
        UptimeSeconds = 12.5,
        CertificateExpiresInSeconds = -3,
        Streams = 4,
        StreamsTotal = 1_000_000_000_000,
        StreamsRefused = 5,
        Datagrams = new DatagramsStatus { Flows = 2, FlowsTotal = 3, ToEndpoints = 4, BytesToEndpoints = 500, ToClients = 6, BytesToClients = 700, Dropped = { ["oversize"] = 8 } },
        Capacity = new CapacityStatus
        {
            MemoryLimit = 1000,
            MemoryUsed = 100,
            Retained = 20,
            Promised = 30,
            Handshakes = 2,
            Refusals = { new RefusalStatus { Kind = "flood", Count = 8 }, new RefusalStatus { Kind = "memory" } },
            Certificates = { new RefusalStatus { Kind = "expired", Count = 3 } },
        },
        Links =
        {
            new LinkStatus { Name = "dx", Peer = "virginia-1", Kind = "interconnect", State = "up", Role = "active", RttMs = 12.25, LossRatio = 0.01 },
            new LinkStatus { Name = "vpn", Peer = "virginia-1", Kind = "vpn", State = "suspect", Role = "standby" },
            new LinkStatus { Name = "vpn", Peer = "oslo-1", Kind = "vpn", State = "down" },
        },
        Sites =
        {
            new SiteStatus { Name = "paris", Gateways = { new GatewayStatus { Name = "paris-1", State = "self" } } },
            new SiteStatus
            {
                Name = "virginia",
                Gateways = { new GatewayStatus { Name = "virginia-1", State = "connected", BytesSent = 1, BytesReceived = 2, BytesResent = 3, Moves = 4, RelayedLanes = 5, RelayedBytes = 6 } },
            },
        },
        Relays =
        {
            new RelayStatus { Name = "via:oslo-1", Relay = "oslo-1", Peer = "virginia-1", Role = "active", RttMs = 30 },
            new RelayStatus { Name = "via:rome-1", Relay = "rome-1", Peer = "virginia-1" },
        },
        Services = { new ServiceStatus { Name = "web.shop", Sites = { new ServiceSiteStatus { Site = "virginia", Endpoints = 3, Healthy = 2 } } } },
    };

    [Fact]
    public void Page_says_what_status_says()
    {
        var page = PrometheusText.Parse(MetricsPage.Render(Full, new DaemonCounters(6, 7, new ProberCounters { Sent = 9, Answered = 8 })
        {
            Shadow = [("no-shops", 3), ("(others)", 4)],
            Held = 11,
        }));

        Assert.Equal(1, page["fabric_info{gateway=paris-1,revision=abc,site=paris,version=1.2.3}"]);
        Assert.Equal((12.5, -3, 4), (page["fabric_uptime_seconds{}"], page["fabric_certificate_expires_seconds{}"], page["fabric_streams{}"]));
        Assert.Equal((1e12, 5, 11), (page["fabric_streams_total{}"], page["fabric_streams_refused_total{}"], page["fabric_streams_held{}"]));
        Assert.Equal((2, 3), (page["fabric_flows{}"], page["fabric_flows_total{}"]));
        Assert.Equal((4, 6), (page["fabric_datagrams_total{direction=to-endpoint}"], page["fabric_datagrams_total{direction=to-client}"]));
        Assert.Equal((500, 700), (page["fabric_datagram_bytes_total{direction=to-endpoint}"], page["fabric_datagram_bytes_total{direction=to-client}"]));
        Assert.Equal(8, page["fabric_datagrams_dropped_total{reason=oversize}"]);
        Assert.Equal((6, 7), (page["fabric_audit_dropped_total{}"], page["fabric_dns_queries_total{}"]));
        Assert.Equal((3, 4), (page["fabric_policy_shadow_total{policy=no-shops}"], page["fabric_policy_shadow_total{policy=(others)}"]));
        Assert.Equal((9, 8), (page["fabric_probes_sent_total{}"], page["fabric_probes_answered_total{}"]));
        Assert.Equal(
            [1, 1, 0], page.Samples.Where(s => s.Key.StartsWith("fabric_link_up{", StringComparison.Ordinal)).Select(s => s.Value));
        Assert.Equal(1, page["fabric_link_active{kind=interconnect,link=dx,peer=virginia-1}"]);
        Assert.Equal(0.01225, page["fabric_link_rtt_seconds{kind=interconnect,link=dx,peer=virginia-1}"], 12);
        Assert.Equal(
            [1, 2, 3, 4],
            new[] { "sent_bytes", "received_bytes", "resent_bytes", "moves" }.Select(n => page[$"fabric_peer_{n}_total{{peer=virginia-1,peer_site=virginia}}"]));
        Assert.Equal(
            [1000, 100, 20, 30], new[] { "limit", "used", "retained", "promised" }.Select(n => page[$"fabric_memory_{n}_bytes{{}}"]));
        Assert.Equal(
            (2, 8, 0), (page["fabric_handshakes{}"], page["fabric_turned_away_total{kind=flood}"], page["fabric_turned_away_total{kind=memory}"]));
        Assert.Equal(3, page["fabric_certificates_refused_total{code=expired}"]);
        Assert.Equal((5, 6), (page["fabric_peer_relayed_lanes{peer=virginia-1,peer_site=virginia}"],
            page["fabric_peer_relayed_bytes_total{peer=virginia-1,peer_site=virginia}"]));
        Assert.Equal((1, 0.03), (page["fabric_relay_active{peer=virginia-1,relay=oslo-1}"], page["fabric_relay_rtt_seconds{peer=virginia-1,relay=oslo-1}"]));
        Assert.DoesNotContain(page.Samples, s => s.Key.Contains("relay=rome-1", StringComparison.Ordinal));
        Assert.Equal(2, page["fabric_service_healthy_endpoints{service=web.shop,site=virginia}"]);
    }

    [Fact]
    public void Counters_are_those_that_only_grow()
    {
        var page = PrometheusText.Parse(MetricsPage.Render(Full, default));

        Assert.All(page.Types, t => Assert.Equal(t.Key.EndsWith("_total", StringComparison.Ordinal) ? "counter" : "gauge", t.Value));
    }

    [Fact]
    public void Labels_are_escaped_and_read_back()
    {
        const string odd = "a\"b\\c\nd\\n{e}=,é";
        var status = Full.Clone();
        status.Version = odd;

        var page = PrometheusText.Parse(MetricsPage.Render(status, default));

        Assert.Equal(1, page[$"fabric_info{{gateway=paris-1,revision=abc,site=paris,version={odd}}}"]);
    }

    [Fact]
    public void Gateway_that_knows_nothing_yet_has_a_valid_page() =>
        Assert.Equal(0, PrometheusText.Parse(MetricsPage.Render(new Status(), default))["fabric_streams{}"]);
}
