using System.Diagnostics;
using System.Net.Sockets;
using Fabric.Testing;

namespace Fabric.Tunnel.Tests;

/// <summary>Links go dark, lanes die, better ones appear: the connection does not notice.</summary>
public abstract class FailoverTests(TunnelDriver driver) : IDisposable
{
    private readonly TestAuthority _authority = new();

    public void Dispose() => _authority.Dispose();

    [Fact]
    public async Task A_silent_cut_of_the_active_link_loses_nothing()
    {
        await using var pair = await Pair.StartAsync(_authority, driver);
        var (client, server) = await pair.ConnectAsync();
        await Pair.Until(() => pair.Alpha.SessionWith("beta").ActiveLink == "one", "link one is active");
        var reached = new TaskCompletionSource();
        var began = Stopwatch.StartNew();
        var up = Traffic.SendAsync(client, 100_000_000, 1);
        var down = Traffic.SendAsync(server, 100_000_000, 2);
        var atServer = Traffic.ReceiveAsync(server, n =>
        {
            if (n > 20_000_000 && !reached.Task.IsCompleted)
            {
                // Here, so that there is something left to carry however slow the rest is.
                pair.Cut("one", LinkFault.Cut);
                reached.SetResult();
            }
        });
        var atClient = Traffic.ReceiveAsync(client);
        await reached.Task.WaitAsync(Pair.Limit);
        await Task.Delay(100);
        pair.Paths(["two"], ["one"]);
        Assert.Equal((await up.WaitAsync(Pair.Limit), 100_000_000), await atServer.WaitAsync(Pair.Limit));
        Assert.Equal((await down.WaitAsync(Pair.Limit), 100_000_000), await atClient.WaitAsync(Pair.Limit));
        var (alpha, beta) = (pair.Alpha.SessionWith("beta"), pair.Beta.SessionWith("alpha"));
        Assert.Equal(("two", "two"), (alpha.ActiveLink, beta.ActiveLink));
        var twice = alpha.Counters.Resent + beta.Counters.Resent + alpha.Counters.Copied + beta.Counters.Copied;
        var limits = new TunnelLimits();
        Assert.InRange(twice, 0, 2L * (limits.MaxWindow + limits.CopyBurst + (long)(limits.CopyRate * began.Elapsed.TotalSeconds)));
        Assert.Equal(LaneState.Up, alpha.Lanes.Single(l => l.Channel == 0 && l.Link == "two").State);
        Assert.NotEqual(LaneState.Up, alpha.Lanes.Single(l => l.Channel == 0 && l.Link == "one").State);

        pair.Cut("one", LinkFault.None);
        await pair.LanesAsync(2);
    }

    [Theory]
    [InlineData(LinkFault.CutIn)]
    [InlineData(LinkFault.CutOut)]
    public async Task A_cut_of_one_direction_that_one_end_alone_notices_loses_nothing(LinkFault way)
    {
        await using var pair = await Pair.StartAsync(_authority, driver);
        var (client, server) = await pair.ConnectAsync();
        var reached = new TaskCompletionSource();
        var up = Traffic.SendAsync(client, 30_000_000, 1);
        var down = Traffic.SendAsync(server, 30_000_000, 2);
        var atServer = Traffic.ReceiveAsync(server, n => _ = n > 5_000_000 && reached.TrySetResult());
        var atClient = Traffic.ReceiveAsync(client);
        await reached.Task.WaitAsync(Pair.Limit);
        pair.Alpha.Faults.Set("beta", "one", way);
        pair.Alpha.Tunnel.SetPaths("beta", new LinkPaths(["two"], [], ["one"]));
        Assert.Equal((await up.WaitAsync(Pair.Limit), 30_000_000), await atServer.WaitAsync(Pair.Limit));
        Assert.Equal((await down.WaitAsync(Pair.Limit), 30_000_000), await atClient.WaitAsync(Pair.Limit));
        await Pair.Until(() => pair.Beta.SessionWith("alpha").ActiveLink == "two", "the fence tells the other end");
    }

    [Fact]
    public async Task Lanes_that_die_every_100_ms_lose_nothing()
    {
        await using var pair = await Pair.StartAsync(_authority, driver);
        var (client, server) = await pair.ConnectAsync();
        // Until enough lanes were killed, however slow the one who kills them is.
        const int Kills = 10;
        var kills = 0;
        bool GoesOn() => Volatile.Read(ref kills) < Kills;
        var up = Traffic.SendAsync(client, long.MaxValue, 1, goesOn: GoesOn);
        var down = Traffic.SendAsync(server, long.MaxValue, 2, goesOn: GoesOn);
        var atServer = Traffic.ReceiveAsync(server);
        var atClient = Traffic.ReceiveAsync(client);
        for (var began = Stopwatch.StartNew(); GoesOn(); Assert.True(began.Elapsed < Pair.Limit, $"only {kills} lanes were killed"))
        {
            var active = pair.Alpha.SessionWith("beta").ActiveLink;
            if (active is not null)
            {
                pair.Paths([], [active]);
                pair.Paths([], []);
                kills++;
            }

            await Task.Delay(100);
        }

        Assert.Equal(await up.WaitAsync(Pair.Limit), (await atServer.WaitAsync(Pair.Limit)).Hash);
        Assert.Equal(await down.WaitAsync(Pair.Limit), (await atClient.WaitAsync(Pair.Limit)).Hash);
    }

    [Fact]
    public async Task A_move_to_a_better_link_resends_nothing_and_does_not_pause()
    {
        // No link is given up because this machine stands still.
        await using var pair = await Pair.StartAsync(_authority, driver, new TunnelLimits { LateLimit = TimeSpan.FromMinutes(5) });
        var (client, server) = await pair.ConnectAsync();
        var up = Traffic.SendAsync(client, 60_000_000, 1);
        var moves = 0;
        var reached = 0L;
        var next = 5_000_000L;
        var receiving = Traffic.ReceiveAsync(server, n =>
        {
            Volatile.Write(ref reached, n);
            if (n > next)
            {
                next += 5_000_000;
                moves++;
                pair.Paths(moves % 2 == 1 ? ["two", "one"] : ["one", "two"], []);
            }
        });
        Assert.Equal((await up.WaitAsync(Pair.Limit), 60_000_000), await receiving.WaitAsync(Pair.Limit));
        var alpha = pair.Alpha.SessionWith("beta");
        Assert.True(moves >= 8);
        Assert.Equal(0, alpha.Counters.Resent);
        Assert.True(alpha.Counters.Moves >= 8);
        // A lane for bulk may still be on its way; none was lost.
        await Pair.Until(() => pair.Alpha.SessionWith("beta").Lanes.All(l => l is { State: LaneState.Up, LastError: null }), "all lanes are up");
    }

    [Fact]
    public async Task Without_any_lane_streams_wait_and_go_on()
    {
        await using var pair = await Pair.StartAsync(_authority, driver);
        var (client, server) = await pair.ConnectAsync();
        pair.Cut("one", LinkFault.Cut);
        pair.Cut("two", LinkFault.Cut);
        pair.Paths([], ["one", "two"]);
        await pair.LanesAsync(0);
        await client.SendAsync(new byte[1000]);
        client.Shutdown(SocketShutdown.Send);
        await Assert.ThrowsAsync<StreamRefusedException>(() => pair.Alpha.Tunnel.OpenAsync("beta", Pair.Open, default));
        pair.Cut("one", LinkFault.None);
        pair.Cut("two", LinkFault.None);
        Assert.Equal(1000, (await Traffic.ReceiveAsync(server).WaitAsync(Pair.Limit)).Bytes);
        server.Dispose();
    }

    [Fact]
    public async Task When_the_grace_is_over_both_ends_reset()
    {
        await using var pair = await Pair.StartAsync(_authority, driver, new TunnelLimits { Grace = TimeSpan.FromMilliseconds(500) });
        var (client, server) = await pair.ConnectAsync();
        pair.Cut("one", LinkFault.Cut);
        pair.Cut("two", LinkFault.Cut);
        pair.Paths([], ["one", "two"]);
        await Assert.ThrowsAsync<SocketException>(() => client.ReceiveAsync(new byte[1]).WaitAsync(Pair.Limit));
        await Assert.ThrowsAsync<SocketException>(() => server.ReceiveAsync(new byte[1]).WaitAsync(Pair.Limit));
        await Pair.Until(() => !pair.Alpha.IngressEnded.IsEmpty, "ingress is told");
        Assert.Equal(StreamCode.SessionLost, pair.Alpha.IngressEnded.Single().Code);
        pair.Cut("one", LinkFault.None);
        pair.Cut("two", LinkFault.None);
        await pair.LanesAsync(2);
        var (again, againServer) = await pair.ConnectAsync();
        again.Dispose();
        againServer.Dispose();
    }
}

public sealed class PortableFailoverTests() : FailoverTests(TunnelDriver.Portable);

public sealed class LinuxFailoverTests() : FailoverTests(TunnelDriver.Linux);
