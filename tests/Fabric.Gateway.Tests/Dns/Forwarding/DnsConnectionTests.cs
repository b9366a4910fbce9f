using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;
using Fabric.Gateway.Dns;
using Fabric.Gateway.Dns.Forwarding;
using Fabric.Protocol.Dns;
using Fabric.Testing;
using static Fabric.Gateway.Tests.Dns.DnsFixtures;
using static Fabric.Gateway.Tests.Dns.Forwarding.FakeUpstream;
using static Fabric.Gateway.Tests.Dns.Forwarding.ForwardingServer;

namespace Fabric.Gateway.Tests.Dns.Forwarding;

/// <summary>Queries that others have to be asked for, beside those that are answered here: on one connection, and of several clients.</summary>
public sealed class DnsConnectionTests : IAsyncLifetime
{
    private const string Web = "web.shop.svc.clusterset.local";
    private static readonly DnsForwarderOptions _patient = new() { Deadline = Wait.Limit };

    private readonly ManualResetEventSlim _gate = new();
    private readonly FakeUpstream _slow;
    private readonly FakeUpstream _quick = new((q, _) => Address(q));

    public DnsConnectionTests() => _slow = new FakeUpstream((q, _) =>
    {
        _gate.Wait();
        return Address(q);
    });

    /// <summary>Names below <c>slow.example</c> are answered when the gate opens, all others at once.</summary>
    private DnsForwardRules Rules => new()
    {
        Zones =
        [
            new DnsForwardZone(DnsName.Root, [_quick.EndPoint]), new DnsForwardZone(DnsName.Parse("slow.example"), [_slow.EndPoint]),
        ],
    };

    public Task InitializeAsync() => Task.CompletedTask;

    public async Task DisposeAsync()
    {
        _gate.Set();
        await _slow.DisposeAsync();
        await _quick.DisposeAsync();
    }

    [Fact]
    public async Task A_slow_name_holds_up_none_of_those_behind_it()
    {
        await using var server = new ForwardingServer(Rules, _patient);
        using var client = new FramedClient(server.EndPoint);
        await client.SendAsync(
            Query("a.slow.example", DnsType.A) with { Id = 1 }, Query("b.slow.example", DnsType.A) with { Id = 2 },
            Query(Web, DnsType.A) with { Id = 3 }, Query("www.example.org", DnsType.A) with { Id = 4 });
        Assert.Equal([3, 4], (await client.ReadAsync(2)).Select(m => (int)m.Id).Order());
        await client.SendAsync(Query(Web, DnsType.A) with { Id = 5 });
        Assert.Equal(5, (await client.ReadAsync(1))[0].Id);
        _gate.Set();
        var late = await client.ReadAsync(2);
        Assert.Equal([1, 2], late.Select(m => (int)m.Id).Order());
        Assert.All(late, m => Assert.Single(m.Answers));
    }

    [Fact]
    public async Task Who_has_said_all_gets_the_late_answers_before_the_end()
    {
        await using var server = new ForwardingServer(Rules, _patient);
        using var client = new FramedClient(server.EndPoint);
        await client.SendAsync(Query("a.slow.example", DnsType.A) with { Id = 1 }, Query(Web, DnsType.A) with { Id = 2 });
        client.Socket.Shutdown(SocketShutdown.Send);
        Assert.Equal(2, (await client.ReadAsync(1))[0].Id);
        _gate.Set();
        Assert.Equal(1, (await client.ReadAsync(1))[0].Id);
        Assert.Equal(0, await client.Socket.ReceiveAsync(new byte[1]).WaitAsync(Wait.Limit));
        await Wait.UntilAsync(() => server.Server.Statistics.TcpConnections == 0, () => "the connection is still there");
    }

    [Fact]
    public async Task At_the_limit_a_connection_is_read_on_when_an_answer_has_left()
    {
        await using var server = new ForwardingServer(Rules, _patient, with: o => o with { TcpInFlight = 2 });
        using var client = new FramedClient(server.EndPoint);
        await client.SendAsync(
            Query(Web, DnsType.A) with { Id = 1 }, Query("a.slow.example", DnsType.A) with { Id = 2 },
            Query("b.slow.example", DnsType.A) with { Id = 3 }, Query("c.slow.example", DnsType.A) with { Id = 4 },
            Query(Web, DnsType.A) with { Id = 5 });
        // What came before it does not wait.
        Assert.Equal(1, (await client.ReadAsync(1))[0].Id);
        await Wait.UntilAsync(() => server.Server.Statistics.TcpQueries == 4, () => $"{server.Server.Statistics}");
        await Wait.UntilAsync(() => server.Forwarder.Statistics.UnderWay == 2, () => $"{server.Forwarder.Statistics}");
        Assert.Equal(0, client.Socket.Available);
        // Other connections do not care.
        Assert.Single((await server.AskTcpAsync(Query(Web, DnsType.A))).Answers);
        Assert.Equal(5, server.Server.Statistics.TcpQueries);
        _gate.Set();
        Assert.Equal([2, 3, 4, 5], (await client.ReadAsync(4)).Select(m => (int)m.Id).Order());
    }

    [Fact]
    public async Task A_client_that_goes_while_others_are_asked_leaves_nothing_behind()
    {
        await using var server = new ForwardingServer(Rules, _patient);
        for (var i = 0; i < 10; i++)
        {
            using var client = new FramedClient(server.EndPoint);
            await client.SendAsync(Query($"n{i}.slow.example", DnsType.A));
            await Wait.UntilAsync(() => server.Forwarder.Statistics.UnderWay > i, () => $"{server.Forwarder.Statistics}");
            client.Socket.LingerState = new LingerOption(true, 0);
        }

        _gate.Set();
        await Wait.UntilAsync(
            () => server.Server.Statistics.TcpConnections == 0 && server.Forwarder.Statistics.UnderWay == 0, () => $"{server.Server.Statistics}");
        Assert.Equal(0, server.Server.Statistics.Faults);
        Assert.Single((await server.AskTcpAsync(Query("n0.slow.example", DnsType.A))).Answers);
    }

    [Fact]
    public async Task Who_asks_is_told_how_long_a_connection_may_be_idle()
    {
        await using var server = new ForwardingServer(Rules, with: o => o with { TcpConnections = 4 });
        var asking = With(new DnsOption((ushort)DnsOptionCode.KeepAlive, []));
        using var client = new FramedClient(server.EndPoint);
        async Task<int?> Told(DnsMessage query)
        {
            await client.SendAsync(query);
            return KeepAlive((await client.ReadAsync(1))[0]);
        }

        Assert.Equal(100, await Told(asking));
        // From others, from the cache, and REFUSED.
        Assert.Equal(100, await Told(asking with { Questions = Query("www.example.org", DnsType.A).Questions }));
        Assert.Equal(100, await Told(asking with { Questions = Query("www.example.org", DnsType.A).Questions }));
        Assert.Equal(100, await Told(asking with { Questions = Query("clusterset.local", DnsType.Axfr).Questions }));
        Assert.Null(await Told(With()));
        Assert.Null(await Told(With(new DnsOption((ushort)DnsOptionCode.KeepAlive, [0, 100]))));
        Assert.Null(KeepAlive(await server.AskAsync(asking)));

        // Where places are short it is to be given back.
        using var second = new FramedClient(server.EndPoint);
        using var third = new FramedClient(server.EndPoint);
        await Wait.UntilAsync(() => server.Server.Statistics.TcpConnections == 3, () => $"{server.Server.Statistics}");
        Assert.Equal(0, await Told(asking));
        third.Dispose();
        await Wait.UntilAsync(() => server.Server.Statistics.TcpConnections == 2, () => $"{server.Server.Statistics}");
        Assert.Equal(100, await Told(asking));
    }

    [Fact]
    public async Task One_client_does_not_get_all_the_places_of_the_forwarder()
    {
        await using var server = new ForwardingServer(Rules, _patient with { Questions = 8 });
        DnsMessage Slow(int i) => Query($"n{i}.slow.example", DnsType.A) with { Additionals = [Opt] };
        var greedy = Enumerable.Range(0, 20).Select(i => ForwardingServer.AskAsync(server.EndPoint, Slow(i), "127.0.0.1")).ToList();
        await Wait.UntilAsync(() => greedy.Count(t => t.IsCompleted) == 16, () => $"{server.Forwarder.Statistics}");
        var refused = await Task.WhenAll(greedy.Where(t => t.IsCompleted));
        Assert.All(refused, m => Assert.Equal(DnsRcode.ServFail, m.Rcode));
        Assert.All(refused, m => Assert.Equal(
            (DnsExtendedError.Other, "4 of 8 questions are under way for this client, and 4 places are free: no more may"), Reason(m)!.Value));
        Assert.Equal((4, 16), (server.Forwarder.Statistics.UnderWay, (int)server.Forwarder.Statistics.Limited));

        // Another is served as if nothing was, and the first one with what needs no place.
        var other = Query("www.example.org", DnsType.A);
        Assert.Single((await ForwardingServer.AskAsync(server.EndPoint, other, "127.0.0.2")).Answers);
        Assert.Single((await ForwardingServer.AskAsync(server.EndPoint, other, "127.0.0.1")).Answers);
        Assert.Single((await ForwardingServer.AskAsync(server.EndPoint, Query(Web, DnsType.A), "127.0.0.1")).Answers);
        // To wait for what is asked already takes no place of a question.
        var joining = ForwardingServer.AskAsync(server.EndPoint, Slow(0), "127.0.0.2");
        await Wait.UntilAsync(() => server.Forwarder.Statistics.Joined == 1, () => $"{server.Forwarder.Statistics}");
        _gate.Set();
        Assert.Single((await joining).Answers);
        Assert.Equal(4, (await Task.WhenAll(greedy)).Count(m => m.Answers.Length == 1));

        // And the places are there again. What failed for want of one was not kept.
        await Wait.UntilAsync(() => server.Forwarder.Statistics.UnderWay == 0, () => $"{server.Forwarder.Statistics}");
        for (var i = 0; i < 20; i++)
        {
            Assert.Single((await ForwardingServer.AskAsync(server.EndPoint, Slow(i), "127.0.0.1")).Answers);
        }
    }

    private static DnsMessage With(params DnsOption[] options) =>
        Query(Web, DnsType.A) with { Additionals = [Opt with { Data = new DnsOpt([.. options]) }] };

    private static int? KeepAlive(DnsMessage message) =>
        ((DnsOpt)message.Opt!.Data).Options.SingleOrDefault(o => o.Code == (ushort)DnsOptionCode.KeepAlive)?.Data is { IsDefault: false } data
            ? BinaryPrimitives.ReadUInt16BigEndian(data.AsSpan())
            : null;

    /// <summary>A client over TCP that sends what it likes and reads what comes.</summary>
    private sealed class FramedClient : IDisposable
    {
        private readonly NetworkStream _stream;

        public FramedClient(IPEndPoint server)
        {
            Socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
            Socket.Connect(server);
            _stream = new NetworkStream(Socket, ownsSocket: true);
        }

        public Socket Socket { get; }

        public async Task SendAsync(params DnsMessage[] queries) => await _stream.WriteAsync(queries.SelectMany(q =>
        {
            var bytes = q.Bytes();
            return new[] { (byte)(bytes.Length >> 8), (byte)bytes.Length }.Concat(bytes);
        }).ToArray());

        public async Task<List<DnsMessage>> ReadAsync(int count)
        {
            var messages = new List<DnsMessage>();
            while (messages.Count < count)
            {
                var prefix = new byte[2];
                await _stream.ReadExactlyAsync(prefix).AsTask().WaitAsync(Wait.Limit);
                var message = new byte[BinaryPrimitives.ReadUInt16BigEndian(prefix)];
                await _stream.ReadExactlyAsync(message).AsTask().WaitAsync(Wait.Limit);
                messages.Add(Read(message));
            }

            return messages;
        }

        public void Dispose() => _stream.Dispose();
    }
}
