using System.Formats.Asn1;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace Fabric.Identity.Svid;

/// <summary>
/// The rules of X.509-SVID (SPIFFE standards, X509-SVID §2 to §5) and of this mesh: P-256 keys, one trust domain, and leaves of two
/// kinds, gateways and workloads, neither of which passes for the other. Nothing is fetched from the network. The order is: what
/// the certificate says of itself, then its dates, then its chain.
/// </summary>
public static class SvidVerifier
{
    private const string ServerAuth = "1.3.6.1.5.5.7.3.1";
    private const string ClientAuth = "1.3.6.1.5.5.7.3.2";

    /// <summary>Certificates taken from what a peer sent: more are ignored.</summary>
    private const int MaxSent = 8;

    /// <summary>A gateway's certificate: <see cref="SvidVerdict.Id"/> says which, when it is accepted.</summary>
    /// <param name="known">Intermediates learned before, in addition to those of the bundle.</param>
    public static SvidVerdict Verify(X509Certificate2 leaf, X509Certificate2Collection sent, string trustDomain,
        TrustBundle bundle, IReadOnlyList<X509Certificate2> known, DateTimeOffset now) => Guarded(() =>
    {
        if (Form(leaf) is { } ambiguous)
        {
            return ambiguous;
        }

        if (Name(leaf, trustDomain, out var id, out var critical) is { } fault)
        {
            return fault;
        }

        return id!.AsGateway() is not { } gateway
            ? Reject(SvidRejection.NotAGateway, $"{id} names no gateway: its path must be /site/<site>/gateway/<name>")
            : Rest(id, gateway.Site, critical, leaf, [ServerAuth, ClientAuth], [.. sent.Take(MaxSent), .. bundle.Intermediates, .. known], bundle, now) is var verdict
                && verdict.Rejection != SvidRejection.None ? verdict : verdict with { Id = gateway };
    });

    /// <summary>
    /// A workload's certificate, shown by a client: <see cref="SvidVerdict.Workload"/> says which, when it is accepted. It has to be of
    /// <paramref name="site"/>: what a workload of another site asks for comes through that site's gateways.
    /// </summary>
    public static SvidVerdict VerifyWorkload(X509Certificate2 leaf, X509Certificate2Collection sent, string trustDomain, string site,
        TrustBundle bundle, DateTimeOffset now) => Guarded(() =>
    {
        if (Form(leaf) is { } ambiguous)
        {
            return ambiguous;
        }

        if (Name(leaf, trustDomain, out var id, out var critical) is { } fault)
        {
            return fault;
        }

        if (id!.WorkloadSite() is not { } own)
        {
            return Reject(SvidRejection.NotAWorkload, $"{id} names no workload: its path must be /site/<site>/workload/<name>");
        }

        return own != site
            ? Reject(SvidRejection.WorkloadOfAnotherSite, $"{id} is of site {own}: at site {site} only its own workloads are known by certificate")
            : Rest(id, site, critical, leaf, [ClientAuth], [.. sent.Take(MaxSent), .. bundle.Intermediates], bundle, now) is var verdict
                && verdict.Rejection != SvidRejection.None ? verdict : verdict with { Workload = id };
    });

    private static SvidVerdict Guarded(Func<SvidVerdict> verify)
    {
        try
        {
            return verify();
        }
        catch (Exception e) when (e is AsnContentException or CryptographicException or ArgumentException or InvalidOperationException)
        {
            // The platform parses what strangers wrote, and says by any of these that it could not.
            return Reject(SvidRejection.Malformed, $"the certificate is malformed: {e.Message}");
        }
    }

    /// <summary>What holds for leaves of every kind, once it is known whom this one names.</summary>
    private static SvidVerdict Rest(SpiffeId id, string site, bool critical, X509Certificate2 leaf, string[] purposes,
        IReadOnlyList<X509Certificate2> others, TrustBundle bundle, DateTimeOffset now) =>
        Subject(leaf, critical) ?? Use(leaf, purposes) ?? Dates(leaf, now) ?? new SvidChain(id, site, leaf, bundle, others, now).Verify();

    /// <summary>Each extension once (RFC 5280 §4.2): of two, one reader may take the first and another the last.</summary>
    private static SvidVerdict? Form(X509Certificate2 leaf)
    {
        var twice = leaf.Extensions.GroupBy(e => e.Oid?.Value).FirstOrDefault(g => g.Count() > 1)?.Key;
        return twice is null ? null : Reject(SvidRejection.Malformed, $"the certificate is malformed: it has extension {SpiffeId.Shown(twice)} twice");
    }

    private static SvidVerdict? Name(X509Certificate2 leaf, string trustDomain, out SpiffeId? id, out bool critical)
    {
        id = null;
        (var uris, critical) = UriNames.Read(leaf);
        if (uris.Count != 1)
        {
            return uris.Count == 0
                ? Reject(SvidRejection.NoUriName, "the certificate has no URI name; it must have one, its SPIFFE ID")
                : Reject(SvidRejection.ManyUriNames, $"the certificate has {uris.Count} URI names; it must have exactly one");
        }

        if (!SpiffeId.TryParse(uris[0], out id, out var reason))
        {
            return Reject(SvidRejection.NotASpiffeId, reason);
        }

        return id.TrustDomain != trustDomain ? Reject(SvidRejection.ForeignTrustDomain, $"{id} is not of trust domain {trustDomain}") : null;
    }

    private static SvidVerdict? Subject(X509Certificate2 leaf, bool critical) => leaf.SubjectName.RawData.Length <= 2 && !critical
        ? Reject(SvidRejection.SubjectNameNotCritical, "the subject is empty, so subjectAltName must be critical")
        : null;

    private static SvidVerdict? Use(X509Certificate2 leaf, string[] purposes)
    {
        if (leaf.Extensions.OfType<X509BasicConstraintsExtension>().Any(b => b.CertificateAuthority))
        {
            return Reject(SvidRejection.IsAuthority, "it is a CA certificate (cA=true); a gateway's or workload's must not be");
        }

        if (leaf.Extensions.OfType<X509KeyUsageExtension>().SingleOrDefault() is not { Critical: true } usage
            || !usage.KeyUsages.HasFlag(X509KeyUsageFlags.DigitalSignature)
            || (usage.KeyUsages & (X509KeyUsageFlags.KeyCertSign | X509KeyUsageFlags.CrlSign)) != 0)
        {
            return Reject(SvidRejection.KeyUsage,
                "keyUsage must be critical, with digitalSignature and without keyCertSign and cRLSign");
        }

        if (leaf.Extensions.OfType<X509EnhancedKeyUsageExtension>().SingleOrDefault() is not { } use
            || !purposes.All(purpose => use.EnhancedKeyUsages.Cast<Oid>().Any(o => o.Value == purpose)))
        {
            return Reject(SvidRejection.ExtendedKeyUsage,
                $"extKeyUsage must hold {(purposes.Length > 1 ? "both serverAuth and clientAuth" : "clientAuth")}");
        }

        using var key = leaf.GetECDsaPublicKey();
        return IsP256(key) ? null : Reject(SvidRejection.KeyType, "the public key must be ECDSA on P-256");
    }

    private static SvidVerdict? Dates(X509Certificate2 leaf, DateTimeOffset now)
    {
        var (from, until) = (leaf.NotBefore.ToUniversalTime(), leaf.NotAfter.ToUniversalTime());
        return now < from ? Reject(SvidRejection.NotYetValid, $"valid from {from:u}, and it is {now:u}: compare the clocks")
            : now > until ? Reject(SvidRejection.Expired, $"expired at {until:u}, and it is {now:u}")
            : null;
    }

    internal static bool IsP256(ECDsa? key) =>
        key is not null && key.ExportParameters(false).Curve.Oid?.Value == ECCurve.NamedCurves.nistP256.Oid.Value;

    private static SvidVerdict Reject(SvidRejection rejection, string reason) => SvidVerdict.Reject(rejection, reason);
}
