using System.Net;
using System.Net.Sockets;
using System.Security.Authentication;
using System.Text;
using Fabric.Protocol.Tunnel;
using Fabric.Testing;
using Fabric.Tunnel.Drivers;
using Fabric.Tunnel.Portable;

namespace Fabric.Tunnel.Tests;

/// <summary>Who may have a lane, where a connection goes, how streams are opened without a socket, and the end of it all.</summary>
public abstract class GatewayTests(TunnelDriver driver) : IDisposable
{
    private readonly TestAuthority _authority = new();

    public void Dispose() => _authority.Dispose();

    private static async Task<SocketException> AssertResetAsync(Socket client) =>
        await Assert.ThrowsAsync<SocketException>(async () =>
        {
            await client.ReceiveAsync(new byte[1]).WaitAsync(Pair.Limit);
        });

    [Fact]
    public async Task A_refusal_by_policy_resets_the_client_and_is_told()
    {
        await using var pair = await Pair.StartAsync(_authority, driver);
        pair.Beta.Decide = (peer, open) => new EgressVerdict.Refuse(StreamCode.PolicyDenied, $"{open.Caller} of {peer} may not");
        using var client = new Socket(SocketType.Stream, ProtocolType.Tcp);
        // It may be reset before the connect is seen to be done.
        var reset = await Assert.ThrowsAsync<SocketException>(async () =>
        {
            await client.ConnectAsync(pair.Service);
            await client.ReceiveAsync(new byte[1]).WaitAsync(Pair.Limit);
        });
        Assert.Equal(SocketError.ConnectionReset, reset.SocketErrorCode);
        await Pair.Until(() => !pair.Alpha.IngressEnded.IsEmpty && !pair.Beta.EgressEnded.IsEmpty, "summaries");
        Assert.True(pair.Alpha.IngressEnded.TryDequeue(out var summary));
        Assert.Equal((StreamCode.PolicyDenied, "spiffe://test.example/ns/a/sa/b of alpha may not"), (summary.Code, summary.Reason));
    }

    [Fact]
    public async Task A_refused_route_leads_to_the_next_and_nothing_is_lost()
    {
        await using var pair = await Pair.StartAsync(_authority, driver);
        var dead = new IPEndPoint(IPAddress.Loopback, 1);
        var real = (IPEndPoint)pair.Server.LocalEndpoint;
        pair.Beta.Decide = (_, open) => new EgressVerdict.Dial(open.Port == 1 ? [dead] : [dead, real], Pair.Limit);
        pair.Alpha.Plan = _ => new IngressPlan(
            [new("nobody", Pair.Open), new("beta", Pair.Open with { Port = 1 }), new("beta", Pair.Open with { Port = 2 })]);
        using var client = new Socket(SocketType.Stream, ProtocolType.Tcp);
        await client.ConnectAsync(pair.Service);
        await client.SendAsync(Encoding.ASCII.GetBytes("sent before anyone answered"));
        client.Shutdown(SocketShutdown.Send);
        using var server = await pair.Server.AcceptSocketAsync().WaitAsync(Pair.Limit);
        Assert.Equal(27, (await Traffic.ReceiveAsync(server).WaitAsync(Pair.Limit)).Bytes);
        Assert.Equal(2, pair.Beta.DialsFailed.Count);
    }

    [Fact]
    public async Task A_local_route_needs_no_peer()
    {
        await using var pair = await Pair.StartAsync(_authority, driver);
        pair.Alpha.Plan = _ => new IngressPlan([new(null, Pair.Open)]);
        pair.Alpha.Decide = (peer, _) => peer is null
            ? new EgressVerdict.Dial([(IPEndPoint)pair.Server.LocalEndpoint], Pair.Limit)
            : new EgressVerdict.Refuse(StreamCode.PolicyDenied, "not local");
        var (client, server) = await pair.ConnectAsync();
        var sent = Traffic.SendAsync(client, 1_000_000, 1);
        Assert.Equal((await sent, 1_000_000), await Traffic.ReceiveAsync(server).WaitAsync(Pair.Limit));
        server.Dispose();
        Assert.Equal(0, (await Traffic.ReceiveAsync(client).WaitAsync(Pair.Limit)).Bytes);
    }

    [Fact]
    public async Task A_stream_opened_by_hand_reaches_a_handler()
    {
        await using var pair = await Pair.StartAsync(_authority, driver);
        pair.Beta.Decide = (_, _) => new EgressVerdict.Handle(async stream =>
        {
            var question = await new StreamReader(stream).ReadToEndAsync();
            await stream.WriteAsync(Encoding.ASCII.GetBytes($"you said {question}"));
        });
        await using var stream = await pair.Alpha.Tunnel.OpenAsync("beta", new StreamOpen("fabric.test", 0, ""), default);
        await stream.WriteAsync("hello"u8.ToArray());
        stream.CompleteWrites();
        Assert.Equal("you said hello", await new StreamReader(stream).ReadToEndAsync().WaitAsync(Pair.Limit));
    }

    [Fact]
    public async Task Cancelling_an_open_or_a_read_leaves_nothing_behind()
    {
        await using var pair = await Pair.StartAsync(_authority, driver);
        var asked = new TaskCompletionSource();
        pair.Beta.Decide = (_, open) => new EgressVerdict.Handle(stream => stream.CopyToAsync(Stream.Null));
        await using (var stream = await pair.Alpha.Tunnel.OpenAsync("beta", new StreamOpen("fabric.test", 0, ""), default))
        {
            using var stop = new CancellationTokenSource(50);
            await Assert.ThrowsAnyAsync<OperationCanceledException>(() => stream.ReadAsync(new byte[1], stop.Token).AsTask().WaitAsync(Pair.Limit));
        }

        await Pair.Until(() => pair.Alpha.Tunnel.Status.OpenStreams == 0 && pair.Beta.Tunnel.Status.OpenStreams == 0, "no streams");
        pair.Cut("one", LinkFault.Cut);
        pair.Cut("two", LinkFault.Cut);
        using var give = new CancellationTokenSource(50);
        await Assert.ThrowsAnyAsync<OperationCanceledException>(
            () => pair.Alpha.Tunnel.OpenAsync("beta", new StreamOpen("fabric.test", 0, ""), give.Token).WaitAsync(Pair.Limit));
        pair.Cut("one", LinkFault.None);
        pair.Cut("two", LinkFault.None);
        await Pair.Until(() => pair.Alpha.Tunnel.Status.OpenStreams == 0 && pair.Beta.Tunnel.Status.OpenStreams == 0, "no streams");
    }

    /// <summary>Lanes are at every stage of being dialled when the plan drops them.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task No_lane_stays_that_is_planned_no_longer(bool atTheDialler)
    {
        await using var pair = await Pair.StartAsync(_authority, driver);
        var accepting = new TunnelPlan { Listen = [Pair.AnyPort], Lanes = [new LanePlan("alpha", "one", null), new LanePlan("alpha", "two", null)] };
        for (var wait = 0; wait < 40; wait++)
        {
            pair.Alpha.Tunnel.Reconcile(new TunnelPlan());
            await Pair.Until(() => pair.Alpha.SessionWith("beta").ActiveLink is null && pair.Beta.SessionWith("alpha").ActiveLink is null, "no lanes");
            pair.Beta.Tunnel.Reconcile(accepting);
            pair.Alpha.Tunnel.Reconcile(pair.AlphaPlan);
            await Task.Delay(wait / 4);
            if (!atTheDialler)
            {
                pair.Beta.Tunnel.Reconcile(accepting with { Lanes = [] });
                await Pair.Until(() => pair.Beta.SessionWith("alpha").ActiveLink is null, $"no lanes at the acceptor, unplanned {wait / 4} ms after");
            }
        }
    }

    /// <summary>The peer says nothing after HELLO: no event of the socket ever tells that the lane is over.</summary>
    [Fact]
    public async Task A_lane_that_the_session_lets_go_before_it_runs_is_closed()
    {
        await using var alpha = new TestGateway(_authority.Gateway("alpha"), driver);
        // The test dials, not the gateway.
        alpha.Tunnel.Reconcile(new TunnelPlan { Lanes = [new LanePlan("beta", "one", null)] });
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        var connection = await alpha.Tunnel.Driver.DialAsync(new LanePlan("beta", "one", (IPEndPoint)listener.LocalEndpoint), default);
        var accepted = MutualTls.AcceptAsync(
            new NetworkStream(await listener.AcceptSocketAsync(), ownsSocket: true), _authority.Gateway("beta"), [MutualTls.LaneProtocol], default);
        var peer = await connection.ConnectAsync("beta", default).WaitAsync(Pair.Limit);
        await using var beta = new EvilPeer((await accepted).Stream);
        var session = alpha.Tunnel.SessionWith("beta");
        var hello = session.NewHello("one", 0);
        var lane = connection.ToLane();
        await lane.SendHelloAsync(hello, default);
        await beta.NextAsync(FrameType.Hello);
        await beta.HelloAsync(hello.Link, hello.Epoch, hello.Session);
        Assert.NotNull(session.Join(lane, peer, await lane.ReceiveHelloAsync(default), hello, out _));
        session.EndLane(lane, "let go");

        await lane.RunAsync(session).WaitAsync(Pair.Limit);

        Assert.Equal("let go", lane.EndReason);
        await Assert.ThrowsAsync<IOException>(() => beta.NextAsync(FrameType.Close));
    }

    [Fact]
    public async Task A_lane_that_is_not_planned_is_refused_with_the_reason()
    {
        await using var pair = await Pair.StartAsync(_authority, driver);
        await using var stranger = new TestGateway(_authority.Gateway("stranger"), driver);
        stranger.Tunnel.Reconcile(new TunnelPlan { Lanes = [new LanePlan("beta", "one", pair.Beta.Address("gateway port"))] });
        await Pair.Until(() => stranger.SessionWith("beta").Lanes[0].LastError?.Contains("planned here") == true, "the refusal");
        Assert.Equal("no-session", stranger.SessionWith("beta").ActiveLink ?? "no-session");
    }

    [Fact]
    public async Task A_certificate_of_another_ca_or_of_another_gateway_is_refused()
    {
        await using var pair = await Pair.StartAsync(_authority, driver);
        using var other = new TestAuthority("other.example");
        var port = pair.Beta.Address("gateway port");
        await using var impostor = new TestGateway(other.Gateway("alpha"), driver);
        impostor.Tunnel.Reconcile(new TunnelPlan { Lanes = [new LanePlan("beta", "one", port)] });
        await Pair.Until(() => impostor.SessionWith("beta").Lanes[0].LastError?.Contains("not issued") == true, "its own refusal of beta");
        await using var mistaken = new TestGateway(_authority.Gateway("gamma"), driver);
        mistaken.Tunnel.Reconcile(new TunnelPlan { Lanes = [new LanePlan("delta", "one", port)] });
        await Pair.Until(() => mistaken.SessionWith("delta").Lanes[0].LastError?.Contains("gateway delta was expected") == true, "another name");
        Assert.Equal(2, pair.Beta.SessionWith("alpha").Lanes.Count(l => l.Channel == 0 && l.State == LaneState.Up));
    }

    [Fact]
    public async Task Another_protocol_is_served_on_the_gateway_port_and_an_unknown_one_is_not()
    {
        var seen = new TaskCompletionSource<string>();
        await using var gateway = new TestGateway(_authority.Gateway("alpha"), driver, null, new Dictionary<string, Func<ProtocolConnection, Task>>
        {
            ["fabric-introduce/1"] = async connection =>
            {
                seen.TrySetResult($"{connection.Alpn} {connection.Peer?.Gateway}");
                await connection.Stream.WriteAsync("welcome"u8.ToArray());
                await connection.Stream.FlushAsync();
            },
        });
        gateway.Tunnel.Reconcile(new TunnelPlan { Listen = [Pair.AnyPort] });
        await using var client = new TestGateway(_authority.Gateway("beta"), driver);
        var port = gateway.Address("gateway port");
        await using (var stream = await client.Tunnel.DialAsync(port, "fabric-introduce/1", "alpha", default))
        {
            Assert.Equal("welcome", await new StreamReader(stream).ReadToEndAsync().WaitAsync(Pair.Limit));
            Assert.Equal("fabric-introduce/1 beta", await seen.Task);
        }

        await Assert.ThrowsAnyAsync<Exception>(() => client.Tunnel.DialAsync(port, "nonsense/1", "alpha", default));
    }

    [Fact]
    public async Task A_sender_of_100_bytes_at_a_time_arrives_whole()
    {
        await using var pair = await Pair.StartAsync(_authority, driver);
        var (client, server) = await pair.ConnectAsync();
        var sent = Traffic.SendAsync(client, 500_000, 1, 100);
        Assert.Equal((await sent.WaitAsync(Pair.Limit), 500_000), await Traffic.ReceiveAsync(server).WaitAsync(Pair.Limit));
    }

    [Fact]
    public async Task A_thousand_connections_at_once_each_get_their_own_bytes()
    {
        await using var pair = await Pair.StartAsync(_authority, driver);
        var serving = Task.Run(async () =>
        {
            var echoes = new List<Task>();
            for (var i = 0; i < 1000; i++)
            {
                var socket = await pair.Server.AcceptSocketAsync();
                echoes.Add(EchoAsync(socket));
            }

            await Task.WhenAll(echoes);
        });
        var clients = await Task.WhenAll(Enumerable.Range(0, 1000).Select(async i =>
        {
            var socket = new Socket(SocketType.Stream, ProtocolType.Tcp);
            await socket.ConnectAsync(pair.Service);
            await socket.SendAsync(BitConverter.GetBytes(i));
            var answer = new byte[4];
            for (var read = 0; read < 4;)
            {
                read += await socket.ReceiveAsync(answer.AsMemory(read));
            }

            Assert.Equal(i, BitConverter.ToInt32(answer));
            return socket;
        })).WaitAsync(Pair.Limit);
        Assert.Equal(1000, pair.Alpha.Tunnel.Status.OpenStreams);
        foreach (var client in clients)
        {
            client.Shutdown(SocketShutdown.Send);
        }

        await serving.WaitAsync(Pair.Limit);
        await Pair.Until(() => pair.Alpha.Tunnel.Status.OpenStreams == 0, "all are over");
    }

    private static async Task EchoAsync(Socket socket)
    {
        var buffer = new byte[16];
        while (await socket.ReceiveAsync(buffer) is var read && read > 0)
        {
            await socket.SendAsync(buffer.AsMemory(0, read));
        }

        socket.Dispose();
    }
}

public sealed class PortableGatewayTests() : GatewayTests(TunnelDriver.Portable);

public sealed class LinuxGatewayTests() : GatewayTests(TunnelDriver.Linux);
