using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace Fabric.Identity.Svid;

/// <summary>
/// What certificates of one trust domain are checked against: its roots, and the intermediates that are known already.
/// Immutable; at most <see cref="MaxCertificates"/> certificates.
/// </summary>
public sealed class TrustBundle
{
    public const int MaxCertificates = 64;

    private TrustBundle(List<X509Certificate2> roots, List<X509Certificate2> intermediates)
    {
        Roots = roots;
        Intermediates = intermediates;
    }

    public IReadOnlyList<X509Certificate2> Roots { get; }
    public IReadOnlyList<X509Certificate2> Intermediates { get; }

    /// <summary>
    /// Sorts certificates into roots (self-issued) and intermediates. Throws <see cref="InvalidDataException"/> when one is no
    /// CA certificate, when there are too many, or when there is no root.
    /// </summary>
    public static TrustBundle Of(IEnumerable<X509Certificate2> certificates)
    {
        var roots = new List<X509Certificate2>();
        var intermediates = new List<X509Certificate2>();
        foreach (var certificate in certificates)
        {
            var constraints = certificate.Extensions.OfType<X509BasicConstraintsExtension>().SingleOrDefault();
            if (constraints is not { CertificateAuthority: true })
            {
                throw new InvalidDataException($"a bundle holds CA certificates only; serial {certificate.SerialNumber} is none");
            }

            (IsSelfIssued(certificate) ? roots : intermediates).Add(certificate);
            if (roots.Count + intermediates.Count > MaxCertificates)
            {
                throw new InvalidDataException($"a bundle holds at most {MaxCertificates} certificates");
            }
        }

        return roots.Count > 0 ? new TrustBundle(roots, intermediates) : throw new InvalidDataException("a bundle needs a root");
    }

    /// <inheritdoc cref="Of"/>
    public static TrustBundle FromDer(IEnumerable<byte[]> certificates)
    {
        try
        {
            return Of(certificates.Take(MaxCertificates + 1).Select(X509CertificateLoader.LoadCertificate).ToList());
        }
        catch (CryptographicException e)
        {
            throw new InvalidDataException($"a certificate of the bundle is malformed: {e.Message}", e);
        }
    }

    /// <inheritdoc cref="Of"/>
    public static TrustBundle FromPem(string pem)
    {
        var all = new X509Certificate2Collection();
        try
        {
            all.ImportFromPem(pem);
        }
        catch (CryptographicException e)
        {
            throw new InvalidDataException($"the bundle is not PEM: {e.Message}", e);
        }

        return Of(all);
    }

    /// <summary>
    /// The same with other roots added and some taken out. When none would be left, those stay that are there: a gateway without a root
    /// could not even learn of one.
    /// </summary>
    /// <param name="add">More roots.</param>
    /// <param name="withdrawn">Whether a root, by its SHA-256 in hex, is trusted no more.</param>
    internal TrustBundle With(IEnumerable<X509Certificate2> add, Func<string, bool> withdrawn)
    {
        var roots = Roots.Concat(add.Where(a => !Roots.Any(r => r.RawDataMemory.Span.SequenceEqual(a.RawDataMemory.Span))))
            .Where(r => !withdrawn(Convert.ToHexStringLower(Fingerprint(r)))).ToList();
        return roots.Count > 0 ? new TrustBundle(roots, [.. Intermediates]) : this;
    }

    public string ToPem() => string.Concat(Roots.Concat(Intermediates).Select(c => c.ExportCertificatePem() + "\n"));

    public IReadOnlyList<byte[]> ToDer() => Roots.Concat(Intermediates).Select(c => c.RawData).ToList();

    /// <summary>SHA-256 over the certificate's DER, 32 bytes: what join tokens pin.</summary>
    public static byte[] Fingerprint(X509Certificate2 certificate) => SHA256.HashData(certificate.RawData);

    internal static bool IsSelfIssued(X509Certificate2 c) => c.SubjectName.RawData.AsSpan().SequenceEqual(c.IssuerName.RawData);
}
