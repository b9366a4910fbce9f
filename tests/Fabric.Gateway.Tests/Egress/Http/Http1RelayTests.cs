using System.Net;
using System.Net.Sockets;
using System.Text;
using Fabric.Gateway.Telemetry.Traces;
using Fabric.Testing;

namespace Fabric.Gateway.Tests.Egress.Http;

public sealed class Http1RelayTests
{
    private const string Get = "GET /a HTTP/1.1\r\nHost: a\r\n\r\n";
    private const string Denied = "GET /deny HTTP/1.1\r\nHost: a\r\n\r\n";

    [Fact]
    public async Task Requests_in_one_connection_are_decided_each_and_answered_in_their_order()
    {
        using var endpoint = new RecordingEndpoint();
        await using var bench = new CarrierBench(endpoint.Port);

        var answer = await bench.ExchangeAsync(Get + Denied + "HEAD /deny HTTP/1.1\r\nHost: a\r\n\r\n" + Get + "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc");

        var statuses = answer.Split("HTTP/1.1 ")[1..].Select(a => a[..3]);
        Assert.Equal(["200", "403", "403", "200", "200"], statuses);
        Assert.Equal(["GET /a", "GET /deny", "HEAD /deny", "GET /a", "POST /a"], bench.Asked);
        Assert.Equal(Get + Get + "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", endpoint.Received);
        Assert.Empty(bench.Problems);
        Assert.Equal(0, bench.Live);
    }

    [Fact]
    public async Task A_denied_body_ends_the_connection_and_nothing_of_it_passes()
    {
        using var endpoint = new RecordingEndpoint();
        await using var bench = new CarrierBench(endpoint.Port);

        var answer = await bench.ExchangeAsync("POST /deny HTTP/1.1\r\nHost: a\r\nContent-Length: 31\r\n\r\n" + Get + Get, half: false);

        Assert.StartsWith("HTTP/1.1 403 Forbidden\r\n", answer, StringComparison.Ordinal);
        Assert.Contains("Connection: close\r\n", answer, StringComparison.Ordinal);
        Assert.Equal(["POST /deny"], bench.Asked);
        Assert.Equal("", endpoint.Received);
    }

    private const string Theirs = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    private const string Own = "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01";

    [Fact]
    public async Task A_traced_request_goes_on_with_the_spans_own_context_and_the_callers_state()
    {
        using var endpoint = new RecordingEndpoint();
        await using var bench = new CarrierBench(endpoint.Port) { TraceParent = Own };

        await bench.ExchangeAsync($"GET /a HTTP/1.1\r\nHost: a\r\nTraceParent: {Theirs}\r\ntracestate: a=1\r\nTraceState: b=2\r\n\r\n");

        Assert.Equal(new RequestTrace(Theirs, "a=1,b=2", "1.1"), Assert.Single(bench.Traces));
        Assert.Equal($"GET /a HTTP/1.1\r\nHost: a\r\ntracestate: a=1\r\nTraceState: b=2\r\ntraceparent: {Own}\r\n\r\n", endpoint.Received);
        Assert.Equal(200, Assert.Single(bench.Statuses));
    }

    [Fact]
    public async Task A_request_that_is_not_traced_keeps_what_it_has()
    {
        using var endpoint = new RecordingEndpoint();
        await using var bench = new CarrierBench(endpoint.Port);
        var requests = new[]
        {
            $"GET /a HTTP/1.1\r\nHost: a\r\ntraceparent: {Theirs}\r\n\r\n",
            $"GET /a HTTP/1.1\r\nHost: a\r\ntraceparent: {Theirs}\r\ntraceparent: {Own}\r\n\r\n",
            $"GET /a HTTP/1.1\r\nHost: a\r\ntracestate: {new string('a', 600)}\r\n\r\n",
        };

        await bench.ExchangeAsync(string.Concat(requests));

        Assert.Equal(string.Concat(requests), endpoint.Received);
        Assert.Equal([new RequestTrace(Theirs, null, "1.1"), new(null, null, "1.1"), new(null, null, "1.1")], bench.Traces);
    }

    public static TheoryData<string, int> Smuggled()
    {
        var all = new TheoryData<string, int>();
        foreach (var (head, status) in Http1Samples.Refused)
        {
            all.Add(head, status);
        }

        return all;
    }

    /// <summary>What could be read in two ways: answered, with a request behind it that is not looked at, and unknown to the endpoint.</summary>
    [Theory]
    [MemberData(nameof(Smuggled))]
    public async Task What_has_two_readings_never_reaches_the_endpoint(string head, int status)
    {
        using var endpoint = new RecordingEndpoint();
        await using var bench = new CarrierBench(endpoint.Port);

        var answer = await bench.ExchangeAsync(Get + head + Get);

        Assert.Matches($"^HTTP/1.1 200 .*HTTP/1.1 {status} ".Replace(".*", "[^$]*", StringComparison.Ordinal), answer);
        Assert.Equal(2, answer.Split("HTTP/1.1 ").Length - 1);
        Assert.Equal(Get, endpoint.Received);
        Assert.Single(bench.Problems);
    }

    [Theory]
    [InlineData("/a//b")]
    [InlineData("/a/../deny")]
    [InlineData("/a/%2e%2e/deny")]
    [InlineData("/a;x")]
    [InlineData("/a%2fb")]
    [InlineData("/a%00")]
    public async Task Paths_with_two_readings_are_refused(string path)
    {
        using var endpoint = new RecordingEndpoint();
        await using var bench = new CarrierBench(endpoint.Port);

        Assert.StartsWith("HTTP/1.1 400 ", await bench.ExchangeAsync($"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"), StringComparison.Ordinal);
        Assert.Equal("", endpoint.Received);
    }

    [Theory]
    [InlineData("%64eny", 403)]
    [InlineData("deny?x=/a", 403)]
    [InlineData("a?/deny", 200)]
    public async Task Encoded_paths_are_compared_as_what_they_are_and_passed_as_they_came(string path, int status)
    {
        using var endpoint = new RecordingEndpoint();
        await using var bench = new CarrierBench(endpoint.Port);

        Assert.StartsWith($"HTTP/1.1 {status} ", await bench.ExchangeAsync($"GET /{path} HTTP/1.1\r\nHost: a\r\n\r\n"), StringComparison.Ordinal);
        Assert.Equal(status == 200 ? $"GET /{path} HTTP/1.1\r\nHost: a\r\n\r\n" : "", endpoint.Received);
    }

    [Theory]
    [InlineData("5\r\nhello\r\n0\r\n\r\n")]
    [InlineData("5;x=y\r\nhello\r\n0;z\r\n\r\n")]
    [InlineData("2\r\nhe\r\n3\r\nllo\r\n00\r\nX-Sum: 1\r\n\r\n")]
    public async Task Chunks_pass_with_their_trailers_and_without_their_extensions(string body)
    {
        using var endpoint = new RecordingEndpoint("");
        await using var bench = new CarrierBench(endpoint.Port);
        using var client = await bench.ConnectAsync();

        // Byte for byte: no end may depend on how it arrives.
        foreach (var octet in Encoding.Latin1.GetBytes("POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + body))
        {
            await client.GetStream().WriteAsync(new[] { octet });
        }

        await Wait.UntilAsync(() => endpoint.Received.EndsWith("\r\n\r\n", StringComparison.Ordinal) && endpoint.Received.Contains("\r\n0\r\n", StringComparison.Ordinal), () => endpoint.Received);
        var passed = endpoint.Received.Split("\r\n\r\n", 2)[1];
        Assert.Equal(body.Replace(";x=y", "", StringComparison.Ordinal).Replace(";z", "", StringComparison.Ordinal).Replace("00\r\n", "0\r\n", StringComparison.Ordinal), passed);
    }

    [Theory]
    [InlineData("5\r\nhelloo\r\n0\r\n\r\n")]
    [InlineData("5\nhello\r\n0\r\n\r\n")]
    [InlineData("5\r\nhello\n0\r\n\r\n")]
    [InlineData("5 \r\nhello\r\n0\r\n\r\n")]
    [InlineData("-5\r\nhello\r\n0\r\n\r\n")]
    [InlineData("0x5\r\nhello\r\n0\r\n\r\n")]
    [InlineData("fffffffffffffffff\r\nhello\r\n0\r\n\r\n")]
    [InlineData("5\r\nhello\r\n0\r\nContent-Length: 5\r\n\r\n")]
    [InlineData("5\r\nhello\r\n0\r\nHost: b\r\n\r\n")]
    [InlineData("5\r\nhello\r\n0\r\n X: b\r\n\r\n")]
    [InlineData("5\r\nhello\r\n0\r\nX\r\n\r\n")]
    public async Task Chunks_that_cannot_be_read_end_the_connection_before_the_body_looks_whole(string body)
    {
        using var endpoint = new RecordingEndpoint("");
        await using var bench = new CarrierBench(endpoint.Port);

        var answer = await bench.ExchangeAsync("POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + body + Get);

        Assert.StartsWith("HTTP/1.1 400 ", answer, StringComparison.Ordinal);
        Assert.DoesNotContain("\r\n0\r\n\r\n", endpoint.Received, StringComparison.Ordinal);
        Assert.DoesNotContain("GET", endpoint.Received, StringComparison.Ordinal);
        Assert.Equal(["POST /a"], bench.Asked);
    }

    [Fact]
    public async Task Heads_have_a_limit()
    {
        using var endpoint = new RecordingEndpoint();
        await using var bench = new CarrierBench(endpoint.Port);

        Assert.StartsWith("HTTP/1.1 431 ", await bench.ExchangeAsync("GET /a HTTP/1.1\r\nX: " + new string('x', 200_000)), StringComparison.Ordinal);
        Assert.StartsWith("HTTP/1.1 431 ", await bench.ExchangeAsync("GET /a HTTP/1.1\r\nHost: a\r\n" + string.Concat(Enumerable.Repeat("X: y\r\n", 300)) + "\r\n"), StringComparison.Ordinal);
        Assert.StartsWith("HTTP/1.1 400 ", await bench.ExchangeAsync("GET /" + new string('a', 10_000) + " HTTP/1.1\r\nHost: a\r\n\r\n"), StringComparison.Ordinal);
        Assert.Equal("", endpoint.Received);
    }

    [Theory]
    [InlineData("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")]
    [InlineData("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok?")]
    public async Task An_answer_that_nobody_asked_for_ends_the_connection(string answer)
    {
        using var endpoint = new RecordingEndpoint(answer);
        await using var bench = new CarrierBench(endpoint.Port);

        var received = await bench.ExchangeAsync(Get, half: false);

        Assert.StartsWith("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", received, StringComparison.Ordinal);
        Assert.DoesNotContain("?", received, StringComparison.Ordinal);
        Assert.Equal(["the endpoint answers what nobody asked"], bench.Problems);
    }

    [Theory]
    [InlineData("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")]
    [InlineData("garbage\r\n\r\n")]
    public async Task An_answer_with_two_readings_is_none(string answer)
    {
        using var endpoint = new RecordingEndpoint(answer);
        await using var bench = new CarrierBench(endpoint.Port);
        Assert.StartsWith("HTTP/1.1 502 ", await bench.ExchangeAsync(Get, half: false), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Interim_answers_and_those_without_length_pass()
    {
        using var endpoint = new RecordingEndpoint("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
        await using var bench = new CarrierBench(endpoint.Port);
        var answer = await bench.ExchangeAsync(Get + Get);
        Assert.Equal(2, answer.Split("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n").Length - 1);
        Assert.Equal(2, answer.Split("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n").Length - 1);
    }

    [Fact]
    public async Task A_web_socket_passes_and_what_follows_is_bytes()
    {
        using var endpoint = new RecordingEndpoint("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nhello");
        await using var bench = new CarrierBench(endpoint.Port);
        using var client = await bench.ConnectAsync();
        var stream = client.GetStream();
        await stream.WriteAsync("GET /a HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"u8.ToArray());
        var expected = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nhello";
        var buffer = new byte[expected.Length];
        await stream.ReadExactlyAsync(buffer).AsTask().WaitAsync(Wait.Limit);
        Assert.Equal(expected, Encoding.Latin1.GetString(buffer));
        Assert.Equal(1, bench.Live);
        await stream.WriteAsync("any bytes\n\0"u8.ToArray());
        await Wait.UntilAsync(() => endpoint.Received.EndsWith("any bytes\n\0", StringComparison.Ordinal), () => endpoint.Received);
        client.Client.Shutdown(SocketShutdown.Send);
        Assert.Equal(0, await stream.ReadAsync(buffer).AsTask().WaitAsync(Wait.Limit));
        await Wait.UntilAsync(() => bench.Live == 0, () => "the request is over");
    }

    [Theory]
    [InlineData("16030100c8010000c40303")]
    [InlineData("00000000")]
    [InlineData("5353482d322e302d4f70656e5353480d0a")]
    public async Task What_is_no_http_never_passes(string hex)
    {
        using var endpoint = new RecordingEndpoint();
        await using var bench = new CarrierBench(endpoint.Port);
        var answer = await bench.ExchangeAsync(Convert.FromHexString(hex));
        Assert.StartsWith("HTTP/1.1 400 ", answer, StringComparison.Ordinal);
        Assert.Equal("", endpoint.Received);
    }

    [Fact]
    public async Task An_idle_connection_ends_when_the_endpoint_ends_it()
    {
        var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        await using var bench = new CarrierBench(((IPEndPoint)listener.LocalEndpoint).Port);
        using var client = await bench.ConnectAsync();
        await client.GetStream().WriteAsync("GET /a HT"u8.ToArray());
        using (await listener.AcceptTcpClientAsync().WaitAsync(Wait.Limit))
        {
            // And goes.
        }

        Assert.Equal(0, await client.GetStream().ReadAsync(new byte[1]).AsTask().WaitAsync(Wait.Limit));
        listener.Dispose();
    }

    [Fact]
    public async Task A_head_that_does_not_come_is_not_waited_for()
    {
        using var endpoint = new RecordingEndpoint();
        var time = new ManualTime();
        await using var bench = new CarrierBench(endpoint.Port) { Time = time };
        using var client = await bench.ConnectAsync();
        var stream = client.GetStream();
        await stream.WriteAsync("GET /a HTTP/1.1\r\nHost"u8.ToArray());
        var buffer = new byte[12];
        var answer = stream.ReadExactlyAsync(buffer).AsTask();
        while (!answer.IsCompleted)
        {
            // Whenever it began to wait.
            time.Advance(TimeSpan.FromSeconds(31));
            await Task.WhenAny(answer, Task.Delay(20));
        }

        await answer;
        Assert.Equal("HTTP/1.1 408", Encoding.ASCII.GetString(buffer));
        Assert.Equal("", endpoint.Received);
    }

    /// <summary>Whatever is sent: what the endpoint gets is a row of requests that were allowed.</summary>
    [Fact]
    public async Task Any_mixture_of_requests_and_rubbish_reaches_the_endpoint_only_as_allowed_requests()
    {
        using var endpoint = new RecordingEndpoint("");
        await using var bench = new CarrierBench(endpoint.Port);
        var random = new Random(20_261_127);
        string[] pieces =
        [
            Get, Denied, "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nGET ", "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
            "5\r\nhello\r\n", "0\r\n\r\n", "\r\n", "\n", "GET /deny", " HTTP/1.1\r\n", "Host: a\r\n", "Content-Length: 10\r\n", "Transfer-Encoding: chunked\r\n", "X: y", "\0",
        ];
        await Parallel.ForEachAsync(
            Enumerable.Range(0, 400).Select(_ => string.Concat(Enumerable.Range(0, random.Next(1, 9)).Select(_ => pieces[random.Next(pieces.Length)]))).ToArray(),
            new ParallelOptions { MaxDegreeOfParallelism = 8 },
            async (text, _) =>
            {
                using var client = await bench.ConnectAsync();
                await client.GetStream().WriteAsync(Encoding.Latin1.GetBytes(text), CancellationToken.None);
                client.Client.LingerState = new LingerOption(false, 0);
            });

        Assert.DoesNotContain("/deny HTTP", endpoint.Received, StringComparison.Ordinal);
        Assert.DoesNotContain(bench.Problems, p => p.StartsWith("unexpected", StringComparison.Ordinal));
    }
}
