using System.Net.Security;
using System.Security.Cryptography.X509Certificates;
using Fabric.Identity.Svid;

namespace Fabric.Identity;

/// <summary>
/// Who this gateway is, now: its certificate changes when it is renewed, so readers ask again for each handshake.
/// Safe to call from any thread.
/// </summary>
public interface IGatewayIdentity
{
    /// <summary><c>spiffe://&lt;trust domain&gt;/site/&lt;site&gt;/gateway/&lt;name&gt;</c></summary>
    GatewayId Id { get; }

    /// <summary>Leaf with its intermediates, for both ends of mutual TLS.</summary>
    SslStreamCertificateContext Certificate { get; }

    /// <summary>
    /// Verifies a peer's certificate against the bundle of its own trust domain, by the rules of X.509-SVID.
    /// Returns the gateway that it names, or the code and the reason of the rejection. <paramref name="sent"/> holds the
    /// intermediates that the peer sent along; a resumed TLS session sends none, so the bundle's known intermediates are
    /// consulted as well.
    /// </summary>
    SvidVerdict Verify(X509Certificate2 leaf, X509Certificate2Collection sent);

    /// <summary>
    /// Verifies the certificate of a client that calls a service here: it has to be that of a workload of this gateway's site, which
    /// <see cref="SvidVerdict.Workload"/> names.
    /// </summary>
    SvidVerdict VerifyWorkload(X509Certificate2 leaf, X509Certificate2Collection sent) =>
        SvidVerdict.Reject(SvidRejection.NotAWorkload, $"{Id} knows no workloads by certificate");

    /// <summary>
    /// Whether a gateway that was accepted before has to go now, because it was evicted, or its root withdrawn: the code and one sentence.
    /// Null when it may stay. Cheap: asked for each lane.
    /// </summary>
    /// <param name="peer">Whom its certificate named.</param>
    /// <param name="root"><see cref="SvidVerdict.Root"/> of that verdict.</param>
    SvidVerdict? Refuses(GatewayId peer, string root) => null;

    /// <summary>SHA-256 (hex) of the root above the own certificate; empty when it is not known.</summary>
    string Root => "";
}

/// <summary>A gateway's name as its certificate states it.</summary>
public readonly record struct GatewayId(string TrustDomain, string Site, string Gateway)
{
    public override string ToString() => $"spiffe://{TrustDomain}/site/{Site}/gateway/{Gateway}";
}
