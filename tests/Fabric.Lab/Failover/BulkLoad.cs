using System.Buffers.Binary;
using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;

using Fabric.Testing.Links;

namespace Fabric.Lab.Failover;

/// <summary>
/// Sends streams of numbered blocks, each with its SHA-256: a 16-byte request says how many (0: until the caller closes) and how many
/// bytes a second (0: as fast as it goes). A whole stream ends with an orderly close.
/// </summary>
public sealed class BulkServer : IAsyncDisposable
{
    /// <summary>Bytes of a block: number, data, SHA-256 of both.</summary>
    public const int Block = 64 * 1024;

    private readonly Socket _listener;
    private readonly Task _accepting;

    public BulkServer(string networkNamespace, IPEndPoint address)
    {
        _listener = NetworkNamespace.Inside(networkNamespace, () => EchoServer.Listen(address));
        _accepting = Accept();
    }

    /// <summary>What a request looks like.</summary>
    public static byte[] Request(long blocks, long bytesPerSecond)
    {
        var request = new byte[16];
        BinaryPrimitives.WriteInt64LittleEndian(request, blocks);
        BinaryPrimitives.WriteInt64LittleEndian(request.AsSpan(8), bytesPerSecond);
        return request;
    }

    /// <summary>Whether a block is the one with that number, whole.</summary>
    public static bool IsBlock(ReadOnlySpan<byte> block, long number)
    {
        Span<byte> hash = stackalloc byte[32];
        SHA256.HashData(block[..^32], hash);
        return BinaryPrimitives.ReadInt64LittleEndian(block) == number && hash.SequenceEqual(block[^32..]);
    }

    public async ValueTask DisposeAsync()
    {
        _listener.Dispose();
        await _accepting;
    }

    private async Task Accept()
    {
        while (true)
        {
            Socket socket;
            try
            {
                socket = await _listener.AcceptAsync();
            }
            catch (Exception e) when (e is SocketException or ObjectDisposedException)
            {
                return;
            }

            _ = Task.Run(() => Serve(socket));
        }
    }

    private static async Task Serve(Socket socket)
    {
        using (socket)
        {
            try
            {
                var request = new byte[16];
                for (var filled = 0; filled < request.Length;)
                {
                    var count = await socket.ReceiveAsync(request.AsMemory(filled));
                    if (count == 0)
                    {
                        // A health check.
                        return;
                    }

                    filled += count;
                }

                await Send(socket, BinaryPrimitives.ReadInt64LittleEndian(request), BinaryPrimitives.ReadInt64LittleEndian(request.AsSpan(8)));
            }
            catch (SocketException)
            {
                // The caller knows what did not come.
            }
        }
    }

    private static async Task Send(Socket socket, long blocks, long bytesPerSecond)
    {
        var block = new byte[Block];
        new Random(3).NextBytes(block);
        var ended = socket.ReceiveAsync(new byte[1]);
        var started = Stopwatch.GetTimestamp();
        for (long number = 0; blocks == 0 ? !ended.IsCompleted : number < blocks; number++)
        {
            // No two blocks have the same bytes anywhere.
            for (var at = 0; at < Block - 32; at += 4096)
            {
                BinaryPrimitives.WriteInt64LittleEndian(block.AsSpan(at), number + at);
            }

            SHA256.HashData(block.AsSpan(0, Block - 32), block.AsSpan(Block - 32));
            for (var sent = 0; sent < Block;)
            {
                sent += await socket.SendAsync(block.AsMemory(sent));
            }

            if (bytesPerSecond > 0 && TimeSpan.FromSeconds((double)(number + 1) * Block / bytesPerSecond) - Stopwatch.GetElapsedTime(started)
                is { TotalMilliseconds: >= 1 } early)
            {
                await Task.Delay(early);
            }
        }

        socket.Shutdown(SocketShutdown.Send);
        await ended;
    }
}

/// <summary>Reads a stream of <see cref="BulkServer"/>, and checks every block of it.</summary>
public sealed class BulkStream : IDisposable
{
    private readonly Socket _socket;
    private long _bytes;

    private BulkStream(Socket socket, long blocks)
    {
        _socket = socket;
        Result = Task.Run(() => Read(blocks));
    }

    /// <summary>Bytes lost or wrong, and whether the connection ended before its time.</summary>
    public Task<(int Dropped, long BytesLost)> Result { get; }

    public long Bytes => Interlocked.Read(ref _bytes);

    /// <param name="blocks">0: until <see cref="Stop"/>.</param>
    public static BulkStream Open(string networkNamespace, IPEndPoint address, long blocks, long bytesPerSecond) => NetworkNamespace.Inside(networkNamespace, () =>
    {
        var socket = new Socket(address.AddressFamily, SocketType.Stream, ProtocolType.Tcp) { ReceiveTimeout = 60_000 };
        socket.Connect(address);
        socket.Send(BulkServer.Request(blocks, bytesPerSecond));
        return new BulkStream(socket, blocks);
    });

    /// <summary>Asks the server to end, and reads what is still on its way.</summary>
    public Task<(int Dropped, long BytesLost)> Stop()
    {
        try
        {
            _socket.Shutdown(SocketShutdown.Send);
        }
        catch (SocketException)
        {
            // It is broken already: the result says so.
        }

        return Result;
    }

    public void Dispose() => _socket.Dispose();

    private async Task<(int, long)> Read(long blocks)
    {
        var block = new byte[BulkServer.Block];
        long wrong = 0;
        for (long number = 0; ; number++)
        {
            var filled = 0;
            try
            {
                while (filled < block.Length)
                {
                    using var limit = new CancellationTokenSource(TimeSpan.FromMinutes(1));
                    var count = await _socket.ReceiveAsync(block.AsMemory(filled), limit.Token);
                    if (count == 0)
                    {
                        // An end between blocks, at the right one, is a good end.
                        var missing = blocks == 0 ? 0 : (blocks - number) * BulkServer.Block - filled;
                        return (filled > 0 || missing > 0 ? 1 : 0, wrong + missing + (blocks == 0 ? filled : 0));
                    }

                    filled += count;
                    Interlocked.Add(ref _bytes, count);
                }
            }
            catch (Exception e) when (e is SocketException or ObjectDisposedException or OperationCanceledException)
            {
                return (1, wrong + (blocks == 0 ? 0 : (blocks - number) * BulkServer.Block - filled));
            }

            wrong += BulkServer.IsBlock(block, number) ? 0 : BulkServer.Block;
        }
    }
}
