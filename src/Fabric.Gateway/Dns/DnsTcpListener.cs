using System.Buffers;
using System.Buffers.Binary;
using System.Collections.Concurrent;
using System.Collections.Immutable;
using System.Net.Sockets;
using Fabric.Protocol.Dns;

namespace Fabric.Gateway.Dns;

internal delegate int DnsAnswerer(ReadOnlySpan<byte> query, Span<byte> response, DnsTransport transport);

/// <summary>
/// DNS over TCP (RFC 7766): accept → read messages, each behind its two length octets → answer all that are there, in order →
/// write. A client may send ahead without waiting; it is read on only after its answers were taken, so that it bounds itself.
/// </summary>
internal sealed class DnsTcpListener : IAsyncDisposable
{
    private const int LengthPrefix = 2;
    private const int IdleBuffer = 1024;
    private static readonly TimeSpan ErrorPause = TimeSpan.FromMilliseconds(10);

    private readonly ImmutableArray<Socket> _listeners;
    private readonly DnsServerOptions _options;
    private readonly TimeProvider _time;
    private readonly DnsCounters _counters;
    private readonly DnsAnswerer _answer;
    private readonly CancellationTokenSource _stop = new();
    private readonly ConcurrentDictionary<Socket, Task> _connections = new();
    private readonly Task _accepting;
    private int _count;

    public DnsTcpListener(
        ImmutableArray<Socket> listeners, DnsServerOptions options, TimeProvider time, DnsCounters counters, DnsAnswerer answer)
    {
        (_listeners, _options, _time, _counters, _answer) = (listeners, options, time, counters, answer);
        _accepting = Task.WhenAll(listeners.Select(l => Task.Run(() => AcceptAsync(l))));
    }

    public int Connections => Volatile.Read(ref _count);

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        foreach (var listener in _listeners)
        {
            listener.Dispose();
        }

        await _accepting;
        foreach (var connection in _connections.Keys)
        {
            connection.Dispose();
        }

        await Task.WhenAll(_connections.Values);
        _stop.Dispose();
    }

    private async Task AcceptAsync(Socket listener)
    {
        while (!_stop.IsCancellationRequested)
        {
            try
            {
                var socket = await listener.AcceptAsync(_stop.Token);
                if (Interlocked.Increment(ref _count) > _options.TcpConnections)
                {
                    Interlocked.Decrement(ref _count);
                    _counters.Refused();
                    socket.Dispose();
                    continue;
                }

                // Known before it runs, so that disposal sees it.
                var task = new Task<Task>(() => ServeAsync(socket));
                _connections[socket] = task.Unwrap();
                task.Start(TaskScheduler.Default);
            }
            catch (Exception e) when (e is OperationCanceledException or ObjectDisposedException)
            {
                return;
            }
            catch (SocketException)
            {
                // Out of descriptors, or gone before it was accepted.
                _counters.Fault();
                await Task.Delay(ErrorPause, _time, _stop.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            }
        }
    }

    private async Task ServeAsync(Socket socket)
    {
        var idled = 0;
        await using var idle = _time.CreateTimer(
            _ =>
            {
                Interlocked.Exchange(ref idled, 1);
                socket.Dispose();
            },
            null, _options.TcpIdle, Timeout.InfiniteTimeSpan);
        try
        {
            socket.NoDelay = true;
            await ExchangeAsync(socket, idle);
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException or OperationCanceledException)
        {
            if (Volatile.Read(ref idled) == 1)
            {
                _counters.Idled();
            }
        }
        finally
        {
            socket.Dispose();
            _connections.TryRemove(socket, out _);
            Interlocked.Decrement(ref _count);
        }
    }

    private async Task ExchangeAsync(Socket socket, ITimer idle)
    {
        var buffer = ArrayPool<byte>.Shared.Rent(IdleBuffer);
        try
        {
            var filled = 0;
            while (true)
            {
                var received = await socket.ReceiveAsync(buffer.AsMemory(filled), SocketFlags.None);
                if (received == 0)
                {
                    return;
                }

                filled += received;
                var consumed = await AnswerAllAsync(socket, buffer.AsMemory(0, filled));
                if (consumed > 0)
                {
                    // A query, not a byte, keeps a connection alive.
                    idle.Change(_options.TcpIdle, Timeout.InfiniteTimeSpan);
                    buffer.AsSpan(consumed, filled - consumed).CopyTo(buffer);
                    filled -= consumed;
                }

                buffer = Fit(buffer, filled);
            }
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    /// <summary>Answers every whole message in <paramref name="input"/>; returns how many bytes these took.</summary>
    private async ValueTask<int> AnswerAllAsync(Socket socket, ReadOnlyMemory<byte> input)
    {
        var consumed = 0;
        if (MessageLength(input.Span) is null)
        {
            return 0;
        }

        // Rented only while there is work: an idle connection holds one small buffer.
        var output = ArrayPool<byte>.Shared.Rent(LengthPrefix + DnsLimits.Tcp);
        try
        {
            var pending = 0;
            while (MessageLength(input.Span[consumed..]) is { } length)
            {
                // An answer of any size must fit whole.
                if (output.Length - pending < LengthPrefix + DnsLimits.Tcp)
                {
                    await SendAsync(socket, output.AsMemory(0, pending));
                    pending = 0;
                }

                var response = output.AsSpan(pending + LengthPrefix, DnsLimits.Tcp);
                var answered = _answer(input.Span.Slice(consumed + LengthPrefix, length), response, DnsTransport.Tcp);
                consumed += LengthPrefix + length;
                if (answered > 0)
                {
                    BinaryPrimitives.WriteUInt16BigEndian(output.AsSpan(pending), (ushort)answered);
                    pending += LengthPrefix + answered;
                }
            }

            await SendAsync(socket, output.AsMemory(0, pending));
            return consumed;
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(output);
        }
    }

    private static async ValueTask SendAsync(Socket socket, ReadOnlyMemory<byte> bytes)
    {
        while (!bytes.IsEmpty)
        {
            bytes = bytes[await socket.SendAsync(bytes, SocketFlags.None)..];
        }
    }

    /// <summary>Length of the first message, when all of it is there.</summary>
    private static int? MessageLength(ReadOnlySpan<byte> input) =>
        input.Length >= LengthPrefix && BinaryPrimitives.ReadUInt16BigEndian(input) is var length
            && input.Length >= LengthPrefix + length
            ? length
            : null;

    /// <summary>A buffer that can hold the message that has begun: grows to at most 64 KiB and shrinks when it is
    /// empty.</summary>
    private static byte[] Fit(byte[] buffer, int filled)
    {
        var need = filled < LengthPrefix
            ? IdleBuffer
            : Math.Max(IdleBuffer, LengthPrefix + BinaryPrimitives.ReadUInt16BigEndian(buffer));
        if (buffer.Length >= need && (filled > 0 || buffer.Length == IdleBuffer))
        {
            return buffer;
        }

        var fitting = ArrayPool<byte>.Shared.Rent(need);
        buffer.AsSpan(0, filled).CopyTo(fitting);
        ArrayPool<byte>.Shared.Return(buffer);
        return fitting;
    }
}
