using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Authentication;
using System.Security.Cryptography.X509Certificates;
using Fabric.Identity;

namespace Fabric.Tunnel.Portable;

/// <summary>
/// TLS of the gateway port: version 1.3 only, certificates of both sides judged by <see cref="IGatewayIdentity.Verify"/> and by
/// nothing else. Sessions are not resumed: a resumed one leaves the intermediates out, and handshakes are rare here.
/// </summary>
public static class MutualTls
{
    /// <summary>ALPN name of lanes.</summary>
    public const string LaneProtocol = "fabric/1";

    /// <summary>
    /// Accepts: returns the stream, and the gateway that the client's certificate names, or null when it sent none.
    /// Throws <see cref="AuthenticationException"/> with the reason.
    /// </summary>
    public static Task<(SslStream Stream, GatewayId? Peer)> AcceptAsync(
        Stream transport, IGatewayIdentity identity, IEnumerable<string> protocols, CancellationToken cancellationToken) =>
        AcceptAsync(transport, identity, new PeerCheck(identity, null), protocols, cancellationToken);

    internal static async Task<(SslStream Stream, GatewayId? Peer)> AcceptAsync(
        Stream transport, IGatewayIdentity identity, PeerCheck check, IEnumerable<string> protocols, CancellationToken cancellationToken)
    {
        var options = MeshTls.Server(identity, anonymous: true, [.. protocols]);
        options.RemoteCertificateValidationCallback = (_, leaf, chain, _) => leaf is null || IsGood(check, leaf, chain);
        options.AllowTlsResume = false;
        var ssl = new SslStream(transport, leaveInnerStreamOpen: false);
        try
        {
            await ssl.AuthenticateAsServerAsync(options, cancellationToken).ConfigureAwait(false);
            return (ssl, check.Peer);
        }
        catch (Exception error)
        {
            await ssl.DisposeAsync().ConfigureAwait(false);
            throw check.Explain(Plain(error));
        }
    }

    /// <summary>
    /// Connects as this gateway. <paramref name="expectedGateway"/> is the name that the server's certificate must have; null
    /// takes any gateway that the identity verifies. Throws <see cref="AuthenticationException"/> with the reason.
    /// A TLS 1.3 server may refuse the client's certificate after this has returned: the first read tells.
    /// </summary>
    public static Task<(SslStream Stream, GatewayId Peer)> ConnectAsync(
        Stream transport, IGatewayIdentity identity, string protocol, string? expectedGateway, CancellationToken cancellationToken) =>
        ConnectAsync(transport, identity, new PeerCheck(identity, expectedGateway), protocol, cancellationToken);

    internal static async Task<(SslStream Stream, GatewayId Peer)> ConnectAsync(
        Stream transport, IGatewayIdentity identity, PeerCheck check, string protocol, CancellationToken cancellationToken)
    {
        var options = MeshTls.Client(identity, expected: null, protocol);
        options.RemoteCertificateValidationCallback = (_, leaf, chain, _) => IsGood(check, leaf, chain);
        options.AllowTlsResume = false;
        var ssl = new SslStream(transport, leaveInnerStreamOpen: false);
        try
        {
            await ssl.AuthenticateAsClientAsync(options, cancellationToken).ConfigureAwait(false);
            return ssl.NegotiatedApplicationProtocol.ToString() == protocol
                ? (ssl, check.Peer!.Value)
                : throw new AuthenticationException($"the server does not speak {protocol}");
        }
        catch (Exception error)
        {
            await ssl.DisposeAsync().ConfigureAwait(false);
            throw check.Explain(Plain(error));
        }
    }

    /// <summary>Dials, and connects as <see cref="ConnectAsync"/> does.</summary>
    public static async Task<(SslStream Stream, GatewayId Peer)> DialAsync(
        IPEndPoint remote, IGatewayIdentity identity, string protocol, string? expectedGateway, CancellationToken cancellationToken)
    {
        var socket = new Socket(remote.AddressFamily, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        try
        {
            await socket.ConnectAsync(remote, cancellationToken).ConfigureAwait(false);
            return await ConnectAsync(new NetworkStream(socket, ownsSocket: true), identity, protocol, expectedGateway, cancellationToken)
                .ConfigureAwait(false);
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    /// <summary>SslStream says "see inner exception" for what TLS found.</summary>
    private static Exception Plain(Exception error) => error is AuthenticationException { InnerException: not null }
        ? new AuthenticationException(error.GetBaseException().Message, error) : error;

    /// <summary>SslStream hands over the certificate as its base class, and what was sent along in the chain's policy.</summary>
    private static bool IsGood(PeerCheck check, X509Certificate? certificate, X509Chain? chain) => check.IsGood(
        certificate is null ? null : certificate as X509Certificate2 ?? new X509Certificate2(certificate),
        chain?.ChainPolicy.ExtraStore ?? []);
}
