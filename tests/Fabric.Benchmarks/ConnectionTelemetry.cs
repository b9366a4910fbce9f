using System.Globalization;
using System.Net;
using Fabric.Gateway.Dns;
using Fabric.Gateway.Egress;
using Fabric.Gateway.Ingress;
using Fabric.Gateway.Snapshot;
using Fabric.Gateway.Telemetry;
using Fabric.Gateway.Telemetry.Export;
using Fabric.Gateway.Telemetry.Metrics;
using Fabric.Protocol.Proto;
using Fabric.Routing.Policies;
using Fabric.Routing.Sites;
using Fabric.Topology;
using Fabric.Topology.Model;
using Fabric.Tunnel;
using Microsoft.Extensions.Logging.Abstractions;

namespace Fabric.Benchmarks;

/// <summary>
/// What telemetry adds to a connection through two gateways: it is routed, decided on, and ended at both, without a byte carried. First without telemetry, then with the page, then
/// with OTLP as well, at the default share of traces; and what is told of one HTTP request. <c>dotnet run -c Release --project tests/Fabric.Benchmarks -- telemetry</c>.
/// </summary>
internal static class ConnectionTelemetry
{
    private const int Rounds = 50;
    private const int Connections = 20_000;

    /// <summary>Short as they are, so many that a round is long against what the scheduler counts by.</summary>
    private const int Requests = 500_000;

    private const string Sites = """
        fabric: 1
        trustDomain: acme.example
        sites:
          - { name: paris, serviceAddresses: 127.65.0.0/16, gateways: [ { name: paris-1 } ] }
          - { name: virginia, serviceAddresses: 127.66.0.0/16, gateways: [ { name: virginia-1 } ] }
        links:
          - { name: dx, type: interconnect, ends: [ { gateway: virginia-1, address: 192.0.2.2 }, { gateway: paris-1, address: 192.0.2.1 } ] }
        services:
          - { name: web, namespace: shop, ports: [ { port: 80 } ], health: { type: none }, exports: [ { site: virginia, endpoints: [ "127.0.0.1:8080" ] } ] }
        workloads:
          - { name: shop, site: paris, addresses: [ 127.0.0.1/32 ] }
        policies:
          - { name: shop-may, action: allow, from: [ site/paris/workload/shop ], to: [ "*.shop" ] }

        """;

    private static readonly ServiceListener _listener = new("web.shop", 80, new IPEndPoint(IPAddress.Parse("127.65.0.7"), 80));
    private static readonly IPEndPoint _client = new(IPAddress.Loopback, 50_000);
    private static readonly IPEndPoint _endpoint = new(IPAddress.Loopback, 8080);
    private static readonly StreamSummary _summary = new("web.shop", "virginia-1", _endpoint, StreamCode.Ok, "", 120, 4_000, TimeSpan.FromMilliseconds(3));

    public static async Task MeasureAsync()
    {
        var topology = TopologyLoader.Load([new Fabric.Topology.TopologyFile("bench.yaml", Sites)]).Topology!;
        await using var health = new EndpointHealth(TimeProvider.System, () => { });
        health.Reconcile(topology, "virginia");
        var (paris, virginia) = (Snapshot(topology, "paris-1"), Snapshot(topology, "virginia-1"));
        paris = paris with { Choices = paris.Choices.SetItem(("web.shop", 80), Chosen()) };
        // A name of the topology is a name that is told.
        virginia = virginia with { Choices = paris.Choices };
        while (!health.Of("web.shop", 80).Any(e => e.Healthy))
        {
            await Task.Delay(10);
        }

        // Nobody is at port 9: what is exported is made all the same, and thrown away.
        Environment.SetEnvironmentVariable("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9");
        Environment.SetEnvironmentVariable("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf");
        var settings = OtelSettings.Read(Environment.GetEnvironmentVariable);
        Run("without", null, OtelSettings.None);
        using var meter = new GatewayMeter(new StateReading("1", () => new Status(), () => new DaemonCounters(), TimeProvider.System));
        using var page = new MetricsPage(meter);
        Run("page", meter.Traffic, OtelSettings.None);
        var shop = meter.Traffic.Requests("web.shop", "paris");
        Print("request, page", () => meter.Traffic.RequestEnded(shop, "GET", 200, "1.1", _summary.Duration), "request", Requests);
        await using var export = OtlpExport.Start(settings, "1", "paris-1", "paris", meter, NullLoggerFactory.Instance);
        Run("page and OTLP", meter.Traffic, settings);
        Print("request, both", () => meter.Traffic.RequestEnded(shop, "GET", 200, "1.1", _summary.Duration), "request", Requests);

        void Run(string what, Traffic? traffic, OtelSettings otel)
        {
            var router = new IngressRouter(() => paris, new Random(1)) { Traffic = traffic, TraceShare = otel.TraceShare };
            var decider = new EgressDecider(() => virginia, health, _ => { }, _ => null, TimeProvider.System, NullLogger.Instance) { Traffic = traffic };
            Print(what, () => Connect(router, decider));
        }
    }

    private static void Connect(IngressRouter router, EgressDecider decider)
    {
        var plan = router.PlanAsync(_listener, _client, default).Result;
        var sent = plan.Routes[0].Open;
        var open = new StreamOpen(sent.Service, sent.Port, sent.Caller, sent.TraceParent) { TraceState = sent.TraceState };
        if (decider.DecideAsync("paris-1", open, default).Result is not EgressVerdict.Dial)
        {
            throw new InvalidOperationException("it was refused");
        }

        decider.Ended("paris-1", open, _summary);
        router.Ended(plan, _summary);
    }

    private static void Print(string what, Action once, string unit = "connection", int count = Connections)
    {
        var (times, bytes) = (new List<double>(), 0L);
        for (var round = 0; round < Rounds; round++)
        {
            var (began, before) = (ProcessorTime(), GC.GetAllocatedBytesForCurrentThread());
            for (var i = 0; i < count; i++)
            {
                once();
            }

            times.Add((double)(ProcessorTime() - began) / count);
            bytes = GC.GetAllocatedBytesForCurrentThread() - before;
        }

        // The machine may be busy with others, and a round have a collection in it or none.
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{what,-14}{times.Min(),8:0} ns (median {times.Order().ElementAt(Rounds / 2):0}) {(double)bytes / count,8:0} B per {unit}"));
    }

    /// <summary>Nanoseconds that this thread was on a processor (proc(5), schedstat).</summary>
    private static long ProcessorTime() => long.Parse(File.ReadAllText("/proc/thread-self/schedstat").Split(' ')[0], CultureInfo.InvariantCulture);

    private static SiteChoice Chosen() => SiteChoice.Rank(new SiteQuestion("web.shop", 80, "paris")
    {
        Exports = ["virginia"],
        Gateways = [new GatewayView("virginia-1", "virginia") { Reachable = true, PathScore = 5, CatalogAge = TimeSpan.Zero, Health = new PortHealth(1, 1) }],
    });

    private static FabricSnapshot Snapshot(FabricTopology topology, string gateway)
    {
        var self = topology.FindGateway(gateway)!;
        return new FabricSnapshot
        {
            Topology = topology,
            Self = self,
            Policies = new PolicyEvaluator(topology),
            Callers = new CallerIdentity(topology, self.Site),
            Addresses = ServiceAddresses.Assign(topology, self, new Dictionary<string, IPAddress>(), out _),
            Zone = DnsZone.Empty,
            Tunnel = new TunnelStatus([], [], 0, 0),
        };
    }
}
