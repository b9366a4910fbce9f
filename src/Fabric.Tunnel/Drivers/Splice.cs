using System.Buffers;
using System.Net.Sockets;
using System.Runtime.CompilerServices;
using Fabric.Protocol.Tunnel;
using Fabric.Tunnel.Core;

namespace Fabric.Tunnel.Drivers;

/// <summary>
/// Joins an application's socket to a stream, or to another socket: bytes, half-close and reset go through, each way on its
/// own. A side that does not read stops the other by closing its window, and nothing else.
/// </summary>
internal static class Splice
{
    private const int HeaderGap = FrameHeader.Size;
    private const int BusyRead = 16 * 1024;
    private const int SegmentsAtOnce = 16;

    /// <summary>Carries until both directions are done and acknowledged, or either side reset. The socket is closed then.</summary>
    public static async Task RunAsync(Socket socket, TunnelStream stream, SlabPool pool, TimeProvider time)
    {
        socket.NoDelay = true;
        var shut = new StrongBox<bool>();
        var up = UpAsync(socket, stream, pool, time, shut);
        var down = DownAsync(socket, stream, shut);
        var reset = WatchResetAsync(socket, stream);
        await Task.WhenAll(up, down, reset).ConfigureAwait(false);
        socket.Dispose();
        await stream.DisposeAsync().ConfigureAwait(false);
    }

    /// <param name="shut">Whether the other way is over.</param>
    private static async Task UpAsync(Socket socket, TunnelStream stream, SlabPool pool, TimeProvider time, StrongBox<bool> shut)
    {
        Slab? slab = null;
        await using var watch = new ResetWatch(socket, stream, time);
        try
        {
            var busy = false;
            while (await watch.WaitRoomAsync().ConfigureAwait(false) is var room && room > 0)
            {
                if (!busy)
                {
                    // An idle connection holds no buffer.
                    slab?.Release();
                    slab = null;
                    await socket.ReceiveAsync(Memory<byte>.Empty, SocketFlags.None).ConfigureAwait(false);
                }

                slab ??= pool.Rent(SlabPool.LargeSize);
                var most = Math.Min(room, FrameHeader.MaxData);
                var read = await socket.ReceiveAsync(slab.Bytes.AsMemory(HeaderGap, most), SocketFlags.None).ConfigureAwait(false);
                if (read == 0)
                {
                    ThrowIfReset(socket, shut);
                    stream.CompleteWrites();
                    return;
                }

                if (!stream.TryWrite(new Segment(slab, HeaderGap, read)))
                {
                    return;
                }

                // No buffer waits for room when memory is tight.
                busy = read >= BusyRead && !pool.Budget.IsTight;
                if (!slab.IsExclusive || !busy)
                {
                    slab.Release();
                    slab = null;
                }
            }
        }
        catch (Exception error) when (error is SocketException or ObjectDisposedException)
        {
            stream.Reset(StreamCode.ApplicationReset, error.Message);
        }
        finally
        {
            slab?.Release();
        }
    }

    /// <summary>
    /// A socket that is not read tells nothing of a reset: while the window is closed, it is asked every second.
    /// </summary>
    private sealed class ResetWatch(Socket socket, TunnelStream stream, TimeProvider time) : IAsyncDisposable
    {
        private static readonly TimeSpan _period = TimeSpan.FromSeconds(1);

        private volatile bool _waits;
        private ITimer? _timer;

        public async ValueTask<int> WaitRoomAsync()
        {
            var waiting = stream.WaitRoomAsync();
            if (waiting.IsCompleted)
            {
                return await waiting.ConfigureAwait(false);
            }

            _waits = true;
            _timer ??= time.CreateTimer(static s => ((ResetWatch)s!).Look(), this, _period, _period);
            var room = await waiting.ConfigureAwait(false);
            _waits = false;
            return room;
        }

        private void Look()
        {
            try
            {
                if (_waits && socket.Poll(0, SelectMode.SelectError))
                {
                    stream.Reset(StreamCode.ApplicationReset, "reset while it could not be read");
                }
            }
            catch (Exception error) when (error is SocketException or ObjectDisposedException)
            {
                // It ended by itself.
            }
        }

        public ValueTask DisposeAsync() => _timer?.DisposeAsync() ?? ValueTask.CompletedTask;
    }

    private static async Task DownAsync(Socket socket, TunnelStream stream, StrongBox<bool> shut)
    {
        var segments = new Segment[SegmentsAtOnce];
        try
        {
            while (await stream.WaitReadableAsync().ConfigureAwait(false))
            {
                var count = stream.PeekReady(segments);
                try
                {
                    for (var i = 0; i < count; i++)
                    {
                        await SendAllAsync(socket, segments[i].Memory).ConfigureAwait(false);
                        stream.Taken(segments[i].Length);
                    }
                }
                finally
                {
                    for (var i = 0; i < count; i++)
                    {
                        segments[i].Release();
                    }
                }
            }

            if (!stream.IsReset)
            {
                Shut(socket, shut);
            }
        }
        catch (Exception error) when (error is SocketException or ObjectDisposedException)
        {
            stream.Reset(StreamCode.ApplicationReset, error.Message);
            Sockets.Abort(socket);
        }
    }

    /// <summary>A reset has to end a read of the socket that waits, and a send to an application that does not read.</summary>
    private static async Task WatchResetAsync(Socket socket, TunnelStream stream)
    {
        await stream.Ended.ConfigureAwait(false);
        if (stream.IsReset)
        {
            Sockets.Abort(socket);
        }
    }

    private static void Shut(Socket socket, StrongBox<bool> shut)
    {
        // Before it is so: a connection that is closed both ways looks like one that was reset.
        Volatile.Write(ref shut.Value, true);
        socket.Shutdown(SocketShutdown.Send);
    }

    private static void ThrowIfReset(Socket socket, StrongBox<bool> shut)
    {
        var wasReset = Sockets.WasReset(socket);
        if (wasReset && !Volatile.Read(ref shut.Value))
        {
            throw new SocketException((int)SocketError.ConnectionReset);
        }
    }

    private static async ValueTask SendAllAsync(Socket socket, ReadOnlyMemory<byte> bytes)
    {
        while (bytes.Length > 0)
        {
            var sent = await socket.SendAsync(bytes, SocketFlags.None).ConfigureAwait(false);
            bytes = bytes[sent..];
        }
    }

    /// <summary>Joins two sockets of this gateway. Returns the bytes each way, and why it ended when not by FIN both ways.</summary>
    public static async Task<(long ToB, long ToA, string? Error)> RunAsync(Socket a, Socket b)
    {
        try
        {
            a.NoDelay = b.NoDelay = true;
        }
        catch (Exception failure) when (failure is SocketException or ObjectDisposedException)
        {
            // One was reset already: the copies find out, and close both.
        }

        string? error = null;
        async Task<long> CopyAsync(Socket from, Socket to, StrongBox<bool> fromShut, StrongBox<bool> toShut)
        {
            var buffer = ArrayPool<byte>.Shared.Rent(SlabPool.LargeSize);
            var total = 0L;
            try
            {
                while (await from.ReceiveAsync(buffer, SocketFlags.None).ConfigureAwait(false) is var read && read > 0)
                {
                    await SendAllAsync(to, buffer.AsMemory(0, read)).ConfigureAwait(false);
                    total += read;
                }

                ThrowIfReset(from, fromShut);
                Shut(to, toShut);
            }
            catch (Exception failure) when (failure is SocketException or ObjectDisposedException)
            {
                error ??= failure.Message;
                Sockets.Abort(from);
                Sockets.Abort(to);
            }
            finally
            {
                ArrayPool<byte>.Shared.Return(buffer);
            }

            return total;
        }

        var (aShut, bShut) = (new StrongBox<bool>(), new StrongBox<bool>());
        var toB = CopyAsync(a, b, aShut, bShut);
        var toA = CopyAsync(b, a, bShut, aShut);
        await Task.WhenAll(toB, toA).ConfigureAwait(false);
        a.Dispose();
        b.Dispose();
        return (await toB.ConfigureAwait(false), await toA.ConfigureAwait(false), error);
    }
}
