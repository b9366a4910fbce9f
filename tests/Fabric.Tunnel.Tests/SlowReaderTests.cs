using System.Net.Sockets;
using Fabric.Protocol.Tunnel;
using Fabric.Testing;

namespace Fabric.Tunnel.Tests;

/// <summary>Who does not read stops itself, and nobody else.</summary>
public abstract class SlowReaderTests(TunnelDriver driver) : IDisposable
{
    private readonly TestAuthority _authority = new();

    public void Dispose() => _authority.Dispose();

    [Fact]
    public async Task A_peer_that_does_not_read_its_lane_loses_it_and_its_streams_move()
    {
        var limits = new TunnelLimits { LaneTimeout = TimeSpan.FromSeconds(5), PingInterval = TimeSpan.FromSeconds(1), LateLimit = TimeSpan.FromMinutes(5) };
        await using var siege = await Siege.LayAsync(_authority, driver, limits);
        var honest = siege.Victim.Decide;
        var written = 0L;
        siege.Victim.Decide = (peer, open) => peer == "alpha" ? honest(peer, open) : new EgressVerdict.Handle(async stream =>
        {
            while (true)
            {
                await stream.WriteAsync(new byte[65_536]);
                Interlocked.Add(ref written, 65_536);
            }
        });
        var session = Guid.NewGuid();
        var one = await siege.JoinAsync(session: session);

        // All the credit that a frame can say; it reads the answer and nothing more, but pings, so that it is heard.
        await one.OpenAsync(2, 1L << 62);
        await one.NextAsync(FrameType.Opened);
        var two = await siege.JoinAsync(link: "two", epoch: 4, session: session);
        using var stop = new CancellationTokenSource();
        var pinging = Task.Run(async () =>
        {
            for (var i = 0; !stop.IsCancellationRequested; i++)
            {
                await one.SendAsync(FrameType.Ping, 0, i);
                await two.SendAsync(FrameType.Ping, 0, i);
                await Task.Delay(100);
            }
        });
        Assert.Equal(2, (await two.NextAsync(FrameType.Fence)).Offset);
        Assert.Equal(0, (await two.NextAsync(FrameType.Data)).Offset);
        await stop.CancelAsync();
        await Record.ExceptionAsync(() => pinging);
        Assert.Equal("the peer read nothing for 5 s", siege.LastError());
        await Pair.Until(() => siege.Refused(Refusal.StalledLane) == 1, "it is counted");
        Assert.InRange(Volatile.Read(ref written), 1, limits.MaxWindow);
        await siege.HonestAsync();
    }

    [Fact]
    public async Task A_stream_keeps_no_more_than_a_window_however_much_credit_it_has()
    {
        var limits = new TunnelLimits { MaxWindow = 1 << 20 };
        await using var siege = await Siege.LayAsync(_authority, driver, limits);
        var honest = siege.Victim.Decide;
        siege.Victim.Decide = (peer, open) => peer == "alpha" ? honest(peer, open) : new EgressVerdict.Handle(async stream =>
        {
            await stream.WriteAsync(new byte[10_000_000]);
        });
        await siege.HonestAsync();
        var evil = await siege.JoinAsync();
        await evil.OpenAsync(2, 1L << 62);
        var received = 0L;
        while (received < 1 << 20)
        {
            var data = await evil.NextAsync(FrameType.Data);
            received = data.Offset + data.Length;
        }

        // And nothing of the honest stream, whose last bytes may wait for their acknowledgement.
        await Pair.Until(() => siege.Victim.Tunnel.Usage.Retained == 1 << 20, "a window is kept");

        // It is acknowledged, so the next comes.
        var credit = new byte[8];
        await evil.SendAsync(FrameType.Ack, 2, received, credit);
        Assert.Equal(1 << 20, (await evil.NextAsync(FrameType.Data)).Offset);
    }

    [Fact]
    public async Task Streams_that_are_not_read_do_not_hold_up_one_that_is()
    {
        await using var pair = await Pair.StartAsync(_authority, driver);
        var stuck = new List<(Socket Client, Socket Server)>();
        for (var i = 0; i < 8; i++)
        {
            var (client, server) = await pair.ConnectAsync();
            stuck.Add((client, server));
            _ = Task.Run(() => Record.ExceptionAsync(() => Traffic.SendAsync(client, 100_000_000, i)));
        }

        for (var i = 0; i < 3; i++)
        {
            var (client, server) = await pair.ConnectAsync();
            var sent = Traffic.SendAsync(client, 5_000_000, i);
            Assert.Equal((await sent.WaitAsync(Pair.Limit), 5_000_000), await Traffic.ReceiveAsync(server).WaitAsync(Pair.Limit));
        }

        stuck.ForEach(s => s.Client.Dispose());
        stuck.ForEach(s => s.Server.Dispose());
    }
}

public sealed class PortableSlowReaderTests() : SlowReaderTests(TunnelDriver.Portable);

public sealed class LinuxSlowReaderTests() : SlowReaderTests(TunnelDriver.Linux);
