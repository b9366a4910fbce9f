using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;
using Fabric.Testing;

namespace Fabric.Tunnel.Tests;

/// <summary>What is served is decided again, and what is refused then is reset: at every stage, and none is missed.</summary>
public abstract class ReviewTests(TunnelDriver driver) : IDisposable
{
    private static readonly EgressVerdict.Refuse _denied = new(StreamCode.PolicyDenied, "policy no-more denies it");
    private static readonly StreamOpen _dns = new("dns.shop", 53, "spiffe://test.example/ns/a/sa/b") { Datagrams = true };

    private readonly TestAuthority _authority = new();

    public void Dispose() => _authority.Dispose();

    private Task<Pair> StartAsync(TunnelLimits? limits = null) => Pair.StartAsync(_authority, driver, limits);

    private static EgressVerdict.Dial Dial(params IPEndPoint[] endpoints) => new([.. endpoints], Pair.Limit);

    private static async Task AssertResetAsync(Socket socket) => Assert.Equal(SocketError.ConnectionReset,
        (await Assert.ThrowsAsync<SocketException>(() => socket.ReceiveAsync(new byte[1]).WaitAsync(Pair.Limit))).SocketErrorCode);

    private static async Task<StreamSummary> EndAsync(ConcurrentQueue<StreamSummary> ended)
    {
        await Pair.Until(() => !ended.IsEmpty, "the summary");
        Assert.True(ended.TryDequeue(out var summary));
        return summary;
    }

    [Fact]
    public async Task A_stream_that_is_refused_now_is_reset_at_both_ends_with_the_reason_and_others_go_on()
    {
        await using var pair = await StartAsync();
        var (client, server) = await pair.ConnectAsync();
        pair.Alpha.Plan = _ => new IngressPlan([new IngressRoute("beta", Pair.Open with { Caller = "spiffe://test.example/other" })]);
        var (other, otherServer) = await pair.ConnectAsync();
        await client.SendAsync(new byte[7]);
        Assert.Equal(7, await server.ReceiveAsync(new byte[10]).WaitAsync(Pair.Limit));
        var asked = new ConcurrentQueue<(string?, StreamOpen)>();
        pair.Beta.Reviewed = (peer, open) =>
        {
            asked.Enqueue((peer, open));
            return open == Pair.Open ? _denied : null;
        };

        Assert.Equal(0, pair.Alpha.Tunnel.Review());
        Assert.Equal(1, pair.Beta.Tunnel.Review());

        Assert.Equal(2, asked.Count);
        Assert.Contains(("alpha", Pair.Open), asked);
        await AssertResetAsync(client);
        await AssertResetAsync(server);
        Assert.Equal((StreamCode.PolicyDenied, _denied.Reason), await EndAsync(pair.Alpha.IngressEnded) is var near ? (near.Code, near.Reason) : default);
        var far = await EndAsync(pair.Beta.EgressEnded);
        Assert.Equal((StreamCode.PolicyDenied, _denied.Reason, 7L), (far.Code, far.Reason, far.BytesToEndpoint));
        Assert.Equal(pair.Server.LocalEndpoint, far.Endpoint);
        await other.SendAsync(new byte[3]);
        Assert.Equal(3, await otherServer.ReceiveAsync(new byte[10]).WaitAsync(Pair.Limit));
        Assert.Equal(0, pair.Beta.Tunnel.Review());
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_stream_or_flow_that_was_opened_for_a_client_here_is_reviewed_here(bool datagrams)
    {
        using var echo = new UdpEcho();
        await using var pair = await StartAsync();
        var tcp = pair.Beta.Decide;
        pair.Beta.Decide = (peer, open) => open.Datagrams ? Dial(echo.Address) : tcp(peer, open);
        pair.Alpha.Plan = listener => new IngressPlan([new IngressRoute("beta", listener.Datagrams ? _dns : Pair.Open)]);
        pair.Alpha.Tunnel.Reconcile(pair.AlphaPlan with { Services = [.. pair.AlphaPlan.Services, new ServiceListener("dns", 53, Pair.AnyPort) { Datagrams = true }] });
        var (client, server) = await pair.ConnectAsync();
        using var asking = new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp);
        asking.Connect(pair.Alpha.Address("dns/udp"));
        await asking.SendAsync(new byte[4]);
        Assert.Equal(4, await asking.ReceiveAsync(new byte[10]).WaitAsync(Pair.Limit));
        pair.Alpha.IngressReviewed = open => open.Datagrams == datagrams ? _denied : null;

        Assert.Equal(0, pair.Beta.Tunnel.Review());
        Assert.Equal(1, pair.Alpha.Tunnel.Review());

        foreach (var ended in new[] { pair.Alpha.IngressEnded, pair.Beta.EgressEnded })
        {
            Assert.Equal((StreamCode.PolicyDenied, _denied.Reason), await EndAsync(ended) is var summary ? (summary.Code, summary.Reason) : default);
        }

        if (!datagrams)
        {
            await AssertResetAsync(client);
            await AssertResetAsync(server);
        }
        else
        {
            await client.SendAsync(new byte[3]);
            Assert.Equal(3, await server.ReceiveAsync(new byte[10]).WaitAsync(Pair.Limit));
        }

        Assert.Equal(0, pair.Alpha.Tunnel.Review());
        (client as IDisposable).Dispose();
    }

    [Fact]
    public async Task A_stream_that_is_being_decided_is_reviewed_as_well()
    {
        await using var pair = await StartAsync();
        var deciding = new TaskCompletionSource<EgressVerdict>(TaskCreationOptions.RunContinuationsAsynchronously);
        var asked = new SemaphoreSlim(0);
        pair.Beta.DecideLater = (_, _) =>
        {
            asked.Release();
            return new(deciding.Task);
        };
        var client = new Socket(SocketType.Stream, ProtocolType.Tcp);
        await client.ConnectAsync(pair.Service);
        Assert.True(await asked.WaitAsync(Pair.Limit));
        pair.Beta.Reviewed = (_, _) => _denied;

        Assert.Equal(1, pair.Beta.Tunnel.Review());
        // By what was before.
        deciding.SetResult(Dial((IPEndPoint)pair.Server.LocalEndpoint));

        await AssertResetAsync(client);
        var summary = await EndAsync(pair.Beta.EgressEnded);
        Assert.Equal((StreamCode.PolicyDenied, null), (summary.Code, summary.Endpoint));
        // The session forgets it when the reset has left on a lane: after the summary, or before it.
        await Pair.Until(() => pair.Beta.Tunnel.Status.OpenStreams == 0, "it is forgotten");
        client.Dispose();
    }

    [Fact]
    public async Task A_connection_of_the_own_site_is_reset_with_the_reason()
    {
        await using var pair = await StartAsync();
        pair.Alpha.Plan = _ => new IngressPlan([new IngressRoute(null, Pair.Open)]);
        pair.Alpha.Decide = (_, _) => Dial((IPEndPoint)pair.Server.LocalEndpoint);
        var (client, server) = await pair.ConnectAsync();
        await client.SendAsync(new byte[5]);
        Assert.Equal(5, await server.ReceiveAsync(new byte[10]).WaitAsync(Pair.Limit));
        pair.Alpha.Reviewed = (peer, open) => peer is null && open == Pair.Open ? _denied : null;

        Assert.Equal(1, pair.Alpha.Tunnel.Review());

        await AssertResetAsync(client);
        await AssertResetAsync(server);
        foreach (var ended in new[] { pair.Alpha.IngressEnded, pair.Alpha.EgressEnded })
        {
            var summary = await EndAsync(ended);
            Assert.Equal((StreamCode.PolicyDenied, _denied.Reason, 5L), (summary.Code, summary.Reason, summary.BytesToEndpoint));
        }

        await Pair.Until(() => pair.Alpha.Tunnel.Streams.IsEmpty, "it is forgotten");
    }

    [Fact]
    public async Task A_connection_of_the_own_site_that_is_being_decided_is_reviewed_as_well_and_tried_nowhere_else()
    {
        await using var pair = await StartAsync();
        var deciding = new TaskCompletionSource<EgressVerdict>(TaskCreationOptions.RunContinuationsAsynchronously);
        var asked = new SemaphoreSlim(0);
        pair.Alpha.Plan = _ => new IngressPlan([new IngressRoute(null, Pair.Open), new IngressRoute("beta", Pair.Open)]);
        pair.Alpha.DecideLater = (_, _) =>
        {
            asked.Release();
            return new(deciding.Task);
        };
        var client = new Socket(SocketType.Stream, ProtocolType.Tcp);
        await client.ConnectAsync(pair.Service);
        Assert.True(await asked.WaitAsync(Pair.Limit));
        pair.Alpha.Reviewed = (_, _) => _denied;

        Assert.Equal(1, pair.Alpha.Tunnel.Review());
        deciding.SetResult(Dial((IPEndPoint)pair.Server.LocalEndpoint));

        await AssertResetAsync(client);
        var summary = await EndAsync(pair.Alpha.IngressEnded);
        Assert.Equal((StreamCode.PolicyDenied, _denied.Reason), (summary.Code, summary.Reason));
        Assert.Empty(pair.Beta.EgressEnded);
        client.Dispose();
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task A_flow_that_is_refused_now_ends_and_the_next_datagram_is_decided_anew(bool local)
    {
        using var echo = new UdpEcho();
        await using var pair = await StartAsync();
        var serving = local ? pair.Alpha : pair.Beta;
        serving.Decide = (_, _) => Dial(echo.Address);
        pair.Alpha.Plan = _ => new IngressPlan([new IngressRoute(local ? null : "beta", _dns)]);
        pair.Alpha.Tunnel.Reconcile(pair.AlphaPlan with { Services = [.. pair.AlphaPlan.Services, new ServiceListener("dns", 53, Pair.AnyPort) { Datagrams = true }] });
        using var client = new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp);
        client.Connect(pair.Alpha.Address("dns/udp"));
        await client.SendAsync(new byte[4]);
        Assert.Equal(4, await client.ReceiveAsync(new byte[10]).WaitAsync(Pair.Limit));
        serving.Reviewed = (peer, open) => peer == (local ? null : "alpha") && open == _dns ? _denied : null;
        serving.Decide = (_, _) => _denied;

        Assert.Equal(1, serving.Tunnel.Review());

        var summary = await EndAsync(serving.EgressEnded);
        Assert.Equal((StreamCode.PolicyDenied, _denied.Reason, 4L, echo.Address), (summary.Code, summary.Reason, summary.BytesToEndpoint, summary.Endpoint));
        Assert.Equal((StreamCode.PolicyDenied, _denied.Reason), await EndAsync(pair.Alpha.IngressEnded) is var near ? (near.Code, near.Reason) : default);
        await Pair.Until(() => pair.Alpha.Tunnel.Status.Datagrams.Flows == 0 && serving.Tunnel.Status.Datagrams.Flows == 0, "no flow is left");
        await client.SendAsync(new byte[4]);
        Assert.Equal(StreamCode.PolicyDenied, (await EndAsync(pair.Alpha.IngressEnded)).Code);
        Assert.Single(echo.Clients);
        Assert.Equal(0, serving.Tunnel.Review());
    }

    /// <summary>A review begins when the new policies are in force, as here, and connections are opened all the time.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Whatever_was_opened_across_a_change_of_policy_is_denied_by_it(bool local)
    {
        await using var pair = await StartAsync();
        using var stop = new CancellationTokenSource();
        var echoing = EchoAsync(pair.Server, stop.Token);
        var serving = local ? pair.Alpha : pair.Beta;
        var allowed = true;
        serving.Decide = (_, _) => Volatile.Read(ref allowed) ? Dial((IPEndPoint)pair.Server.LocalEndpoint) : _denied;
        serving.Reviewed = (_, _) => Volatile.Read(ref allowed) ? null : _denied;
        pair.Alpha.Plan = _ => new IngressPlan([new IngressRoute(local ? null : "beta", Pair.Open)]);
        var random = new Random(1);
        var all = 0;
        for (var round = 0; round < 25; round++)
        {
            Volatile.Write(ref allowed, true);
            var (over, answered) = (false, 0);
            var openers = Enumerable.Range(0, 6).Select(_ => Task.Run(async () =>
            {
                var held = new List<Socket>();
                while (!Volatile.Read(ref over) && held.Count < 200)
                {
                    held.AddRange(await AnsweredAsync(pair.Service));
                    Interlocked.Add(ref answered, held.Count);
                }

                return held;
            })).ToArray();
            await Pair.Until(() => Volatile.Read(ref answered) > 0, "a connection is open");
            await Task.Delay(random.Next(0, 20));
            Volatile.Write(ref allowed, false);
            serving.Tunnel.Review();
            Volatile.Write(ref over, true);
            foreach (var client in (await Task.WhenAll(openers).WaitAsync(Pair.Limit)).SelectMany(h => h))
            {
                await AssertResetAsync(client);
                client.Dispose();
                all++;
            }
        }

        Assert.InRange(all, 25, int.MaxValue);
        await Pair.Until(() => pair.Alpha.Tunnel.Streams.IsEmpty && pair.Beta.Tunnel.Streams.IsEmpty, "nothing is left");
        await stop.CancelAsync();
        await echoing;
    }

    [Fact]
    public async Task Refused_flows_do_not_count_as_under_way_for_ever()
    {
        await using var pair = await StartAsync(new TunnelLimits { MaxPendingOpens = 3 });
        var tcp = pair.Beta.Decide;
        pair.Beta.Decide = (peer, open) => open.Datagrams ? _denied : tcp(peer, open);
        pair.Alpha.Plan = listener => new IngressPlan([new IngressRoute("beta", listener.Datagrams ? _dns : Pair.Open)]);
        pair.Alpha.Tunnel.Reconcile(pair.AlphaPlan with { Services = [.. pair.AlphaPlan.Services, new ServiceListener("dns", 53, Pair.AnyPort) { Datagrams = true }] });
        for (var i = 0; i < 10; i++)
        {
            using var client = new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp);
            client.Connect(pair.Alpha.Address("dns/udp"));
            await client.SendAsync(new byte[1]);
            Assert.Equal(StreamCode.PolicyDenied, (await EndAsync(pair.Alpha.IngressEnded)).Code);
        }

        await pair.ConnectAsync();
    }

    /// <summary>A connection through which a byte came back; none when it was refused.</summary>
    private static async Task<Socket[]> AnsweredAsync(IPEndPoint service)
    {
        var client = new Socket(SocketType.Stream, ProtocolType.Tcp);
        try
        {
            await client.ConnectAsync(service);
            await client.SendAsync(new byte[1]);
            if (await client.ReceiveAsync(new byte[1]).WaitAsync(Pair.Limit) == 1)
            {
                return [client];
            }
        }
        catch (SocketException)
        {
            // Refused, or reset by the review before it was answered.
        }

        client.Dispose();
        return [];
    }

    private static async Task EchoAsync(TcpListener listener, CancellationToken stop)
    {
        try
        {
            while (true)
            {
                var socket = await listener.AcceptSocketAsync(stop);
                _ = Task.Run(async () =>
                {
                    using (socket)
                    {
                        try
                        {
                            var buffer = new byte[16];
                            while (await socket.ReceiveAsync(buffer.AsMemory()) is var read and > 0)
                            {
                                await socket.SendAsync(buffer.AsMemory(0, read));
                            }
                        }
                        catch (SocketException)
                        {
                            // Reset.
                        }
                    }
                }, CancellationToken.None);
            }
        }
        catch (OperationCanceledException)
        {
            // Enough.
        }
    }
}

public sealed class PortableReviewTests() : ReviewTests(TunnelDriver.Portable);

public sealed class LinuxReviewTests() : ReviewTests(TunnelDriver.Linux);
