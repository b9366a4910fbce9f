using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;
using Fabric.Drills.Measurement;
using Fabric.Testing;

namespace Fabric.Drills.Tests.Measurement;

public sealed class HashedDownloadTests
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(20);
    private static readonly byte[] Content = MakeContent(300_000);
    private static readonly string Sha256 = Convert.ToHexStringLower(SHA256.HashData(Content));

    [Fact]
    public async Task Whole_download_over_a_socket_is_intact()
    {
        var download = await DownloadAsync(Content, reset: false);

        Assert.True(download.Intact);
        Assert.Equal((Sha256, 0L, false, null), (download.Sha256, download.BytesLost, download.Dropped, download.Error));
        Assert.Equal(Content.Length, download.Stall.TotalBytes);
    }

    [Fact]
    public async Task Early_end_is_a_drop_with_bytes_lost()
    {
        var download = await DownloadAsync(Content[..100_000], reset: false);

        Assert.False(download.Intact);
        Assert.Equal((200_000L, true, null), (download.BytesLost, download.Dropped, download.Error));
    }

    [Fact]
    public async Task Reset_connection_is_a_result()
    {
        var download = await DownloadAsync([], reset: true);

        Assert.False(download.Intact);
        Assert.True(download.Dropped);
        Assert.NotNull(download.Error);
        Assert.Equal(Content.Length, download.BytesLost);
    }

    [Fact]
    public async Task One_wrong_byte_is_not_intact()
    {
        var wrong = (byte[])Content.Clone();
        wrong[150_000] ^= 1;

        var download = await DownloadAsync(wrong, reset: false);

        Assert.False(download.Intact);
        Assert.False(download.Dropped);
        Assert.NotEqual(Sha256, download.Sha256);
    }

    [Fact]
    public async Task More_than_expected_is_not_intact_and_reading_stops()
    {
        var endless = new EndlessStream();

        var download = await HashedDownload.ReadAsync(endless, 1000, null, TimeProvider.System).WaitAsync(Limit);

        Assert.False(download.Intact);
        Assert.Equal(0, download.BytesLost);
    }

    [Fact]
    public async Task Pause_longer_than_patience_gives_up()
    {
        var time = new ManualTime();
        var silent = new SilentStream(first: 10);
        var reading = HashedDownload.ReadAsync(silent, 1000, null, time, TimeSpan.FromSeconds(5));
        await silent.Waiting.WaitAsync(Limit);

        time.Advance(TimeSpan.FromSeconds(5));

        var download = await reading.WaitAsync(Limit);
        Assert.Equal(("no byte came for 5 s", 990L), (download.Error, download.BytesLost));
        Assert.Equal(TimeSpan.FromSeconds(5), download.Stall.LongestPause);
    }

    [Fact]
    public async Task Cancellation_is_an_exception()
    {
        using var giveUp = new CancellationTokenSource();
        var silent = new SilentStream(first: 10);
        var reading = HashedDownload.ReadAsync(silent, 1000, null, new ManualTime(), cancellationToken: giveUp.Token);
        await silent.Waiting.WaitAsync(Limit);

        await giveUp.CancelAsync();

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => reading.WaitAsync(Limit));
    }

    private static byte[] MakeContent(int length)
    {
        var content = new byte[length];
        new Random(1).NextBytes(content);
        return content;
    }

    private static async Task<HashedDownload> DownloadAsync(byte[] sent, bool reset)
    {
        using var listener = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        listener.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        listener.Listen(1);
        using var client = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        await client.ConnectAsync(listener.LocalEndPoint!);
        using var server = await listener.AcceptAsync();
        await using var source = new NetworkStream(client);
        var reading = HashedDownload.ReadAsync(source, Content.Length, Sha256, TimeProvider.System);
        await SendAllAsync(server, sent);
        server.LingerState = new LingerOption(reset, 0);
        server.Dispose();
        return await reading.WaitAsync(Limit);
    }

    private static async Task SendAllAsync(Socket socket, ReadOnlyMemory<byte> bytes)
    {
        while (bytes.Length > 0)
        {
            bytes = bytes[await socket.SendAsync(bytes)..];
        }
    }

    private sealed class EndlessStream : MemoryStream
    {
        public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default) =>
            new(Math.Min(buffer.Length, 100));
    }

    private sealed class SilentStream(int first) : MemoryStream
    {
        private readonly TaskCompletionSource _waiting = new();
        private bool _sent;

        public Task Waiting => _waiting.Task;

        public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
        {
            if (!_sent)
            {
                _sent = true;
                return first;
            }

            var cancelled = new TaskCompletionSource();
            using var registration = cancellationToken.Register(cancelled.SetResult);
            _waiting.SetResult();
            await cancelled.Task;
            throw new OperationCanceledException(cancellationToken);
        }
    }
}
