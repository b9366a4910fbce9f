using System.Formats.Asn1;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace Fabric.Identity.Svid;

/// <summary>
/// The rules of X.509-SVID (SPIFFE standards, X509-SVID §2 to §5) and of this mesh: P-256 keys, gateways only, one trust
/// domain. Nothing is fetched from the network. The order is: what the certificate says of itself, then its dates, then its
/// chain.
/// </summary>
public static class SvidVerifier
{
    private const string ServerAuth = "1.3.6.1.5.5.7.3.1";
    private const string ClientAuth = "1.3.6.1.5.5.7.3.2";

    /// <summary>Certificates taken from what a peer sent: more are ignored.</summary>
    private const int MaxSent = 8;

    /// <param name="known">Intermediates learned before, in addition to those of the bundle.</param>
    public static SvidVerdict Verify(X509Certificate2 leaf, X509Certificate2Collection sent, string trustDomain,
        TrustBundle bundle, IReadOnlyList<X509Certificate2> known, DateTimeOffset now)
    {
        try
        {
            return Form(leaf) ?? Name(leaf, trustDomain, out var id) ?? Use(leaf) ?? Dates(leaf, now)
                ?? new SvidChain(id, leaf, bundle, [.. sent.Take(MaxSent), .. bundle.Intermediates, .. known], now).Verify();
        }
        catch (Exception e) when (e is AsnContentException or CryptographicException or ArgumentException or InvalidOperationException)
        {
            // The platform parses what strangers wrote, and says by any of these that it could not.
            return Reject(SvidRejection.Malformed, $"the certificate is malformed: {e.Message}");
        }
    }

    /// <summary>Each extension once (RFC 5280 §4.2): of two, one reader may take the first and another the last.</summary>
    private static SvidVerdict? Form(X509Certificate2 leaf)
    {
        var twice = leaf.Extensions.GroupBy(e => e.Oid?.Value).FirstOrDefault(g => g.Count() > 1)?.Key;
        return twice is null ? null : Reject(SvidRejection.Malformed, $"the certificate is malformed: it has extension {SpiffeId.Shown(twice)} twice");
    }

    private static SvidVerdict? Name(X509Certificate2 leaf, string trustDomain, out GatewayId gateway)
    {
        gateway = default;
        var (uris, critical) = UriNames.Read(leaf);
        if (uris.Count != 1)
        {
            return uris.Count == 0
                ? Reject(SvidRejection.NoUriName, "the certificate has no URI name; it must have one, its SPIFFE ID")
                : Reject(SvidRejection.ManyUriNames, $"the certificate has {uris.Count} URI names; it must have exactly one");
        }

        if (!SpiffeId.TryParse(uris[0], out var id, out var reason))
        {
            return Reject(SvidRejection.NotASpiffeId, reason);
        }

        if (id.TrustDomain != trustDomain)
        {
            return Reject(SvidRejection.ForeignTrustDomain, $"{id} is not of trust domain {trustDomain}");
        }

        if (id.AsGateway() is not { } named)
        {
            return Reject(SvidRejection.NotAGateway, $"{id} names no gateway: its path must be /site/<site>/gateway/<name>");
        }

        gateway = named;
        return leaf.SubjectName.RawData.Length <= 2 && !critical
            ? Reject(SvidRejection.SubjectNameNotCritical, "the subject is empty, so subjectAltName must be critical")
            : null;
    }

    private static SvidVerdict? Use(X509Certificate2 leaf)
    {
        if (leaf.Extensions.OfType<X509BasicConstraintsExtension>().Any(b => b.CertificateAuthority))
        {
            return Reject(SvidRejection.IsAuthority, "it is a CA certificate (cA=true); a gateway's must not be");
        }

        if (leaf.Extensions.OfType<X509KeyUsageExtension>().SingleOrDefault() is not { Critical: true } usage
            || !usage.KeyUsages.HasFlag(X509KeyUsageFlags.DigitalSignature)
            || (usage.KeyUsages & (X509KeyUsageFlags.KeyCertSign | X509KeyUsageFlags.CrlSign)) != 0)
        {
            return Reject(SvidRejection.KeyUsage,
                "keyUsage must be critical, with digitalSignature and without keyCertSign and cRLSign");
        }

        if (leaf.Extensions.OfType<X509EnhancedKeyUsageExtension>().SingleOrDefault() is not { } purposes
            || !purposes.EnhancedKeyUsages.Cast<Oid>().Any(o => o.Value == ServerAuth)
            || !purposes.EnhancedKeyUsages.Cast<Oid>().Any(o => o.Value == ClientAuth))
        {
            return Reject(SvidRejection.ExtendedKeyUsage, "extKeyUsage must hold both serverAuth and clientAuth");
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
