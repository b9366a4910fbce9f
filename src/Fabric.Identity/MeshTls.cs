using System.Net.Security;
using System.Security.Authentication;
using System.Security.Cryptography.X509Certificates;

namespace Fabric.Identity;

/// <summary>
/// TLS options for both ends between gateways: TLS 1.3 only, ALPN, no revocation fetches. The verdict is
/// <see cref="IGatewayIdentity.Verify"/>'s alone: the platform's own chain and name checks know neither the bundle nor SPIFFE
/// IDs, and on a resumed session they see only the leaf.
/// </summary>
public static class MeshTls
{
    /// <param name="anonymous">Whether a client may show no certificate (joining). One that it shows is always
    /// verified.</param>
    public static SslServerAuthenticationOptions Server(IGatewayIdentity self, bool anonymous, params string[] alpn) => new()
    {
        ServerCertificateContext = self.Certificate,
        ClientCertificateRequired = true,
        EnabledSslProtocols = SslProtocols.Tls13,
        CertificateChainPolicy = Policy(),
        ApplicationProtocols = [.. alpn.Select(p => new SslApplicationProtocol(p))],
        RemoteCertificateValidationCallback = (_, certificate, chain, _) =>
            certificate is null ? anonymous : self.Verify((X509Certificate2)certificate, Sent(chain)).Id is not null,
    };

    /// <param name="expected">The only gateway to accept; null accepts any of the mesh.</param>
    public static SslClientAuthenticationOptions Client(IGatewayIdentity self, GatewayId? expected, params string[] alpn) => new()
    {
        TargetHost = expected is { } peer ? $"{peer.Gateway}.{peer.Site}" : "fabric",
        ClientCertificateContext = self.Certificate,
        EnabledSslProtocols = SslProtocols.Tls13,
        CertificateChainPolicy = Policy(),
        ApplicationProtocols = [.. alpn.Select(p => new SslApplicationProtocol(p))],
        RemoteCertificateValidationCallback = (_, certificate, chain, _) => certificate is X509Certificate2 leaf
            && self.Verify(leaf, Sent(chain)).Id is { } id && (expected is null || expected == id),
    };

    /// <summary>Whom the other end's certificate names; null when it showed none.</summary>
    public static GatewayId? PeerOf(SslStream stream, IGatewayIdentity self) =>
        stream.RemoteCertificate is X509Certificate2 leaf ? self.Verify(leaf, []).Id : null;

    /// <summary>The intermediates that came with the handshake.</summary>
    internal static X509Certificate2Collection Sent(X509Chain? chain) => chain?.ChainPolicy.ExtraStore ?? [];

    internal static X509ChainPolicy Policy() => new()
    {
        TrustMode = X509ChainTrustMode.CustomRootTrust,
        RevocationMode = X509RevocationMode.NoCheck,
        DisableCertificateDownloads = true,
    };
}
