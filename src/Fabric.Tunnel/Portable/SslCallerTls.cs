using System.Net.Security;
using System.Net.Sockets;
using System.Security.Authentication;
using System.Security.Cryptography.X509Certificates;
using Fabric.Identity;
using Fabric.Tunnel.Drivers;

namespace Fabric.Tunnel.Portable;

/// <summary>
/// By <see cref="SslStream"/>, which judges a client's certificate when its own part of the handshake is over, and has no means to send an alert:
/// who is refused sees the connection end without one.
/// </summary>
internal sealed class SslCallerTls : CallerTls
{
    private readonly IGatewayIdentity _identity;
    private readonly PeerCheck _check;
    private readonly string[] _protocols;
    private readonly Transport _transport;
    private readonly SslStream _tls;

    /// <inheritdoc cref="IDriver.Secure"/>
    public SslCallerTls(Socket socket, IGatewayIdentity identity, PeerCheck check, string[] protocols)
    {
        (_identity, _check, _protocols) = (identity, check, protocols);
        _transport = new Transport(socket);
        _tls = new SslStream(_transport, leaveInnerStreamOpen: false);
    }

    public override async Task ShakeHandsAsync(CancellationToken cancellationToken)
    {
        var options = MeshTls.Server(_identity, anonymous: false, _protocols);
        options.AllowTlsResume = false;
        options.RemoteCertificateValidationCallback = (_, shown, chain, _) => _check.IsGood(
            shown is null ? null : shown as X509Certificate2 ?? new X509Certificate2(shown), chain?.ChainPolicy.ExtraStore ?? []);
        try
        {
            await _tls.AuthenticateAsServerAsync(options, cancellationToken).ConfigureAwait(false);
            _transport.Guarded = true;
        }
        catch (Exception error) when (error is not OperationCanceledException)
        {
            throw _check.Refusal ?? (error is AuthenticationException ? new AuthenticationException(error.GetBaseException().Message, error) : error);
        }
    }

    public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        await _transport.Cipher.WaitAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            var read = await _tls.ReadAsync(buffer, cancellationToken).ConfigureAwait(false);
            return read > 0 || buffer.IsEmpty || !_transport.TheyEnded || _transport.WeEnded ? read
                : throw new IOException("the client's connection ended without close_notify: what it sent may be cut short");
        }
        finally
        {
            _transport.Cipher.Release();
        }
    }

    public override ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default) =>
        _tls.WriteAsync(buffer, cancellationToken);

    public override async Task CompleteAsync()
    {
        _transport.WeEnded = true;

        // Not while the other thread deciphers: the TLS library has one state for both ways.
        await _transport.Cipher.WaitAsync().ConfigureAwait(false);
        Task sending;
        try
        {
            sending = _tls.ShutdownAsync();
        }
        finally
        {
            _transport.Cipher.Release();
        }

        await sending.ConfigureAwait(false);
    }

    public override async ValueTask DisposeAsync() => await _tls.DisposeAsync().ConfigureAwait(false);

    /// <summary>
    /// The socket under TLS. <see cref="Cipher"/> is held by who reads, but not while the socket is waited for: so an end of the other direction
    /// gets its turn.
    /// </summary>
    private sealed class Transport(Socket socket) : AsyncStream
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
}
