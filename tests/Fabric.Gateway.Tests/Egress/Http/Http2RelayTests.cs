using System.Buffers;
using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Text;
using Fabric.Gateway.Telemetry.Traces;
using Fabric.Protocol.Grpc;
using Fabric.Protocol.Http;
using Fabric.Protocol.Proto.Health;
using Fabric.Testing;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.Logging;

namespace Fabric.Gateway.Tests.Egress.Http;

public sealed class Http2RelayTests
{
    private static readonly Version _two = new(2, 0);

    /// <summary>Answers with method, path and the length of the body, over HTTP/2 in plain text.</summary>
    private static async Task<WebApplication> ServeAsync(RequestDelegate serve)
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.ConfigureKestrel(k => k.Listen(IPAddress.Loopback, 0, l => l.Protocols = HttpProtocols.Http2));
        var app = builder.Build();
        app.Run(serve);
        await app.StartAsync();
        return app;
    }

    private static async Task EchoAsync(HttpContext http)
    {
        long length = 0;
        for (var ended = false; !ended;)
        {
            var read = await http.Request.BodyReader.ReadAsync();
            (length, ended) = (length + read.Buffer.Length, read.IsCompleted);
            http.Request.BodyReader.AdvanceTo(read.Buffer.End);
        }

        await http.Response.WriteAsync($"{http.Request.Method} {http.Request.Path}{http.Request.QueryString} {length} {http.Request.Headers["x-number"]}");
    }

    private static int PortOf(WebApplication app) => new Uri(app.Urls.First()).Port;

    private static HttpRequestMessage Ask(CarrierBench bench, string path, HttpMethod? method = null) =>
        new(method ?? HttpMethod.Get, $"http://127.0.0.1:{bench.Port}{path}") { Version = _two, VersionPolicy = HttpVersionPolicy.RequestVersionExact };

    [Theory]
    [InlineData(null, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")]
    [InlineData("00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01", "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01")]
    public async Task A_traced_request_goes_on_with_the_spans_own_context_and_the_callers_state(string? own, string sent)
    {
        const string theirs = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        await using var app = await ServeAsync(http =>
        {
            http.Response.StatusCode = 418;
            return http.Response.WriteAsync($"{http.Request.Headers["traceparent"]} {http.Request.Headers["tracestate"]}");
        });
        await using var bench = new CarrierBench(PortOf(app)) { TraceParent = own };
        using var client = new HttpClient(new SocketsHttpHandler { ActivityHeadersPropagator = null });
        using var request = Ask(bench, "/a");
        request.Headers.Add("traceparent", theirs);
        request.Headers.Add("tracestate", "a=1");

        using var answer = await client.SendAsync(request);

        Assert.Equal($"{sent} a=1", await answer.Content.ReadAsStringAsync());
        Assert.Equal(new RequestTrace(theirs, "a=1", "2"), Assert.Single(bench.Traces));
        Assert.Equal(418, Assert.Single(bench.Statuses));
    }

    [Fact]
    public async Task Many_requests_of_one_connection_are_decided_each()
    {
        await using var app = await ServeAsync(EchoAsync);
        await using var bench = new CarrierBench(PortOf(app));
        using var client = new HttpClient(new SocketsHttpHandler { EnableMultipleHttp2Connections = false });

        // More than the window of a connection is sent to what is denied: it must come back.
        var body = new byte[100_000];
        var answers = await Task.WhenAll(Enumerable.Range(0, 200).Select(async i =>
        {
            using var ask = Ask(bench, $"/{(i % 2 == 0 ? "a" : "deny")}/{i}?q", HttpMethod.Post);
            ask.Headers.Add("X-Number", $"{i}");
            ask.Content = i % 4 < 2 ? new ByteArrayContent(body) : null;
            using var answer = await client.SendAsync(ask).WaitAsync(Wait.Limit);
            return (i, answer.StatusCode, await answer.Content.ReadAsStringAsync());
        }));

        Assert.All(answers, a => Assert.Equal(a.i % 2 == 0 ? HttpStatusCode.OK : HttpStatusCode.Forbidden, a.StatusCode));
        Assert.All(answers.Where(a => a.i % 2 == 0), a => Assert.Equal($"POST /a/{a.i}?q {(a.i % 4 == 0 ? body.Length : 0)} {a.i}", a.Item3));
        Assert.Empty(bench.Problems);
        await Wait.UntilAsync(() => bench.Live == 0, () => "all requests are over");
    }

    [Fact]
    public async Task Grpc_is_denied_in_its_own_words()
    {
        var server = new GrpcServer(TimeProvider.System).Health(_ => true);
        await using var app = await ServeAsync(server.InvokeAsync);
        await using var denying = new CarrierBench(PortOf(app), (_, _) => false);
        await using var allowing = new CarrierBench(PortOf(app), (method, path) => (method, path) == ("POST", "/grpc.health.v1.Health/Check"));

        async Task<HealthCheckResponse> CheckAsync(CarrierBench bench)
        {
            using var handler = new HttpMessageInvoker(new SocketsHttpHandler());
            return await new GrpcClient(handler, new Uri($"http://127.0.0.1:{bench.Port}"), TimeProvider.System)
                .UnaryAsync(HealthMethods.Check, new HealthCheckRequest()).WaitAsync(Wait.Limit);
        }

        Assert.Equal(HealthCheckResponse.Types.ServingStatus.Serving, (await CheckAsync(allowing)).Status);
        var denied = await Assert.ThrowsAsync<GrpcException>(() => CheckAsync(denying));
        Assert.Equal(GrpcStatus.PermissionDenied, denied.Status);
        Assert.EndsWith("fabric: no policy allows this request", denied.Message, StringComparison.Ordinal);
    }

    /// <summary>The client that most services use.</summary>
    [RequiresFact("python3-grpcio")]
    public async Task Grpc_of_another_make_is_allowed_and_denied()
    {
        await using var app = await ServeAsync(new GrpcServer(TimeProvider.System).Health(_ => true).InvokeAsync);
        await using var bench = new CarrierBench(PortOf(app), (_, path) => path == "/grpc.health.v1.Health/Check");
        var program = $"""
            import grpc
            with grpc.insecure_channel("127.0.0.1:{bench.Port}") as channel:
                for method in ["Check", "Deny", "Check"]:
                    try:
                        print(channel.unary_unary("/grpc.health.v1.Health/" + method)(b"", timeout=15).hex())
                    except grpc.RpcError as error:
                        print(error.code().name, error.details())
            """;
        Assert.Equal("0801\nPERMISSION_DENIED fabric: no policy allows this request\n0801\n", await RunAsync("/usr/bin/python3", ["-c", program]));
        Assert.Empty(bench.Problems);
    }

    /// <summary>A client with a table of its own and the Huffman code, and a server that is not of the same make.</summary>
    [RequiresFact("nghttp", "h2load", "nginx")]
    public async Task Nghttp_and_nginx_meet()
    {
        using var folder = new TemporaryFolder();
        var port = FreePorts.Take(1)[0];
        Directory.CreateDirectory(folder["www/a"]);
        File.WriteAllText(folder["www/a/index.html"], "hello from nginx\n");
        var configuration = folder.Write("nginx.conf", $$"""
            daemon off; master_process off; pid {{folder["pid"]}}; error_log stderr;
            events { }
            http {
              access_log off; client_body_temp_path {{folder["b"]}}; proxy_temp_path {{folder["p"]}}; fastcgi_temp_path {{folder["f"]}}; uwsgi_temp_path {{folder["u"]}}; scgi_temp_path {{folder["s"]}};
              server { listen 127.0.0.1:{{port}} http2; root {{folder["www"]}}; }
            }
            """);
        using var nginx = Process.Start(new ProcessStartInfo("nginx", ["-c", configuration]) { RedirectStandardError = true })!;
        try
        {
            await Wait.UntilAsync(() => Dial.IsOpen(port), () => "nginx listens");
            await using var bench = new CarrierBench(port);
            string[] paths = ["/a/index.html", "/deny/x", "/a/index.html?1", "/a/..%2fdeny", "/a/none", "/a/index.html?2"];
            var answers = await RunAsync("nghttp", ["-s", "-H", "x-long: " + new string('x', 500), .. paths.Select(p => $"http://127.0.0.1:{bench.Port}{p}")]);
            Assert.Equal(["200 /a/index.html", "200 /a/index.html?1", "200 /a/index.html?2", "400 /a/..%2fdeny", "403 /deny/x", "404 /a/none"],
                answers.Split('\n').Select(l => l.Split(' ', StringSplitOptions.RemoveEmptyEntries)).Where(l => l.Length == 7 && l[0].All(char.IsAsciiDigit))
                    .Select(l => $"{l[4]} {l[6]}").Order(StringComparer.Ordinal));
            Assert.Equal(5, bench.Asked.Count);
            Assert.Single(bench.Problems);

            var load = await RunAsync("h2load", ["-n", "3000", "-c", "3", "-m", "40", $"http://127.0.0.1:{bench.Port}/a/index.html", $"http://127.0.0.1:{bench.Port}/deny"]);
            Assert.Contains("1500 2xx, 0 3xx, 1500 4xx, 0 5xx", load, StringComparison.Ordinal);
        }
        finally
        {
            nginx.Kill(entireProcessTree: true);
        }
    }

    private static async Task<string> RunAsync(string command, string[] arguments)
    {
        using var process = Process.Start(new ProcessStartInfo(command, arguments) { RedirectStandardOutput = true })!;
        return await process.StandardOutput.ReadToEndAsync().WaitAsync(Wait.Limit);
    }

    // ---- frame by frame

    private static readonly byte[] _preface = [.. "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"u8, 0, 0, 0, 4, 0, 0, 0, 0, 0];

    /// <summary>What an endpoint begins with.</summary>
    private static readonly string _settings = Encoding.Latin1.GetString([0, 0, 0, 4, 0, 0, 0, 0, 0]);

    private static byte[] Frame(Http2FrameType type, byte flags, int stream, params byte[] payload)
    {
        var to = new ArrayBufferWriter<byte>();
        Http2Frame.Write(to, type, flags, stream, payload);
        return to.WrittenSpan.ToArray();
    }

    private static byte[] Block(params (string Name, string Value)[] fields)
    {
        var to = new ArrayBufferWriter<byte>();
        foreach (var (name, value) in fields)
        {
            HpackWriter.Field(to, Encoding.Latin1.GetBytes(name), Encoding.Latin1.GetBytes(value));
        }

        return to.WrittenSpan.ToArray();
    }

    private static byte[] Get(string path, params (string, string)[] more) =>
        Block([(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", path), .. more]);

    private static byte[] Headers(int stream, byte[] block, byte flags = 5) => Frame(Http2FrameType.Headers, flags, stream, block);

    public static TheoryData<string, byte[], Http2Error> Broken() => new()
    {
        { "no settings", [.. "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"u8, .. Frame(Http2FrameType.Ping, 0, 0, new byte[8])], Http2Error.Protocol },
        { "frame too large", [.. _preface, 0, 0x40, 1, 0, 0, 0, 0, 0, 1], Http2Error.FrameSize },
        { "even stream", [.. _preface, .. Headers(2, Get("/a"))], Http2Error.Protocol },
        { "stream 0", [.. _preface, .. Headers(0, Get("/a"))], Http2Error.Protocol },
        { "data on idle", [.. _preface, .. Frame(Http2FrameType.Data, 0, 1, 1)], Http2Error.Protocol },
        { "window of idle", [.. _preface, .. Frame(Http2FrameType.WindowUpdate, 0, 3, 0, 0, 0, 1)], Http2Error.Protocol },
        { "reset of idle", [.. _preface, .. Frame(Http2FrameType.ResetStream, 0, 3, 0, 0, 0, 1)], Http2Error.Protocol },
        { "push", [.. _preface, .. Frame(Http2FrameType.PushPromise, 4, 1, 0, 0, 0, 2)], Http2Error.Protocol },
        { "stray continuation", [.. _preface, .. Frame(Http2FrameType.Continuation, 4, 1, Get("/a"))], Http2Error.Protocol },
        { "interrupted block", [.. _preface, .. Headers(1, Get("/a"), 1), .. Frame(Http2FrameType.Ping, 0, 0, new byte[8])], Http2Error.Protocol },
        { "continued elsewhere", [.. _preface, .. Headers(1, Get("/a"), 1), .. Frame(Http2FrameType.Continuation, 4, 3)], Http2Error.Protocol },
        { "no end of a block", [.. _preface, .. Headers(1, Get("/a"), 1), .. Enumerable.Repeat(Frame(Http2FrameType.Continuation, 0, 1), 40).SelectMany(f => f)], Http2Error.EnhanceYourCalm },
        { "padding", [.. _preface, .. Frame(Http2FrameType.Headers, 13, 1, 200, 1)], Http2Error.Protocol },
        { "settings cut", [.. _preface, .. Frame(Http2FrameType.Settings, 0, 0, 1)], Http2Error.FrameSize },
        { "settings on a stream", [.. _preface, .. Frame(Http2FrameType.Settings, 0, 1)], Http2Error.Protocol },
        { "ping cut", [.. _preface, .. Frame(Http2FrameType.Ping, 0, 0, 1)], Http2Error.FrameSize },
        { "window cut", [.. _preface, .. Frame(Http2FrameType.WindowUpdate, 0, 0, 1)], Http2Error.FrameSize },
        { "no field", [.. _preface, .. Headers(1, [0x80])], Http2Error.Compression },
        { "no table", [.. _preface, .. Headers(1, [0x3f, 0xe2, 0x7f])], Http2Error.Compression },
        { "a body longer than said", [.. _preface, .. Headers(1, Get("/a", ("content-length", "1")), 4), .. Frame(Http2FrameType.Data, 1, 1, 1, 2)], Http2Error.Protocol },
        { "a body shorter than said", [.. _preface, .. Headers(1, Get("/a", ("content-length", "3")), 4), .. Frame(Http2FrameType.Data, 1, 1, 1, 2)], Http2Error.Protocol },
        { "trailers with a method", [.. _preface, .. Headers(1, Get("/a"), 4), .. Headers(1, Block((":method", "GET")))], Http2Error.Protocol },
        { "trailers that do not end", [.. _preface, .. Headers(1, Get("/a"), 4), .. Headers(1, Block(("x", "y")), 4)], Http2Error.Protocol },
    };

    [Theory]
    [MemberData(nameof(Broken))]
    public async Task What_breaks_the_protocol_ends_the_connection(string what, byte[] bytes, Http2Error error)
    {
        using var endpoint = new RecordingEndpoint(_settings);
        await using var bench = new CarrierBench(endpoint.Port);

        var answer = Encoding.Latin1.GetBytes(await bench.ExchangeAsync(bytes));

        for (; answer.Length > 9 && Http2Frame.Read(answer).Type != Http2FrameType.GoAway; answer = answer[(Http2Frame.Size + Http2Frame.Read(answer).Length)..])
        {
            // What was answered before.
        }

        Assert.True(answer.Length >= 17, what);
        Assert.Equal((byte)error, answer[16]);
        Assert.Single(bench.Problems);
    }

    public static TheoryData<string, byte[]> Malformed() => new()
    {
        { "no path", Block((":method", "GET"), (":scheme", "http"), (":authority", "a")) },
        { "no method", Block((":path", "/a"), (":scheme", "http"), (":authority", "a")) },
        { "no scheme", Block((":path", "/a"), (":method", "GET"), (":authority", "a")) },
        { "no authority", Block((":path", "/a"), (":method", "GET"), (":scheme", "http")) },
        { "two paths", Get("/a", (":path", "/b")) },
        { "late pseudo", Block((":method", "GET"), (":scheme", "http"), ("x", "y"), (":authority", "a"), (":path", "/a")) },
        { "unknown pseudo", Get("/a", (":protocol", "websocket")) },
        { "status", Get("/a", (":status", "200")) },
        { "small method", Block((":method", "get"), (":scheme", "http"), (":authority", "a"), (":path", "/a")) },
        { "connect", Block((":method", "CONNECT"), (":authority", "a:1")) },
        { "two hosts", Get("/a", ("host", "b")) },
        { "host list", Get("/a", ("host", "a"), ("host", "a")) },
        { "upper case", Get("/a", ("X", "y")) },
        { "line feed", Get("/a", ("x", "y\r\ntransfer-encoding: chunked")) },
        { "null", Get("/a", ("x", "\0")) },
        { "blank", Get("/a", ("x", " y")) },
        { "colon in a name", Get("/a", ("x:y", "z")) },
        { "empty name", Get("/a", ("", "z")) },
        { "connection", Get("/a", ("connection", "close")) },
        { "upgrade", Get("/a", ("upgrade", "h2c")) },
        { "coding", Get("/a", ("transfer-encoding", "chunked")) },
        { "coding with an underscore", Get("/a", ("transfer_encoding", "chunked")) },
        { "te", Get("/a", ("te", "gzip")) },
        { "two lengths", Get("/a", ("content-length", "0"), ("content-length", "0")) },
        { "no length", Get("/a", ("content-length", "x")) },
        { "length without a body", Get("/a", ("content-length", "5")) },
        { "path without slash", Get("a") },
        { "path with blank", Get("/a b") },
        { "dots", Get("/a/../deny") },
        { "encoded dots", Get("/a/%2e%2e/deny") },
        { "whole URL", Get("http://a/a") },
        { "too many fields", Get("/a", [.. Enumerable.Repeat(("x", "y"), 300)]) },
    };

    [Theory]
    [MemberData(nameof(Malformed))]
    public async Task A_request_that_is_none_is_answered_and_the_next_one_passes(string what, byte[] block)
    {
        using var endpoint = new RecordingEndpoint(_settings);
        await using var bench = new CarrierBench(endpoint.Port);
        using var client = await bench.ConnectAsync();
        await client.GetStream().WriteAsync((byte[])[.. _preface, .. Headers(1, block), .. Headers(3, Get("/next"))]);
        await Wait.UntilAsync(() => endpoint.Received.Contains("/next", StringComparison.Ordinal), () => $"{what}: {endpoint.Received}");

        var answer = new byte[Http2Frame.Size];
        do
        {
            await client.GetStream().ReadExactlyAsync(answer).AsTask().WaitAsync(Wait.Limit);
        }
        while (Http2Frame.Read(answer).Type == Http2FrameType.Settings);
        Assert.Equal((Http2FrameType.Headers, 1, true), (Http2Frame.Read(answer).Type, Http2Frame.Read(answer).Stream, Http2Frame.Read(answer).Has(Http2Frame.EndStream)));
        Assert.Equal(["GET /next"], bench.Asked);
        Assert.DoesNotContain("chunked", endpoint.Received, StringComparison.Ordinal);
    }

    [Fact]
    public async Task What_is_denied_leaves_no_trace_in_what_the_endpoint_decodes()
    {
        using var endpoint = new RecordingEndpoint(_settings);
        await using var bench = new CarrierBench(endpoint.Port);
        using var client = await bench.ConnectAsync();

        // The second request refers to what the denied one has put into the table.
        byte[] denied = [0x82, 0x86, 0x41, 1, (byte)'a', 0x44, 5, .. "/deny"u8, 0x40, 6, .. "secret"u8, 4, .. "word"u8];
        byte[] next = [0x82, 0x86, 0xc0, 0x44, 2, .. "/a"u8, 0xbf];
        await client.GetStream().WriteAsync((byte[])[.. _preface, .. Headers(1, denied), .. Headers(3, next)]);
        await Wait.UntilAsync(() => endpoint.Received.EndsWith("word", StringComparison.Ordinal), () => endpoint.Received);

        var bytes = Encoding.Latin1.GetBytes(endpoint.Received).AsSpan()[24..];
        while (Http2Frame.Read(bytes).Type != Http2FrameType.Headers)
        {
            bytes = bytes[(Http2Frame.Size + Http2Frame.Read(bytes).Length)..];
        }

        var fields = new Collected();
        new HpackDecoder().Decode(bytes.Slice(Http2Frame.Size, Http2Frame.Read(bytes).Length), fields);
        Assert.Equal([":method: GET", ":scheme: http", ":authority: a", ":path: /a", "secret: word"], fields.All);
        Assert.Equal(["GET /deny", "GET /a"], bench.Asked);
    }

    [Fact]
    public async Task Any_frames_and_rubbish_are_answered_or_end_the_connection()
    {
        using var endpoint = new RecordingEndpoint(_settings);
        await using var bench = new CarrierBench(endpoint.Port);
        var random = new Random(20_261_127);
        byte[][] pieces =
        [
            Headers(1, Get("/a")), Headers(3, Get("/deny"), 4), Headers(5, Get("/a"), 1), Frame(Http2FrameType.Continuation, 4, 5), Frame(Http2FrameType.Data, 1, 3, 1, 2),
            Frame(Http2FrameType.Settings, 0, 0), Frame(Http2FrameType.Settings, 1, 0), Frame(Http2FrameType.Ping, 0, 0, new byte[8]), Frame((Http2FrameType)99, 3, 7, 1, 2),
            Frame(Http2FrameType.WindowUpdate, 0, 0, 0, 0, 1, 0), Frame(Http2FrameType.ResetStream, 0, 1, 0, 0, 0, 8), Frame(Http2FrameType.Priority, 0, 1, 0, 0, 0, 0, 1), [0], [1, 2, 3],
        ];
        var texts = Enumerable.Range(0, 300).Select(_ =>
        {
            byte[] bytes = [.. _preface, .. Enumerable.Range(0, random.Next(1, 8)).SelectMany(_ => pieces[random.Next(pieces.Length)])];
            for (var edits = random.Next(3); edits > 0; edits--)
            {
                bytes[random.Next(_preface.Length, bytes.Length)] = (byte)random.Next(256);
            }

            return bytes;
        }).ToArray();
        await Parallel.ForEachAsync(texts, new ParallelOptions { MaxDegreeOfParallelism = 8 }, async (bytes, _) =>
        {
            using var client = await bench.ConnectAsync();
            await client.GetStream().WriteAsync(bytes, CancellationToken.None);
            client.Client.Shutdown(SocketShutdown.Send);
        });

        Assert.DoesNotContain("/deny", endpoint.Received, StringComparison.Ordinal);
        Assert.DoesNotContain(bench.Problems, p => p.StartsWith("unexpected", StringComparison.Ordinal));
    }

    private sealed class Collected : IHpackFields
    {
        public List<string> All { get; } = [];

        public void Add(ReadOnlySpan<byte> name, ReadOnlySpan<byte> value, bool isSecret) =>
            All.Add($"{Encoding.Latin1.GetString(name)}: {Encoding.Latin1.GetString(value)}");
    }
}
