using System.Net.Security;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Fabric.Identity;
using Fabric.Identity.Svid;

namespace Fabric.Testing;

/// <summary>A P-256 CA for tests, and gateways that trust it.</summary>
public sealed class TestAuthority : IDisposable
{
    private const string ClientAuth = "1.3.6.1.5.5.7.3.2";

    private readonly X509Certificate2 _root;

    public TestAuthority(string trustDomain = "test.example")
    {
        TrustDomain = trustDomain;
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest($"CN={trustDomain} test CA", key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
        request.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.KeyCertSign | X509KeyUsageFlags.CrlSign, true));
        _root = request.CreateSelfSigned(DateTimeOffset.UnixEpoch, new DateTimeOffset(2100, 1, 1, 0, 0, 0, TimeSpan.Zero));
    }

    public string TrustDomain { get; }

    /// <summary>A gateway with a certificate of this CA, which trusts this CA alone.</summary>
    /// <param name="until">The end of the certificate; default: long after today.</param>
    /// <param name="purpose">The only extended key usage, an OID; default: any.</param>
    public TestIdentity Gateway(string name, string? site = null, DateTimeOffset? until = null, string? purpose = null)
    {
        var id = new GatewayId(TrustDomain, site ?? name, name);
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest($"CN={name}", key, HashAlgorithmName.SHA256);
        var names = new SubjectAlternativeNameBuilder();
        names.AddUri(new Uri(id.ToString()));
        request.CertificateExtensions.Add(names.Build());
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(false, false, 0, true));
        request.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.DigitalSignature, true));
        if (purpose is not null)
        {
            request.CertificateExtensions.Add(new X509EnhancedKeyUsageExtension([new Oid(purpose)], false));
        }

        var serial = RandomNumberGenerator.GetBytes(16);
        using var signed = request.Create(_root, _root.NotBefore.AddDays(1), until ?? _root.NotAfter.AddDays(-1), serial);
        return new TestIdentity(this, id, signed.CopyWithPrivateKey(key));
    }

    internal bool Issued(X509Certificate2 leaf, out string reason)
    {
        using var chain = new X509Chain();
        chain.ChainPolicy.TrustMode = X509ChainTrustMode.CustomRootTrust;
        chain.ChainPolicy.CustomTrustStore.Add(_root);
        chain.ChainPolicy.RevocationMode = X509RevocationMode.NoCheck;
        chain.ChainPolicy.ApplicationPolicy.Add(new Oid(ClientAuth));
        var good = chain.Build(leaf);
        var wrong = chain.ChainStatus.Aggregate(X509ChainStatusFlags.NoError, (all, s) => all | s.Status);
        reason = good ? ""
            : (wrong & (X509ChainStatusFlags.UntrustedRoot | X509ChainStatusFlags.PartialChain)) != 0 ? $"not issued by the CA of {TrustDomain}"
            : $"not good: {wrong}";
        return good;
    }

    public void Dispose() => _root.Dispose();
}

/// <inheritdoc cref="TestAuthority"/>
public sealed class TestIdentity(TestAuthority authority, GatewayId id, X509Certificate2 certificate) : IGatewayIdentity, IDisposable
{
    public GatewayId Id => id;

    public SslStreamCertificateContext Certificate { get; } = SslStreamCertificateContext.Create(certificate, null, offline: true);

    public SvidVerdict Verify(X509Certificate2 leaf, X509Certificate2Collection sent)
    {
        if (!authority.Issued(leaf, out var reason))
        {
            return SvidVerdict.Reject(SvidRejection.UntrustedChain, reason);
        }

        // OpenSSL and Windows print it differently; the URI is in both.
        var text = leaf.Extensions.Single(e => e.Oid?.Value == "2.5.29.17").Format(false);
        var uri = text[text.IndexOf("spiffe://", StringComparison.Ordinal)..];
        var parts = uri["spiffe://".Length..].Split('/');
        return SvidVerdict.Accept(new GatewayId(parts[0], parts[2], parts[4]), []);
    }

    public void Dispose() => certificate.Dispose();
}
