using System.Formats.Asn1;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using Fabric.Identity.Svid;
using Fabric.Protocol.Proto;
using Google.Protobuf;

namespace Fabric.Identity.Trust;

/// <summary>A trust document that is not acceptable; the message is one sentence with the value and the rule.</summary>
public sealed class TrustRefusedException(string message) : Exception(message);

/// <summary>
/// When a gateway takes a trust document: it is of its trust domain, of a higher version than the one that it has, signed by one for whom a
/// root vouches that it trusts, and brings no root but such as an older one has introduced. So whoever steals the signer's key
/// can evict, but not become the mesh's root.
/// </summary>
internal static class TrustRules
{
    /// <summary>A signature is over this, a zero byte, and the statement: it can be none over anything else.</summary>
    private static readonly byte[] _context = Encoding.ASCII.GetBytes("fabric-trust/1\0");

    /// <summary>The signer's only name. It is no gateway's, and none of a site.</summary>
    public static string SignerId(string trustDomain) => $"spiffe://{trustDomain}/fabric/trust";

    public static SignedTrust Sign(TrustDocument document, IEnumerable<(X509Certificate2 Leaf, X509Certificate2Collection Intermediates)> signers)
    {
        var statement = document.Statement().ToByteArray();
        var signed = new SignedTrust { Statement = ByteString.CopyFrom(statement) };
        foreach (var (leaf, intermediates) in signers)
        {
            using var key = leaf.GetECDsaPrivateKey();
            signed.Signatures.Add(new TrustSignature
            {
                Chain = { intermediates.Prepend(leaf).Select(c => ByteString.CopyFrom(c.RawData)) },
                Signature = ByteString.CopyFrom(key!.SignData([.. _context, .. statement], HashAlgorithmName.SHA256)),
            });
        }

        return signed;
    }

    /// <summary>Throws <see cref="TrustRefusedException"/> unless the document may take the place of the one that is held.</summary>
    /// <param name="document">Well-formed.</param>
    /// <param name="trustDomain">Of the gateway.</param>
    /// <param name="held">Null: none yet.</param>
    /// <param name="roots">Those that the gateway trusts now.</param>
    public static void Check(TrustDocument document, string trustDomain, TrustDocument? held, IReadOnlyList<X509Certificate2> roots)
    {
        if (document.TrustDomain != trustDomain)
        {
            throw new TrustRefusedException($"the trust document is of {document.TrustDomain}, and this gateway is of {trustDomain}");
        }

        if (document.Version <= (held?.Version ?? 0))
        {
            throw new TrustRefusedException($"version {document.Version} of the trust document is not newer than {held!.Version}, which holds here");
        }

        if (!document.Signed!.Signatures.Any(s => IsGood(s, document, roots, out _)))
        {
            IsGood(document.Signed.Signatures[0], document, roots, out var why);
            throw new TrustRefusedException($"version {document.Version} of the trust document is signed by nobody for whom a trusted root vouches: {why}");
        }

        // Each one that is introduced may introduce the next: whoever was away for several rotations follows them in one step.
        List<X509Certificate2> known = [.. roots];
        List<X509Certificate2> strangers = [.. document.Roots.Where(r => !Contains(roots, r))];
        while (strangers.Count > 0)
        {
            var met = strangers.FindAll(r => document.Introductions.Any(i => Introduces(i, r, known, document)));
            if (met.Count == 0)
            {
                throw new TrustRefusedException($"root {TrustDocument.Fingerprint(strangers[0])} of the trust document was introduced by no root that is trusted here");
            }

            known.AddRange(met);
            strangers.RemoveAll(met.Contains);
        }
    }

    private static bool IsGood(TrustSignature signature, TrustDocument document, IReadOnlyList<X509Certificate2> roots, out string why)
    {
        try
        {
            var chain = signature.Chain.Select(c => X509CertificateLoader.LoadCertificate(c.Span)).ToList();
            using var key = chain[0].GetECDsaPublicKey();
            var usage = chain[0].Extensions.OfType<X509KeyUsageExtension>().FirstOrDefault();
            why = UriNames.Read(chain[0]).Uris is not [var uri] || uri != SignerId(document.TrustDomain) ? $"the signer is not {SignerId(document.TrustDomain)}"
                : usage is null || !usage.KeyUsages.HasFlag(X509KeyUsageFlags.DigitalSignature)
                    || chain[0].Extensions.OfType<X509BasicConstraintsExtension>().Any(b => b.CertificateAuthority)
                    ? "the signer's certificate is not one for digital signatures"
                : !SvidVerifier.IsP256(key) ? "the signer's key is not ECDSA on P-256"
                : !key!.VerifyData([.. _context, .. document.Signed!.Statement.Span], signature.Signature.Span, HashAlgorithmName.SHA256)
                    ? "the signature is wrong"
                : VouchedFor(chain[0], [.. chain.Skip(1)], roots, document, out var fault) ? "" : fault;
        }
        catch (Exception e) when (e is AsnContentException or CryptographicException or ArgumentException or InvalidOperationException)
        {
            why = $"the signer's certificate is malformed: {e.Message}";
        }

        return why.Length == 0;
    }

    /// <summary>An older root says of the key: this is that root's.</summary>
    private static bool Introduces(X509Certificate2 introduction, X509Certificate2 root, List<X509Certificate2> known, TrustDocument document)
    {
        try
        {
            return introduction.SubjectName.RawData.AsSpan().SequenceEqual(root.SubjectName.RawData)
                && introduction.PublicKey.ExportSubjectPublicKeyInfo().AsSpan().SequenceEqual(root.PublicKey.ExportSubjectPublicKeyInfo())
                && VouchedFor(introduction, [], known, document, out _);
        }
        catch (Exception e) when (e is AsnContentException or CryptographicException)
        {
            return false;
        }
    }

    /// <summary>
    /// A path to a root, as of the day of the document, and no site's intermediate on it: that one's key is worth a site, and not the mesh.
    /// The dates are those of the document, so that one that is stored does not end with its signer's certificate: an eviction has no end.
    /// </summary>
    private static bool VouchedFor(X509Certificate2 subject, X509Certificate2Collection others, IReadOnlyList<X509Certificate2> roots, TrustDocument document, out string why)
    {
        using var chain = new X509Chain();
        chain.ChainPolicy.TrustMode = X509ChainTrustMode.CustomRootTrust;
        chain.ChainPolicy.RevocationMode = X509RevocationMode.NoCheck;
        chain.ChainPolicy.DisableCertificateDownloads = true;
        chain.ChainPolicy.VerificationTime = document.Created.UtcDateTime;
        chain.ChainPolicy.CustomTrustStore.AddRange(roots.ToArray());
        chain.ChainPolicy.ExtraStore.AddRange(others);
        try
        {
            if (!chain.Build(subject))
            {
                why = $"its certificate does not chain to a trusted root ({string.Join(", ", chain.ChainStatus.Select(s => s.Status))})";
                return false;
            }

            foreach (var authority in chain.ChainElements.Skip(1).Select(e => e.Certificate))
            {
                if (!IssuerNames.TrySite(authority, out var site, out _) || site is not null)
                {
                    why = "its certificate was signed by the intermediate of a site";
                    return false;
                }
            }

            why = "";
            return true;
        }
        finally
        {
            foreach (var element in chain.ChainElements)
            {
                element.Certificate.Dispose();
            }
        }
    }

    internal static bool Contains(IEnumerable<X509Certificate2> roots, X509Certificate2 root) =>
        roots.Any(r => r.RawDataMemory.Span.SequenceEqual(root.RawDataMemory.Span));
}
