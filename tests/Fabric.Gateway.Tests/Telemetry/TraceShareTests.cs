using System.Diagnostics;
using System.Net;
using Fabric.Gateway.Egress;
using Fabric.Gateway.Ingress;
using Fabric.Gateway.Snapshot;
using Fabric.Gateway.Telemetry.Export;
using Fabric.Routing.Sites;
using Fabric.Tunnel;
using Microsoft.Extensions.Logging.Abstractions;
using OpenTelemetry;
using OpenTelemetry.Trace;
using Traced = Fabric.Gateway.Telemetry.Traces.Spans;

namespace Fabric.Gateway.Tests.Telemetry;

/// <summary>Of the connections, a share is traced; for all others no span is made, at any gateway, and none for requests in them.</summary>
public sealed class TraceShareTests : IDisposable
{
    private const string Theirs = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    private static readonly IPEndPoint _client = new(IPAddress.Loopback, 50_000);

    /// <summary>Somebody listens, and takes all.</summary>
    private readonly Spans _spans = new();

    public void Dispose() => _spans.Dispose();

    private static readonly Random _random = new(1);
    private static readonly FabricSnapshot _paris = Paris();

    private static FabricSnapshot Paris()
    {
        var snapshot = Samples.Snapshot(Samples.TwoSites, "paris-1");
        return snapshot with
        {
            Choices = snapshot.Choices.SetItem(("web.shop", 80), SiteChoice.Rank(new SiteQuestion("web.shop", 80, "paris")
            {
                Exports = ["virginia"],
                Gateways = [new GatewayView("virginia-1", "virginia") { Reachable = true, PathScore = 5, CatalogAge = TimeSpan.Zero, Health = new PortHealth(1, 1) }],
            })),
        };
    }

    /// <summary>A connection that was routed, and ended.</summary>
    private static async Task<StreamOpen> RouteAsync(double share)
    {
        var router = new IngressRouter(() => _paris, _random) { TraceShare = share };
        var plan = await router.PlanAsync(new ServiceListener("web.shop", 80, new IPEndPoint(IPAddress.Parse("127.65.0.7"), 80)), _client, default);
        router.Ended(plan, new StreamSummary("web.shop", "virginia-1", null, StreamCode.Ok, "", 1, 1, TimeSpan.Zero));
        return plan.Routes[0].Open;
    }

    [Fact]
    public async Task A_connection_that_is_not_drawn_has_no_span_and_says_so_to_the_others()
    {
        var (one, other) = (await RouteAsync(0), await RouteAsync(0));

        Assert.Null(one.Span);
        Assert.Matches("^00-[0-9a-f]{32}-[0-9a-f]{16}-00$", one.TraceParent);
        // A trace in the audit logs all the same, and each its own.
        Assert.NotEqual(one.TraceParent, other.TraceParent);
        Assert.True(ActivityContext.TryParse(one.TraceParent, null, out var context));
        Assert.DoesNotContain(_spans.All, s => s.TraceId == context.TraceId);
    }

    [Fact]
    public async Task A_connection_that_is_drawn_has_its_spans()
    {
        var open = await RouteAsync(1);

        Assert.Equal(open.Span!.Id, open.TraceParent);
        Assert.EndsWith("-01", open.TraceParent, StringComparison.Ordinal);
        Assert.Equal(["ingress", "tunnel"], _spans.All.Where(s => s.TraceId == open.Span.TraceId).Select(s => s.OperationName).Order());
    }

    [Fact]
    public async Task So_many_are_drawn_as_the_share_says()
    {
        var drawn = 0;
        for (var i = 0; i < 2_000; i++)
        {
            drawn += (await RouteAsync(0.25)).Span is null ? 0 : 1;
        }

        // Eight times the standard deviation to each side.
        Assert.InRange(drawn, 345, 655);
    }

    [Fact]
    public async Task At_the_exporting_gateway_neither_the_stream_nor_a_request_in_it_has_a_span_but_that_of_a_caller_who_traces()
    {
        var snapshot = Samples.Snapshot(Samples.TwoSites, "virginia-1");
        await using var health = new EndpointHealth(TimeProvider.System, () => { });
        var egress = new EgressDecider(() => snapshot, health, _ => { }, _ => null, TimeProvider.System, NullLogger.Instance);
        var open = new StreamOpen("web.shop", 80, Samples.Shop, (await RouteAsync(0)).TraceParent);

        await egress.DecideAsync("paris-1", open, default);

        Assert.Null(open.Served);
        Assert.Null(Traced.Request(open, "virginia", "GET", "/", new(null, null, "1.1")));
        Assert.Null(Traced.Request(open, "virginia", "GET", "/", new("no traceparent", null, "1.1")));
        Assert.Null(Traced.Request(open, "virginia", "GET", "/", new(Theirs[..^1] + "0", null, "1.1")));
        using var theirs = Traced.Request(open, "virginia", "GET", "/", new(Theirs, null, "1.1"));
        Assert.Equal(("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"), ($"{theirs!.TraceId}", $"{theirs.ParentSpanId}"));
        Assert.Equal(open.TraceParent[3..35], $"{Assert.Single(theirs.Links).Context.TraceId}");
    }

    /// <summary>By the SDK itself: connections were drawn already, of what else begins a trace it draws.</summary>
    [Fact]
    public void What_was_drawn_is_recorded_and_what_is_rare_is_drawn_by_the_sampler()
    {
        using var source = new ActivitySource($"{nameof(TraceShareTests)}");
        using var provider = Sdk.CreateTracerProviderBuilder().AddSource(source.Name).SetSampler(new ParentBasedSampler(new RootSampler(0))).Build();

        using var connection = source.StartActivity(Traced.Connection);
        using var beneath = source.StartActivity("tunnel");
        Assert.True(connection!.Recorded && beneath!.Recorded);
        Activity.Current = null;
        using var failover = source.StartActivity("failover");
        Assert.False(failover?.Recorded ?? false);
    }
}
