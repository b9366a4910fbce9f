using Fabric.Gateway.Dns;
using Fabric.Gateway.Probing;
using Fabric.Gateway.Telemetry;
using Fabric.Gateway.Telemetry.Metrics;
using Fabric.Protocol.Proto;
using Fabric.Routing.Health;
using Fabric.Tunnel;

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

    private static readonly DaemonCounters Counters = new()
    {
        AuditDropped = 6,
        Dns = DnsCounters.Read([], 0) with { UdpQueries = 7 },
        Probes = new ProberCounters { Sent = 9, Answered = 8 },
        Shadow = [("no-shops", 3), ("(others)", 4)],
        Held = 11,
        Capacities = [("dx", "virginia-1", 1_000_000)],
    };

    private static string Render(Status status, DaemonCounters? counters = null, bool openMetrics = false, Action<Traffic>? traffic = null)
    {
        using var meter = new GatewayMeter(new StateReading("1.2.3", () => status, () => counters ?? Counters, TimeProvider.System));
        using var page = new MetricsPage(meter);
        traffic?.Invoke(meter.Traffic);
        return page.Render(openMetrics);
    }

    [Fact]
    public void Page_says_what_status_says()
    {
        var page = PrometheusText.Parse(Render(Full));

        Assert.Equal(1, page["fabric_info{gateway=paris-1,revision=abc,site=paris,version=1.2.3}"]);
        Assert.Equal((12.5, -3, 4), (page["process_uptime_seconds{}"], page["fabric_certificate_expires_seconds{}"], page["fabric_streams{}"]));
        Assert.Equal((1e12, 5, 11), (page["fabric_streams_carried_total{}"], page["fabric_streams_refused_total{}"], page["fabric_streams_held{}"]));
        Assert.Equal((2, 3), (page["fabric_flows{}"], page["fabric_flows_carried_total{}"]));
        Assert.Equal((4, 6), (page["fabric_datagrams_total{direction=to-endpoint}"], page["fabric_datagrams_total{direction=to-client}"]));
        Assert.Equal((500, 700), (page["fabric_datagram_io_bytes_total{direction=to-endpoint}"], page["fabric_datagram_io_bytes_total{direction=to-client}"]));
        Assert.Equal(8, page["fabric_datagrams_dropped_total{reason=oversize}"]);
        Assert.Equal((6, 7), (page["fabric_audit_dropped_total{}"], page["fabric_dns_queries_total{network_transport=udp}"]));
        Assert.Equal((3, 4), (page["fabric_policy_shadow_total{policy=no-shops}"], page["fabric_policy_shadow_total{policy=(others)}"]));
        Assert.Equal((9, 8), (page["fabric_probes_sent_total{}"], page["fabric_probes_answered_total{}"]));
        Assert.Equal(
            [1, 1, 0], page.Samples.Where(s => s.Key.StartsWith("fabric_link_up{", StringComparison.Ordinal)).Select(s => s.Value));
        Assert.Equal(1, page["fabric_link_active{kind=interconnect,link=dx,peer=virginia-1}"]);
        Assert.Equal(0.01225, page["fabric_link_rtt_seconds{kind=interconnect,link=dx,peer=virginia-1}"], 12);
        Assert.Equal(0.01, page["fabric_link_loss_ratio{kind=interconnect,link=dx,peer=virginia-1}"], 12);
        Assert.Equal(1e6, page["fabric_link_capacity_bits_per_second{link=dx,peer=virginia-1}"]);
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
    public void Events_are_counted_by_service_and_pair_of_sites()
    {
        var page = PrometheusText.Parse(Render(Full, traffic: traffic =>
        {
            foreach (var milliseconds in new[] { 3, 20, 40 })
            {
                traffic.StreamEnded("web.shop", "paris", "virginia", "out", new StreamSummary(
                    "web.shop", "virginia-1", null, StreamCode.Ok, "", 10, 100, TimeSpan.FromMilliseconds(milliseconds)));
            }

            var shop = traffic.Requests("web.shop", "paris");
            traffic.RequestEnded(shop, "GET", 503, "1.1", TimeSpan.FromSeconds(1));
            traffic.RequestEnded(shop, "BREW", 0, "2", TimeSpan.FromSeconds(100_000));
            traffic.RequestEnded(shop, "STEEP", 999, "2", TimeSpan.Zero);
            foreach (var (service, source, method, version, status) in new[]
            {
                ("web.shop", "paris", "GET", "1.1", 200), ("web.shop", "oslo", "GET", "1.1", 200), ("web.shop", "paris", "GET", "2", 200),
                ("web.shop", "paris", "PUT", "1.1", 200), ("api.shop", "paris", "GET", "1.1", 200), ("web.shop", "paris", "GET", "1.1", 404),
            })
            {
                traffic.RequestEnded(traffic.Requests(service, source), method, status, version, TimeSpan.Zero);
                traffic.RequestEnded(traffic.Requests(service, source), method, status, version, TimeSpan.Zero);
            }

            traffic.Moved("virginia-1", "dx", "vpn", TimeSpan.FromMilliseconds(180));
            traffic.StreamEnded("web.shop", "paris", "virginia", "in", new StreamSummary("web.shop", null, null, (StreamCode)200, "", 0, 0, TimeSpan.Zero));
            traffic.Answered(TimeSpan.FromMicroseconds(12));
            var dx = new ProbeTarget("virginia-1", "dx", null, null, 1_500) { Capacity = 1_000_000_000 };
            traffic.Measured(dx, new ProbeWindow(200, 0, TimeSpan.FromMicroseconds(70), Passes: true));
            traffic.Measured(dx, new ProbeWindow(195, 5, TimeSpan.FromMilliseconds(3), Passes: true));
            traffic.Measured(dx, new ProbeWindow(0, 10, null, Passes: false));
            traffic.Measured(dx with { Link = "vpn", Capacity = null }, new ProbeWindow(10, 0, TimeSpan.Zero, Passes: true));
        }));

        const string pair = "code=Ok,destination_site=virginia,direction=out";
        string Stream(string what, string le = "") => $"fabric_stream_duration_seconds_{what}{{{pair}{le},service=web.shop,source_site=paris}}";
        Assert.Equal([1, 1, 3, 3], new[] { "0.005", "0.01", "0.05", "+Inf" }.Select(le => page[Stream("bucket", $",le={le}")]));
        Assert.Equal((3, 0.063), (page[Stream("count")], Math.Round(page[Stream("sum")], 12)));
        Assert.Equal(300, page["fabric_stream_io_bytes_total{destination_site=virginia,direction=out,service=web.shop,source_site=paris,way=to-client}"]);
        Assert.Equal(1, page["http_server_request_duration_seconds_count{error_type=503,http_request_method=GET,http_response_status_code=503,"
            + "network_protocol_version=1.1,service=web.shop,source_site=paris}"]);
        Assert.Equal(1, page["http_server_request_duration_seconds_count{error_type=unanswered,http_request_method=_OTHER,network_protocol_version=2,"
            + "service=web.shop,source_site=paris}"]);
        Assert.Equal(1, page["http_server_request_duration_seconds_count{http_request_method=_OTHER,network_protocol_version=2,service=web.shop,source_site=paris}"]);
        Assert.Equal(6, page.Samples.Count(s => s.Value == 2 && s.Key.StartsWith("http_server_request_duration_seconds_count{http_request_method", StringComparison.Ordinal)));
        Assert.Equal(2, page["http_server_request_duration_seconds_count{http_request_method=GET,http_response_status_code=404,network_protocol_version=1.1,"
            + "service=web.shop,source_site=paris}"]);
        Assert.Equal(1, page["fabric_stream_duration_seconds_count{code=(unknown),destination_site=virginia,direction=in,service=web.shop,source_site=paris}"]);
        Assert.DoesNotContain(page.Samples.Keys, k => k.StartsWith("fabric_stream_io", StringComparison.Ordinal) && k.Contains("direction=in", StringComparison.Ordinal));
        Assert.Equal((0, 1), (page["fabric_dns_answer_duration_seconds_bucket{le=1E-05}"], page["fabric_dns_answer_duration_seconds_bucket{le=2.5E-05}"]));
        Assert.Equal((0, 1), (page["fabric_failover_pause_seconds_bucket{from=dx,le=0.15,peer=virginia-1,to=vpn}"],
            page["fabric_failover_pause_seconds_bucket{from=dx,le=0.2,peer=virginia-1,to=vpn}"]));
        double[] Link(string what, string link, params string[] upTo) => [.. upTo.Select(le => page[$"fabric_link_{what}_bucket{{le={le},link={link},peer=virginia-1}}"])];
        Assert.Equal([1, 1, 2, 2, 3], Link("probe_loss", "dx", "0", "0.02", "0.05", "0.99", "+Inf"));
        Assert.Equal([0, 1, 1, 2, 2], Link("probe_jitter_seconds", "dx", "5E-05", "0.0001", "0.0025", "0.005", "+Inf"));
        Assert.Equal([1, 1, 3, 3], Link("capacity_available_bits_per_second", "dx", "0", "500000000", "1000000000", "+Inf"));
        Assert.Equal([1, 1], Link("probe_loss", "vpn", "0", "+Inf"));
        Assert.DoesNotContain(page.Samples.Keys, k => k.StartsWith("fabric_link_capacity_available", StringComparison.Ordinal) && k.Contains("link=vpn", StringComparison.Ordinal));
    }

    [Fact]
    public void Telling_of_a_request_allocates_nothing()
    {
        using var meter = new GatewayMeter(new StateReading("1", () => Full, () => Counters, TimeProvider.System));
        using var page = new MetricsPage(meter);
        var shop = meter.Traffic.Requests("web.shop", "paris");
        void Requests()
        {
            for (var i = 0; i < 1_000; i++)
            {
                meter.Traffic.RequestEnded(shop, "GET", i % 2 == 0 ? 200 : 503, "1.1", TimeSpan.FromMilliseconds(3));
            }
        }

        Requests();
        var before = GC.GetAllocatedBytesForCurrentThread();
        Requests();
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
    }

    /// <summary>On the thread that judges links.</summary>
    [Fact]
    public void Telling_of_links_allocates_nothing()
    {
        using var meter = new GatewayMeter(new StateReading("1", () => Full, () => Counters, TimeProvider.System));
        using var page = new MetricsPage(meter);
        var target = new ProbeTarget("virginia-1", "dx", null, null, 1_500) { Capacity = 1_000_000_000 };
        var health = new LinkHealth(new LinkHealthOptions(), TimeSpan.Zero);
        var (now, windows) = (TimeSpan.Zero, 0);
        void Probe()
        {
            var sequence = health.ProbeSent(fullSize: false, now);
            now += TimeSpan.FromMilliseconds(50);
            health.Answered(sequence, sequence, now, TimeSpan.Zero, out _);
            meter.Traffic.Probed(target.Peer, target.Link, TimeSpan.FromMilliseconds(50));
            health.Tick(now, TimeSpan.Zero);
            if (health.TryTakeWindow(now, out var window))
            {
                windows++;
                meter.Traffic.Measured(target, window);
            }
        }

        for (var i = 0; i < 1_000; i++)
        {
            Probe();
        }

        var before = GC.GetAllocatedBytesForCurrentThread();
        for (var i = 0; i < 1_000; i++)
        {
            Probe();
        }

        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
        Assert.Equal(10, windows);
    }

    [Fact]
    public void Counters_are_those_that_only_grow()
    {
        var page = PrometheusText.Parse(Render(Full));

        Assert.All(page.Types, t => Assert.Equal(t.Key.EndsWith("_total", StringComparison.Ordinal), t.Value == "counter"));
    }

    [Fact]
    public void What_is_gone_from_the_state_is_gone_from_the_page()
    {
        var status = Full.Clone();
        using var meter = new GatewayMeter(new StateReading("1", () => status, () => Counters, TimeProvider.System));
        using var page = new MetricsPage(meter);
        Assert.Contains("fabric_link_up{link=\"vpn\",peer=\"oslo-1\"", page.Render(), StringComparison.Ordinal);

        status.Links.RemoveAt(2);

        Assert.DoesNotContain("fabric_link_up{link=\"vpn\",peer=\"oslo-1\"", page.Render(), StringComparison.Ordinal);
    }

    /// <summary>Names that somebody makes up: so many series and no more, and what is beyond them is not lost.</summary>
    [Fact]
    public void A_flood_of_names_is_summed_up_in_one_series_beyond_the_limit()
    {
        const int flood = 5 * Measure.MostSeries;
        var page = PrometheusText.Parse(Render(Full, traffic: traffic =>
        {
            for (var i = 0; i < flood; i++)
            {
                traffic.Verdict($"s{i}.shop", "paris", "stream", allowed: true);
                traffic.Detected("dx", $"peer-{i}", TimeSpan.FromMilliseconds(200));
                traffic.RequestEnded(traffic.Requests($"s{i % 100}.shop", "paris"), "GET", 100 + (i / 100), "1.1", TimeSpan.Zero);
                traffic.RequestEnded(traffic.Requests($"t{i}.shop", "paris"), "GET", 200, "1.1", TimeSpan.Zero);
                traffic.StreamEnded($"s{i}.shop", "paris", "virginia", "out", new StreamSummary("", null, null, StreamCode.Ok, "", 2, 1, TimeSpan.Zero));
            }
        }));

        var verdicts = page.Samples.Where(s => s.Key.StartsWith("fabric_policy_verdicts_total{", StringComparison.Ordinal)).ToList();
        Assert.Equal(Measure.MostSeries + 1, verdicts.Count);
        Assert.Equal(flood, verdicts.Sum(s => s.Value));
        Assert.Equal(flood - Measure.MostSeries, page["fabric_policy_verdicts_total{otel_metric_overflow=true}"]);
        Assert.Equal(flood - Measure.MostSeries, page["fabric_failover_detection_seconds_count{otel_metric_overflow=true}"]);
        Assert.Equal(flood - Measure.MostSeries, page["fabric_stream_duration_seconds_count{otel_metric_overflow=true}"]);
        Assert.Equal((2 * flood) - Measure.MostSeries, page["http_server_request_duration_seconds_count{otel_metric_overflow=true}"]);
        Assert.Equal(Measure.MostSeries + 1, page.Samples.Keys.Count(k => k.StartsWith("http_server_request_duration_seconds_count{", StringComparison.Ordinal)));
        var bytes = page.Samples.Where(s => s.Key.StartsWith("fabric_stream_io_bytes_total{", StringComparison.Ordinal)).ToList();
        Assert.Equal((Measure.MostSeries + 1, 3 * flood), (bytes.Count, bytes.Sum(s => s.Value)));
    }

    [Fact]
    public void A_flood_of_links_in_the_state_is_cut_off_and_says_how_many_are_not_shown()
    {
        var status = new Status();
        status.Links.Add(Enumerable.Range(0, Measure.MostSeries + 7).Select(i => new LinkStatus { Name = $"l{i}", Peer = "p", State = "up" }));

        var page = PrometheusText.Parse(Render(status));

        Assert.Equal(7, page["fabric_link_up{otel_metric_overflow=true}"]);
        Assert.Equal(Measure.MostSeries + 1, page.Samples.Keys.Count(k => k.StartsWith("fabric_link_up{", StringComparison.Ordinal)));
    }

    [Fact]
    public void OpenMetrics_names_families_without_total_and_ends_with_its_end()
    {
        var page = Render(Full, openMetrics: true);

        Assert.Contains("\n# TYPE fabric_streams_refused counter\nfabric_streams_refused_total 5\n", page, StringComparison.Ordinal);
        Assert.EndsWith("\n# EOF\n", page, StringComparison.Ordinal);
    }

    [Fact]
    public void Labels_are_escaped_and_read_back()
    {
        const string odd = "a\"b\\c\nd\\n{e}=,é";
        var status = Full.Clone();
        status.Version = odd;

        var page = PrometheusText.Parse(Render(status));

        Assert.Equal(1, page[$"fabric_info{{gateway=paris-1,revision=abc,site=paris,version={odd}}}"]);
    }

    [Fact]
    public void Gateway_that_knows_nothing_yet_has_a_valid_page() =>
        Assert.Equal(0, PrometheusText.Parse(Render(new Status(), new DaemonCounters()))["fabric_streams{}"]);
}
