using System.Buffers;
using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using Fabric.Identity;
using Fabric.Tunnel.Core;

namespace Fabric.Tunnel.Drivers;

/// <summary>
/// A client of a service that speaks TLS and has proven who it is. What it sends is carried by <see cref="Carrier"/>, or by whoever carries the
/// stream in its place; half-close is close_notify (RFC 8446 §6.1), and an end without it, while the other side has not ended, is a reset:
/// anybody on the way could have made it.
/// </summary>
internal sealed class CertifiedClient : IAsyncDisposable
{
    private static readonly TimeSpan _resetWatch = TimeSpan.FromSeconds(1);

    private readonly GatewayTunnel _tunnel;
    private readonly ICertifiedIngress _ingress;
    private readonly Socket _socket;
    private readonly SslStream _tls;
    private readonly IPEndPoint _remote;
    private readonly SpiffeId _caller;
    private readonly CertifiedEnd _end;

    public CertifiedClient(GatewayTunnel tunnel, ICertifiedIngress ingress, Socket socket, SslStream tls, CertifiedTransport transport,
        IPEndPoint remote, SpiffeId caller)
    {
        (_tunnel, _ingress, _socket, _tls, _remote, _caller) = (tunnel, ingress, socket, tls, remote, caller);
        _end = new CertifiedEnd(socket, tls, transport);
        transport.Guarded = true;
    }

    /// <summary>Its bytes, in the clear.</summary>
    public StreamEnd End => _end;

    /// <summary>Carries between it and another end.</summary>
    public StreamCarrier Carrier => CarryAsync;

    public ValueTask<IngressPlan> PlanAsync(ServiceListener listener, CancellationToken cancellationToken) =>
        _ingress.PlanAsync(listener, _remote, _caller, cancellationToken);

    /// <summary>Carries until both directions are done and acknowledged, or either side reset.</summary>
    public async Task JoinAsync(TunnelStream stream)
    {
        var reset = WatchAsync(stream);
        try
        {
            await CarryAsync(_end, StreamEnd.Of(stream), _tunnel.Stopping).ConfigureAwait(false);
        }
        catch (Exception error) when (IsEnd(error))
        {
            // Both ends are reset, and the stream tells why.
        }

        await ClosedAsync().ConfigureAwait(false);
        await reset.ConfigureAwait(false);
        await stream.DisposeAsync().ConfigureAwait(false);
    }

    /// <summary>What was written has left, with the close_notify behind it.</summary>
    public Task ClosedAsync() => _end.Closed;

    public async ValueTask DisposeAsync() => await _tls.DisposeAsync().ConfigureAwait(false);

    /// <summary>A reset of the stream has to end a read of the client that waits, and a write to one that does not read.</summary>
    private async Task WatchAsync(TunnelStream stream)
    {
        await stream.Ended.ConfigureAwait(false);
        if (stream.IsReset)
        {
            Sockets.Abort(_socket);
        }
    }

    private async Task CarryAsync(StreamEnd caller, StreamEnd endpoint, CancellationToken cancellationToken)
    {
        // A socket that is not read, because the other side takes nothing, tells nothing of a reset: it is asked.
        await using var watch = _tunnel.Options.Time.CreateTimer(_ =>
        {
            try
            {
                if (_socket.Poll(0, SelectMode.SelectError))
                {
                    endpoint.Reset("reset while it could not be read");
                }
            }
            catch (Exception error) when (error is SocketException or ObjectDisposedException)
            {
                // It ended by itself.
            }
        }, null, _resetWatch, _resetWatch);
        await Task.WhenAll(CopyAsync(caller, endpoint, cancellationToken), CopyAsync(endpoint, caller, cancellationToken)).ConfigureAwait(false);
    }

    private static async Task CopyAsync(StreamEnd from, StreamEnd to, CancellationToken cancellationToken)
    {
        byte[]? buffer = null;
        try
        {
            while (true)
            {
                // An idle connection holds no buffer.
                await from.ReadAsync(Memory<byte>.Empty, cancellationToken).ConfigureAwait(false);
                buffer = ArrayPool<byte>.Shared.Rent(SlabPool.LargeSize);
                var read = await from.ReadAsync(buffer, cancellationToken).ConfigureAwait(false);
                if (read == 0)
                {
                    to.CompleteWrites();
                    return;
                }

                await to.WriteAsync(buffer.AsMemory(0, read), cancellationToken).ConfigureAwait(false);
                ArrayPool<byte>.Shared.Return(buffer);
                buffer = null;
            }
        }
        catch (Exception error)
        {
            from.Reset(error.Message);
            to.Reset(error.Message);
            throw;
        }
        finally
        {
            if (buffer is not null)
            {
                ArrayPool<byte>.Shared.Return(buffer);
            }
        }
    }

    private static bool IsEnd(Exception error) =>
        error is IOException or SocketException or ObjectDisposedException or OperationCanceledException or InvalidOperationException;

    /// <summary>The client's end, in the clear.</summary>
    private sealed class CertifiedEnd(Socket socket, SslStream tls, CertifiedTransport transport)
        : StreamEnd(new CertifiedStream(tls, transport))
    {
        private readonly Lock _lock = new();
        private Task? _closing;

        public Task Closed => _closing ?? Task.CompletedTask;

        public override void CompleteWrites()
        {
            lock (_lock)
            {
                _closing ??= CloseAsync();
            }
        }

        public override void Reset(string reason) => Sockets.Abort(socket);

        private async Task CloseAsync()
        {
            transport.WeEnded = true;
            try
            {
                // Not while the other thread deciphers: the TLS library has one state for both ways.
                await transport.Cipher.WaitAsync().ConfigureAwait(false);
                Task sending;
                try
                {
                    sending = tls.ShutdownAsync();
                }
                finally
                {
                    transport.Cipher.Release();
                }

                await sending.ConfigureAwait(false);
                socket.Shutdown(SocketShutdown.Send);
            }
            catch (Exception error) when (IsEnd(error))
            {
                // It is over already.
            }
        }
    }

    private sealed class CertifiedStream(SslStream tls, CertifiedTransport transport) : AsyncStream
    {
        public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
        {
            await transport.Cipher.WaitAsync(cancellationToken).ConfigureAwait(false);
            try
            {
                var read = await tls.ReadAsync(buffer, cancellationToken).ConfigureAwait(false);
                return read > 0 || buffer.IsEmpty || !transport.TheyEnded || transport.WeEnded ? read
                    : throw new IOException("the client's connection ended without close_notify: what it sent may be cut short");
            }
            finally
            {
                transport.Cipher.Release();
            }
        }

        public override ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default) =>
            tls.WriteAsync(buffer, cancellationToken);
    }
}

/// <summary>
/// The socket under TLS. <see cref="Cipher"/> is held by who reads, but not while the socket is waited for: so an end of the other direction
/// gets its turn.
/// </summary>
internal sealed class CertifiedTransport(Socket socket) : AsyncStream
{
    public SemaphoreSlim Cipher { get; } = new(1);

    /// <summary>Reads are made by a holder of <see cref="Cipher"/>: from the end of the handshake on.</summary>
    public bool Guarded { get; set; }

    /// <summary>The socket ended, which is not for TLS to say that nothing is missing.</summary>
    public bool TheyEnded { get; private set; }

    public volatile bool WeEnded;

    public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        var guarded = Guarded;
        if (guarded)
        {
            Cipher.Release();
        }

        try
        {
            var read = await socket.ReceiveAsync(buffer, SocketFlags.None, cancellationToken).ConfigureAwait(false);
            TheyEnded |= read == 0 && !buffer.IsEmpty;
            return read;
        }
        catch (SocketException error)
        {
            throw new IOException(error.Message, error);
        }
        finally
        {
            if (guarded)
            {
                await Cipher.WaitAsync(CancellationToken.None).ConfigureAwait(false);
            }
        }
    }

    public override async ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
    {
        try
        {
            while (buffer.Length > 0)
            {
                buffer = buffer[await socket.SendAsync(buffer, SocketFlags.None, cancellationToken).ConfigureAwait(false)..];
            }
        }
        catch (SocketException error)
        {
            throw new IOException(error.Message, error);
        }
    }
}
