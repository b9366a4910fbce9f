using System.Diagnostics;
using System.Net.Sockets;

namespace Fabric.Tunnel.Tests;

/// <summary>Lanes that are reset over and over, each time without a word before: no stream is lost, no byte is wrong.</summary>
public abstract class KilledLanesTests(TunnelDriver driver) : LeakFreeTests(driver)
{
    private static readonly TimeSpan _pace = TimeSpan.FromMilliseconds(100);

    /// <summary>Longer than a test: what comes through was carried, and not given up.</summary>
    private static readonly TunnelLimits _patient = new() { Grace = Pair.Limit * 10, LateLimit = Pair.Limit * 10 };

    [Fact]
    public async Task Both_links_reset_in_turn_all_the_time_lose_no_stream()
    {
        const int Kills = 50;
        const int Least = 1_000;
        var pair = await PairAsync(_patient);
        using var one = new Wire(pair.Beta.Address("gateway port"));
        using var two = new Wire(pair.Beta.Address("gateway port"));
        await pair.ThroughAsync(one, two);

        // Now and then one that is bulk, among those that are small.
        await using var crowd = new Crowd(pair, number => number % 50 == 0 ? 4_000_000 : 3_000);
        var kills = 0;
        var running = crowd.InRowsAsync(24, count => Volatile.Read(ref kills) < Kills || count < Least);
        for (; !running.IsCompleted; kills++)
        {
            // What is opened while there is no lane at all is refused at once: so the other one is up.
            var (wire, other) = kills % 2 == 0 ? (one, "two") : (two, "one");
            await Pair.Until(() => running.IsCompleted || (IsUp(pair.Alpha, "beta", other) && IsUp(pair.Beta, "alpha", other)), $"a lane over {other}");
            wire.Reset();
            await Task.WhenAny(running, Task.Delay(_pace));
        }

        static bool IsUp(TestGateway gateway, string peer, string link) =>
            gateway.SessionWith(peer).Lanes.Any(l => l.Link == link && l is { Channel: 0, State: LaneState.Up });

        var count = await running;
        Assert.True(kills >= Kills && count >= Least, $"{kills} kills, {count} streams");
        await Pair.Until(() => pair.Alpha.IngressEnded.Count == count && pair.Beta.EgressEnded.Count == count, "all have ended");
        Assert.All(pair.Alpha.IngressEnded.Concat(pair.Beta.EgressEnded), s => Assert.Equal(StreamCode.Ok, s.Code));
        Assert.True(pair.Alpha.SessionWith("beta").Counters is { Moves: > 0, Resent: > 0 }, "streams moved, and sent again what the lanes had held");
        await pair.LanesAsync(2);
    }

    [Fact]
    public async Task Bulk_gets_a_lane_of_its_own_again_whenever_that_is_reset()
    {
        const int Kills = 20;
        var pair = await PairAsync(_patient);
        using var one = new Wire(pair.Beta.Address("gateway port"));
        using var two = new Wire(pair.Beta.Address("gateway port"));
        await pair.ThroughAsync(one, two);
        var kills = 0;
        bool GoesOn() => Volatile.Read(ref kills) < Kills;

        var (client, server) = await pair.ConnectAsync();
        var (up, down) = (Traffic.SendAsync(client, long.MaxValue, 1, goesOn: GoesOn), Traffic.SendAsync(server, long.MaxValue, 2, goesOn: GoesOn));
        var (atServer, atClient) = (Traffic.ReceiveAsync(server), Traffic.ReceiveAsync(client));
        var (asker, answerer) = await pair.ConnectAsync();
        var talk = TalkAsync(asker, answerer, GoesOn);
        var all = Task.WhenAll(up, down);
        var began = Stopwatch.StartNew();
        while (!all.IsCompleted)
        {
            // Only one that carries bulk: so it was found again after the kill before.
            foreach (var lane in pair.Beta.SessionWith("alpha").Lanes.Where(l => l is { Channel: 1, State: LaneState.Up }))
            {
                var wire = lane.Link == "one" ? one : two;
                if (wire.Carried(lane.Remote!) > 1_000_000)
                {
                    wire.Reset(lane.Remote!);
                    kills++;
                }
            }

            await Task.WhenAny(all, Task.Delay(_pace));
            Assert.True(began.Elapsed < 2 * Pair.Limit, $"{kills} kills in {began.Elapsed}");
        }

        Assert.Equal(await up, (await atServer.WaitAsync(Pair.Limit)).Hash);
        Assert.Equal(await down, (await atClient.WaitAsync(Pair.Limit)).Hash);
        Assert.True(await talk > 0);
        Assert.All(pair.Beta.SessionWith("alpha").Lanes.Where(l => l.Channel == 0), l => Assert.Equal((LaneState.Up, null), (l.State, l.LastError)));
    }

    /// <summary>Small questions, each answered, which stay on the lanes that they share. Returns how many.</summary>
    private static async Task<int> TalkAsync(Socket asker, Socket answerer, Func<bool> goesOn)
    {
        var (question, answer) = (new byte[100], new byte[100]);
        for (var count = 0; ; count++)
        {
            if (!goesOn())
            {
                return count;
            }

            question.AsSpan().Fill((byte)count);
            await asker.SendAsync(question);
            await answerer.ReceiveAsync(answer).WaitAsync(Pair.Limit);
            Assert.Equal(question, answer);
            await answerer.SendAsync(answer);
            await asker.ReceiveAsync(answer).WaitAsync(Pair.Limit);
        }
    }
}

public sealed class PortableKilledLanesTests() : KilledLanesTests(TunnelDriver.Portable);

public sealed class LinuxKilledLanesTests() : KilledLanesTests(TunnelDriver.Linux);
