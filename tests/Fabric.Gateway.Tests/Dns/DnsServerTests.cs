using System.Buffers.Binary;
using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;
using Fabric.Gateway.Dns;
using Fabric.Protocol.Dns;
using Fabric.Testing;
using static Fabric.Gateway.Tests.Dns.DnsFixtures;

namespace Fabric.Gateway.Tests.Dns;

/// <summary>Real sockets on loopback, at ports that the kernel picks.</summary>
public class DnsServerTests
{
    private const string Web = "web.shop.svc.clusterset.local";
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(20);
    private static readonly DnsZone TheZone = Zone();
    private static readonly DnsServerOptions OnLoopback = new() { Listen = [new IPEndPoint(IPAddress.Loopback, 0)] };

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Answers_over_UDP_and_TCP_at_the_same_port_of_every_address(bool portable)
    {
        await using var server = Start(OnLoopback with
        {
            Portable = portable,
            Listen = [new IPEndPoint(IPAddress.Loopback, 0), new IPEndPoint(IPAddress.IPv6Loopback, 0)],
            UdpThreads = 2,
        });
        Assert.Equal(2, server.EndPoints.Length);
        foreach (var endPoint in server.EndPoints)
        {
            Assert.NotEqual(0, endPoint.Port);
            Assert.Single((await AskUdp(endPoint, Query(Web, DnsType.A))).Answers);
            using var tcp = await Connect(endPoint);
            await tcp.SendAsync(Framed(Query(Web, DnsType.A)));
            Assert.Single((await ReadFramed(tcp)).Answers);
        }

        var statistics = server.Statistics;
        Assert.Equal((2, 2, 4), (statistics.UdpQueries, statistics.TcpQueries, statistics.Answers(DnsRcode.NoError)));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task One_answer_in_64_is_timed_the_first_among_them(bool portable)
    {
        var times = new ConcurrentQueue<TimeSpan>();
        var time = new ManualTime();
        var server = Start(
            OnLoopback with { Portable = portable, UdpThreads = 1, Answered = times.Enqueue },
            () =>
            {
                time.Advance(TimeSpan.FromMilliseconds(1));
                return TheZone;
            },
            time);
        await using (server)
        {
            for (var i = 0; i < 2 * DnsTiming.OneIn; i++)
            {
                await AskUdp(server.EndPoints[0], Query(Web, DnsType.A));
            }
        }

        // Who asks one by one is the only one in each batch; when the thread has ended, all is told.
        Assert.Equal([TimeSpan.FromMilliseconds(1), TimeSpan.FromMilliseconds(1)], times);
    }

    [Fact]
    public async Task Each_query_sees_the_zone_that_is_current()
    {
        var zone = DnsZone.Empty;
        await using var server = Start(OnLoopback, () => Volatile.Read(ref zone));
        Assert.Equal(DnsRcode.Refused, (await AskUdp(server.EndPoints[0], Query(Web, DnsType.A))).Rcode);
        Volatile.Write(ref zone, TheZone);
        Assert.Equal(DnsRcode.NoError, (await AskUdp(server.EndPoints[0], Query(Web, DnsType.A))).Rcode);
        Assert.Equal(1, server.Statistics.Answers(DnsRcode.Refused));
    }

    [Fact]
    public async Task A_fault_inside_is_SERVFAIL_and_the_server_lives()
    {
        var fail = true;
        await using var server = Start(
            OnLoopback, () => Volatile.Read(ref fail) ? throw new InvalidOperationException() : TheZone);
        Assert.Equal(DnsRcode.ServFail, (await AskUdp(server.EndPoints[0], Query(Web, DnsType.A))).Rcode);
        Volatile.Write(ref fail, false);
        Assert.Equal(DnsRcode.NoError, (await AskUdp(server.EndPoints[0], Query(Web, DnsType.A))).Rcode);
        Assert.Equal((1, 1), (server.Statistics.Faults, server.Statistics.Answers(DnsRcode.ServFail)));
    }

    [Fact]
    public async Task Responses_and_scraps_are_dropped()
    {
        await using var server = Start(OnLoopback);
        using var socket = new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp);
        await socket.ConnectAsync(server.EndPoints[0]);
        await socket.SendAsync(new byte[3]);
        await socket.SendAsync(Array.Empty<byte>());
        await socket.SendAsync((Query(Web, DnsType.A) with { Flags = DnsFlags.Response, Id = 1 }).Bytes());
        await socket.SendAsync((Query(Web, DnsType.A) with { Id = 2 }).Bytes());

        // One thread answers in order: the first answer is to the last datagram.
        var buffer = new byte[1500];
        var length = await socket.ReceiveAsync(buffer, SocketFlags.None, new CancellationTokenSource(Limit).Token);
        Assert.Equal(2, Read(buffer.AsSpan(0, length)).Id);
        Assert.Equal((4, 3), (server.Statistics.UdpQueries, server.Statistics.Dropped));
    }

    [Fact]
    public async Task A_client_may_send_ahead_and_gets_its_answers_in_order()
    {
        await using var server = Start(OnLoopback);
        using var tcp = await Connect(server.EndPoints[0]);
        var queries = Enumerable.Range(0, 3000).SelectMany(i => Framed(Query(Web, DnsType.A) with { Id = (ushort)i })).ToArray();
        var sending = tcp.SendAsync(queries);
        for (var i = 0; i < 3000; i++)
        {
            Assert.Equal(i, (await ReadFramed(tcp)).Id);
        }

        Assert.Equal(queries.Length, await sending);
    }

    [Fact]
    public async Task A_message_may_come_byte_by_byte_and_be_as_long_as_its_length_octets_can_say()
    {
        await using var server = Start(OnLoopback);
        using var tcp = await Connect(server.EndPoints[0]);
        tcp.NoDelay = true;
        foreach (var octet in Framed(Query(Web, DnsType.A)))
        {
            await tcp.SendAsync(new[] { octet });
        }

        Assert.Single((await ReadFramed(tcp)).Answers);

        var padded = Opt with { Data = new DnsOpt([new DnsOption(12, [.. new byte[65535 - 17 - Web.Length - 1 - 11 - 4]])]) };
        var longest = Framed(Query(Web, DnsType.A) with { Additionals = [padded] });
        Assert.Equal(65537, longest.Length);
        await tcp.SendAsync(longest);
        Assert.Single((await ReadFramed(tcp)).Answers);

        // And small ones again, a malformed one among them.
        await tcp.SendAsync(new byte[] { 0, 12, 1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 });
        Assert.Equal(DnsRcode.FormErr, (await ReadFramed(tcp)).Rcode);
        await tcp.SendAsync(Framed(Query(Web, DnsType.A)));
        Assert.Single((await ReadFramed(tcp)).Answers);
    }

    [Fact]
    public async Task A_connection_without_queries_is_closed()
    {
        var time = new ManualTime();
        await using var server = Start(OnLoopback with { TcpIdle = TimeSpan.FromSeconds(10) }, time: time);
        using var tcp = await Connect(server.EndPoints[0]);
        for (var i = 0; i < 5; i++)
        {
            await tcp.SendAsync(Framed(Query(Web, DnsType.A)));
            Assert.Single((await ReadFramed(tcp)).Answers);
            time.Advance(TimeSpan.FromSeconds(3));
        }

        Assert.Equal(0, server.Statistics.TcpIdled);

        // The last answer may be here before its query has set the timer anew.
        await Until(() =>
        {
            time.Advance(TimeSpan.FromSeconds(11));
            return server.Statistics is { TcpConnections: 0, TcpIdled: 1 };
        });
        await AssertClosed(tcp);
    }

    [Fact]
    public async Task A_client_that_does_not_take_its_answers_is_not_read_and_then_closed()
    {
        var time = new ManualTime();
        await using var server = Start(OnLoopback, time: time);
        using var tcp = await Connect(server.EndPoints[0]);
        var chunk = Enumerable.Range(0, 500).SelectMany(_ => Framed(Query("_http._tcp." + Web, DnsType.Srv))).ToArray();
        var sending = Task.Run(async () =>
        {
            // 100 MB of queries would have 200 MB of answers: buffers give out long before.
            for (var i = 0; i < 3000; i++)
            {
                await tcp.SendAsync(chunk);
            }
        });

        long seen;
        do
        {
            seen = server.Statistics.TcpQueries;
            await Task.Delay(TimeSpan.FromMilliseconds(300), TimeProvider.System);
        }
        while (seen == 0 || server.Statistics.TcpQueries != seen);

        Assert.False(sending.IsCompleted);
        time.Advance(TimeSpan.FromSeconds(11));
        await Assert.ThrowsAsync<SocketException>(() => sending.WaitAsync(Limit));
        await Until(() => server.Statistics is { TcpConnections: 0, TcpIdled: 1 });
    }

    [Fact]
    public async Task One_connection_above_the_limit_is_closed_and_UDP_goes_on()
    {
        await using var server = Start(OnLoopback with { TcpConnections = 2 });
        using var first = await Connect(server.EndPoints[0]);
        using var second = await Connect(server.EndPoints[0]);
        await Until(() => server.Statistics.TcpConnections == 2);
        using (var third = await Connect(server.EndPoints[0]))
        {
            await AssertClosed(third);
        }

        Assert.Equal(1, server.Statistics.TcpRefused);
        Assert.Single((await AskUdp(server.EndPoints[0], Query(Web, DnsType.A))).Answers);

        first.Dispose();
        await Until(() => server.Statistics.TcpConnections == 1);
        using var fourth = await Connect(server.EndPoints[0]);
        await fourth.SendAsync(Framed(Query(Web, DnsType.A)));
        Assert.Single((await ReadFramed(fourth)).Answers);
    }

    [Fact]
    public async Task One_address_gets_its_share_of_the_connections_and_no_more()
    {
        await using var server = Start(OnLoopback with { TcpConnections = 4, TcpPerSource = 2 });
        using var first = await Connect(server.EndPoints[0]);
        using var second = await Connect(server.EndPoints[0]);
        await Until(() => server.Statistics.TcpConnections == 2);
        using (var third = await Connect(server.EndPoints[0]))
        {
            await AssertClosed(third);
        }

        using var other = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        other.Bind(new IPEndPoint(IPAddress.Parse("127.0.0.2"), 0));
        await other.ConnectAsync(server.EndPoints[0]);
        await other.SendAsync(Framed(Query(Web, DnsType.A)));
        Assert.Single((await ReadFramed(other)).Answers);

        first.Dispose();
        await Until(() => server.Statistics.TcpConnections == 2);
        using var fourth = await Connect(server.EndPoints[0]);
        await fourth.SendAsync(Framed(Query(Web, DnsType.A)));
        Assert.Single((await ReadFramed(fourth)).Answers);
    }

    [Theory]
    [InlineData("0.0.0.0", "127.0.0.77", 1)]
    [InlineData("::", "127.0.0.77", 1)]
    [InlineData("::", "127.0.0.77", 4)]
    [InlineData("::", "::1", 1)]
    public async Task On_a_wildcard_the_answer_comes_from_the_address_that_was_asked(string listen, string asked, int threads)
    {
        if (!OperatingSystem.IsLinux())
        {
            return;
        }

        await using var server = Start(OnLoopback with { Listen = [new IPEndPoint(IPAddress.Parse(listen), 0)], UdpThreads = threads });
        for (var i = 0; i < 2 * threads; i++)
        {
            // A connected socket takes datagrams of that address alone.
            Assert.Single((await AskUdp(new IPEndPoint(IPAddress.Parse(asked), server.EndPoints[0].Port), Query(Web, DnsType.A))).Answers);
        }
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Many_at_once_all_get_their_answers(bool portable)
    {
        await using var server = Start(OnLoopback with { UdpThreads = 3, Portable = portable });
        var answered = 0;
        await Parallel.ForAsync(0, 40, async (client, _) =>
        {
            using var socket = new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp);
            await socket.ConnectAsync(server.EndPoints[0]);
            var buffer = new byte[1500];
            using var limit = new CancellationTokenSource(Limit);
            for (var burst = 0; burst < 5; burst++)
            {
                var ids = Enumerable.Range(0, 50).Select(i => (ushort)(client * 100 + i)).ToHashSet();
                foreach (var id in ids)
                {
                    await socket.SendAsync((Query(Web, DnsType.A) with { Id = id }).Bytes());
                }

                while (ids.Count > 0)
                {
                    var message = Read(buffer.AsSpan(0, await socket.ReceiveAsync(buffer, SocketFlags.None, limit.Token)));
                    Assert.True(ids.Remove(message.Id));
                    Assert.Single(message.Answers);
                    Interlocked.Increment(ref answered);
                }
            }
        });
        Assert.Equal((10_000, 10_000), (answered, server.Statistics.UdpQueries));
    }

    [Fact]
    public async Task A_port_that_is_taken_is_told_and_can_be_tried_again()
    {
        using var taken = new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp);
        taken.Bind(new IPEndPoint(IPAddress.Loopback, FreePorts.Take(1)[0]));
        var endPoint = (IPEndPoint)taken.LocalEndPoint!;
        var options = OnLoopback with { Listen = [new IPEndPoint(IPAddress.IPv6Loopback, 0), endPoint] };
        await using var server = new DnsServer(options, () => TheZone, TimeProvider.System);
        for (var i = 0; i < 2; i++)
        {
            var e = Assert.Throws<DnsListenException>(server.Start);
            Assert.Contains($"DNS cannot listen on {endPoint}/udp", e.Message);
            Assert.Contains("another server has it", e.Message);
            Assert.Empty(server.EndPoints);
        }

        taken.Dispose();
        server.Start();
        Assert.Single((await AskUdp(endPoint, Query(Web, DnsType.A))).Answers);
        Assert.Throws<InvalidOperationException>(server.Start);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Disposal_ends_threads_and_connections_and_frees_the_port(bool portable)
    {
        var server = Start(OnLoopback with { UdpThreads = 3, Portable = portable });
        var endPoint = server.EndPoints[0];
        using var tcp = await Connect(endPoint);
        await Until(() => server.Statistics.TcpConnections == 1);
        await server.DisposeAsync().AsTask().WaitAsync(Limit);
        await server.DisposeAsync();
        await AssertClosed(tcp);
        Assert.Throws<InvalidOperationException>(server.Start);

        await using var next = Start(OnLoopback with { Listen = [endPoint] });
        Assert.Single((await AskUdp(endPoint, Query(Web, DnsType.A))).Answers);
    }

    [Fact]
    public async Task Garbage_from_many_sockets_leaves_the_server_answering()
    {
        await using var server = Start(OnLoopback);
        var random = new Random(4);
        for (var i = 0; i < 50; i++)
        {
            // Gone before its answers come: those meet a closed port.
            using var socket = new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp);
            using var tcp = await Connect(server.EndPoints[0]);
            var bytes = new byte[random.Next(1, 6000)];
            random.NextBytes(bytes);
            await socket.SendToAsync(bytes, server.EndPoints[0]);
            await socket.SendToAsync(Query(Web, DnsType.A).Bytes(), server.EndPoints[0]);
            await tcp.SendAsync(bytes);
        }

        Assert.Single((await AskUdp(server.EndPoints[0], Query(Web, DnsType.A))).Answers);
        await Until(() => server.Statistics.TcpConnections == 0);
    }

    private static DnsServer Start(DnsServerOptions options, Func<DnsZone>? zone = null, TimeProvider? time = null)
    {
        var server = new DnsServer(options, zone ?? (() => TheZone), time ?? TimeProvider.System);
        server.Start();
        return server;
    }

    private static async Task<DnsMessage> AskUdp(IPEndPoint endPoint, DnsMessage query)
    {
        using var socket = new Socket(endPoint.AddressFamily, SocketType.Dgram, ProtocolType.Udp);
        await socket.ConnectAsync(endPoint);
        await socket.SendAsync(query.Bytes());
        var buffer = new byte[1500];
        using var limit = new CancellationTokenSource(Limit);
        return Read(buffer.AsSpan(0, await socket.ReceiveAsync(buffer, SocketFlags.None, limit.Token)));
    }

    private static async Task<Socket> Connect(IPEndPoint endPoint)
    {
        var socket = new Socket(endPoint.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
        await socket.ConnectAsync(endPoint);
        return socket;
    }

    private static byte[] Framed(DnsMessage query)
    {
        var bytes = query.Bytes();
        return [(byte)(bytes.Length >> 8), (byte)bytes.Length, .. bytes];
    }

    private static async Task<DnsMessage> ReadFramed(Socket socket)
    {
        using var stream = new NetworkStream(socket, ownsSocket: false);
        using var limit = new CancellationTokenSource(Limit);
        var prefix = new byte[2];
        await stream.ReadExactlyAsync(prefix, limit.Token);
        var message = new byte[BinaryPrimitives.ReadUInt16BigEndian(prefix)];
        await stream.ReadExactlyAsync(message, limit.Token);
        return Read(message);
    }

    private static async Task AssertClosed(Socket socket)
    {
        try
        {
            Assert.Equal(0, await socket.ReceiveAsync(new byte[1], SocketFlags.None, new CancellationTokenSource(Limit).Token));
        }
        catch (SocketException e)
        {
            Assert.Equal(SocketError.ConnectionReset, e.SocketErrorCode);
        }
    }

    private static async Task Until(Func<bool> holds)
    {
        using var limit = new CancellationTokenSource(Limit);
        while (!holds())
        {
            await Task.Delay(TimeSpan.FromMilliseconds(5), TimeProvider.System, limit.Token);
        }
    }
}
