using System.Security.Authentication;
using Fabric.Tunnel.Drivers;

namespace Fabric.Tunnel.Linux;

/// <summary>
/// TLS on a socket of a loop as a <see cref="Stream"/>, for tasks: for the handshake, HELLO, and protocols that are not lanes. One read and
/// one write may be under way at once.
/// </summary>
internal sealed class TlsStream(LoopSocket socket, TlsSession tls) : AsyncStream
{
    /// <summary>libssl's connection takes one caller at a time.</summary>
    private readonly Lock _lock = new();
    private bool _closed;

    /// <summary>Throws <see cref="AuthenticationException"/> with the reason, and <see cref="IOException"/> when the connection ended.</summary>
    public async Task ShakeHandsAsync(CancellationToken cancellationToken)
    {
        using var wake = cancellationToken.UnsafeRegister(static s => ((LoopSocket)s!).Nudge(), socket);
        while (true)
        {
            cancellationToken.ThrowIfCancellationRequested();
            TlsStatus status;
            TlsStatus sent;
            lock (_lock)
            {
                ObjectDisposedException.ThrowIf(_closed, this);
                tls.HungUp = socket.HungUp;
                status = tls.Handshake();
                sent = tls.Flush();
            }

            switch (status)
            {
                case TlsStatus.Done when sent == TlsStatus.Done:
                    return;
                case TlsStatus.Failed or TlsStatus.Truncated or TlsStatus.Closed:
                    throw tls.Refusal ?? new AuthenticationException(tls.Error);
                case TlsStatus.WantRead when sent == TlsStatus.Done:
                    await socket.ReadableAsync().ConfigureAwait(false);
                    break;
                default:
                    await socket.WritableAsync().ConfigureAwait(false);
                    break;
            }
        }
    }

    public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        using var wake = cancellationToken.UnsafeRegister(static s => ((LoopSocket)s!).Nudge(), socket);
        while (true)
        {
            int read;
            TlsStatus status;
            lock (_lock)
            {
                ObjectDisposedException.ThrowIf(_closed, this);
                tls.HungUp = socket.HungUp;
                read = tls.Read(buffer.Span, out status);
                // An answer of TLS itself, to a change of keys.
                tls.Flush();
            }

            if (read > 0 || status == TlsStatus.Closed)
            {
                return read;
            }

            if (status is TlsStatus.Failed or TlsStatus.Truncated)
            {
                throw new IOException(tls.Error);
            }

            cancellationToken.ThrowIfCancellationRequested();
            await socket.ReadableAsync().ConfigureAwait(false);
        }
    }

    public override async ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
    {
        using var wake = cancellationToken.UnsafeRegister(static s => ((LoopSocket)s!).Nudge(), socket);
        while (true)
        {
            TlsStatus sent;
            lock (_lock)
            {
                ObjectDisposedException.ThrowIf(_closed, this);
                buffer = buffer[tls.Write(buffer.Span, out var status)..];
                sent = tls.Flush();
                if (status == TlsStatus.Failed || sent == TlsStatus.Failed)
                {
                    throw new IOException(tls.Error);
                }
            }

            if (sent == TlsStatus.Done && buffer.Length == 0)
            {
                return;
            }

            cancellationToken.ThrowIfCancellationRequested();
            if (sent == TlsStatus.WantWrite)
            {
                await socket.WritableAsync().ConfigureAwait(false);
            }
        }
    }

    /// <summary>Tells the other side by close_notify that no more comes, as far as that goes without waiting. No use of it follows.</summary>
    public void SayGoodbye()
    {
        lock (_lock)
        {
            if (!_closed)
            {
                _closed = true;
                tls.SendCloseNotify();
                tls.Flush();
            }
        }
    }
}
