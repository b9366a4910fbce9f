using System.Net.Sockets;
using Fabric.Testing;

namespace Fabric.Tunnel.Tests;

/// <summary>Gateways and links that are taken out of use, and brought back.</summary>
public abstract class DrainTests(TunnelDriver driver) : IDisposable
{
    private readonly TestAuthority _authority = new();

    public void Dispose() => _authority.Dispose();

    [Fact]
    public async Task Drain_waits_for_streams_and_refuses_new_ones()
    {
        await using var pair = await Pair.StartAsync(_authority, driver);
        var (client, server) = await pair.ConnectAsync();
        var draining = pair.Beta.Tunnel.DrainAsync(TimeSpan.FromSeconds(20), default);
        await Pair.Until(
            () => Record.Exception(() => pair.Alpha.Tunnel.OpenAsync("beta", Pair.Open, default).GetAwaiter().GetResult())
                is StreamRefusedException { Code: StreamCode.Draining }, "new streams are refused");
        await client.SendAsync(new byte[100]);
        client.Shutdown(SocketShutdown.Send);
        Assert.False(draining.IsCompleted);
        Assert.Equal(100, (await Traffic.ReceiveAsync(server).WaitAsync(Pair.Limit)).Bytes);
        server.Shutdown(SocketShutdown.Send);
        Assert.Equal(0, await draining.WaitAsync(Pair.Limit));
        Assert.Equal(0, (await Traffic.ReceiveAsync(client).WaitAsync(Pair.Limit)).Bytes);
    }

    [Fact]
    public async Task An_undrained_gateway_takes_streams_and_connections_again()
    {
        await using var pair = await Pair.StartAsync(_authority, driver);
        foreach (var gateway in new[] { pair.Alpha, pair.Beta })
        {
            Assert.Equal(0, await gateway.Tunnel.DrainAsync(Pair.Limit, default));
            await Pair.Until(() => Refusal(pair) == StreamCode.Draining, $"{gateway.Name} refuses");
            Assert.Equal(gateway == pair.Beta, pair.Alpha.Tunnel.Status.Listeners.Any(l => l.Name == "web"));

            // What gateways say to each other goes on.
            var said = new TaskCompletionSource();
            pair.Beta.Decide = (_, open) => new EgressVerdict.Handle(_ => Task.FromResult(said.TrySetResult()));
            await using (await pair.Alpha.Tunnel.OpenAsync("beta", new StreamOpen("fabric.test", 0, ""), default))
            {
                await said.Task.WaitAsync(Pair.Limit);
            }

            gateway.Tunnel.Undrain();
            await Pair.Until(() => Refusal(pair) is null, $"{gateway.Name} takes streams");
            Assert.True(pair.Alpha.Tunnel.Status.Listeners.Single(l => l.Name == "web").Open);
        }
    }

    [Fact]
    public async Task What_is_left_is_counted_by_service_and_direction_and_can_be_cut()
    {
        await using var pair = await Pair.StartAsync(_authority, driver);
        var (client, server) = await pair.ConnectAsync();
        pair.Alpha.Plan = _ => new IngressPlan([new(null, Pair.Open with { Service = "near.shop" })]);
        pair.Alpha.Decide = (_, _) => new EgressVerdict.Dial([(System.Net.IPEndPoint)pair.Server.LocalEndpoint], Pair.Limit);
        var (near, _) = await pair.ConnectAsync();
        // The endpoint has a connection before the gateway that dialled it counts it.
        StreamGroup[] atAlpha = [new("web.shop", "beta", true, "one", 1), new("near.shop", null, true, null, 1)];
        StreamGroup[] atBeta = [new("web.shop", "alpha", false, "one", 1)];
        await Pair.Until(() => pair.Alpha.Tunnel.Streams.SequenceEqual(atAlpha) && pair.Beta.Tunnel.Streams.SequenceEqual(atBeta), "streams are counted");

        Assert.Equal(2, pair.Alpha.Tunnel.CutStreams("drained"));

        foreach (var socket in new[] { client, server, near })
        {
            await Assert.ThrowsAsync<SocketException>(() => socket.ReceiveAsync(new byte[1]).WaitAsync(Pair.Limit));
        }

        await Pair.Until(() => !pair.Beta.EgressEnded.IsEmpty, "the summary at the other end");
        Assert.True(pair.Beta.EgressEnded.TryDequeue(out var summary));
        Assert.Equal((StreamCode.Draining, "drained"), (summary.Code, summary.Reason));
    }

    [Fact]
    public async Task A_drained_link_is_left_by_the_other_end_as_well_without_a_byte_twice()
    {
        // No link is given up because this machine stands still.
        await using var pair = await Pair.StartAsync(_authority, driver, new TunnelLimits { LateLimit = TimeSpan.FromMinutes(5) });
        var (client, server) = await pair.ConnectAsync();
        var reached = new TaskCompletionSource();
        var up = Traffic.SendAsync(client, 40_000_000, 1);
        var down = Traffic.SendAsync(server, 40_000_000, 2);
        var atServer = Traffic.ReceiveAsync(server, n => _ = n > 5_000_000 && reached.TrySetResult());
        var atClient = Traffic.ReceiveAsync(client);
        await reached.Task.WaitAsync(Pair.Limit);

        // Only beta is told; alpha still prefers link one.
        pair.Beta.Tunnel.SetPaths("alpha", new LinkPaths(["one", "two"], [], []) { Drained = ["one"] });

        await Pair.Until(() => Both(pair, s => s.ActiveLink == "two"), "both ends send on link two");
        await Pair.Until(() => Both(pair, s => s.Lanes.Where(l => l.Link == "one").All(l => l.PeerIsQuiet)), "both ends are quiet on link one");
        Assert.All(pair.Alpha.SessionWith("beta").Lanes, l => Assert.Equal(l.Link == "one", l.PeerDrains));
        Assert.Equal((await up.WaitAsync(Pair.Limit), 40_000_000), await atServer.WaitAsync(Pair.Limit));
        Assert.Equal((await down.WaitAsync(Pair.Limit), 40_000_000), await atClient.WaitAsync(Pair.Limit));
        Assert.True(Both(pair, s => s.Counters.Resent == 0));

        // With nothing else left it serves, and no longer.
        pair.Paths(["one"], ["two"]);
        pair.Beta.Tunnel.SetPaths("alpha", new LinkPaths(["one"], [], ["two"]) { Drained = ["one"] });
        await Pair.Until(() => Both(pair, s => s.ActiveLink == "one" && s.Lanes.Where(l => l.Link == "one").Any(l => !l.PeerIsQuiet)), "link one is the last");
        pair.Beta.Tunnel.SetPaths("alpha", new LinkPaths(["one", "two"], [], []) { Drained = ["one"] });
        pair.Alpha.Tunnel.SetPaths("beta", new LinkPaths(["one", "two"], [], []));
        await Pair.Until(() => Both(pair, s => s.ActiveLink == "two"), "link two again, once it is back");

        pair.Paths(["one", "two"], []);
        await Pair.Until(() => Both(pair, s => s.ActiveLink == "one" && s.Lanes.All(l => l is { PeerDrains: false, PeerIsQuiet: false })), "as before");
    }

    private static bool Both(Pair pair, Func<SessionStatus, bool> condition) =>
        condition(pair.Alpha.SessionWith("beta")) && condition(pair.Beta.SessionWith("alpha"));

    private static StreamCode? Refusal(Pair pair)
    {
        pair.Beta.Decide = (_, _) => new EgressVerdict.Handle(_ => Task.CompletedTask);
        try
        {
            pair.Alpha.Tunnel.OpenAsync("beta", Pair.Open, default).GetAwaiter().GetResult().Dispose();
            return null;
        }
        catch (StreamRefusedException refused)
        {
            return refused.Code;
        }
    }
}

public sealed class PortableDrainTests() : DrainTests(TunnelDriver.Portable);

public sealed class LinuxDrainTests() : DrainTests(TunnelDriver.Linux);
