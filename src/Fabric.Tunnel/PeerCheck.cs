using System.Security.Authentication;
using System.Security.Cryptography.X509Certificates;
using Fabric.Identity;
using Fabric.Identity.Svid;

namespace Fabric.Tunnel;

/// <summary>The verdict on the certificate of one connection's peer, with its reason kept for the exception.</summary>
internal sealed class PeerCheck
{
    private readonly Func<X509Certificate2, X509Certificate2Collection, SvidVerdict> _verify;

    private PeerCheck(Func<X509Certificate2, X509Certificate2Collection, SvidVerdict> verify) => _verify = verify;

    /// <summary>Of a gateway.</summary>
    /// <param name="identity">Verifies.</param>
    /// <param name="expectedGateway">The name that the certificate must have; null takes any gateway that the identity verifies.</param>
    public PeerCheck(IGatewayIdentity identity, string? expectedGateway)
        : this((leaf, sent) => identity.Verify(leaf, sent).Expecting(expectedGateway))
    {
    }

    /// <summary>Of a client that calls a service: it must be a workload of the own site.</summary>
    public static PeerCheck OfCaller(IGatewayIdentity identity) => new(identity.VerifyWorkload);

    /// <summary>Why it was refused; null when it was not.</summary>
    public CertificateRefusedException? Refusal { get; private set; }

    /// <summary>Whom the certificate names; null until it is accepted.</summary>
    public GatewayId? Peer { get; private set; }

    /// <summary>The calling workload; null until it is accepted, and for a gateway.</summary>
    public SpiffeId? Workload { get; private set; }

    /// <inheritdoc cref="SvidVerdict.Root"/>
    public string Root { get; private set; } = "";

    /// <param name="sent">What the peer sent along; the leaf may be among them.</param>
    public bool IsGood(X509Certificate2? leaf, X509Certificate2Collection sent)
    {
        var verdict = leaf is null ? SvidVerdict.Reject(SvidRejection.NoCertificate, "the peer sent no certificate")
            : _verify(leaf, sent);
        (Peer, Workload, Root) = (verdict.Id, verdict.Workload, verdict.Root);
        Refusal = verdict is { Id: null, Workload: null } ? new CertificateRefusedException(verdict.Rejection, verdict.Reason) : null;
        return Refusal is null;
    }

    /// <summary>The reason of the refusal in place of the TLS library's; the error itself when there was none.</summary>
    public Exception Explain(Exception error) => Refusal ?? error;
}

/// <summary>A peer's certificate is not that of the gateway that it must be. The message ends with the code in brackets.</summary>
public sealed class CertificateRefusedException(SvidRejection rejection, string reason)
    : AuthenticationException($"certificate refused: {reason} [{SvidVerdict.CodeOf(rejection)}]")
{
    public SvidRejection Rejection { get; } = rejection;
}
