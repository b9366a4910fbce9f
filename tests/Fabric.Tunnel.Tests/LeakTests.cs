using System.Net.Sockets;
using Fabric.Protocol.Tunnel;

namespace Fabric.Tunnel.Tests;

public abstract class LeakTests(TunnelDriver driver) : LeakFreeTests(driver)
{
    [Fact]
    public async Task Abuse_leaves_no_descriptor_no_session_and_no_buffer()
    {
        var limits = new TunnelLimits { Grace = TimeSpan.FromMilliseconds(300), HandshakeTimeout = TimeSpan.FromSeconds(3) };
        var siege = await SiegeAsync(limits);
        await siege.HonestAsync();
        await siege.NothingLeftAsync();
        var before = Descriptors;
        for (var round = 0; round < 2; round++)
        {
            for (var peer = 0; peer < Siege.Names.Length; peer++)
            {
                // A violation with streams open, a handshake that stalls, one that is nonsense, and a lane that is dropped.
                var evil = await siege.JoinAsync(peer, epoch: (uint)(round + 1) * 2);
                for (var id = 2u; id < 100; id += 2)
                {
                    await evil.OpenAsync(id);
                    await evil.SendAsync(FrameType.Data, id, 0, new byte[1_000]);
                }

                await evil.SendRawAsync(new byte[16]);
                await evil.ClosedAsync();
                var dropped = await siege.JoinAsync((peer + 1) % Siege.Names.Length, "two", (uint)(round + 1) * 2 + 20);
                await dropped.OpenAsync(2);
                await dropped.DisposeAsync();
                using var stalled = new Socket(SocketType.Stream, ProtocolType.Tcp);
                await stalled.ConnectAsync(siege.Port);
                await stalled.SendAsync(peer % 2 == 0 ? new byte[] { 0x16, 3, 1 } : new byte[] { 1, 2, 3, 4, 5, 6 });
                if (peer % 2 == 0)
                {
                    await Assert.ThrowsAnyAsync<Exception>(async () => Assert.NotEqual(0, await stalled.ReceiveAsync(new byte[1]).WaitAsync(Pair.Limit)));
                }
            }
        }

        await siege.NothingLeftAsync();
        await Pair.Until(() => Descriptors <= before, $"as many descriptors as before: {before}");
        await Pair.Until(() => siege.Victim.SessionWith("alpha").Lanes.All(l => l.State == LaneState.Up), "the lanes of alpha are up");
    }
}

public sealed class PortableLeakTests() : LeakTests(TunnelDriver.Portable);

public sealed class LinuxLeakTests() : LeakTests(TunnelDriver.Linux);
