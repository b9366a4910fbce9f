using System.Security.Cryptography.X509Certificates;

namespace Fabric.Identity.Svid;

/// <summary>
/// The path from a leaf to a root of the bundle. The platform builds it and checks signatures, dates, path lengths and name
/// constraints (RFC 5280 §6); each CA on it is then held to the rules of the mesh here. When no path was built, the reason is
/// looked for, so that whoever reads the log knows what to mend.
/// </summary>
internal sealed class SvidChain(SpiffeId id, string site, X509Certificate2 leaf, TrustBundle bundle, IReadOnlyList<X509Certificate2> others, DateTimeOffset now)
{
    /// <summary>Issuers above the leaf that a search for the reason looks at.</summary>
    private const int MaxDepth = 8;

    private const X509ChainStatusFlags NameConstraintFlags = X509ChainStatusFlags.InvalidNameConstraints
        | X509ChainStatusFlags.HasNotSupportedNameConstraint | X509ChainStatusFlags.HasNotDefinedNameConstraint
        | X509ChainStatusFlags.HasNotPermittedNameConstraint | X509ChainStatusFlags.HasExcludedNameConstraint;

    /// <summary>Accepted, it names nobody yet: that is for who knows what kind of leaf it is.</summary>
    public SvidVerdict Verify()
    {
        using var chain = new X509Chain();
        chain.ChainPolicy.TrustMode = X509ChainTrustMode.CustomRootTrust;
        chain.ChainPolicy.RevocationMode = X509RevocationMode.NoCheck;
        chain.ChainPolicy.DisableCertificateDownloads = true;
        chain.ChainPolicy.VerificationTime = now.UtcDateTime;
        chain.ChainPolicy.CustomTrustStore.AddRange(bundle.Roots.ToArray());
        chain.ChainPolicy.ExtraStore.AddRange(others.ToArray());
        try
        {
            if (!chain.Build(leaf))
            {
                return Explain(chain.ChainStatus);
            }

            var path = chain.ChainElements.Skip(1).Select(e => e.Certificate).ToList();
            if (path.Select(Judge).FirstOrDefault(f => f is not null) is { } fault)
            {
                return fault;
            }

            return new SvidVerdict(null, SvidRejection.None, "", [.. path.SkipLast(1).Select(c => X509CertificateLoader.LoadCertificate(c.RawData))])
            {
                Root = Convert.ToHexStringLower(TrustBundle.Fingerprint(path[^1])),
            };
        }
        finally
        {
            foreach (var element in chain.ChainElements)
            {
                element.Certificate.Dispose();
            }
        }
    }

    /// <summary>Null when this CA may stand there, with so many intermediates between it and the leaf.</summary>
    private SvidVerdict? Judge(X509Certificate2 authority, int below) => IsAuthority(authority, below) ?? MaySign(authority);

    private static SvidVerdict? IsAuthority(X509Certificate2 issuer, int below)
    {
        var constraints = issuer.Extensions.OfType<X509BasicConstraintsExtension>().FirstOrDefault();
        var usage = issuer.Extensions.OfType<X509KeyUsageExtension>().FirstOrDefault();
        var fault = constraints is not { CertificateAuthority: true } ? "is no CA certificate (cA is not true)"
            : usage is null || !usage.KeyUsages.HasFlag(X509KeyUsageFlags.KeyCertSign) ? "may not sign certificates (keyUsage lacks keyCertSign)"
            : null;
        return fault is not null ? SvidVerdict.Reject(SvidRejection.IssuerNotAuthority, $"its issuer {Shown(issuer)} {fault}")
            : constraints is { HasPathLengthConstraint: true } && constraints.PathLengthConstraint < below
                ? SvidVerdict.Reject(SvidRejection.PathLength,
                    $"{Shown(issuer)} allows {constraints.PathLengthConstraint} intermediates below it (pathLen), and there are {below}")
            : null;
    }

    /// <summary>A CA signs for the trust domain of its own SPIFFE ID (X509-SVID §3.2), and for the site that it names.</summary>
    private SvidVerdict? MaySign(X509Certificate2 authority)
    {
        var uris = UriNames.Read(authority).Uris;
        if (uris.Count > 1 || (uris is [var uri] && uri != $"spiffe://{id.TrustDomain}"))
        {
            return SvidVerdict.Reject(SvidRejection.IssuerName, uris.Count > 1
                ? $"its issuer {Shown(authority)} has {uris.Count} URI names; it may have one, its trust domain"
                : $"its issuer {Shown(authority)} is of \"{SpiffeId.Shown(uris[0])}\"; it must be of spiffe://{id.TrustDomain}, without a path");
        }

        return !IssuerNames.TrySite(authority, out var own, out var reason)
            ? SvidVerdict.Reject(SvidRejection.IssuerName, $"its issuer {Shown(authority)} is ambiguous: {reason}")
            : own is not null && own != site
                ? SvidVerdict.Reject(SvidRejection.IssuerOfAnotherSite, $"{id} was signed by the intermediate of site {own}, which signs for that site alone")
                : null;
    }

    /// <summary>
    /// Why no path was built. Nothing is decided here: it climbs by names alone, which anybody can write, and every way out
    /// of it is a rejection.
    /// </summary>
    private SvidVerdict Explain(X509ChainStatus[] statuses)
    {
        var child = leaf;
        for (var depth = 0; depth < MaxDepth; depth++)
        {
            if (TrustBundle.IsSelfIssued(child))
            {
                return SvidVerdict.Reject(SvidRejection.UntrustedChain, depth == 0
                    ? $"{id} is self-signed: a root of the bundle must vouch for it"
                    : $"{id} chains to {Shown(child)}, which is no root of the bundle");
            }

            if (Issuer(child) is not { } issuer)
            {
                return SvidVerdict.Reject(SvidRejection.IssuerUnknown,
                    $"the certificate of {SpiffeId.Shown(child.Issuer)}, which signed {(depth == 0 ? $"{id}" : Shown(child))}, is not at hand: the peer must send it along");
            }

            var (from, until) = (issuer.NotBefore.ToUniversalTime(), issuer.NotAfter.ToUniversalTime());
            var fault = IsAuthority(issuer, depth) ?? (now >= from && now <= until ? null : SvidVerdict.Reject(SvidRejection.IssuerExpired,
                $"its issuer {Shown(issuer)} is valid from {from:u} until {until:u}, and it is {now:u}"));
            if (fault is not null)
            {
                return fault;
            }

            if (bundle.Roots.Any(r => r.RawDataMemory.Span.SequenceEqual(issuer.RawDataMemory.Span)))
            {
                break;
            }

            child = issuer;
        }

        var why = string.Join("; ", statuses.Select(s => $"{s.Status}: {s.StatusInformation.Trim()}"));
        return statuses.Any(s => (s.Status & NameConstraintFlags) != 0)
            ? SvidVerdict.Reject(SvidRejection.IssuerName, $"name constraints of an issuer do not permit {id} ({why})")
            : SvidVerdict.Reject(SvidRejection.UntrustedChain, $"{id} does not chain to a root of the bundle ({why})");
    }

    /// <summary>Of several with that name, the one whose key the child says signed it.</summary>
    private X509Certificate2? Issuer(X509Certificate2 child)
    {
        var named = others.Concat(bundle.Roots).Where(c => IsNamed(c, child.IssuerName)).ToList();
        var signer = child.Extensions.OfType<X509AuthorityKeyIdentifierExtension>().FirstOrDefault()?.KeyIdentifier;
        return named.Find(c => signer is { } key
            && c.Extensions.OfType<X509SubjectKeyIdentifierExtension>().Any(s => s.SubjectKeyIdentifierBytes.Span.SequenceEqual(key.Span)))
            ?? named.FirstOrDefault();
    }

    private static bool IsNamed(X509Certificate2 certificate, X500DistinguishedName name) =>
        certificate.SubjectName.RawData.AsSpan().SequenceEqual(name.RawData);

    private static string Shown(X509Certificate2 certificate) => $"\"{SpiffeId.Shown(certificate.Subject)}\"";
}
