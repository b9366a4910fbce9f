using System.Net.Sockets;
using Fabric.Protocol.Tunnel;
using Fabric.Testing;
using Fabric.Tunnel.Drivers;
using Fabric.Tunnel.Linux;

namespace Fabric.Tunnel.Tests.Linux;

/// <summary>A peer that changes its keys on a live lane, which only libssl lets a test do.</summary>
public abstract class KeyUpdateTests(TunnelDriver driver) : LeakFreeTests(driver)
{
    private static readonly TunnelLimits _limits = new() { Grace = TimeSpan.FromMilliseconds(300) };

    [RequiresTheory("libssl")]
    [InlineData(true)]
    [InlineData(false)]
    public async Task A_lane_goes_on_with_new_keys(bool ofBoth)
    {
        var siege = await SiegeAsync(_limits);
        await using var keys = await JoinAsync(siege);
        for (var i = 0; i < 10; i++)
        {
            await keys.ChangeAsync(ofBoth);
            await keys.Peer.SendAsync(FrameType.Ping, 0, i);
            Assert.Equal(i, (await keys.Peer.NextAsync(FrameType.Pong)).Offset);
        }

        Assert.True(siege.IsUp());
        await siege.HonestAsync();
        await keys.DisposeAsync();
        await siege.NothingLeftAsync();
    }

    [RequiresTheory("libssl")]
    [InlineData(true)]
    [InlineData(false)]
    public async Task A_flood_of_new_keys_harms_nobody_else(bool ofBoth)
    {
        var siege = await SiegeAsync(_limits);
        await using var keys = await JoinAsync(siege);
        var answered = false;
        try
        {
            for (var i = 0; i < 5_000; i++)
            {
                await keys.ChangeAsync(ofBoth);
            }

            await keys.Peer.SendAsync(FrameType.Ping, 0, 7);
            answered = (await keys.Peer.NextAsync(FrameType.Pong)).Offset == 7;
        }
        catch (IOException)
        {
            await Pair.Until(() => !siege.IsUp() && siege.LastError() is { Length: > 0 }, "the lane ends, and says why");
        }

        Assert.Equal(answered, siege.IsUp());
        await siege.HonestAsync();
        await keys.DisposeAsync();
        await siege.NothingLeftAsync();
    }

    private static async Task<KeyChanger> JoinAsync(Siege siege)
    {
        var keys = await KeyChanger.DialAsync(siege);
        await keys.Peer.JoinAsync();
        return keys;
    }

    /// <summary>An <see cref="EvilPeer"/> over libssl.</summary>
    private sealed class KeyChanger : AsyncStream
    {
        private readonly TlsContext _context;
        private readonly TlsEnd _end;

        private KeyChanger(TlsContext context, TlsEnd end)
        {
            (_context, _end) = (context, end);
            Peer = new EvilPeer(this);
        }

        public EvilPeer Peer { get; }

        public static async Task<KeyChanger> DialAsync(Siege siege)
        {
            var socket = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
            await socket.ConnectAsync(siege.Port).WaitAsync(Pair.Limit);
            // The answers of the other side are as many.
            var context = new TlsContext(siege.Identity(), new TlsOptions { Time = TimeProvider.System, MaxMessagesPerSecond = int.MaxValue });
            var end = new TlsEnd(TlsSession.Client(context, TlsEnd.Over(socket), "fabric/1", "beta"), socket);
            Assert.Equal(TlsStatus.Done, await end.HandshakeAsync());
            return new KeyChanger(context, end);
        }

        /// <param name="ofBoth">The other side is asked to change its key too.</param>
        public Task ChangeAsync(bool ofBoth)
        {
            _end.Session.UpdateKey(ofBoth);
            return _end.FlushAsync();
        }

        public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
        {
            var (count, status) = await _end.ReadAsync(buffer);
            return count > 0 || status == TlsStatus.Closed ? count : throw new IOException(_end.Session.Error);
        }

        public override async ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
        {
            while (buffer.Length > 0)
            {
                buffer = buffer[_end.Session.Write(buffer.Span, out var status)..];
                await _end.FlushAsync();
                if (status == TlsStatus.Failed)
                {
                    throw new IOException(_end.Session.Error);
                }
            }
        }

        protected override void Dispose(bool disposing)
        {
            if (disposing)
            {
                _end.Dispose();
                _context.Dispose();
            }

            base.Dispose(disposing);
        }
    }
}

public sealed class PortableKeyUpdateTests() : KeyUpdateTests(TunnelDriver.Portable);

public sealed class LinuxKeyUpdateTests() : KeyUpdateTests(TunnelDriver.Linux);
