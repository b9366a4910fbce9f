using System.Buffers;
using System.Buffers.Binary;
using System.Collections.Concurrent;
using System.Collections.Immutable;
using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Authentication;
using Fabric.Protocol.Dns;

namespace Fabric.Gateway.Dns;

internal delegate ValueTask<int> DnsTcpForwarder(ReadOnlyMemory<byte> query, Memory<byte> response, byte[] address, bool tls);

internal delegate int DnsTcpAnswerer(ReadOnlySpan<byte> query, Span<byte> response, ReadOnlySpan<byte> address, bool tls);

/// <summary>
/// DNS over TCP (RFC 7766) and TLS (RFC 7858): accept → read messages, each behind its two length octets → answer all that are there,
/// in order → write. A client may send ahead without waiting; it is read on only after its answers were taken, so that it bounds
/// itself. A handshake is idle time as any other.
/// </summary>
internal sealed class DnsTcpListener : IAsyncDisposable
{
    private const int LengthPrefix = 2;
    private const int IdleBuffer = 1024;
    private static readonly TimeSpan ErrorPause = TimeSpan.FromMilliseconds(10);

    private static readonly List<SslApplicationProtocol> Alpn = [new("dot")];

    private readonly ImmutableArray<(Socket Socket, bool Tls)> _listeners;
    private readonly DnsServerOptions _options;
    private readonly TimeProvider _time;
    private readonly DnsCounters _counters;
    private readonly DnsTcpAnswerer _answer;
    private readonly DnsTcpForwarder _forward;
    private readonly CancellationTokenSource _stop = new();
    private readonly ConcurrentDictionary<Socket, Task> _connections = new();
    private readonly Dictionary<IPAddress, int> _sources = [];
    private readonly Task _accepting;
    private int _count;

    public DnsTcpListener(
        ImmutableArray<(Socket Socket, bool Tls)> listeners, DnsServerOptions options, TimeProvider time, DnsCounters counters,
        DnsTcpAnswerer answer, DnsTcpForwarder forward)
    {
        (_listeners, _options, _time, _counters, _answer, _forward) = (listeners, options, time, counters, answer, forward);
        _accepting = Task.WhenAll(listeners.Select(l => Task.Run(() => AcceptAsync(l.Socket, l.Tls))));
    }

    public int Connections => Volatile.Read(ref _count);

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        foreach (var listener in _listeners)
        {
            listener.Socket.Dispose();
        }

        await _accepting;
        foreach (var connection in _connections.Keys)
        {
            connection.Dispose();
        }

        await Task.WhenAll(_connections.Values);
        _stop.Dispose();
    }

    private async Task AcceptAsync(Socket listener, bool tls)
    {
        while (!_stop.IsCancellationRequested)
        {
            try
            {
                var socket = await listener.AcceptAsync(_stop.Token);
                if (Source(socket) is not { } source || !TryEnter(source))
                {
                    _counters.Refused();
                    socket.Dispose();
                    continue;
                }

                // Known before it runs, so that disposal sees it.
                var task = new Task<Task>(() => ServeAsync(socket, source, tls));
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

    /// <summary>Null for a connection that has gone already.</summary>
    private static IPAddress? Source(Socket socket)
    {
        try
        {
            return socket.RemoteEndPoint is IPEndPoint { Address: var address }
                ? address.IsIPv4MappedToIPv6 ? address.MapToIPv4() : address
                : null;
        }
        catch (SocketException)
        {
            return null;
        }
    }

    private bool TryEnter(IPAddress source)
    {
        lock (_sources)
        {
            var ofSource = _sources.GetValueOrDefault(source);
            if (_count >= _options.TcpConnections || ofSource >= _options.TcpPerSource)
            {
                return false;
            }

            _sources[source] = ofSource + 1;
            _count++;
            return true;
        }
    }

    private void Leave(IPAddress source)
    {
        lock (_sources)
        {
            _count--;
            if (--_sources[source] is var left && left == 0)
            {
                _sources.Remove(source);
            }
        }
    }

    private async Task ServeAsync(Socket socket, IPAddress source, bool tls)
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
            await using var plain = new NetworkStream(socket, ownsSocket: false);
            if (tls)
            {
                await using var secured = new SslStream(plain);
                await secured.AuthenticateAsServerAsync(
                    new SslServerAuthenticationOptions
                    {
                        ServerCertificateContext = _options.Certificate!(),
                        ApplicationProtocols = Alpn,
                        EnabledSslProtocols = SslProtocols.Tls12 | SslProtocols.Tls13,
                        AllowRenegotiation = false,
                    },
                    _stop.Token);
                await ExchangeAsync(new Connection(secured, source.GetAddressBytes(), true), idle);
            }
            else
            {
                await ExchangeAsync(new Connection(plain, source.GetAddressBytes(), false), idle);
            }
        }
        catch (Exception e) when (e is IOException or SocketException or AuthenticationException or ObjectDisposedException
            or OperationCanceledException)
        {
            if (Volatile.Read(ref idled) == 1)
            {
                _counters.Idled();
            }
        }
        catch (Exception)
        {
            // No certificate, perhaps: this connection's trouble, and no other's.
            _counters.Fault();
        }
        finally
        {
            socket.Dispose();
            _connections.TryRemove(socket, out _);
            Leave(source);
        }
    }

    private async Task ExchangeAsync(Connection connection, ITimer idle)
    {
        var buffer = ArrayPool<byte>.Shared.Rent(IdleBuffer);
        try
        {
            var filled = 0;
            while (true)
            {
                var received = await connection.Stream.ReadAsync(buffer.AsMemory(filled), _stop.Token);
                if (received == 0)
                {
                    return;
                }

                filled += received;
                var consumed = await AnswerAllAsync(connection, buffer.AsMemory(0, filled));
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
    private async ValueTask<int> AnswerAllAsync(Connection connection, ReadOnlyMemory<byte> input)
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
                    await connection.Stream.WriteAsync(output.AsMemory(0, pending), _stop.Token);
                    pending = 0;
                }

                var query = input.Slice(consumed + LengthPrefix, length);
                var answered = _answer(
                    query.Span, output.AsSpan(pending + LengthPrefix, DnsLimits.Tcp), connection.Address, connection.Tls);
                if (answered < 0)
                {
                    // Others are asked: what is answered already does not wait for them.
                    await connection.Stream.WriteAsync(output.AsMemory(0, pending), _stop.Token);
                    pending = 0;
                    answered = await _forward(query, output.AsMemory(LengthPrefix, DnsLimits.Tcp), connection.Address, connection.Tls);
                }

                consumed += LengthPrefix + length;
                if (answered > 0)
                {
                    BinaryPrimitives.WriteUInt16BigEndian(output.AsSpan(pending), (ushort)answered);
                    pending += LengthPrefix + answered;
                }
            }

            await connection.Stream.WriteAsync(output.AsMemory(0, pending), _stop.Token);
            return consumed;
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(output);
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

    private sealed record Connection(Stream Stream, byte[] Address, bool Tls);
}
