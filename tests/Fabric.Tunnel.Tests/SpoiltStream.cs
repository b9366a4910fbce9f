using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using Fabric.Tunnel.Drivers;

namespace Fabric.Tunnel.Tests;

/// <summary>A socket under TLS where the test may spoil what TLS writes, send bytes of its own beside it, and end it in any way.</summary>
internal sealed class SpoiltStream(Socket socket) : AsyncStream
{
    private const int TcpLevel = 6;
    private const int TcpCork = 3;

    private readonly NetworkStream _inner = new(socket, ownsSocket: true);

    /// <summary>What becomes of the next write, once.</summary>
    public Func<byte[], byte[]>? Spoil { get; set; }

    /// <summary>FIN follows the next write, in the same segment: one event tells of both.</summary>
    public bool EndsThen { get; set; }

    public static async Task<SpoiltStream> DialAsync(IPEndPoint port)
    {
        var socket = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        await socket.ConnectAsync(port).WaitAsync(Pair.Limit);
        return new SpoiltStream(socket);
    }

    public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default) =>
        _inner.ReadAsync(buffer, cancellationToken);

    public override async ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
    {
        var spoil = Spoil;
        Spoil = null;
        if (EndsThen && OperatingSystem.IsLinux())
        {
            socket.SetRawSocketOption(TcpLevel, TcpCork, [1, 0, 0, 0]);
        }

        await _inner.WriteAsync(spoil?.Invoke(buffer.ToArray()) ?? buffer, cancellationToken);
        if (EndsThen)
        {
            End();
        }
    }

    public void End() => socket.Shutdown(SocketShutdown.Send);

    public void Reset()
    {
        socket.LingerState = new LingerOption(true, 0);
        socket.Dispose();
    }

    /// <summary>The other side closes the connection, in whatever way, and TLS if it is given does not hide that.</summary>
    public async Task ClosedAsync(Stream? tls = null)
    {
        try
        {
            var buffer = new byte[16 * 1024];
            while (await (tls ?? this).ReadAsync(buffer).AsTask().WaitAsync(Pair.Limit) > 0)
            {
            }
        }
        catch (Exception error) when (error is IOException or ObjectDisposedException or InvalidOperationException)
        {
            // Reset, or by this side itself.
        }
    }

    /// <summary>The first message of a client, as bytes.</summary>
    public static async Task<byte[]> ClientHelloAsync(SslClientAuthenticationOptions options)
    {
        using var memory = new MemoryStream();
        await using var tls = new SslStream(new Recorder(memory));
        await Assert.ThrowsAnyAsync<IOException>(() => tls.AuthenticateAsClientAsync(options));
        return memory.ToArray();
    }

    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            _inner.Dispose();
        }

        base.Dispose(disposing);
    }

    /// <summary>Takes what is written, and ends where an answer is expected.</summary>
    private sealed class Recorder(MemoryStream memory) : AsyncStream
    {
        public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default) => new(0);

        public override ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default) =>
            memory.WriteAsync(buffer, cancellationToken);
    }
}
