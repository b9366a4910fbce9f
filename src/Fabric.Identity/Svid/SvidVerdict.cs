using System.Security.Cryptography.X509Certificates;
using System.Text.Json;

namespace Fabric.Identity.Svid;

/// <summary>
/// Why a certificate is not the X.509-SVID of a gateway or workload of this mesh, or not of the one that is expected. Closed: every refusal is
/// one of these, and is counted by it.
/// </summary>
public enum SvidRejection
{
    None,

    /// <summary>The certificate cannot be read, or in more than one way.</summary>
    Malformed,
    NoUriName,
    ManyUriNames,
    NotASpiffeId,
    ForeignTrustDomain,

    /// <summary>A SPIFFE ID of the mesh whose path is not <c>/site/S/gateway/G</c>.</summary>
    NotAGateway,
    SubjectNameNotCritical,

    /// <summary>A CA certificate in a gateway's place.</summary>
    IsAuthority,
    KeyUsage,
    ExtendedKeyUsage,
    KeyType,
    NotYetValid,
    Expired,

    /// <summary>It chains to no root of the bundle, or a signature on the way is wrong.</summary>
    UntrustedChain,

    /// <summary>Its issuer's certificate was not sent, and is not known from before.</summary>
    IssuerUnknown,

    /// <summary>Its issuer is no CA, or one that may not sign certificates: such as another gateway.</summary>
    IssuerNotAuthority,

    /// <summary>More intermediates than a CA of the path allows below it (pathLenConstraint).</summary>
    PathLength,

    /// <summary>A CA of the path is not valid now.</summary>
    IssuerExpired,

    /// <summary>A CA of the path is of another trust domain, or its names or name constraints do not cover the leaf.</summary>
    IssuerName,

    /// <summary>The intermediate of one site signed for another one.</summary>
    IssuerOfAnotherSite,

    /// <summary>A good certificate of another gateway than the one that is expected there, or one that gives a gateway another site than it has.</summary>
    WrongGateway,

    /// <summary>None was shown where one is needed.</summary>
    NoCertificate,

    /// <summary>A good certificate of a gateway that was evicted, or whose site was.</summary>
    Evicted,

    /// <summary>Its lane is over: the root that vouched for it is trusted no more.</summary>
    RootWithdrawn,

    /// <summary>A SPIFFE ID of the mesh, in a caller's place, whose path is not <c>/site/S/workload/NAME</c>: such as that of a gateway.</summary>
    NotAWorkload,

    /// <summary>A workload that is not of the site of the gateway that it calls.</summary>
    WorkloadOfAnotherSite,
}

/// <summary>The verdict on a certificate.</summary>
/// <param name="Id">The gateway, or null when rejected, or when it is that of a workload.</param>
/// <param name="Rejection">Why; <see cref="SvidRejection.None"/> when accepted.</param>
/// <param name="Reason">One sentence with the value and the rule; empty when accepted.</param>
/// <param name="Via">Intermediates of the chain that was built, leaf's issuer first; empty when rejected.</param>
public sealed record SvidVerdict(GatewayId? Id, SvidRejection Rejection, string Reason, IReadOnlyList<X509Certificate2> Via)
{
    /// <summary>SHA-256 (hex) of the root that vouches for it; empty when rejected, or not known.</summary>
    public string Root { get; init; } = "";

    /// <summary>The workload; null when rejected, or when it is that of a gateway.</summary>
    public SpiffeId? Workload { get; init; }

    public static SvidVerdict Accept(GatewayId id, IReadOnlyList<X509Certificate2> via) => new(id, SvidRejection.None, "", via);

    public static SvidVerdict Reject(SvidRejection rejection, string reason) => new(null, rejection, reason, []);

    /// <summary>The code as logs, status and metrics show it, such as <c>issuer_of_another_site</c>.</summary>
    public static string CodeOf(SvidRejection rejection) => JsonNamingPolicy.SnakeCaseLower.ConvertName(rejection.ToString());

    /// <summary>The same verdict, or WrongGateway when it is good for another gateway.</summary>
    /// <param name="gateway">The name that the certificate must have; null takes any.</param>
    public SvidVerdict Expecting(string? gateway) => Id is not { } id || gateway is null || id.Gateway == gateway ? this
        : Reject(SvidRejection.WrongGateway, $"the certificate is that of {id}: gateway {gateway} was expected there");

    /// <summary>
    /// The same verdict, or WrongGateway when the certificate gives the gateway another site than it has: names of gateways are unique in a mesh, and
    /// whoever may sign for one site must not make a gateway of another one by taking its name.
    /// </summary>
    /// <param name="site">The site of the gateway of that name; null where that is not known.</param>
    public SvidVerdict Of(string? site) => Id is not { } id || site is null || id.Site == site ? this
        : Reject(SvidRejection.WrongGateway, $"the certificate is that of {id}: gateway {id.Gateway} is of site {site}");
}
