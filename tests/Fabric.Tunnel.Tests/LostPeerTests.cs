using System.Net;
using System.Net.Sockets;
using Fabric.Testing;

namespace Fabric.Tunnel.Tests;

/// <summary>A gateway that is gone takes its streams with it at once; one that is out of reach keeps them.</summary>
public abstract class LostPeerTests(TunnelDriver driver) : IDisposable
{
    /// <summary>Longer than a test waits: what ends in time did not end by the grace.</summary>
    private static readonly TunnelLimits Patient = new() { Grace = Pair.Limit * 10, GraceWithSiblings = Pair.Limit * 5 };

    private readonly TestAuthority _authority = new();

    public void Dispose() => _authority.Dispose();

    [Fact]
    public async Task Streams_of_a_gateway_whose_port_refuses_are_reset_at_both_ends()
    {
        await using var pair = await Pair.StartAsync(_authority, driver, Patient);
        using var wire = new Wire(pair.Beta.Address("gateway port"));
        using var free = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        free.Bind(Pair.AnyPort);
        await pair.ThroughAsync(wire, wire, knock: (IPEndPoint)free.LocalEndPoint!);
        var (client, server) = await ConnectedAsync(pair);

        wire.Tear();

        await AssertResetAsync(client);
        await AssertResetAsync(server);
        var summary = await SummaryAsync(pair);
        Assert.Equal((StreamCode.SessionLost, "the gateway is gone: its port is closed over one and two"), (summary.Code, summary.Reason));
    }

    [Fact]
    public async Task Lanes_that_were_reset_once_come_back_and_nothing_is_lost()
    {
        await using var pair = await Pair.StartAsync(_authority, driver, Patient);
        using var wire = new Wire(pair.Beta.Address("gateway port"));
        await pair.ThroughAsync(wire, wire);
        var (client, server) = await ConnectedAsync(pair);
        var sent = Traffic.SendAsync(client, 20_000_000, 1);
        var received = Traffic.ReceiveAsync(server);
        for (var i = 0; i < 5; i++)
        {
            wire.Tear();
            wire.Mend();
            await pair.LanesAsync(2);
        }

        Assert.Equal((await sent.WaitAsync(Pair.Limit), 20_000_000), await received.WaitAsync(Pair.Limit));
    }

    [Fact]
    public async Task A_restarted_gateway_resets_the_streams_of_the_one_before()
    {
        await using var pair = await Pair.StartAsync(_authority, driver, Patient);
        var port = pair.Beta.Address("gateway port");
        using var wire = new Wire(port);
        await pair.ThroughAsync(wire, wire);
        var (client, _) = await ConnectedAsync(pair);

        // Without a word: the wire is torn before it stops.
        wire.Tear();
        await pair.LanesAsync(0);
        await pair.Beta.DisposeAsync();
        await using var again = new TestGateway(_authority.Gateway("beta"), driver);
        again.Tunnel.Reconcile(new TunnelPlan { Listen = [port], Lanes = [new LanePlan("alpha", "one", null), new LanePlan("alpha", "two", null)] });
        wire.Mend();

        await AssertResetAsync(client);
    }

    [Fact]
    public async Task A_gateway_that_stops_says_so_and_its_streams_are_reset()
    {
        await using var pair = await Pair.StartAsync(_authority, driver, Patient);
        var (client, server) = await ConnectedAsync(pair);

        await pair.Beta.DisposeAsync();

        await AssertResetAsync(server);
        await AssertResetAsync(client);
        var summary = await SummaryAsync(pair);
        Assert.Equal((StreamCode.SessionLost, "the gateway stopped"), (summary.Code, summary.Reason));
    }

    [Fact]
    public async Task The_acceptors_streams_are_reset_when_the_dialler_stops()
    {
        await using var pair = await Pair.StartAsync(_authority, driver, Patient);
        var (_, server) = await ConnectedAsync(pair);
        await pair.Alpha.DisposeAsync();
        await AssertResetAsync(server);
    }

    [Fact]
    public async Task Silence_is_given_less_time_while_the_site_is_reached_otherwise()
    {
        await using var pair = await Pair.StartAsync(_authority, driver, Patient with { GraceWithSiblings = TimeSpan.FromMilliseconds(300) });
        var (client, server) = await ConnectedAsync(pair);
        pair.Cut("one", LinkFault.Cut);
        pair.Cut("two", LinkFault.Cut);
        pair.Paths([], ["one", "two"]);
        await pair.LanesAsync(0);

        pair.Alpha.Tunnel.SetPaths("beta", new LinkPaths([], [], ["one", "two"]) { SiteReachable = true });

        await AssertResetAsync(client);
        var summary = await SummaryAsync(pair);
        Assert.Equal("no lane for 0.3 s, while other gateways of its site are reached", summary.Reason);

        // Beta, for which the site is out of reach as a whole, keeps its end until it hears that alpha does not.
        Assert.Equal(1, pair.Beta.Tunnel.Status.OpenStreams);
        pair.Cut("one", LinkFault.None);
        pair.Cut("two", LinkFault.None);
        await AssertResetAsync(server);
    }

    [Fact]
    public async Task A_reset_reaches_an_application_that_does_not_read()
    {
        await using var pair = await Pair.StartAsync(_authority, driver, Patient);
        var (client, server) = await ConnectedAsync(pair);
        var sending = Traffic.SendAsync(server, 200_000_000, 1);
        await Pair.Until(() => pair.Alpha.SessionWith("beta").Counters.Received > 1_000_000, "the client's buffers fill");

        await pair.Beta.DisposeAsync();

        await Assert.ThrowsAnyAsync<SocketException>(() => sending.WaitAsync(Pair.Limit));
        await Pair.Until(() => !pair.Alpha.IngressEnded.IsEmpty, "the connection is over without the client's doing");
        client.Dispose();
    }

    [Fact]
    public async Task An_open_whose_last_lane_ends_goes_to_the_next_route()
    {
        await using var pair = await Pair.StartAsync(_authority, driver, Patient);
        using var silent = new SilentPort();
        var asked = new TaskCompletionSource();
        pair.Beta.Decide = (_, _) =>
        {
            asked.TrySetResult();
            return new EgressVerdict.Dial([silent.Address], Pair.Limit);
        };
        pair.Alpha.Plan = _ => new IngressPlan([new("beta", Pair.Open), new(null, Pair.Open)]);
        pair.Alpha.Decide = (_, _) => new EgressVerdict.Dial([(IPEndPoint)pair.Server.LocalEndpoint], Pair.Limit);
        using var client = new Socket(SocketType.Stream, ProtocolType.Tcp);
        await client.ConnectAsync(pair.Service);
        await asked.Task.WaitAsync(Pair.Limit);

        pair.Paths([], ["one", "two"]);

        using var server = await pair.Server.AcceptSocketAsync().WaitAsync(Pair.Limit);
    }

    /// <summary>A connection that bytes have passed both ways: it is open at both ends.</summary>
    private static async Task<(Socket Client, Socket Server)> ConnectedAsync(Pair pair)
    {
        var (client, server) = await pair.ConnectAsync();
        await client.SendAsync(new byte[1]);
        Assert.Equal(1, await server.ReceiveAsync(new byte[1]).WaitAsync(Pair.Limit));
        await server.SendAsync(new byte[1]);
        Assert.Equal(1, await client.ReceiveAsync(new byte[1]).WaitAsync(Pair.Limit));
        return (client, server);
    }

    private static async Task<StreamSummary> SummaryAsync(Pair pair)
    {
        await Pair.Until(() => !pair.Alpha.IngressEnded.IsEmpty, "the summary");
        return pair.Alpha.IngressEnded.TryDequeue(out var summary) ? summary : throw new InvalidOperationException();
    }

    private static async Task AssertResetAsync(Socket socket) => Assert.Equal(
        SocketError.ConnectionReset,
        (await Assert.ThrowsAsync<SocketException>(() => socket.ReceiveAsync(new byte[1]).WaitAsync(Pair.Limit))).SocketErrorCode);
}

public sealed class PortableLostPeerTests() : LostPeerTests(TunnelDriver.Portable);

public sealed class LinuxLostPeerTests() : LostPeerTests(TunnelDriver.Linux);
