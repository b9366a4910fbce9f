using System.Net.Sockets;
using System.Text;
using Fabric.Testing;

namespace Fabric.Tunnel.Tests;

/// <summary>Half-close, reset, vanishing clients: what one end of a connection does, the other end sees.</summary>
public abstract class CloseTests(TunnelDriver driver) : IDisposable
{
    private readonly TestAuthority _authority = new();

    public void Dispose() => _authority.Dispose();

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task A_half_close_passes_and_the_other_direction_goes_on(bool clientFirst)
    {
        await using var pair = await Pair.StartAsync(_authority, driver);
        var (client, server) = await pair.ConnectAsync();
        var (first, second) = clientFirst ? (client, server) : (server, client);
        await first.SendAsync(Encoding.ASCII.GetBytes("the question"));
        first.Shutdown(SocketShutdown.Send);
        Assert.Equal(12, (await Traffic.ReceiveAsync(second).WaitAsync(Pair.Limit)).Bytes);
        for (var i = 0; i < 5; i++)
        {
            await second.SendAsync(new byte[1000]);
            await Task.Yield();
        }

        second.Shutdown(SocketShutdown.Send);
        Assert.Equal(5000, (await Traffic.ReceiveAsync(first).WaitAsync(Pair.Limit)).Bytes);
        await Pair.Until(() => pair.Alpha.Tunnel.Status.OpenStreams == 0 && pair.Beta.Tunnel.Status.OpenStreams == 0, "no streams");
        await Pair.Until(() => pair.Alpha.Tunnel.Status.BufferedBytes <= 4 * 65_536, "buffers given back");
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task A_reset_passes(bool byClient)
    {
        await using var pair = await Pair.StartAsync(_authority, driver);
        var (client, server) = await pair.ConnectAsync();
        var (one, other) = byClient ? (client, server) : (server, client);
        await one.SendAsync(new byte[10]);
        await other.ReceiveAsync(new byte[10]).WaitAsync(Pair.Limit);
        one.LingerState = new LingerOption(true, 0);
        one.Close();
        var error = await Assert.ThrowsAsync<SocketException>(() => other.ReceiveAsync(new byte[10]).WaitAsync(Pair.Limit));
        Assert.Equal(SocketError.ConnectionReset, error.SocketErrorCode);
        await Pair.Until(() => !pair.Alpha.IngressEnded.IsEmpty && !pair.Beta.EgressEnded.IsEmpty, "summaries");
        Assert.True(pair.Alpha.IngressEnded.TryDequeue(out var summary));
        Assert.Equal(StreamCode.ApplicationReset, summary.Code);
        await Pair.Until(() => pair.Alpha.Tunnel.Status.OpenStreams == 0 && pair.Beta.Tunnel.Status.OpenStreams == 0, "no streams");
    }

    [Fact]
    public async Task A_client_that_vanishes_while_it_receives_ends_the_server()
    {
        await using var pair = await Pair.StartAsync(_authority, driver);
        var (client, server) = await pair.ConnectAsync();
        var sending = Traffic.SendAsync(server, 500_000_000, 1);
        await client.ReceiveAsync(new byte[1000]).WaitAsync(Pair.Limit);
        client.LingerState = new LingerOption(true, 0);
        client.Close();
        await Assert.ThrowsAnyAsync<SocketException>(() => sending.WaitAsync(Pair.Limit));
        await Pair.Until(() => pair.Alpha.Tunnel.Status.OpenStreams == 0 && pair.Beta.Tunnel.Status.OpenStreams == 0, "no streams");
    }

    [Fact]
    public async Task A_client_that_vanishes_while_the_server_does_not_read_is_noticed()
    {
        await using var pair = await Pair.StartAsync(_authority, driver);
        var (client, server) = await pair.ConnectAsync();
        using (client)
        {
            client.SendTimeout = 1;
            using var stop = new CancellationTokenSource(TimeSpan.FromSeconds(2));
            await Assert.ThrowsAnyAsync<OperationCanceledException>(async () =>
            {
                while (true)
                {
                    await client.SendAsync(new byte[65_536], stop.Token);
                }
            });
            client.LingerState = new LingerOption(true, 0);
        }

        await Pair.Until(() => pair.Alpha.Tunnel.Status.OpenStreams == 0 && pair.Beta.Tunnel.Status.OpenStreams == 0, "no streams");
        server.Dispose();
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task An_end_that_never_reads_stops_the_other_and_memory_stays_bounded(bool server)
    {
        await using var pair = await Pair.StartAsync(_authority, driver);
        var (atClient, atServer) = await pair.ConnectAsync();
        var (mute, other) = server ? (atServer, atClient) : (atClient, atServer);
        var sent = 0L;
        using var stop = new CancellationTokenSource();
        var sending = Task.Run(async () =>
        {
            while (true)
            {
                sent += await other.SendAsync(new byte[65_536], stop.Token);
            }
        });
        var last = -1L;
        await Pair.Until(
            () =>
            {
                var now = Volatile.Read(ref sent);
                (var still, last) = (now == last && now > 0, now);
                Thread.Sleep(200);
                return still;
            }, "the other end stops");
        var window = new TunnelLimits().MaxWindow;
        var held = pair.Alpha.Tunnel.Status.BufferedBytes + pair.Beta.Tunnel.Status.BufferedBytes;
        Assert.InRange(held, 0, 2 * window + 16 * 65_536);

        // Others are not held up by it.
        var (second, secondServer) = await pair.ConnectAsync();
        var hash = Traffic.SendAsync(second, 1_000_000, 2);
        Assert.Equal((await hash, 1_000_000), await Traffic.ReceiveAsync(secondServer).WaitAsync(Pair.Limit));
        await stop.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => sending);
        other.Dispose();
        mute.Dispose();
    }
}

public sealed class PortableCloseTests() : CloseTests(TunnelDriver.Portable);

public sealed class LinuxCloseTests() : CloseTests(TunnelDriver.Linux);
