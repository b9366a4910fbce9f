using System.Net;
using System.Net.Sockets;
using Fabric.Testing;

namespace Fabric.Tunnel.Tests;

/// <summary>Datagrams through two gateways on real sockets.</summary>
public abstract class FlowTests(TunnelDriver driver) : IDisposable
{
    private static readonly StreamOpen _open = new("dns.shop", 53, "spiffe://test.example/ns/a/sa/b") { Datagrams = true };

    private readonly TestAuthority _authority = new();

    public void Dispose() => _authority.Dispose();

    /// <summary>A pair whose alpha serves <c>dns</c> over UDP, through beta, from these endpoints.</summary>
    private async Task<Pair> StartAsync(IPEndPoint[] endpoints, TunnelLimits? limits = null, TimeSpan? idle = null, IPAddress? address = null)
    {
        var pair = await Pair.StartAsync(_authority, driver, limits);
        var tcp = pair.Beta.Decide;
        pair.Beta.Decide = (peer, open) => open.Datagrams
            ? new EgressVerdict.Dial([.. endpoints], Pair.Limit) { FlowIdle = idle ?? TimeSpan.FromSeconds(60) }
            : tcp(peer, open);
        pair.Alpha.Plan = listener => new IngressPlan([new IngressRoute("beta", listener.Datagrams ? _open : Pair.Open)]);
        pair.Alpha.Tunnel.Reconcile(pair.AlphaPlan with
        {
            Services =
            [
                .. pair.AlphaPlan.Services,
                new ServiceListener("dns", 53, new IPEndPoint(address ?? IPAddress.Loopback, 0)) { Datagrams = true, FlowIdle = idle ?? TimeSpan.FromSeconds(60) },
            ],
        });
        return pair;
    }

    private static Socket Client(Pair pair)
    {
        var address = pair.Alpha.Address("dns/udp");
        var socket = new Socket(address.AddressFamily, SocketType.Dgram, ProtocolType.Udp) { ReceiveBufferSize = 1 << 20 };
        socket.Connect(address);
        return socket;
    }

    /// <summary>Asks until an answer comes, as clients of UDP do; returns it.</summary>
    /// <param name="retry">Default: once, because on loopback a datagram is late but not lost, and who counts them wants no other.</param>
    private static async Task<byte[]> AskAsync(Socket client, byte[] question, TimeSpan? retry = null)
    {
        var buffer = new byte[65_536];
        using var limit = new CancellationTokenSource(Pair.Limit);
        while (true)
        {
            await client.SendAsync(question);
            using var once = CancellationTokenSource.CreateLinkedTokenSource(limit.Token);
            once.CancelAfter(retry ?? Pair.Limit);
            try
            {
                return buffer[..await client.ReceiveAsync(buffer, SocketFlags.None, once.Token)];
            }
            catch (OperationCanceledException) when (!limit.IsCancellationRequested)
            {
                // Lost, or refused: once more.
            }
        }
    }

    private static int Flows(TestGateway gateway) => gateway.Tunnel.Status.Datagrams.Flows;

    private static long Dropped(TestGateway gateway, DatagramDrop reason) => gateway.Tunnel.Status.Datagrams.Dropped[reason];

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(1_400)]
    [InlineData(65_507)]
    public async Task A_datagram_of_any_size_comes_back_as_it_went(int size)
    {
        using var server = new UdpEcho();
        await using var pair = await StartAsync([server.Address]);
        using var client = Client(pair);
        var question = new byte[size];
        new Random(size).NextBytes(question);
        Assert.Equal(question, await AskAsync(client, question));
        Assert.Equal(question, await AskAsync(client, question));
        var status = pair.Beta.Tunnel.Status.Datagrams;
        Assert.Equal((1, 1L, 2L * size), (status.Flows, status.FlowsTotal, status.BytesToEndpoints));
        Assert.Single(server.Clients);
    }

    [Fact]
    public async Task Every_client_has_a_flow_of_its_own()
    {
        using var server = new UdpEcho();
        await using var pair = await StartAsync([server.Address]);
        var clients = Enumerable.Range(0, 200).Select(_ => Client(pair)).ToArray();
        await Task.WhenAll(clients.Select(async (client, i) =>
        {
            for (var n = 0; n < 5; n++)
            {
                Assert.Equal(BitConverter.GetBytes(i), await AskAsync(client, BitConverter.GetBytes(i)));
            }
        }));
        Assert.Equal((200, 200, 200), (server.Clients.Count, Flows(pair.Alpha), Flows(pair.Beta)));
        Assert.Equal(200, pair.Alpha.Tunnel.Status.OpenStreams);
        foreach (var client in clients)
        {
            client.Dispose();
        }
    }

    [Fact]
    public async Task An_idle_flow_ends_at_both_ends_and_the_next_datagram_opens_another()
    {
        using var server = new UdpEcho();
        // Longer than a busy machine lets an answer wait.
        await using var pair = await StartAsync([server.Address], idle: TimeSpan.FromSeconds(4));
        using var client = Client(pair);
        await AskAsync(client, [1]);
        await Pair.Until(() => Flows(pair.Alpha) == 0 && Flows(pair.Beta) == 0 && pair.Alpha.Tunnel.Status.OpenStreams == 0, "the flow is over");
        await Pair.Until(() => !pair.Alpha.IngressEnded.IsEmpty && !pair.Beta.EgressEnded.IsEmpty, "summaries");
        Assert.True(pair.Beta.EgressEnded.TryDequeue(out var summary));
        Assert.Equal((StreamCode.Ok, 1L, 1L, server.Address), (summary.Code, summary.BytesToEndpoint, summary.BytesToClient, summary.Endpoint));
        Assert.Contains(pair.Alpha.IngressEnded.Concat([summary]), s => s.Reason == "no datagram for 4 s");
        await AskAsync(client, [2]);
        Assert.Equal(2, server.Clients.Count);
    }

    [Fact]
    public async Task A_dead_endpoint_ends_the_flow_and_the_next_one_takes_another()
    {
        using var server = new UdpEcho();
        var gone = new UdpEcho();
        var dead = gone.Address;
        gone.Dispose();
        await using var pair = await StartAsync([server.Address]);
        pair.Beta.Decide = (_, _) => new EgressVerdict.Dial(pair.Beta.DialsFailed.IsEmpty ? [dead] : [server.Address], Pair.Limit);
        using var client = Client(pair);
        Assert.Equal([7], await AskAsync(client, [7], TimeSpan.FromMilliseconds(200)));
        Assert.Equal([dead], pair.Beta.DialsFailed);
        await Pair.Until(() => !pair.Alpha.IngressEnded.IsEmpty, "the summary of the first flow");
        Assert.True(pair.Alpha.IngressEnded.TryDequeue(out var summary));
        Assert.Equal(StreamCode.NoEndpoint, summary.Code);
        Assert.Contains(dead.ToString(), summary.Reason);
    }

    [Fact]
    public async Task A_flow_goes_on_over_the_other_link_when_one_dies()
    {
        using var server = new UdpEcho();
        await using var pair = await StartAsync([server.Address]);
        using var client = Client(pair);
        await AskAsync(client, [1]);
        pair.Cut("one", LinkFault.Cut);
        pair.Paths(["two"], ["one"]);
        Assert.Equal([2], await AskAsync(client, [2], TimeSpan.FromSeconds(1)));
        Assert.Equal("two", pair.Alpha.SessionWith("beta").ActiveLink);
        Assert.Single(server.Clients);
        Assert.Equal(1, pair.Alpha.Tunnel.Status.Datagrams.FlowsTotal);
    }

    [Fact]
    public async Task Datagrams_pass_a_bulk_stream_that_goes_the_same_way()
    {
        using var server = new UdpEcho();
        await using var pair = await StartAsync([server.Address]);
        using var client = Client(pair);
        await AskAsync(client, [1]);
        var (upload, download) = await pair.ConnectAsync();
        using var stop = new CancellationTokenSource();
        var carried = 0L;
        var sending = Task.Run(async () =>
        {
            var bytes = new byte[256 * 1024];
            while (!stop.IsCancellationRequested)
            {
                await upload.SendAsync(bytes);
            }

            upload.Dispose();
        });
        var receiving = Traffic.ReceiveAsync(download, total => Volatile.Write(ref carried, total));
        await Pair.Until(() => Volatile.Read(ref carried) > 4 << 20, "the bulk stream runs");
        var took = new List<TimeSpan>();
        // As long as it takes for the bulk stream to have run beside.
        var least = Volatile.Read(ref carried) + (4 << 20);
        var limit = System.Diagnostics.Stopwatch.StartNew();
        for (var i = 0; i < 100 || (Volatile.Read(ref carried) < least && limit.Elapsed < Pair.Limit); i++)
        {
            var began = System.Diagnostics.Stopwatch.GetTimestamp();
            await AskAsync(client, BitConverter.GetBytes(i));
            took.Add(System.Diagnostics.Stopwatch.GetElapsedTime(began));
        }

        var beside = Volatile.Read(ref carried);
        await stop.CancelAsync();
        await sending.WaitAsync(Pair.Limit);
        await receiving.WaitAsync(Pair.Limit);

        // Behind the bulk that credit and sockets hold, each would wait for megabytes.
        Assert.InRange(took.Order().ElementAt(took.Count / 2), TimeSpan.Zero, TimeSpan.FromMilliseconds(500));
        Assert.InRange(beside, least, long.MaxValue);
        download.Dispose();
    }

    [Fact]
    public async Task What_is_too_large_is_dropped_counted_and_told()
    {
        using var server = new UdpEcho(IPAddress.IPv6Loopback, answer: 65_520);
        await using var pair = await StartAsync([server.Address], address: IPAddress.IPv6Loopback);
        using var client = Client(pair);
        await client.SendAsync(new byte[65_510]);
        await Pair.Until(() => Dropped(pair.Alpha, DatagramDrop.Oversize) == 1, "the question is too large");
        // Counted first, then told.
        await Pair.Until(() => pair.Alpha.Tunnel.Status.Datagrams.LastOversize.Contains("65510 bytes is larger than the 65507"), "the status says so");
        await client.SendAsync(new byte[100]);
        await Pair.Until(() => Dropped(pair.Beta, DatagramDrop.Oversize) == 1, "the answer is too large");
        await Pair.Until(() => pair.Beta.Log.Any(line => line.Contains("65520 bytes is larger than the 65507")), "the log says so");
    }

    [Fact]
    public async Task A_refused_flow_asks_once_and_its_datagrams_are_counted()
    {
        await using var pair = await StartAsync([]);
        var asked = 0;
        pair.Beta.Decide = (_, _) =>
        {
            Interlocked.Increment(ref asked);
            return new EgressVerdict.Refuse(StreamCode.PolicyDenied, "may not");
        };
        using var client = Client(pair);
        var began = System.Diagnostics.Stopwatch.StartNew();
        for (var i = 0; i < 20; i++)
        {
            await client.SendAsync(new byte[] { 1 });
        }

        await Pair.Until(() => Flows(pair.Alpha) == 0 && !pair.Alpha.IngressEnded.IsEmpty, "the refused flow is forgotten");
        Assert.True(pair.Alpha.IngressEnded.TryDequeue(out var summary));
        Assert.Equal((StreamCode.PolicyDenied, "may not"), (summary.Code, summary.Reason));
        await Pair.Until(() => Dropped(pair.Alpha, DatagramDrop.Refused) + Dropped(pair.Alpha, DatagramDrop.QueueFull)
            + Dropped(pair.Alpha, DatagramDrop.Late) == 20, "all are counted");
        // A refusal holds for a second: so it is asked again after that, and no sooner.
        Assert.InRange(asked, 1, 1 + (int)began.Elapsed.TotalSeconds);
    }

    [Fact]
    public async Task While_a_flow_opens_its_last_sixteen_datagrams_wait()
    {
        using var server = new UdpEcho();
        await using var pair = await StartAsync([server.Address]);
        using var asked = new ManualResetEventSlim();
        var decide = pair.Beta.Decide;
        pair.Beta.Decide = (peer, open) =>
        {
            asked.Wait(Pair.Limit);
            return decide(peer, open);
        };
        using var client = Client(pair);
        for (byte i = 0; i < 20; i++)
        {
            await client.SendAsync(new[] { i });
        }

        await Pair.Until(() => Dropped(pair.Alpha, DatagramDrop.QueueFull) == 4, "four are dropped");
        asked.Set();
        var buffer = new byte[10];
        for (byte i = 4; i < 20; i++)
        {
            Assert.Equal(1, await client.ReceiveAsync(buffer).WaitAsync(Pair.Limit));
            Assert.Equal(i, buffer[0]);
        }
    }

    [Fact]
    public async Task A_local_route_needs_no_peer()
    {
        using var server = new UdpEcho();
        await using var pair = await StartAsync([]);
        pair.Alpha.Plan = _ => new IngressPlan([new IngressRoute(null, _open)]);
        pair.Alpha.Decide = (_, _) => new EgressVerdict.Dial([server.Address], Pair.Limit);
        using var client = Client(pair);
        Assert.Equal([5], await AskAsync(client, [5]));
        Assert.Equal((1, 0), (Flows(pair.Alpha), Flows(pair.Beta)));
    }

    [Fact]
    public async Task A_service_that_is_gone_ends_its_flows_and_its_socket()
    {
        using var server = new UdpEcho();
        await using var pair = await StartAsync([server.Address]);
        using var client = Client(pair);
        await AskAsync(client, [1]);
        var address = pair.Alpha.Address("dns/udp");
        pair.Alpha.Tunnel.Reconcile(pair.AlphaPlan);
        await Pair.Until(() => Flows(pair.Alpha) == 0 && Flows(pair.Beta) == 0, "its flows are over");
        using var again = new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp);
        await Pair.Until(() => Record.Exception(() => again.Bind(address)) is null, "its port is free");
    }

    [Fact]
    public async Task A_drain_lets_a_flow_go_on_takes_no_new_one_and_ends_when_it_is_quiet()
    {
        using var server = new UdpEcho();
        await using var pair = await StartAsync([server.Address]);
        using var client = Client(pair);
        await AskAsync(client, [1]);
        var draining = pair.Alpha.Tunnel.DrainAsync(Pair.Limit, default);
        Assert.Equal([2], await AskAsync(client, [2]));
        using var late = Client(pair);
        await late.SendAsync(new byte[] { 3 });
        await Pair.Until(() => Dropped(pair.Alpha, DatagramDrop.Refused) == 1, "a new flow is refused");
        Assert.Equal(0, await draining.WaitAsync(Pair.Limit));
        Assert.Single(server.Clients);
    }

    [Fact]
    public async Task Nothing_is_left_when_flows_and_gateways_end_in_the_middle_of_traffic()
    {
        using var server = new UdpEcho();
        var pair = await StartAsync([server.Address]);
        using var client = Client(pair);
        await AskAsync(client, [1]);
        var traffic = Task.Run(async () =>
        {
            for (var i = 0; i < 2_000; i++)
            {
                await client.SendAsync(new byte[1_000]).ContinueWith(_ => { }, TaskScheduler.Default);
            }
        });
        await pair.Beta.DisposeAsync();
        await traffic;
        await pair.DisposeAsync();
        await Pair.Until(() => pair.Alpha.Tunnel.Status.BufferedBytes == 0 && pair.Beta.Tunnel.Status.BufferedBytes == 0, "no buffer is left");
    }
}

public sealed class PortableFlowTests() : FlowTests(TunnelDriver.Portable);

public sealed class LinuxFlowTests() : FlowTests(TunnelDriver.Linux);
