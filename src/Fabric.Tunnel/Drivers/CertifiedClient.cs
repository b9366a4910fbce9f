using System.Buffers;
using System.Net;
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
    private readonly CallerTls _tls;
    private readonly IPEndPoint _remote;
    private readonly SpiffeId _caller;
    private readonly CertifiedEnd _end;

    public CertifiedClient(GatewayTunnel tunnel, ICertifiedIngress ingress, Socket socket, CallerTls tls, IPEndPoint remote, SpiffeId caller)
    {
        (_tunnel, _ingress, _socket, _tls, _remote, _caller) = (tunnel, ingress, socket, tls, remote, caller);
        _end = new CertifiedEnd(socket, tls);
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
    private sealed class CertifiedEnd(Socket socket, CallerTls tls) : StreamEnd(tls)
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
            try
            {
                await tls.CompleteAsync().ConfigureAwait(false);
                socket.Shutdown(SocketShutdown.Send);
            }
            catch (Exception error) when (IsEnd(error))
            {
                // It is over already.
            }
        }
    }
}
