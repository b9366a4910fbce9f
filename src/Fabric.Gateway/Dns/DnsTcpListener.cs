using System.Collections.Concurrent;
using System.Collections.Immutable;
using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Authentication;

namespace Fabric.Gateway.Dns;

/// <summary>
/// DNS over TCP (RFC 7766) and TLS (RFC 7858): who may connect, and how long a connection may be idle. What is said on it:
/// <see cref="DnsTcpConnection"/>. A handshake is idle time as any other.
/// </summary>
internal sealed class DnsTcpListener : IAsyncDisposable
{
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

    /// <summary>How long a client may keep its connection idle (RFC 7828): where three of four places are taken, it is not to keep it.</summary>
    private TimeSpan KeepAlive => 4 * Connections >= 3 * _options.TcpConnections && _options.TcpConnections > 1 ? TimeSpan.Zero : _options.TcpIdle;

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
                await ExchangeAsync(secured);
            }
            else
            {
                await ExchangeAsync(plain);
            }

            Task ExchangeAsync(Stream stream) => new DnsTcpConnection(
                stream, new DnsTcpClient(source.GetAddressBytes(), tls), _options.TcpInFlight, _answer, _forward)
            {
                KeepAlive = () => KeepAlive,
                // A query, not a byte, keeps a connection alive.
                Stirred = () => idle.Change(_options.TcpIdle, Timeout.InfiniteTimeSpan),
            }.ExchangeAsync(_stop.Token);
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
}
