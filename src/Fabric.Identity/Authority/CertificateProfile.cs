using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Fabric.Identity.Svid;
using Fabric.Identity.Trust;

namespace Fabric.Identity.Authority;

/// <summary>The kinds of certificate that a mesh has, as X.509-SVID wants them. P-256 and SHA-256 throughout.</summary>
internal static class CertificateProfile
{
    public static readonly TimeSpan RootLife = TimeSpan.FromDays(3650);
    public static readonly TimeSpan IntermediateLife = TimeSpan.FromDays(365);
    public static readonly TimeSpan LeafLife = TimeSpan.FromHours(24);

    /// <summary>Certificates begin this much in the past, for clocks that run behind.</summary>
    public static readonly TimeSpan Backdate = TimeSpan.FromMinutes(5);

    /// <summary>A signing request is a few hundred bytes; a larger one is not parsed.</summary>
    public const int MaxRequestBytes = 8192;

    /// <param name="generation">1 for the mesh's first; a later one has it in its name, so that no two roots share one.</param>
    public static X509Certificate2 Root(ECDsa key, string trustDomain, DateTimeOffset now, int generation = 1) =>
        RootRequest(key, trustDomain, generation).CreateSelfSigned(now - Backdate, now + RootLife);

    /// <summary>A root's key and name, signed by the root before it (NewWithOld, RFC 4210 §4.4.1).</summary>
    public static X509Certificate2 Introduction(ECDsa key, string trustDomain, int generation, X509Certificate2 older, DateTimeOffset now) =>
        RootRequest(key, trustDomain, generation).Create(older, now - Backdate, Earlier(now + RootLife, older.NotAfter), Serial());

    /// <summary>What signs trust documents: as long-lived as its root, for what was signed has to be believed as long.</summary>
    public static X509Certificate2 TrustSigner(ECDsa key, string trustDomain, X509Certificate2 root, DateTimeOffset now)
    {
        var request = new CertificateRequest(new X500DistinguishedName($"CN=Fabric trust of {trustDomain}"), key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(false, false, 0, critical: true));
        request.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.DigitalSignature, critical: true));
        request.CertificateExtensions.Add(UriNames.Write(TrustRules.SignerId(trustDomain), critical: false));
        request.CertificateExtensions.Add(new X509SubjectKeyIdentifierExtension(request.PublicKey, critical: false));
        request.CertificateExtensions.Add(X509AuthorityKeyIdentifierExtension.CreateFromCertificate(root, true, false));
        return request.Create(root, now - Backdate, root.NotAfter, Serial());
    }

    /// <summary>
    /// What signs the gateways of one site. Verifiers hold it to that site by its subject (<see cref="IssuerNames"/>), and any
    /// implementation of X.509 to the trust domain, by name constraints: those see only the host of a URI (RFC 5280 §4.2.1.10).
    /// </summary>
    public static X509Certificate2 Intermediate(ECDsa key, string trustDomain, string site, X509Certificate2 root, DateTimeOffset now)
    {
        var serial = Serial();
        var subject = new X500DistinguishedNameBuilder();
        subject.AddOrganizationalUnitName(IssuerNames.UnitOf(site));
        subject.AddCommonName($"Fabric intermediate {Convert.ToHexStringLower(serial.AsSpan(0, 4))} of {trustDomain}");
        var request = Authority(subject.Build(), key, trustDomain, pathLength: 0);
        request.CertificateExtensions.Add(UriNames.Constrain(host: trustDomain, domain: $"{site}.{trustDomain}"));
        request.CertificateExtensions.Add(X509AuthorityKeyIdentifierExtension.CreateFromCertificate(root, true, false));
        return request.Create(root, now - Backdate, Earlier(now + IntermediateLife, root.NotAfter), serial);
    }

    /// <summary>
    /// A leaf for <paramref name="id"/> over the request's public key. Every name in the request is ignored. Throws
    /// <see cref="JoinException"/> with <see cref="JoinFailure.BadRequest"/> when the request is not one over P-256.
    /// </summary>
    public static X509Certificate2 Leaf(GatewayId id, byte[] csr, X509Certificate2 issuer, DateTimeOffset now) =>
        // The DNS name is for tools that know no SPIFFE IDs (curl, openssl); nothing here looks at it.
        Leaf(id.ToString(), $"{id.Gateway}.{id.Site}.{id.TrustDomain}", csr, issuer, now, LeafLife);

    /// <summary>The same for a workload: of the same profile, and without a DNS name.</summary>
    public static X509Certificate2 Workload(SpiffeId id, byte[] csr, X509Certificate2 issuer, DateTimeOffset now, TimeSpan life) =>
        Leaf(id.ToString(), null, csr, issuer, now, life);

    private static X509Certificate2 Leaf(string id, string? dns, byte[] csr, X509Certificate2 issuer, DateTimeOffset now, TimeSpan life)
    {
        var asked = Parse(csr);
        var request = new CertificateRequest(new X500DistinguishedName(""), asked.PublicKey, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(false, false, 0, critical: true));
        request.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.DigitalSignature, critical: true));
        request.CertificateExtensions.Add(new X509EnhancedKeyUsageExtension(
            [new Oid("1.3.6.1.5.5.7.3.1"), new Oid("1.3.6.1.5.5.7.3.2")], critical: false));

        request.CertificateExtensions.Add(UriNames.Write(id, critical: true, dns));
        request.CertificateExtensions.Add(new X509SubjectKeyIdentifierExtension(asked.PublicKey, critical: false));
        request.CertificateExtensions.Add(X509AuthorityKeyIdentifierExtension.CreateFromCertificate(issuer, true, false));
        return request.Create(issuer, now - Backdate, Earlier(now + life, issuer.NotAfter), Serial());
    }

    /// <summary>A request that proves possession of <paramref name="key"/>; its name is only for people who look at it.</summary>
    public static byte[] Request(ECDsa key) =>
        new CertificateRequest("CN=fabric gateway", key, HashAlgorithmName.SHA256).CreateSigningRequest();

    /// <summary>
    /// Throws <see cref="JoinException"/>: BadRequest, when the request is malformed, not signed by its key, or not P-256.
    /// </summary>
    public static CertificateRequest Parse(byte[] csr)
    {
        if (csr.Length is 0 or > MaxRequestBytes)
        {
            throw Bad($"a signing request has 1 to {MaxRequestBytes} bytes, and this has {csr.Length}");
        }

        try
        {
            var request = CertificateRequest.LoadSigningRequest(csr, HashAlgorithmName.SHA256);
            using var key = request.PublicKey.GetECDsaPublicKey();
            return SvidVerifier.IsP256(key) ? request : throw Bad("the key of a signing request must be ECDSA on P-256");
        }
        catch (Exception e) when (e is CryptographicException or ArgumentException or NotSupportedException)
        {
            throw Bad($"the signing request is malformed: {e.Message}");
        }
    }

    private static CertificateRequest RootRequest(ECDsa key, string trustDomain, int generation) => Authority(
        new X500DistinguishedName(generation == 1 ? $"CN=Fabric root of {trustDomain}" : $"CN=Fabric root {generation} of {trustDomain}"),
        key, trustDomain, pathLength: 1);

    private static CertificateRequest Authority(X500DistinguishedName subject, ECDsa key, string trustDomain, int pathLength)
    {
        var request = new CertificateRequest(subject, key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, true, pathLength, critical: true));
        request.CertificateExtensions.Add(
            new X509KeyUsageExtension(X509KeyUsageFlags.KeyCertSign | X509KeyUsageFlags.CrlSign, critical: true));
        request.CertificateExtensions.Add(UriNames.Write($"spiffe://{trustDomain}", critical: false));
        request.CertificateExtensions.Add(new X509SubjectKeyIdentifierExtension(request.PublicKey, critical: false));
        return request;
    }

    /// <summary>16 random bytes, positive (RFC 5280 §4.1.2.2).</summary>
    private static byte[] Serial()
    {
        var serial = RandomNumberGenerator.GetBytes(16);
        serial[0] = (byte)((serial[0] & 0x7f) | 0x40);
        return serial;
    }

    private static DateTimeOffset Earlier(DateTimeOffset a, DateTime b) =>
        a < b.ToUniversalTime() ? a : new DateTimeOffset(b.ToUniversalTime());

    private static JoinException Bad(string message) => new(JoinFailure.BadRequest, message);
}
