using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Fabric.Identity.Svid;

namespace Fabric.Identity.Tests.Svid;

/// <summary>One certificate per rule, each good but for the one thing, signed by an issuer that the bundle trusts.</summary>
public sealed class SvidVerifierTests : IDisposable
{
    private const string Good = "spiffe://acme.example/site/paris/gateway/a";
    private const string Workload = "spiffe://acme.example/site/paris/workload/shop";
    private static readonly DateTimeOffset Now = new(2026, 6, 1, 12, 0, 0, TimeSpan.Zero);

    private readonly ECDsa _key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
    private readonly X509Certificate2 _root = Root();
    private readonly List<X509Certificate2> _sent = [];

    public void Dispose()
    {
        _key.Dispose();
        _root.Dispose();
    }

    [Fact]
    public void Accepts_what_keeps_every_rule()
    {
        var verdict = Verify(Leaf(_ => { }));
        Assert.Equal((new GatewayId("acme.example", "paris", "a"), SvidRejection.None, ""),
            (verdict.Id!.Value, verdict.Rejection, verdict.Reason));
    }

    [Theory]
    [InlineData(SvidRejection.NoUriName, "has no URI name")]
    [InlineData(SvidRejection.ManyUriNames, "has 2 URI names")]
    [InlineData(SvidRejection.NotASpiffeId, "does not begin with spiffe://")]
    [InlineData(SvidRejection.ForeignTrustDomain, "is not of trust domain acme.example")]
    [InlineData(SvidRejection.NotAGateway, "names no gateway")]
    [InlineData(SvidRejection.SubjectNameNotCritical, "must be critical")]
    [InlineData(SvidRejection.IsAuthority, "cA=true")]
    [InlineData(SvidRejection.KeyUsage, "digitalSignature")]
    [InlineData(SvidRejection.ExtendedKeyUsage, "serverAuth and clientAuth")]
    [InlineData(SvidRejection.KeyType, "P-256")]
    [InlineData(SvidRejection.NotYetValid, "compare the clocks")]
    [InlineData(SvidRejection.Expired, "expired at")]
    [InlineData(SvidRejection.UntrustedChain, "does not chain")]
    [InlineData(SvidRejection.Malformed, "malformed")]
    [InlineData(SvidRejection.IssuerUnknown, "the peer must send it along")]
    [InlineData(SvidRejection.IssuerNotAuthority, "its issuer \"CN=x\"")]
    [InlineData(SvidRejection.PathLength, "intermediates below it")]
    [InlineData(SvidRejection.IssuerExpired, "is valid from")]
    [InlineData(SvidRejection.IssuerName, "issuer")]
    [InlineData(SvidRejection.IssuerOfAnotherSite, "which signs for that site alone")]
    public void Rejects(SvidRejection rejection, string because)
    {
        foreach (var leaf in Bad(rejection))
        {
            var verdict = Verify(leaf);
            Assert.Null(verdict.Id);
            Assert.Equal(rejection, verdict.Rejection);
            Assert.Contains(because, verdict.Reason);
        }
    }

    [Theory]
    [InlineData("OU=site:paris, CN=x")]
    [InlineData("CN=x, OU=site:paris, O=acme")]
    [InlineData("CN=Fabric issuing 01234567 of acme.example")]
    [InlineData("O=Acme, OU=Paris, L=Paris, CN=website:x")]
    public void Accepts_an_intermediate_of_the_site_or_of_none(string subject)
    {
        var verdict = Verify(Leaf(_ => { }, issuer: Issuer(subject)));
        Assert.Equal(("", "a"), (verdict.Reason, verdict.Id?.Gateway));
        Assert.Equal(subject, Assert.Single(verdict.Via).Subject);
    }

    [Fact]
    public void A_good_certificate_of_another_gateway_is_not_the_expected_one()
    {
        var good = Verify(Leaf(_ => { }));
        Assert.Same(good, good.Expecting("a"));
        Assert.Same(good, good.Expecting(null));
        Assert.Equal(SvidRejection.WrongGateway, good.Expecting("b").Rejection);
        Assert.Null(good.Expecting("b").Id);
        var bad = SvidVerdict.Reject(SvidRejection.Expired, "x");
        Assert.Same(bad, bad.Expecting("b"));
    }

    /// <summary>
    /// Every code has a certificate that earns it, so the theory above covers the closed set. Two are about whose it is, or whether
    /// there is one, two about what the trust document says of it (TrustDocumentTests),
    /// and two about workloads (below).
    /// </summary>
    [Fact]
    public void Every_code_is_reachable()
    {
        var tested =
            typeof(SvidVerifierTests).GetMethod(nameof(Rejects))!.GetCustomAttributes(false).OfType<InlineDataAttribute>()
            .Select(d => (SvidRejection)d.GetData(null!).Single()[0]);
        Assert.Equal(
            Enum.GetValues<SvidRejection>().Except([SvidRejection.None, SvidRejection.WrongGateway, SvidRejection.NoCertificate, SvidRejection.Evicted, SvidRejection.RootWithdrawn,
                SvidRejection.NotAWorkload, SvidRejection.WorkloadOfAnotherSite]).Order(),
            tested.Order());
    }

    /// <summary>Random bytes changed anywhere in a good certificate: no exception, and never another name than its own.</summary>
    [Theory]
    [InlineData(Good)]
    [InlineData(Workload)]
    public void Fuzz(string name)
    {
        var random = new Random(3);
        var good = Named(name).RawData;
        for (var i = 0; i < 5000; i++)
        {
            var der = (byte[])good.Clone();
            for (var edits = random.Next(1, 4); edits > 0; edits--)
            {
                der[random.Next(der.Length)] ^= (byte)random.Next(1, 256);
            }

            X509Certificate2 leaf;
            try
            {
                leaf = X509CertificateLoader.LoadCertificate(der);
            }
            catch (CryptographicException)
            {
                continue;
            }

            using (leaf)
            {
                Assert.Null(Verify(leaf).Id);
                Assert.Null(VerifyWorkload(leaf).Workload);
            }
        }
    }

    [Theory]
    [InlineData(Workload, SvidRejection.None)]
    [InlineData(Workload + "/v2", SvidRejection.None)]
    [InlineData("spiffe://acme.example/site/virginia/workload/shop", SvidRejection.WorkloadOfAnotherSite)]
    [InlineData("spiffe://acme.example/site/Paris/workload/shop", SvidRejection.WorkloadOfAnotherSite)]
    [InlineData(Good, SvidRejection.NotAWorkload)]
    [InlineData("spiffe://acme.example", SvidRejection.NotAWorkload)]
    [InlineData("spiffe://acme.example/site/paris/workload", SvidRejection.NotAWorkload)]
    [InlineData("spiffe://acme.example/site/paris/unidentified", SvidRejection.NotAWorkload)]
    [InlineData("spiffe://acme.example/x/site/paris/workload/shop", SvidRejection.NotAWorkload)]
    [InlineData(Workload + "/", SvidRejection.NotASpiffeId)]
    [InlineData("spiffe://acme.example/site/paris/workload/..", SvidRejection.NotASpiffeId)]
    [InlineData("spiffe://other.example/site/paris/workload/shop", SvidRejection.ForeignTrustDomain)]
    public void A_workload_of_this_site_and_nobody_else_is_a_caller(string name, SvidRejection rejection)
    {
        var verdict = VerifyWorkload(Named(name));
        Assert.Equal((rejection, rejection == SvidRejection.None ? name : null, (GatewayId?)null), (verdict.Rejection, verdict.Workload?.ToString(), verdict.Id));
    }

    [Fact]
    public void A_workload_is_held_to_the_rules_of_all_certificates()
    {
        void Is(SvidRejection rejection, Action<System.Collections.ObjectModel.Collection<X509Extension>> change, X509Certificate2? issuer = null, DateTimeOffset? until = null)
        {
            using var leaf = Leaf(e =>
            {
                Replace("2.5.29.17", UriNames.Write(Workload, true))(e);
                change(e);
            }, issuer: issuer, from: Now.AddHours(-2), until: until);
            Assert.Equal(rejection, VerifyWorkload(leaf).Rejection);
        }

        Is(SvidRejection.None, Replace("2.5.29.37", new X509EnhancedKeyUsageExtension([new Oid("1.3.6.1.5.5.7.3.2")], false)));
        Is(SvidRejection.ExtendedKeyUsage, Replace("2.5.29.37", new X509EnhancedKeyUsageExtension([new Oid("1.3.6.1.5.5.7.3.1")], false)));
        Is(SvidRejection.IsAuthority, Replace("2.5.29.19", new X509BasicConstraintsExtension(true, false, 0, true)));
        Is(SvidRejection.Expired, _ => { }, until: Now.AddHours(-1));
        Is(SvidRejection.None, _ => { }, Issuer("OU=site:paris"));
        Is(SvidRejection.IssuerOfAnotherSite, _ => { }, Issuer("OU=site:virginia"));
        Is(SvidRejection.UntrustedChain, _ => { }, Root());
    }

    private SvidVerdict VerifyWorkload(X509Certificate2 leaf) =>
        SvidVerifier.VerifyWorkload(leaf, [.. _sent], "acme.example", "paris", TrustBundle.Of([_root]), Now);

    private IEnumerable<X509Certificate2> Bad(SvidRejection rejection) => rejection switch
    {
        SvidRejection.NoUriName => [Leaf(e => e.RemoveAt(e.IndexOf(Find(e, "2.5.29.17")))), Leaf(Replace("2.5.29.17", Dns()))],
        SvidRejection.ManyUriNames => [Leaf(Replace("2.5.29.17", TwoNames()))],
        SvidRejection.NotASpiffeId => [Named("https://acme.example/x")],
        SvidRejection.ForeignTrustDomain => [Named(Good.Replace("acme", "evil")),
            Named(Good.Replace("acme.example", "acme.example.evil"))],
        SvidRejection.NotAGateway => [Named("spiffe://acme.example"), Named("spiffe://acme.example/site/paris/workload/a")],
        SvidRejection.SubjectNameNotCritical => [Leaf(Replace("2.5.29.17", UriNames.Write(Good, critical: false)))],
        SvidRejection.IsAuthority => [Leaf(Replace("2.5.29.19", new X509BasicConstraintsExtension(true, false, 0, true)))],
        SvidRejection.KeyUsage =>
        [
            Leaf(e => e.RemoveAt(e.IndexOf(Find(e, "2.5.29.15")))),
            Usage(X509KeyUsageFlags.KeyAgreement, true),
            Usage(X509KeyUsageFlags.DigitalSignature, critical: false),
            Usage(X509KeyUsageFlags.DigitalSignature | X509KeyUsageFlags.KeyCertSign, true),
            Usage(X509KeyUsageFlags.DigitalSignature | X509KeyUsageFlags.CrlSign, true),
        ],
        SvidRejection.ExtendedKeyUsage =>
        [
            Leaf(e => e.RemoveAt(e.IndexOf(Find(e, "2.5.29.37")))),
            Leaf(Replace("2.5.29.37", new X509EnhancedKeyUsageExtension([new Oid("1.3.6.1.5.5.7.3.1")], false))),
            Leaf(Replace("2.5.29.37", new X509EnhancedKeyUsageExtension([new Oid("1.3.6.1.5.5.7.3.2")], false))),
        ],
        SvidRejection.KeyType => [Leaf(_ => { }, over: ECDsa.Create(ECCurve.NamedCurves.nistP384))],
        SvidRejection.NotYetValid => [Leaf(_ => { }, from: Now.AddMinutes(1))],
        SvidRejection.Expired => [Leaf(_ => { }, from: Now.AddHours(-25), until: Now.AddSeconds(-1))],
        SvidRejection.UntrustedChain => [Leaf(_ => { }, issuer: Root())],
        SvidRejection.IssuerUnknown => [Leaf(_ => { }, issuer: Issuer("CN=x", isSent: false))],
        SvidRejection.IssuerNotAuthority =>
        [
            Leaf(_ => { }, issuer: Issuer("CN=x", e => e.RemoveAt(e.IndexOf(Find(e, "2.5.29.19"))))),
            Leaf(_ => { }, issuer: Issuer("CN=x", Replace("2.5.29.19", new X509BasicConstraintsExtension(false, false, 0, true)))),
            Leaf(_ => { }, issuer: Issuer("CN=x", e => e.RemoveAt(e.IndexOf(Find(e, "2.5.29.15"))))),
            Leaf(_ => { }, issuer: Issuer("CN=x", Replace("2.5.29.15", new X509KeyUsageExtension(X509KeyUsageFlags.CrlSign, true)))),
        ],
        SvidRejection.PathLength => [Leaf(_ => { }, issuer: Issuer("CN=below", by: Issuer("CN=x")))],
        SvidRejection.IssuerExpired =>
        [
            Leaf(_ => { }, issuer: Issuer("CN=x", until: Now.AddSeconds(-1))),
            Leaf(_ => { }, issuer: Issuer("CN=x", from: Now.AddSeconds(1))),
        ],
        SvidRejection.IssuerName =>
        [
            Leaf(_ => { }, issuer: Issuer("CN=x", Replace("2.5.29.17", UriNames.Write("spiffe://evil.example", false)))),
            Leaf(_ => { }, issuer: Issuer("CN=x", Replace("2.5.29.17", UriNames.Write("spiffe://acme.example/site/paris", false)))),
            Leaf(_ => { }, issuer: Issuer("CN=x", Replace("2.5.29.17", TwoNames()))),
            Leaf(_ => { }, issuer: Issuer("CN=x", e => e.Add(UriNames.Constrain("evil.example", "paris.evil.example")))),
            Leaf(_ => { }, issuer: Issuer("OU=site:paris, OU=site:virginia")),
            Leaf(_ => { }, issuer: Issuer("OU=SITE:paris")),
            Leaf(_ => { }, issuer: Issuer("OU=site:par/is")),
            Leaf(_ => { }, issuer: Issuer("OU=site:paris+CN=x")),
        ],
        SvidRejection.IssuerOfAnotherSite =>
        [
            Leaf(_ => { }, issuer: Issuer("OU=site:virginia")),
            Leaf(_ => { }, issuer: Issuer("OU=site:Paris")),
            Leaf(_ => { }, issuer: Issuer("OU=site:paris1, CN=site:paris")),
        ],
        SvidRejection.Malformed => [Leaf(Replace("2.5.29.17",
            new X509Extension("2.5.29.17", [0x30, 0x05, 0x86, 0x10, 1], true)))],
        _ => throw new ArgumentOutOfRangeException(nameof(rejection)),
    };

    private SvidVerdict Verify(X509Certificate2 leaf) =>
        SvidVerifier.Verify(leaf, [], "acme.example", TrustBundle.Of([_root]), _sent, Now);

    private X509Certificate2 Named(string uri) => Leaf(Replace("2.5.29.17", UriNames.Write(uri, true)));

    private X509Certificate2 Usage(X509KeyUsageFlags flags, bool critical) =>
        Leaf(Replace("2.5.29.15", new X509KeyUsageExtension(flags, critical)));

    private X509Certificate2 Leaf(Action<System.Collections.ObjectModel.Collection<X509Extension>> change,
        ECDsa? over = null, X509Certificate2? issuer = null, DateTimeOffset? from = null, DateTimeOffset? until = null)
    {
        var request = new CertificateRequest("", over ?? _key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(false, false, 0, true));
        request.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.DigitalSignature, true));
        request.CertificateExtensions.Add(
            new X509EnhancedKeyUsageExtension([new Oid("1.3.6.1.5.5.7.3.1"), new Oid("1.3.6.1.5.5.7.3.2")], false));
        request.CertificateExtensions.Add(UriNames.Write(Good, true));
        change(request.CertificateExtensions);
        var by = issuer ?? _root;
        NameKey(request, by);
        using var signer = by.GetECDsaPrivateKey()!;
        return request.Create(by.SubjectName, X509SignatureGenerator.CreateForECDsa(signer), from ?? Now.AddMinutes(-5),
            until ?? Now.AddHours(24), [1, 2, 3, 4]);
    }

    private static X509Certificate2 Root()
    {
        var request = new CertificateRequest("CN=root", ECDsa.Create(ECCurve.NamedCurves.nistP256), HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
        request.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.KeyCertSign, true));
        return request.CreateSelfSigned(Now.AddYears(-1), Now.AddYears(9));
    }

    /// <summary>A good intermediate, but for the change.</summary>
    private X509Certificate2 Issuer(string subject, Action<System.Collections.ObjectModel.Collection<X509Extension>>? change = null,
        X509Certificate2? by = null, DateTimeOffset? from = null, DateTimeOffset? until = null, bool isSent = true)
    {
        var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest(subject, key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, true, 0, true));
        request.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.KeyCertSign, true));
        request.CertificateExtensions.Add(UriNames.Write("spiffe://acme.example", critical: false));
        request.CertificateExtensions.Add(new X509SubjectKeyIdentifierExtension(request.PublicKey, false));
        change?.Invoke(request.CertificateExtensions);
        using var signer = (by ?? _root).GetECDsaPrivateKey()!;
        NameKey(request, by ?? _root);
        var issuer = request.Create((by ?? _root).SubjectName, X509SignatureGenerator.CreateForECDsa(signer), from ?? Now.AddDays(-1),
            until ?? Now.AddDays(2), RandomNumberGenerator.GetBytes(8)).CopyWithPrivateKey(key);
        if (isSent)
        {
            _sent.Add(issuer);
        }

        return issuer;
    }

    /// <summary>Says which key of its issuer signed it: several issuers here have one name.</summary>
    private static void NameKey(CertificateRequest request, X509Certificate2 issuer)
    {
        if (issuer.Extensions.OfType<X509SubjectKeyIdentifierExtension>().Any())
        {
            request.CertificateExtensions.Add(X509AuthorityKeyIdentifierExtension.CreateFromCertificate(issuer, true, false));
        }
    }

    private static X509Extension Dns()
    {
        var names = new SubjectAlternativeNameBuilder();
        names.AddDnsName("acme.example");
        return names.Build(critical: true);
    }

    private static X509Extension TwoNames()
    {
        var names = new SubjectAlternativeNameBuilder();
        names.AddUri(new Uri(Good));
        names.AddUri(new Uri(Good + "b"));
        return names.Build(critical: true);
    }

    private static Action<System.Collections.ObjectModel.Collection<X509Extension>> Replace(string oid, X509Extension by) =>
        e => e[e.IndexOf(Find(e, oid))] = by;

    private static X509Extension Find(IEnumerable<X509Extension> all, string oid) => all.Single(e => e.Oid!.Value == oid);
}
