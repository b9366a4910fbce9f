using System.Diagnostics;
using System.Net;
using Fabric.Gateway.Tests.Telemetry;
using Fabric.Testing;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.Logging;
using static Fabric.Gateway.Tests.Hosting.LoopbackFabric;
using Spans = Fabric.Gateway.Tests.Telemetry.Spans;

namespace Fabric.Gateway.Tests.Hosting;

/// <summary>One trace through three sites: a caller in paris, a service in virginia, and the one in factory that it asks in its turn.</summary>
public sealed class TraceTests : IAsyncLifetime
{
    /// <summary>Of each test its own: spans of others that run beside are seen as well.</summary>
    private readonly string _theirs = $"00-{ActivityTraceId.CreateRandom()}-{ActivitySpanId.CreateRandom()}-01";

    private readonly int[] _ports = FreePorts.Take(2);
    private readonly Spans _spans = new();
    private readonly HttpClient _http = new(new SocketsHttpHandler { UseProxy = false, ActivityHeadersPropagator = null, PooledConnectionLifetime = TimeSpan.Zero });
    private readonly TaskCompletionSource _asked = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly TaskCompletionSource _answer = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private LoopbackFabric _fabric = null!;
    private WebApplication _front = null!;
    private WebApplication _back = null!;

    public async Task InitializeAsync()
    {
        _back = await ServeAsync(http => http.Response.WriteAsync(http.Request.Headers["traceparent"].ToString()));
        _front = await ServeAsync(async http =>
        {
            if (http.Request.Path == "/held")
            {
                _asked.SetResult();
                await _answer.Task;
            }

            var onward = new HttpRequestMessage(HttpMethod.Get, await AddressAsync(Virginia, "back.shop", _ports[1]));
            onward.Headers.Add("traceparent", http.Request.Headers["traceparent"].ToString());
            using var answer = await _http.SendAsync(onward);
            await http.Response.WriteAsync($"{http.Request.Headers["traceparent"]} {await answer.Content.ReadAsStringAsync()}");
        });
        _fabric = await LoopbackFabric.StartAsync();
        _fabric.Write(_fabric.Topology($$"""
              - name: front
                namespace: shop
                ports: [ { port: {{_ports[0]}}, protocol: http } ]
                health: { type: none }
                exports: [ { site: virginia, endpoints: [ "127.0.0.1:{{PortOf(_front)}}" ] } ]
              - name: back
                namespace: shop
                ports: [ { port: {{_ports[1]}}, protocol: http } ]
                health: { type: none }
                exports: [ { site: factory, endpoints: [ "127.0.0.1:{{PortOf(_back)}}" ] } ]

            """).Replace("services:\n", """
              - { name: read, action: allow, from: [ "site/*" ], to: [ front.shop, back.shop ], http: { methods: [ GET ] } }

            services:

            """, StringComparison.Ordinal).Replace("to: [ \"*.shop\" ]", "to: [ web.shop ]", StringComparison.Ordinal));
        foreach (var gateway in new[] { Paris, Virginia, Factory })
        {
            await _fabric.Admin(gateway).ReloadAsync();
        }

        foreach (var (gateway, service, site) in new[] { (Paris, "front.shop", "virginia"), (Virginia, "back.shop", "factory") })
        {
            await _fabric.Admin(gateway).UntilAsync(s => s.Services.Any(v => v.Name == service && v.ChosenSite == site)
                && s.Listeners.Any(l => l.Name == service && l.Open));
        }
    }

    public async Task DisposeAsync()
    {
        _http.Dispose();
        await _fabric.DisposeAsync();
        await _front.DisposeAsync();
        await _back.DisposeAsync();
        _spans.Dispose();
    }

    private static int PortOf(WebApplication app) => new Uri(app.Urls.First()).Port;

    private static async Task<WebApplication> ServeAsync(RequestDelegate serve)
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.ConfigureKestrel(k => k.Listen(IPAddress.Loopback, 0, l => l.Protocols = HttpProtocols.Http1));
        var app = builder.Build();
        app.Run(serve);
        await app.StartAsync();
        return app;
    }

    private async Task<Uri> AddressAsync(string gateway, string service, int port) =>
        new($"http://{(await _fabric.Admin(gateway).StatusAsync()).Services.Single(s => s.Name == service).ServiceAddress}:{port}/");

    /// <summary>What front and back were sent as traceparent.</summary>
    private async Task<string[]> AskAsync(string? traceParent = null, string path = "")
    {
        var request = new HttpRequestMessage(HttpMethod.Get, new Uri(await AddressAsync(Paris, "front.shop", _ports[0]), path));
        request.Headers.ConnectionClose = true;
        if (traceParent is not null)
        {
            request.Headers.Add("traceparent", traceParent);
            request.Headers.Add("tracestate", "vendor=1");
        }

        using var answer = await _http.SendAsync(request);
        return (await answer.Content.ReadAsStringAsync()).Split(' ');
    }

    private Task<Activity> SpanAsync(string name, string site, ActivityTraceId trace) => _spans.OneAsync($"{name} of {site} in {trace}",
        s => s.OperationName == name && Spans.Tag(s, "fabric.site") == site && s.TraceId == trace);

    [Fact]
    public async Task A_request_that_goes_on_through_three_sites_is_one_tree()
    {
        var sent = await AskAsync();

        var trace = ActivityContext.Parse(sent[0], null).TraceId;
        var ingress = await SpanAsync("ingress", "paris", trace);
        var tunnel = await SpanAsync("tunnel", "paris", trace);
        var egress = await SpanAsync("egress", "virginia", trace);
        var first = await SpanAsync("GET", "virginia", trace);
        var second = await SpanAsync("GET", "factory", trace);
        Assert.Equal(default, ingress.ParentSpanId);
        Assert.Equal(
            [ingress.SpanId, tunnel.SpanId, egress.SpanId, first.SpanId], new[] { tunnel, egress, first, second }.Select(s => s.ParentSpanId));
        Assert.Equal((first.Id, second.Id), (sent[0], sent[1]));
        Assert.Equal((ActivityKind.Server, ActivityKind.Client, ActivityKind.Server, ActivityKind.Server), (ingress.Kind, tunnel.Kind, egress.Kind, first.Kind));
        Assert.Equal("virginia-1", Spans.Tag(tunnel, "fabric.peer"));
        Assert.Contains(Spans.Tag(tunnel, "fabric.link"), new[] { "dx", "internet" });
        Assert.Equal(("127.0.0.1", $"{PortOf(_front)}", "Ok"), (Spans.Tag(egress, "server.address"), Spans.Tag(egress, "server.port"), Spans.Tag(egress, "fabric.code")));
        Assert.Equal(["policy", "endpoint.connected"], egress.Events.Select(e => e.Name));
        Assert.Equal(("200", "/"), (Spans.Tag(first, "http.response.status_code"), Spans.Tag(first, "url.path")));

        // The request of factory came on a stream of its own, whose trace begins in virginia.
        var link = Assert.Single(second.Links).Context;
        Assert.NotEqual(trace, link.TraceId);
        Assert.Equal("virginia", Spans.Tag(await SpanAsync("ingress", "virginia", link.TraceId), "fabric.site"));
    }

    [Fact]
    public async Task A_request_of_a_callers_trace_belongs_to_that_and_is_linked_to_its_stream()
    {
        var sent = await AskAsync(_theirs);

        var theirs = ActivityContext.Parse(_theirs, null);
        var request = await SpanAsync("GET", "virginia", theirs.TraceId);
        Assert.Equal((theirs.SpanId, "vendor=1"), (request.ParentSpanId, request.TraceStateString));
        Assert.Equal(request.Id, sent[0]);
        await SpanAsync("GET", "factory", theirs.TraceId);
        await SpanAsync("tunnel", "paris", Assert.Single(request.Links).Context.TraceId);
    }

    [Fact]
    public async Task A_failover_is_an_event_of_a_request_that_is_under_way_in_the_callers_trace()
    {
        var asking = AskAsync(_theirs, "held");
        await _asked.Task.WaitAsync(Wait.Limit);
        await OnDxAsync();
        await _fabric.Admin(Paris).SetFaultAsync("dx", "cut");
        foreach (var (gateway, peer) in new[] { (Paris, Virginia), (Virginia, Paris) })
        {
            await _fabric.Admin(gateway).UntilAsync(s => s.Sites.SelectMany(x => x.Gateways).Any(g => g.Name == peer && g.ActiveLink == "internet")
                && s.Links.Any(l => l is { Name: "dx", State: "down" }));
        }

        _answer.SetResult();
        await asking;

        // To which link first, the two ends need not agree on: a lane over the old one may have been dialled anew meanwhile.
        var request = await SpanAsync("GET", "virginia", ActivityContext.Parse(_theirs, null).TraceId);
        Assert.True(request.Events.Any(e => e.Name == "failover"),
            $"no failover in {Spans.Text(request)}; there are: {string.Join("; ", _spans.All.Select(Spans.Text))}");
        var moved = request.Events.First(e => e.Name == "failover").Tags.ToDictionary();
        Assert.Equal("dx", moved["fabric.from"]);
        Assert.NotEqual("", moved["fabric.cause"]);
    }

    [Fact]
    public async Task A_denied_request_is_an_answer_and_in_the_metrics()
    {
        using var answer = await _http.PostAsync(await AddressAsync(Paris, "front.shop", _ports[0]), new ByteArrayContent([]));
        Assert.Equal(HttpStatusCode.Forbidden, answer.StatusCode);

        await _spans.OneAsync("the denied request", s => s.OperationName == "POST" && Spans.Tag(s, "http.response.status_code") == "403");
        var counted = await CountedAsync(Virginia,
            "http_server_request_duration_seconds_count{http_request_method=POST,http_response_status_code=403,network_protocol_version=1.1,service=front.shop,source_site=paris}",
            "fabric_policy_verdicts_total{service=front.shop,source_site=paris,subject=request,verdict=deny}");
        Assert.Equal([1.0, 1.0], counted);
    }

    [Fact]
    public async Task A_failover_is_an_event_of_the_stream_a_span_and_in_the_histograms()
    {
        using (var call = await _fabric.CallAsync())
        {
            Assert.Equal("virginia", await call.ReadLineAsync());
            await OnDxAsync();
            await _fabric.Admin(Paris).SetFaultAsync("dx", "cut");
            await _fabric.Admin(Paris).UntilAsync(s => s.Sites.SelectMany(x => x.Gateways).Any(g => g is { Name: Virginia, ActiveLink: "internet" })
                && s.Links.Any(l => l is { Name: "dx", State: "down" }));
            Assert.Equal("on", await call.EchoAsync("on"));
        }

        // Other fabrics of this process fail over as well, to other links or without a pause.
        await _spans.OneAsync("the stream", s => s.OperationName == "tunnel" && s.Events.Any(e => e.Name == "failover"
            && e.Tags.ToDictionary() is var tags && (tags["fabric.from"], tags["fabric.to"]) is ("dx", "internet") && tags["fabric.cause"] is not ""));
        await _spans.OneAsync("the failover", s => s.OperationName == "failover" && Spans.Tag(s, "fabric.site") == "paris"
            && Spans.Tag(s, "fabric.from") == "dx" && Spans.Tag(s, "fabric.to") == "internet" && s.Duration.TotalSeconds is >= 0.05 and <= 60);
        await CountedAsync(Paris,
            "fabric_failover_pause_seconds_count{from=dx,peer=virginia-1,to=internet}", "fabric_failover_detection_seconds_count{link=dx,peer=virginia-1}",
            "fabric_link_probe_duration_seconds_count{link=dx,peer=virginia-1}", "fabric_peer_moves_total{peer=virginia-1,peer_site=virginia}");
    }

    /// <summary>Until both ends send over it: where threads wait for a core, the other link may be the quicker one for a while.</summary>
    private async Task OnDxAsync()
    {
        foreach (var (gateway, peer) in new[] { (Paris, Virginia), (Virginia, Paris) })
        {
            await _fabric.Admin(gateway).UntilAsync(s => s.Sites.SelectMany(x => x.Gateways).Any(g => g.Name == peer && g.ActiveLink == "dx"));
        }
    }

    /// <summary>Values of series, when all of them count something: a span is told of before or after what is counted with it.</summary>
    private async Task<double[]> CountedAsync(string gateway, params string[] series)
    {
        for (var since = Stopwatch.StartNew(); ; await Task.Delay(20))
        {
            var page = PrometheusText.Parse(await _http.GetStringAsync($"http://{_fabric.MetricsOf(gateway)}/metrics"));
            if (series.All(s => page.Samples.TryGetValue(s, out var value) && value >= 1))
            {
                return [.. series.Select(s => page[s])];
            }

            Assert.True(since.Elapsed < Wait.Limit, $"not counted: {string.Join("; ", series.Where(s => !page.Samples.ContainsKey(s)))}");
        }
    }
}
