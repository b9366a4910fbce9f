using System.Net;
using System.Net.Sockets;
using System.Text;
using Fabric.Drills.Measurement;
using Fabric.Protocol.Dns;
using Fabric.Testing;

namespace Fabric.Drills.Tests.Measurement;

/// <summary>Each load against real sockets: well, and through a relay that goes dark or resets.</summary>
public sealed class ProbeLoadsTests : IDisposable
{
    private static readonly IPEndPoint Anywhere = new(IPAddress.Loopback, 0);

    private readonly Responder _responder = new(Anywhere);
    private readonly CutRelay _relay;

    public ProbeLoadsTests() => _relay = new CutRelay(_responder.Address);

    public void Dispose()
    {
        _relay.Dispose();
        _responder.Dispose();
    }

    [Theory]
    [InlineData("connect")]
    [InlineData("live")]
    [InlineData("bulk")]
    public async Task Against_a_responder_all_goes_well(string kind)
    {
        await using var probe = new Probe(Probe.Plan(kind, perSecond: 100), _relay.Address);
        await Wait.UntilAsync(() => probe.Now.Attempts >= 50, () => probe.Now.ToString());
        var figures = await probe.Finish();
        Assert.Equal([], figures.Failures!);
        Assert.Equal((0, 0, 0), (figures.ConnectionsDropped, figures.BytesLost, figures.HashesWrong));
        Assert.InRange(figures.MedianMs, 0.001, 5_000);
        Assert.True(figures.P99Ms >= figures.MedianMs);
        Assert.Equal(kind == "connect", figures.Bytes == 0);
        Assert.Equal(figures.Attempts, probe.Collector.Seconds().Sum(s => s.Succeeded + s.Failed));
    }

    [Theory]
    [InlineData("live")]
    [InlineData("bulk")]
    public async Task A_connection_that_goes_dark_pauses_and_does_not_drop(string kind)
    {
        await using var probe = new Probe(Probe.Plan(kind, perSecond: 200, timeoutSeconds: 0.3), _relay.Address);
        await Wait.UntilAsync(() => probe.Now.Bytes > 1000, () => probe.Now.ToString());
        _relay.Cut();
        await Wait.UntilAsync(() => probe.Collector.LivePause() > TimeSpan.FromSeconds(1), () => probe.Collector.LivePause().ToString());
        // By timers, which may be late on a machine that is busy.
        await Wait.UntilAsync(() => probe.Now.Failures!.Any(f => f.Error == (kind == "live" ? "no echo within 0.3 s" : "no byte within 0.3 s")), () => probe.Now.ToString());
        var dark = probe.Now;
        Assert.True(dark.LongestPauseMs > 900, dark.ToString());
        Assert.True(probe.Collector.RecentFailedPercent(TimeSpan.FromSeconds(10)) > 0);

        _relay.Heal();
        await Wait.UntilAsync(() => probe.Now.Bytes > dark.Bytes + 10_000, () => probe.Now.ToString());
        var figures = await probe.Finish();
        Assert.Equal((0, 0, 0), (figures.ConnectionsDropped, figures.BytesLost, figures.HashesWrong));
        Assert.True(figures.LongestPauseMs >= 1000, figures.ToString());
        Assert.NotNull(figures.PauseBegan);
    }

    [Theory]
    [InlineData("live", 2)]
    [InlineData("bulk", 2)]
    public async Task A_reset_is_a_dropped_connection_once_for_each(string kind, int connections)
    {
        await using var probe = new Probe(Probe.Plan(kind, connections: connections), _relay.Address);
        await Wait.UntilAsync(() => _responder.Connections == connections && probe.Now.Bytes > 1000, () => probe.Now.ToString());
        _relay.Reset();
        await Wait.UntilAsync(() => probe.Now.ConnectionsDropped >= connections, () => probe.Now.ToString());
        var bytes = probe.Now.Bytes;
        await Wait.UntilAsync(() => probe.Now.Bytes > bytes + 10_000 || (kind == "live" && probe.Now.Bytes > bytes + 640), () => probe.Now.ToString());
        Assert.Equal(connections, (await probe.Finish()).ConnectionsDropped);
    }

    [Fact]
    public async Task Messages_that_never_come_back_are_lost()
    {
        await using var probe = new Probe(Probe.Plan("live", perSecond: 100, connections: 1, timeoutSeconds: 0.5), _relay.Address);
        await Wait.UntilAsync(() => probe.Now.Bytes > 1000, () => probe.Now.ToString());
        _relay.Cut();
        await Wait.UntilAsync(() => probe.Now.Failed > 20, () => probe.Now.ToString());
        var figures = await probe.Finish();
        Assert.True(figures.BytesLost >= 20 * 64, figures.ToString());
        Assert.Equal(0, figures.BytesLost % 64);
        Assert.Equal(0, figures.ConnectionsDropped);
    }

    [Fact]
    public async Task A_service_that_answers_nothing_is_asked_on_time_all_the_same()
    {
        // It accepts by the kernel, and says nothing: what is not sent counts as failed.
        using var silent = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        silent.Bind(Anywhere);
        silent.Listen(4096);
        await using var probe = new Probe(Probe.Plan("connect", perSecond: 1000, timeoutSeconds: 2), (IPEndPoint)silent.LocalEndPoint!);
        await Wait.UntilAsync(() => probe.Now.Failures!.Any(f => f.Error == "connected, and no answer within 2 s"), () => probe.Now.ToString());
        await Wait.UntilAsync(() => probe.Now.Failures!.Any(f => f.Error == $"not sent: {ConnectLoad.MaxOnTheirWay} connections are not answered" && f.Count > 100),
            () => probe.Now.ToString());
        Assert.Equal(100, probe.Collector.RecentFailedPercent(TimeSpan.FromSeconds(10)));
    }

    [Fact]
    public async Task A_port_that_is_closed_says_so()
    {
        using var free = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        free.Bind(Anywhere);
        foreach (var (kind, error) in new[] { ("connect", "connection refused"), ("live", "not sent: connection refused"), ("bulk", "connection refused"), ("http", "connection refused") })
        {
            await using var probe = new Probe(Probe.Plan(kind), (IPEndPoint)free.LocalEndPoint!);
            await Wait.UntilAsync(() => probe.Now.Failures!.Any(f => f.Error == error && f.Count >= 2), () => $"{kind} {probe.Now} {string.Join(';', probe.Now.Failures!)}");
            Assert.Equal(0, probe.Now.ConnectionsDropped);
        }
    }

    [Theory]
    [InlineData("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "", 5)]
    [InlineData("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n3;x=y\r\nyou\r\n0\r\nT: 1\r\n\r\n", "", 8)]
    [InlineData("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", "", 0)]
    [InlineData("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nuntil the end", "", 13)]
    [InlineData("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", "status 503", 0)]
    [InlineData("HTTP/1.1 200 OK\r\nContent-Length: 50\r\nConnection: close\r\n\r\nhello", "connection closed before the answer's end", 5)]
    [InlineData("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "the length of a chunk is no number", 0)]
    [InlineData("nonsense\r\n\r\n", "the response cannot be read: the first line is not HTTP/1.1 STATUS REASON", 0)]
    public async Task Http_reads_answers_to_their_end(string answer, string error, int bytes)
    {
        using var server = new HttpAnswers(answer);
        await using var probe = new Probe(Probe.Plan("http", path: "/x?y=1"), server.Address);
        await Wait.UntilAsync(() => probe.Now.Attempts >= 10, () => probe.Now.ToString());
        var figures = await probe.Finish();
        Assert.Equal(error, figures.Failures!.FirstOrDefault()?.Error ?? "");
        Assert.Equal(bytes * figures.Attempts, figures.Bytes);
        Assert.Equal(error.StartsWith("connection", StringComparison.Ordinal), figures.ConnectionsDropped > 0);
        Assert.StartsWith("GET /x?y=1 HTTP/1.1\r\nHost: web.shop.svc.clusterset.local\r\n", server.Request);
    }

    [Fact]
    public async Task Dns_counts_answers_with_an_address_and_what_is_lost()
    {
        using var server = new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp);
        server.Bind(Anywhere);
        using var stopped = new CancellationTokenSource();
        var serving = Task.Run(async () =>
        {
            var buffer = new byte[1500];
            for (var i = 0; !stopped.IsCancellationRequested; i++)
            {
                var from = await server.ReceiveFromAsync(buffer, new IPEndPoint(IPAddress.Any, 0), stopped.Token);
                Assert.True(DnsMessage.TryRead(buffer.AsSpan(0, from.ReceivedBytes), out var query));
                var question = query.Questions.Single();
                var answer = query with
                {
                    Flags = DnsFlags.Response,
                    Rcode = i % 4 == 1 ? DnsRcode.ServFail : DnsRcode.NoError,
                    Answers = i % 4 == 2 ? [] : [new DnsRecord(question.Name, DnsClass.Internet, 5, new DnsAddress(IPAddress.Loopback))],
                };
                if (i % 4 != 3)
                {
                    await server.SendToAsync(buffer.AsMemory(0, answer.Write(buffer)), from.RemoteEndPoint);
                }
            }
        });
        await using var probe = new Probe(Probe.Plan("dns", perSecond: 100, timeoutSeconds: 0.4), Anywhere, (IPEndPoint)server.LocalEndPoint!);
        await Wait.UntilAsync(() => probe.Now.Failures! is { Count: 3 } failures && failures.Any(f => f.Error == "no answer within 0.4 s" && f.Count >= 5),
            () => probe.Now.ToString());
        var figures = await probe.Finish();
        await stopped.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => serving);
        Assert.Equal(["answer ServFail", "answer without an address", "no answer within 0.4 s"], figures.Failures!.Select(f => f.Error).Order());
        Assert.InRange(figures.Failed, figures.Attempts / 2, figures.Attempts);
    }

    [Theory]
    [InlineData("ftp", 20, 4, "there is no kind 'ftp'")]
    [InlineData("http", 0, 4, "perSecond is 1 to 1,000, not 0")]
    [InlineData("live", 1001, 4, "perSecond is 1 to 1,000, not 1001")]
    [InlineData("live", 20, 65, "connections is 1 to 64, not 65")]
    public void A_plan_outside_its_limits_is_refused(string kind, int perSecond, int connections, string why)
    {
        var refused = Assert.Throws<ArgumentException>(() =>
            ProbeLoads.Create(Probe.Plan(kind, perSecond, connections), Anywhere, null, "a.b", TimeProvider.System));
        Assert.Contains(why, refused.Message);
    }

    [Fact]
    public async Task A_responder_refuses_what_it_does_not_know_and_more_than_its_limit()
    {
        using var small = new Responder(Anywhere, maxConnections: 1);
        using var first = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        first.Connect(small.Address);
        await Wait.UntilAsync(() => small.Connections == 1, () => "a connection");
        using var second = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { ReceiveTimeout = 20_000 };
        Assert.ThrowsAny<SocketException>(() =>
        {
            second.Connect(small.Address);
            second.Receive(new byte[1]);
        });

        first.Send("GET / HTTP/1.1\r\n\r\n"u8);
        first.ReceiveTimeout = 20_000;
        Assert.Equal(0, Received(first));
        await Wait.UntilAsync(() => small.Connections == 0, () => "the connection is closed");

        var request = new byte[SeededStream.RequestSize];
        SeededStream.WriteRequest(request, 1, Responder.MaxStream + 1);
        using var third = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { ReceiveTimeout = 20_000 };
        third.Connect(small.Address);
        third.Send(request);
        Assert.Equal(0, Received(third));
    }

    [Fact]
    public async Task A_silent_caller_of_a_responder_is_closed()
    {
        using var responder = new Responder(Anywhere, silence: TimeSpan.FromMilliseconds(200));
        using var caller = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { ReceiveTimeout = 20_000 };
        caller.Connect(responder.Address);
        Assert.Equal(0, Received(caller));
        await Wait.UntilAsync(() => responder.Connections == 0, () => "the connection is closed");
    }

    /// <summary>A close with bytes unread arrives as a reset, which is an end as well.</summary>
    private static int Received(Socket socket)
    {
        try
        {
            return socket.Receive(new byte[16]);
        }
        catch (SocketException e) when (e.SocketErrorCode == SocketError.ConnectionReset)
        {
            return 0;
        }
    }

    /// <summary>Gives one answer to each request, and closes where that answer says so or is none.</summary>
    private sealed class HttpAnswers : IDisposable
    {
        private readonly Socket _listener = new(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        private readonly string _answer;

        public HttpAnswers(string answer)
        {
            _answer = answer;
            _listener.Bind(Anywhere);
            _listener.Listen(64);
            new Thread(Accept) { IsBackground = true }.Start();
        }

        public IPEndPoint Address => (IPEndPoint)_listener.LocalEndPoint!;

        public string Request { get; private set; } = "";

        public void Dispose() => _listener.Dispose();

        private void Accept()
        {
            try
            {
                while (true)
                {
                    var socket = _listener.Accept();
                    new Thread(() => Serve(socket)) { IsBackground = true }.Start();
                }
            }
            catch (Exception e) when (e is SocketException or ObjectDisposedException)
            {
                // Disposed.
            }
        }

        private void Serve(Socket socket)
        {
            using (socket)
            {
                var buffer = new byte[4096];
                try
                {
                    for (int count; (count = socket.Receive(buffer)) > 0;)
                    {
                        Request = Encoding.ASCII.GetString(buffer, 0, count);
                        socket.Send(Encoding.ASCII.GetBytes(_answer));
                        if (_answer.Contains("close", StringComparison.Ordinal))
                        {
                            return;
                        }
                    }
                }
                catch (SocketException)
                {
                    // The caller ended.
                }
            }
        }
    }
}
