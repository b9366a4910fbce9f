using System.Formats.Asn1;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace Fabric.Identity.Svid;

/// <summary>Why a certificate is not the X.509-SVID of a gateway of this mesh. Closed: every refusal is one of these.</summary>
public enum SvidRejection
{
    None,
    Malformed,
    NoUriName,
    ManyUriNames,
    NotASpiffeId,
    ForeignTrustDomain,
    NotAGateway,
    SubjectNameNotCritical,
    IsAuthority,
    KeyUsage,
    ExtendedKeyUsage,
    KeyType,
    NotYetValid,
    Expired,
    UntrustedChain,
}

/// <param name="Id">The gateway, or null when rejected.</param>
/// <param name="Reason">One sentence with the value and the rule; empty when accepted.</param>
/// <param name="Via">Intermediates of the chain that was built, leaf's issuer first; empty when rejected.</param>
public sealed record SvidVerdict(GatewayId? Id, SvidRejection Rejection, string Reason, IReadOnlyList<X509Certificate2> Via);

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
            return Name(leaf, trustDomain, out var id) ?? Use(leaf) ?? Dates(leaf, now)
                ?? Chain(leaf, sent, bundle, known, now, id);
        }
        catch (Exception e) when (e is AsnContentException or CryptographicException)
        {
            return Reject(SvidRejection.Malformed, $"the certificate is malformed: {e.Message}");
        }
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

    private static SvidVerdict Chain(X509Certificate2 leaf, X509Certificate2Collection sent, TrustBundle bundle,
        IReadOnlyList<X509Certificate2> known, DateTimeOffset now, GatewayId id)
    {
        using var chain = new X509Chain();
        chain.ChainPolicy.TrustMode = X509ChainTrustMode.CustomRootTrust;
        chain.ChainPolicy.RevocationMode = X509RevocationMode.NoCheck;
        chain.ChainPolicy.DisableCertificateDownloads = true;
        chain.ChainPolicy.VerificationTime = now.UtcDateTime;
        chain.ChainPolicy.CustomTrustStore.AddRange(bundle.Roots.ToArray());
        chain.ChainPolicy.ExtraStore.AddRange(bundle.Intermediates.Concat(known).Concat(sent.Take(MaxSent)).ToArray());
        try
        {
            if (!chain.Build(leaf))
            {
                var why = string.Join("; ", chain.ChainStatus.Select(s => $"{s.Status}: {s.StatusInformation.Trim()}"));
                return Reject(SvidRejection.UntrustedChain, $"{id} does not chain to a root of the bundle ({why})");
            }

            var via = chain.ChainElements.Skip(1).SkipLast(1)
                .Select(e => X509CertificateLoader.LoadCertificate(e.Certificate.RawData)).ToList();
            return new SvidVerdict(id, SvidRejection.None, "", via);
        }
        finally
        {
            foreach (var element in chain.ChainElements)
            {
                element.Certificate.Dispose();
            }
        }
    }

    internal static bool IsP256(ECDsa? key) =>
        key is not null && key.ExportParameters(false).Curve.Oid.Value == ECCurve.NamedCurves.nistP256.Oid.Value;

    private static SvidVerdict Reject(SvidRejection rejection, string reason) => new(null, rejection, reason, []);
}
