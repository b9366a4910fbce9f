using System.Net.Sockets;

namespace Fabric.Tunnel.Tests;

/// <summary>Thousands of streams of one session at once.</summary>
public abstract class ManyStreamsTests(TunnelDriver driver) : LeakFreeTests(driver)
{
    [Fact]
    public async Task Two_thousand_streams_at_once_carry_their_bytes_both_ways()
    {
        const int Count = 2_000;
        var pair = await PairAsync();
        await using var crowd = new Crowd(pair, _ => 6_000);
        await crowd.TogetherAsync(Count, () => Assert.Equal((Count, Count), (pair.Alpha.Tunnel.Status.OpenStreams, pair.Beta.Tunnel.Status.OpenStreams)));
        await Pair.Until(() => (pair.Alpha.IngressEnded.Count, pair.Beta.EgressEnded.Count) == (Count, Count), "all have ended");
        Assert.All(pair.Alpha.IngressEnded.Concat(pair.Beta.EgressEnded), s => Assert.Equal(StreamCode.Ok, s.Code));
        await Pair.Until(() => pair.Alpha.Tunnel.Status.OpenStreams == 0 && pair.Beta.Tunnel.Status.OpenStreams == 0, "no streams");
    }

    [Fact]
    public async Task Hundreds_that_are_reset_at_either_end_leave_the_others_whole()
    {
        const int Bytes = 300_000;
        var pair = await PairAsync();
        var connections = new List<(Socket Client, Socket Server)>();
        for (var i = 0; i < 400; i++)
        {
            connections.Add(await pair.ConnectAsync());
        }

        await Task.WhenAll(connections.Select((c, i) => (i % 4) switch
        {
            0 => ResetAsync(c.Client, c.Server),
            1 => ResetAsync(c.Server, c.Client),
            2 => WholeAsync(c.Client, c.Server, i),
            _ => WholeAsync(c.Server, c.Client, i),
        }));
        await Pair.Until(() => pair.Alpha.IngressEnded.Count == connections.Count, "all have ended");
        Assert.Equal(connections.Count / 2, pair.Alpha.IngressEnded.Count(s => s.Code == StreamCode.ApplicationReset));
        await Pair.Until(() => pair.Alpha.Tunnel.Status.OpenStreams == 0 && pair.Beta.Tunnel.Status.OpenStreams == 0, "no streams");

        // In the middle of what one sends, and beside what the other does.
        static async Task ResetAsync(Socket one, Socket other)
        {
            var sending = Traffic.SendAsync(other, Bytes, 1, 4096);
            await one.SendAsync(new byte[Bytes / 2]);
            Assert.True(await one.ReceiveAsync(new byte[1000]).WaitAsync(Pair.Limit) > 0);
            one.LingerState = new LingerOption(true, 0);
            one.Dispose();
            // The kernel tells of a reset once: to whichever of the two asks first. The other one sees the end, or that the way is closed.
            var seen = new[]
            {
                await Record.ExceptionAsync(() => Traffic.ReceiveAsync(other, piece: 4096).WaitAsync(Pair.Limit)),
                await Record.ExceptionAsync(() => sending.WaitAsync(Pair.Limit)),
            };
            Assert.Contains(seen, e => e is SocketException { SocketErrorCode: SocketError.ConnectionReset });
        }

        static async Task WholeAsync(Socket from, Socket to, int seed)
        {
            var sent = Traffic.SendAsync(from, Bytes, seed, 4096);
            var received = await Traffic.ReceiveAsync(to, piece: 4096).WaitAsync(Pair.Limit);
            Assert.Equal((await sent.WaitAsync(Pair.Limit), Bytes), received);
            to.Shutdown(SocketShutdown.Send);
            Assert.Equal(0, await from.ReceiveAsync(new byte[1]).WaitAsync(Pair.Limit));
        }
    }
}

public sealed class PortableManyStreamsTests() : ManyStreamsTests(TunnelDriver.Portable);

public sealed class LinuxManyStreamsTests() : ManyStreamsTests(TunnelDriver.Linux);
