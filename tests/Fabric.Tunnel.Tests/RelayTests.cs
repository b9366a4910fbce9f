using System.Collections.Concurrent;
using System.Collections.Immutable;
using System.Net;
using System.Net.Sockets;
using System.Text;
using Fabric.Testing;
using Fabric.Tunnel.Drivers;
using Fabric.Tunnel.Portable;

namespace Fabric.Tunnel.Tests;

/// <summary>Lanes of two gateways through a third, on real sockets.</summary>
public abstract class RelayTests(TunnelDriver driver) : IDisposable
{
    private readonly TestAuthority _authority = new();

    public void Dispose() => _authority.Dispose();

    [Fact]
    public async Task Streams_of_gateways_without_a_link_arrive_whole_through_a_third()
    {
        await using var square = await Square.StartAsync(_authority, driver, "rho");
        await square.ThroughAsync("rho");

        var (client, server) = await square.ConnectAsync();
        var up = Traffic.ReceiveAsync(server);
        var sent = await Traffic.SendAsync(client, 24_000_000, seed: 1);
        Assert.Equal((sent, 24_000_000L), await up.WaitAsync(Pair.Limit));
        var down = Traffic.ReceiveAsync(client);
        sent = await Traffic.SendAsync(server, 7_000_001, seed: 2);
        Assert.Equal((sent, 7_000_001L), await down.WaitAsync(Pair.Limit));

        var carried = Assert.Single(square["rho"].Tunnel.Status.Relayed);
        Assert.Equal(("alpha", 1), (carried.Peer, carried.Lanes));
        // Counted after they were passed on.
        await Pair.Until(() => square["rho"].Tunnel.Status.Relayed.Single().Bytes > 31_000_001, "more bytes were carried than the streams had");
        Assert.Equal(0, square["rho"].Tunnel.Status.OpenStreams);
        var lane = Assert.Single(square["gamma"].SessionWith("alpha").Lanes);
        Assert.Equal(("via:rho", LaneState.Up, null), (lane.Link, lane.State, lane.Remote));
        await Pair.Until(() => square["alpha"].SessionWith("gamma").Lanes[0].RoundTrip > TimeSpan.Zero, "the lane was measured");
    }

    [Fact]
    public async Task Relay_sees_no_byte_of_what_it_carries()
    {
        const string Marker = "the very secret words ";
        var seen = new MemoryStream();
        await using var square = await Square.StartAsync(_authority, driver, "rho");
        square["rho"].Decide = (_, _) => new EgressVerdict.Handle(stream => CarryByHandAsync(square["rho"], stream, bytes =>
        {
            lock (seen)
            {
                seen.Write(bytes);
            }
        }));
        await square.ThroughAsync("rho");

        var (client, server) = await square.ConnectAsync();
        var text = string.Concat(Enumerable.Repeat(Marker, 5_000));
        await client.SendAsync(Encoding.ASCII.GetBytes(text));
        client.Shutdown(SocketShutdown.Send);
        using var reader = new StreamReader(new NetworkStream(server), Encoding.ASCII);
        Assert.Equal(text, await reader.ReadToEndAsync().WaitAsync(Pair.Limit));

        lock (seen)
        {
            Assert.True(seen.Length > text.Length, $"{seen.Length} bytes passed the relay");
            foreach (var word in new[] { "secret", "web.shop", "spiffe://test.example/ns/a/sa/b" })
            {
                Assert.True(seen.ToArray().AsSpan().IndexOf(Encoding.ASCII.GetBytes(word)) < 0, $"the relay could read '{word}'");
            }
        }
    }

    [Fact]
    public async Task Byte_that_a_relay_changes_ends_the_lane_and_reaches_nobody()
    {
        var spoil = false;
        await using var square = await Square.StartAsync(_authority, driver, "rho", "sigma");
        square["rho"].Decide = (_, _) => new EgressVerdict.Handle(stream => CarryByHandAsync(square["rho"], stream, bytes =>
        {
            if (Volatile.Read(ref spoil))
            {
                bytes[^1] ^= 1;
            }
        }));
        await square.ThroughAsync("rho", "sigma");
        var (client, server) = await square.ConnectAsync();
        var received = Traffic.ReceiveAsync(server, progress: bytes => Volatile.Write(ref spoil, bytes > 1_000_000));

        var sent = await Traffic.SendAsync(client, 16_000_000, seed: 3);

        Assert.Equal((sent, 16_000_000L), await received.WaitAsync(Pair.Limit));
        Assert.True(Volatile.Read(ref spoil));
        Assert.NotEqual(0, square["sigma"].Tunnel.Status.Relayed.Sum(r => r.Bytes));
    }

    [Fact]
    public async Task Relay_that_answers_in_the_targets_place_is_refused_by_its_certificate()
    {
        await using var square = await Square.StartAsync(_authority, driver, "rho");
        using var identity = _authority.Gateway("rho");
        square["rho"].Decide = (_, _) => new EgressVerdict.Handle(async stream =>
            await MutualTls.AcceptAsync(stream, identity, [MutualTls.LaneProtocol], default));

        square.Plan("rho");

        await Pair.Until(() => square["alpha"].SessionWith("gamma").Lanes[0].LastError?.Contains("gateway gamma was expected", StringComparison.Ordinal) == true,
            "alpha refused the certificate of rho");
        Assert.DoesNotContain(square["gamma"].Tunnel.Status.Sessions.SelectMany(s => s.Lanes), l => l.Link == "via:rho");
    }

    [Fact]
    public async Task Relay_that_says_somebody_else_sent_the_lane_is_refused()
    {
        await using var square = await Square.StartAsync(_authority, driver, "rho");
        square["rho"].Decide = (_, _) => new EgressVerdict.Handle(stream => CarryByHandAsync(square["rho"], stream, _ => { }, origin: "alfred"));
        square.Plan("rho");
        square["gamma"].Tunnel.Reconcile(square.PlanOfGamma("rho") with
        {
            Relays = ImmutableDictionary<string, ImmutableHashSet<string>>.Empty.Add("alpha", ["rho"]).Add("alfred", ["rho"]),
        });

        await Pair.Until(() => square["gamma"].EgressEnded.Any(e => e.Reason.Contains(
            "lane of alfred through rho closed: certificate refused: the certificate is that of alpha [wrong_gateway]", StringComparison.Ordinal)), "gamma refused the lane");
        Assert.DoesNotContain(square["alpha"].SessionWith("gamma").Lanes, l => l.State == LaneState.Up);
    }

    [Fact]
    public async Task Lane_that_is_called_after_another_relay_or_after_none_is_refused()
    {
        await using var square = await Square.StartAsync(_authority, driver, "rho", "sigma");
        foreach (var link in new[] { "via:sigma", "one" })
        {
            square["gamma"].Tunnel.Reconcile(square.PlanOfGamma("rho", "sigma") is var plan
                ? plan with { Lanes = plan.Lanes.Add(new LanePlan("alpha", "one", null)) } : plan);
            square["alpha"].Tunnel.Reconcile(square.PlanOfAlpha() is var own
                ? own with { Lanes = own.Lanes.Add(new LanePlan("gamma", link, null) { Relay = "rho" }) } : own);

            await Pair.Until(() => square["alpha"].SessionWith("gamma").Lanes.Any(l => l.Link == link
                && l.LastError?.Contains($"over {link} is planned here", StringComparison.Ordinal) == true), $"gamma refused {link}");
        }
    }

    [Fact]
    public async Task Lane_through_a_relay_that_is_not_planned_is_refused_before_any_handshake()
    {
        await using var square = await Square.StartAsync(_authority, driver, "rho");
        square["alpha"].Tunnel.Reconcile(square.PlanOfAlpha("rho"));

        await Pair.Until(() => square["alpha"].SessionWith("gamma").Lanes[0].LastError?.Contains(
            "no lane from alpha through rho is planned here", StringComparison.Ordinal) == true, "gamma refused the lane");
    }

    [Fact]
    public async Task Stream_goes_on_through_another_relay_when_its_own_dies()
    {
        await using var square = await Square.StartAsync(_authority, driver, "rho", "sigma");
        await square.ThroughAsync("rho", "sigma");
        var (client, server) = await square.ConnectAsync();
        var halfway = new TaskCompletionSource();
        var received = Traffic.ReceiveAsync(server, bytes =>
        {
            if (bytes > 10_000_000)
            {
                halfway.TrySetResult();
            }
        });
        var sending = Task.Run(() => Traffic.SendAsync(client, 40_000_000, seed: 4));
        await halfway.Task.WaitAsync(Pair.Limit);
        Assert.Equal("via:rho", square["alpha"].SessionWith("gamma").ActiveLink);

        await square["rho"].DisposeAsync();

        Assert.Equal((await sending.WaitAsync(Pair.Limit), 40_000_000L), await received.WaitAsync(Pair.Limit));
        // The last bytes may have come before the lane was seen to be over.
        await Pair.Until(() => square["alpha"].SessionWith("gamma").ActiveLink == "via:sigma", "the other relay carries the session");
    }

    [Fact]
    public async Task Death_of_the_far_leg_ends_the_lane_at_both_ends_at_once()
    {
        await using var square = await Square.StartAsync(_authority, driver, "rho");
        await square.ThroughAsync("rho");

        square["rho"].Tunnel.Reconcile(new TunnelPlan { Listen = [Pair.AnyPort], Lanes = [new LanePlan("alpha", "rho-alpha", null)] });

        await Pair.Until(() => square["alpha"].SessionWith("gamma").Lanes.All(l => l.State != LaneState.Up)
            && square["gamma"].SessionWith("alpha").Lanes.All(l => l.State != LaneState.Up), "both ends let go of the lane");
        await Pair.Until(() => square["rho"].Tunnel.Status.Relayed.All(r => r.Lanes == 0), "the relay let go of it as well");
    }

    [Fact]
    public async Task Relay_at_its_limit_and_one_that_may_not_refuse_with_a_reason()
    {
        await using var square = await Square.StartAsync(_authority, driver, new TunnelLimits { MaxRelayed = 0 }, "rho", "sigma");
        square["sigma"].Decide = (_, _) => new EgressVerdict.Refuse(StreamCode.PolicyDenied, "site sigma does not relay");
        square.Plan("rho", "sigma");

        await Pair.Until(() => square["alpha"].SessionWith("gamma").Lanes is var lanes
            && lanes.Any(l => l.LastError?.Contains("LimitReached", StringComparison.Ordinal) == true)
            && lanes.Any(l => l.LastError?.Contains("site sigma does not relay", StringComparison.Ordinal) == true), "both were refused");
    }

    [Theory]
    [InlineData("fabric.relay/", 0)]
    [InlineData("fabric.relay/Gamma", 0)]
    [InlineData("fabric.relay/gamma/alpha", 0)]
    [InlineData("fabric.relay/-gamma", 0)]
    [InlineData("fabric.relay/gamma", 80)]
    [InlineData("fabric.relay/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 0)]
    public void What_names_no_gateway_is_no_target(string service, int port)
    {
        Assert.Null(RelayNames.TargetOf(new StreamOpen(service, port, "")));
        Assert.Null(RelayNames.OriginOf(new StreamOpen(service.Replace("relay/", "relayed/", StringComparison.Ordinal), port, "")));
    }

    [Fact]
    public void Names_are_read_as_they_are_written()
    {
        Assert.Equal("gamma-1", RelayNames.TargetOf(new StreamOpen(RelayNames.Ask("gamma-1"), 0, "")));
        Assert.Equal("gamma-1", RelayNames.OriginOf(new StreamOpen(RelayNames.Hand("gamma-1"), 0, "")));
        Assert.Equal("gamma-1", RelayNames.RelayOf(RelayNames.Link("gamma-1")));
        Assert.Null(RelayNames.RelayOf("gamma-1"));
    }

    /// <summary>What any relay could do with a lane that it carries.</summary>
    private static async Task CarryByHandAsync(TestGateway relay, Stream asked, Action<Span<byte>> touch, string origin = "alpha")
    {
        await using var onward = await relay.Tunnel.OpenAsync("gamma", new StreamOpen(RelayNames.Hand(origin), 0, ""), default);
        async Task CopyAsync(Stream from, Stream to)
        {
            var buffer = new byte[64 * 1024];
            while (await from.ReadAsync(buffer) is var read && read > 0)
            {
                touch(buffer.AsSpan(0, read));
                await to.WriteAsync(buffer.AsMemory(0, read));
            }
        }

        await await Task.WhenAny(CopyAsync(asked, onward), CopyAsync(onward, asked));
    }
}

/// <summary>
/// Gateways <c>alpha</c> and <c>gamma</c> without a link, and relays with a link to both. Service <c>web</c> of alpha leads through gamma to
/// <see cref="Server"/>.
/// </summary>
internal sealed class Square : IAsyncDisposable
{
    private readonly Dictionary<string, TestGateway> _gateways;
    private readonly string[] _relays;

    /// <summary>A socket that nothing refers to any more is reset by its finalizer, whatever is still on its way.</summary>
    private readonly ConcurrentQueue<Socket> _kept = new();

    private Square(TestAuthority authority, TunnelDriver driver, TunnelLimits limits, string[] relays)
    {
        _relays = relays;
        _gateways = relays.Concat(["alpha", "gamma"]).ToDictionary(n => n, n => new TestGateway(authority.Gateway(n), driver, limits));
        Server.Start();
    }

    public TcpListener Server { get; } = new(IPAddress.Loopback, 0);

    public TestGateway this[string name] => _gateways[name];

    public static Task<Square> StartAsync(TestAuthority authority, TunnelDriver driver, params string[] relays) =>
        StartAsync(authority, driver, new TunnelLimits { PingInterval = TimeSpan.FromMilliseconds(200) }, relays);

    public static async Task<Square> StartAsync(TestAuthority authority, TunnelDriver driver, TunnelLimits limits, params string[] relays)
    {
        var square = new Square(authority, driver, limits, relays);
        foreach (var relay in relays)
        {
            square[relay].Decide = (_, open) => new EgressVerdict.Relay(RelayNames.TargetOf(open)!);
            square[relay].Tunnel.Reconcile(new TunnelPlan
            {
                Listen = [Pair.AnyPort],
                Lanes = [new LanePlan("alpha", $"{relay}-alpha", null), new LanePlan("gamma", $"{relay}-gamma", null)],
            });
        }

        square["gamma"].Decide = (_, _) => new EgressVerdict.Dial([(IPEndPoint)square.Server.LocalEndpoint], Pair.Limit);
        square["alpha"].Plan = _ => new IngressPlan([new IngressRoute("gamma", Pair.Open)]);
        square["alpha"].Tunnel.Reconcile(square.PlanOfAlpha());
        square["gamma"].Tunnel.Reconcile(square.PlanOfGamma());
        foreach (var relay in relays)
        {
            await Pair.Until(() => square[relay].Tunnel.Status.Sessions.Sum(s => s.Lanes.Count(l => l is { State: LaneState.Up, Channel: 0 })) == 2, $"lanes of {relay}");
        }

        return square;
    }

    /// <summary>Lanes from alpha to gamma through those, and to all relays.</summary>
    public TunnelPlan PlanOfAlpha(params string[] through) => new()
    {
        Lanes =
        [
            .. _relays.Select(r => new LanePlan(r, $"{r}-alpha", this[r].Address("gateway port"))),
            .. through.Select(r => new LanePlan("gamma", RelayNames.Link(r), null) { Relay = r }),
        ],
        Services = [new ServiceListener("web", 80, Pair.AnyPort)],
    };

    public TunnelPlan PlanOfGamma(params string[] through) => new()
    {
        Lanes = [.. _relays.Select(r => new LanePlan(r, $"{r}-gamma", this[r].Address("gateway port")))],
        Relays = through.Length == 0 ? ImmutableDictionary<string, ImmutableHashSet<string>>.Empty
            : ImmutableDictionary<string, ImmutableHashSet<string>>.Empty.Add("alpha", [.. through]),
    };

    public void Plan(params string[] through)
    {
        this["gamma"].Tunnel.Reconcile(PlanOfGamma(through));
        this["alpha"].Tunnel.Reconcile(PlanOfAlpha(through));
        foreach (var (here, there) in new[] { ("alpha", "gamma"), ("gamma", "alpha") })
        {
            this[here].Tunnel.SetPaths(there, new LinkPaths([.. through.Select(RelayNames.Link)], [], []));
        }
    }

    /// <summary>With lanes through all of those, the first of them preferred.</summary>
    public async Task ThroughAsync(params string[] through)
    {
        Plan(through);
        await Pair.Until(() => this["alpha"].SessionWith("gamma").Lanes.Count(l => l.State == LaneState.Up) == through.Length
            && this["gamma"].SessionWith("alpha").Lanes.Count(l => l.State == LaneState.Up) == through.Length, "lanes through " + string.Join(", ", through));
    }

    public async Task<(Socket Client, Socket Server)> ConnectAsync()
    {
        var client = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        await client.ConnectAsync(this["alpha"].Address("web"));
        var server = await Server.AcceptSocketAsync().WaitAsync(Pair.Limit);
        _kept.Enqueue(client);
        _kept.Enqueue(server);
        return (client, server);
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var gateway in _gateways.Values)
        {
            await gateway.DisposeAsync();
        }

        Server.Stop();
        foreach (var socket in _kept)
        {
            socket.Dispose();
        }
    }
}

public sealed class PortableRelayTests() : RelayTests(TunnelDriver.Portable);

public sealed class LinuxRelayTests() : RelayTests(TunnelDriver.Linux);
