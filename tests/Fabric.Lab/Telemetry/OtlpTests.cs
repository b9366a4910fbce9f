using System.Text.Json;

using Fabric.Lab.Processes;
using Fabric.Testing;
using static Fabric.Lab.Telemetry.OtlpReceiver;

namespace Fabric.Lab.Telemetry;

/// <summary>What three gateways send, as a receiver of another language reads it.</summary>
public sealed class OtlpTests
{
    /// <summary>Site b speaks gRPC; site c has an address for each signal, and its own name.</summary>
    private static string[] Environment(string site) =>
    [
        "OTEL_TRACES_SAMPLER=always_on", "OTEL_BSP_SCHEDULE_DELAY=100", "OTEL_BLRP_SCHEDULE_DELAY=100", "OTEL_METRIC_EXPORT_INTERVAL=500",
        .. site switch
        {
            "a" => new[] { $"OTEL_EXPORTER_OTLP_ENDPOINT=http://{Http}", "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf", "OTEL_EXPORTER_OTLP_HEADERS=x-key=of-a" },
            "b" => [$"OTEL_EXPORTER_OTLP_ENDPOINT=http://{Grpc}", "OTEL_EXPORTER_OTLP_PROTOCOL=grpc", "OTEL_EXPORTER_OTLP_HEADERS=x-key=of-b"],
            _ =>
            [
                $"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://{Http}/spans/of/c/traces", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=http/protobuf",
                $"OTEL_EXPORTER_OTLP_ENDPOINT=http://{Grpc}", "OTEL_LOGS_EXPORTER=none", "OTEL_SERVICE_NAME=gateway-of-c",
                "OTEL_RESOURCE_ATTRIBUTES=deployment.environment.name=lab",
            ],
        },
    ];

    [RequiresFact("python3-grpcio")]
    public async Task A_request_through_three_sites_is_one_tree_and_metrics_and_logs_come_with_it()
    {
        await using var work = await WorkFolder.Take();
        await using var receiver = await OtlpReceiver.Start(work);
        await using var sites = await ThreeSites.Start(work, Environment);

        var sent = await sites.Ask();
        await sites.AskClosed();

        // The trace by its number, which the two services were sent as well.
        var trace = sent[0].Split('-')[1];
        Assert.Equal(trace, sent[1].Split('-')[1]);
        var all = await receiver.Until("the spans of three sites", lines => Spans(lines, trace).Select(Site).Distinct().Count() == 3
            && Spans(lines, trace).Any(s => Is(s, "name", "ingress")) && Spans(lines, trace).Any(s => Is(s, "name", "egress")));
        var spans = Spans(all, trace).ToDictionary(s => s.GetProperty("span").GetString()!);
        var root = Assert.Single(spans.Values, s => Is(s, "parent", ""));
        Assert.Equal(("ingress", "a"), (Name(root), Site(root)));
        Assert.All(spans.Values.Where(s => !Is(s, "parent", "")), s => Assert.Contains(s.GetProperty("parent").GetString()!, spans.Keys));
        // Kinds of OTLP: 2 is server, 3 client.
        Assert.Equal(
            ["ingress a 2", "tunnel a 3", "egress b 2", "GET b 2", "GET c 2"],
            Down(spans, sent[1].Split('-')[2]).Select(s => $"{Name(s)} {Site(s)} {s.GetProperty("kind").GetInt32()}"));

        Resources(all);
        Metrics(await receiver.Until("metrics of the request", lines => Of(lines, "metrics").Any(m => Is(m, "name", "http.server.request.duration"))));
        await Logs(receiver);
        await sites.Stop();
    }

    /// <summary>The importing gateway reads no HTTP: its spans are the stream's, in a trace of its own that the request's span is linked to.</summary>
    [RequiresFact("python3-grpcio", "curl")]
    public async Task A_request_of_a_caller_that_traces_is_in_the_callers_trace_at_every_site_that_reads_it()
    {
        const string theirs = "0af7651916cd43dd8448eb211c80319c";
        const string caller = "b7ad6b7169203331";
        await using var work = await WorkFolder.Take();
        await using var receiver = await OtlpReceiver.Start(work);
        // No connection is drawn, and yet the request is traced: its caller says so.
        await using var sites = await ThreeSites.Start(work, site =>
            [.. Environment(site).Where(v => !v.StartsWith("OTEL_TRACES_SAMPLER=", StringComparison.Ordinal)), "OTEL_TRACES_SAMPLER=parentbased_traceidratio",
                $"OTEL_TRACES_SAMPLER_ARG={(site == "a" ? 1 : 0)}"]);

        var sent = await sites.AskByCurl($"00-{theirs}-{caller}-01");

        var all = await receiver.Until("the requests and the stream of the first", lines => Spans(lines, theirs).Count() == 2
            && Spans(lines, theirs).SelectMany(Links).Any(l => Spans(lines, l).Any(s => Is(s, "name", "ingress"))));
        var spans = Spans(all, theirs).ToDictionary(Site);
        Assert.Equal(
            [("GET", caller, sent[0]), ("GET", spans["b"].GetProperty("span").GetString(), sent[1])],
            new[] { spans["b"], spans["c"] }.Select(s => (Name(s), s.GetProperty("parent").GetString(), $"00-{theirs}-{s.GetProperty("span").GetString()}-01")));
        // The stream of the first is traced where it began, and in that trace it goes from site to site; that of the second was not drawn.
        var stream = Spans(all, Assert.Single(Links(spans["b"]))).ToList();
        Assert.Contains(stream, s => (Name(s), Site(s)) == ("ingress", "a"));
        Assert.Empty(Spans(receiver.Received(), Assert.Single(Links(spans["c"]))));
        await sites.Stop();
    }

    /// <summary>Traces that the span is linked to.</summary>
    private static IEnumerable<string> Links(JsonElement span) => span.GetProperty("links").EnumerateArray().Select(l => l.GetProperty("trace").GetString()!);

    [RequiresFact("python3-grpcio")]
    public async Task A_site_that_left_the_topology_is_in_no_metrics_any_more()
    {
        await using var work = await WorkFolder.Take();
        await using var receiver = await OtlpReceiver.Start(work);
        await using var sites = await ThreeSites.Start(work, Environment);
        static bool IsOfC(JsonElement m) => Site(m) == "a" && m.GetProperty("attributes") is var of && (Is(of, "peer", "c-1") || Is(of, "peer_site", "c") || Is(of, "site", "c"));
        static List<JsonElement> Infos(IEnumerable<JsonElement> lines) => [.. Of(lines, "metrics").Where(m => Site(m) == "a" && Is(m, "name", "fabric.info"))];
        var before = await receiver.Until("metrics of site c", lines => Of(lines, "metrics").Any(IsOfC) && Infos(lines).Count > 0);
        var revision = Infos(before)[^1].GetProperty("attributes").GetProperty("revision").GetString()!;

        await sites.ForgetC();

        // The first export with the new revision may have begun before it was there.
        bool IsNew(JsonElement m) => Is(m, "name", "fabric.info") && Site(m) == "a" && !Is(m.GetProperty("attributes"), "revision", revision);
        var after = (await receiver.Until("some more metrics of site a", lines => lines.Count(IsNew) >= 4)).SkipWhile(l => !IsNew(l)).Skip(1).SkipWhile(l => !IsNew(l)).ToList();
        Assert.DoesNotContain(Of(after, "metrics"), IsOfC);
        Assert.All(Infos(after), m => Assert.True(IsNew(m)));
        Assert.Contains(Of(after, "metrics"), m => Site(m) == "a" && Is(m.GetProperty("attributes"), "peer", "b-1"));
    }

    /// <summary>What was never sent is not lost when a gateway stops, and one that nobody listens to stops all the same.</summary>
    [RequiresFact("python3-grpcio")]
    public async Task What_is_left_is_sent_at_the_end_and_a_dead_receiver_holds_nobody_up()
    {
        await using var work = await WorkFolder.Take();
        await using var receiver = await OtlpReceiver.Start(work);
        await using var sites = await ThreeSites.Start(work, site =>
        [
            "OTEL_TRACES_SAMPLER=always_on", "OTEL_BSP_SCHEDULE_DELAY=600000", "OTEL_METRIC_EXPORT_INTERVAL=600000",
            // Nobody is at port 9.
            $"OTEL_EXPORTER_OTLP_ENDPOINT=http://{(site == "c" ? "127.97.0.1:9" : Http)}", "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf",
        ]);
        var trace = (await sites.Ask())[0].Split('-')[1];
        Assert.Empty(Spans(receiver.Received(), trace));

        await sites.Stop().WaitAsync(TimeSpan.FromSeconds(15));

        await receiver.Until("the spans of two sites", lines => Spans(lines, trace).Select(Site).Distinct().Order().SequenceEqual(["a", "b"]));
    }

    private static void Resources(IReadOnlyList<JsonElement> all)
    {
        foreach (var (site, protocol, key, service) in new[]
        {
            ("a", "http/v1/traces", "of-a", "fabricd"), ("b", "grpc", "of-b", "fabricd"), ("c", "http/spans/of/c/traces", null, "gateway-of-c"),
        })
        {
            var span = Of(all, "traces").First(s => Site(s) == site);
            Assert.Equal((protocol, key), (span.GetProperty("protocol").GetString(), span.GetProperty("key").GetString()));
            var resource = span.GetProperty("resource");
            Assert.Equal((service, $"{site}-1"), (resource.GetProperty("service.name").GetString(), resource.GetProperty("service.instance.id").GetString()));
            Assert.Equal(site == "c", Is(resource, "deployment.environment.name", "lab"));
        }
    }

    private static void Metrics(IReadOnlyList<JsonElement> all)
    {
        var duration = Of(all, "metrics").First(m => Is(m, "name", "http.server.request.duration"));
        Assert.Equal(("histogram", "s"), (duration.GetProperty("kind").GetString(), duration.GetProperty("unit").GetString()));
        Assert.Equal(200, duration.GetProperty("attributes").GetProperty("http.response.status_code").GetInt32());
        Assert.Equal(1_800, duration.GetProperty("bounds").EnumerateArray().Last().GetDouble());
        foreach (var name in new[] { "fabric.link.up", "fabric.loop.turns", "fabric.info", "process.cpu.time", "dotnet.gc.collections" })
        {
            Assert.Equal(["a", "b", "c"], Of(all, "metrics").Where(m => Is(m, "name", name)).Select(Site).Distinct().Order());
        }
    }

    /// <summary>A refusal is logged within the span of the stream that it is about.</summary>
    private static async Task Logs(OtlpReceiver receiver)
    {
        static bool IsRefusal(JsonElement l) => Site(l) == "b" && l.GetProperty("body").GetString()!.Contains("closed.shop", StringComparison.Ordinal);
        var all = await receiver.Until("the refusal and its span", lines => Of(lines, "logs").FirstOrDefault(IsRefusal) is { ValueKind: JsonValueKind.Object } found
            && Of(lines, "traces").Any(s => Is(s, "span", found.GetProperty("span").GetString()!)));
        var refusal = Of(all, "logs").First(IsRefusal);
        var span = Of(all, "traces").First(s => Is(s, "span", refusal.GetProperty("span").GetString()!));
        Assert.Equal(("egress", refusal.GetProperty("trace").GetString()), (Name(span), span.GetProperty("trace").GetString()));
        Assert.Equal("PolicyDenied", span.GetProperty("attributes").GetProperty("error.type").GetString());
        Assert.Contains(Of(all, "logs"), l => Site(l) == "a" && l.GetProperty("body").GetString() == "Ready");
        Assert.DoesNotContain(Of(all, "logs"), l => Site(l) == "c");
    }

    private static IEnumerable<JsonElement> Of(IEnumerable<JsonElement> lines, string signal) => lines.Where(l => Is(l, "signal", signal));

    private static IEnumerable<JsonElement> Spans(IEnumerable<JsonElement> lines, string trace) => Of(lines, "traces").Where(l => Is(l, "trace", trace));

    private static string Name(JsonElement line) => line.GetProperty("name").GetString()!;

    private static string Site(JsonElement line) => line.GetProperty("resource").GetProperty("fabric.site").GetString()!;

    /// <summary>From the root to that span.</summary>
    private static IEnumerable<JsonElement> Down(Dictionary<string, JsonElement> spans, string last)
    {
        var way = new List<JsonElement>();
        for (var id = last; id.Length > 0; id = spans[id].GetProperty("parent").GetString()!)
        {
            way.Insert(0, spans[id]);
        }

        return way;
    }
}
