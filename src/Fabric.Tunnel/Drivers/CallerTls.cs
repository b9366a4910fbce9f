namespace Fabric.Tunnel.Drivers;

/// <summary>
/// TLS 1.3 with a client that calls a service, on a connected socket, which it does not own. After the handshake it is the client's bytes in the
/// clear: one read, one write and one <see cref="CompleteAsync"/> may be under way at once. A read returns 0 when the client has ended in order
/// (close_notify, RFC 8446 §6.1), and throws <see cref="IOException"/> when it ended without, unless this side had ended before.
/// </summary>
internal abstract class CallerTls : AsyncStream
{
    /// <summary>
    /// Throws <see cref="CertificateRefusedException"/> when the client's certificate is refused, or it showed none: it was told by an alert, where
    /// the library can send one. Throws <see cref="System.Security.Authentication.AuthenticationException"/> or <see cref="IOException"/> when TLS
    /// itself failed.
    /// </summary>
    public abstract Task ShakeHandsAsync(CancellationToken cancellationToken);

    /// <summary>Tells the client that no more comes; reading goes on. Once.</summary>
    public abstract Task CompleteAsync();

    public abstract override ValueTask DisposeAsync();
}
