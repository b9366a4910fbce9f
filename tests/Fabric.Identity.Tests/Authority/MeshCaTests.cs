using System.Diagnostics;
using System.Runtime.Versioning;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Fabric.Identity.Authority;
using Fabric.Identity.Storage;
using Fabric.Identity.Svid;
using Fabric.Testing;

namespace Fabric.Identity.Tests.Authority;

public class MeshCaTests
{
    private static readonly GatewayId Paris = new(Mesh.Domain, "paris", "paris-a");
    private static readonly GatewayId Virginia = new(Mesh.Domain, "virginia", "virginia-a");

    [Fact]
    public void Issues_a_leaf_by_the_rules()
    {
        using var mesh = new Mesh();
        var csr = Mesh.Csr();
        var grant = mesh.Ca.Issue(Paris, csr);

        Assert.Equal(2, grant.Chain.Count);
        using var leaf = X509CertificateLoader.LoadCertificate(grant.Chain[0]);
        var verdict = SvidVerifier.Verify(leaf, [], Mesh.Domain, TrustBundle.FromDer(grant.Bundle), [], mesh.Time.GetUtcNow());
        Assert.Equal((Paris, SvidRejection.None), (verdict.Id!.Value, verdict.Rejection));
        Assert.Equal("", leaf.Subject);
        var (uris, critical) = UriNames.Read(leaf);
        Assert.Equal(["spiffe://acme.example/site/paris/gateway/paris-a"], uris);
        Assert.True(critical);
        Assert.Equal(mesh.Time.GetUtcNow().AddHours(24), leaf.NotAfter.ToUniversalTime());
        Assert.Equal(CertificateRequest.LoadSigningRequest(csr, HashAlgorithmName.SHA256).PublicKey.ExportSubjectPublicKeyInfo(),
            leaf.PublicKey.ExportSubjectPublicKeyInfo());
    }

    [Fact]
    public void Ignores_the_names_that_a_request_asks_for()
    {
        using var mesh = new Mesh();
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var greedy = new CertificateRequest("CN=root", key, HashAlgorithmName.SHA256);
        greedy.CertificateExtensions.Add(UriNames.Write("spiffe://acme.example/site/other/gateway/x", true));
        greedy.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));

        using var leaf = X509CertificateLoader.LoadCertificate(mesh.Ca.Issue(Paris, greedy.CreateSigningRequest()).Chain[0]);

        Assert.Equal([Paris.ToString()], UriNames.Read(leaf).Uris);
        Assert.False(leaf.Extensions.OfType<X509BasicConstraintsExtension>().Single().CertificateAuthority);
        Assert.Equal("", leaf.Subject);
    }

    [Fact]
    public void Refuses_requests_that_are_not_of_a_P256_key()
    {
        using var mesh = new Mesh();
        using var rsa = RSA.Create(2048);
        using var p384 = ECDsa.Create(ECCurve.NamedCurves.nistP384);
        var forged = Mesh.Csr();
        forged[^1] ^= 1;
        byte[][] bad =
        [
            new CertificateRequest("CN=x", rsa, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1).CreateSigningRequest(),
            new CertificateRequest("CN=x", p384, HashAlgorithmName.SHA384).CreateSigningRequest(),
            forged, [], new byte[9000], [.. Mesh.Csr(), 0],
        ];
        foreach (var csr in bad)
        {
            Assert.Equal(JoinFailure.BadRequest, Assert.Throws<JoinException>(() => mesh.Ca.Issue(Paris, csr)).Failure);
        }
    }

    [Fact]
    public void Fuzz_signing_requests()
    {
        using var mesh = new Mesh();
        var random = new Random(11);
        var good = Mesh.Csr();
        for (var i = 0; i < 3000; i++)
        {
            var csr = (byte[])good.Clone();
            for (var edits = random.Next(1, 4); edits > 0; edits--)
            {
                csr[random.Next(csr.Length)] ^= (byte)random.Next(1, 256);
            }

            csr = random.Next(4) == 0 ? csr[..random.Next(csr.Length)] : csr;
            try
            {
                // A change that is accepted can only be one outside what is signed; none is known.
                CertificateProfile.Parse(csr);
                Assert.Equal(good, csr);
            }
            catch (JoinException e)
            {
                Assert.Equal(JoinFailure.BadRequest, e.Failure);
            }
        }
    }

    [Theory]
    [InlineData("a/b", "g")]
    [InlineData("paris", "")]
    [InlineData("..", "g")]
    [InlineData("paris", "x y")]
    public void Refuses_names_that_cannot_stand_in_an_id(string site, string gateway)
    {
        using var mesh = new Mesh();
        Assert.Throws<ArgumentException>(() => mesh.Ca.CreateToken(site, gateway));
        Assert.Throws<ArgumentException>(() => mesh.Ca.Issue(new GatewayId(Mesh.Domain, site, gateway), Mesh.Csr()));
    }

    [Fact]
    public void Create_refuses_to_overwrite_and_bad_trust_domains()
    {
        using var mesh = new Mesh();
        var before = mesh.Ca.RootFingerprint;
        Assert.Throws<IOException>(() => MeshCa.Create(mesh.Folder["ca"], "other.example", mesh.Time));
        Assert.Equal(before, MeshCa.Open(mesh.Folder["ca"], mesh.Time).RootFingerprint);
        Assert.Throws<ArgumentException>(() => MeshCa.Create(mesh.Folder["ca2"], "Acme", mesh.Time));
        Assert.Throws<FileNotFoundException>(() => MeshCa.Open(mesh.Folder["ca2"], mesh.Time));
    }

    [Fact, UnsupportedOSPlatform("windows")]
    public void Files_are_private()
    {
        using var mesh = new Mesh();
        var paris = mesh.Join("paris", "paris-a");
        Assert.Equal("paris", paris.Id.Site);
        foreach (var file in Directory.EnumerateFiles(mesh.Folder.Root, "*", SearchOption.AllDirectories))
        {
            Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(file));
        }

        foreach (var dir in Directory.EnumerateDirectories(mesh.Folder.Root, "*", SearchOption.AllDirectories))
        {
            Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute, File.GetUnixFileMode(dir));
        }
    }

    [Fact]
    public void A_create_that_was_killed_is_started_anew()
    {
        using var folder = new TemporaryFolder();
        var time = new ManualTime();
        MeshCa.Create(folder["ca"], "old.example", time);
        File.Delete(Path.Combine(folder["ca"], "root.crt"));
        File.WriteAllText(Path.Combine(folder["ca"], ".root.crt.tmp-0123"), "half");

        var ca = MeshCa.Create(folder["ca"], Mesh.Domain, time);

        Assert.NotEmpty(ca.Issue(Paris, Mesh.Csr()).Chain);
        Assert.Empty(Directory.EnumerateFiles(folder["ca"], "*.tmp-*"));
    }

    [Fact]
    public void Each_site_has_an_intermediate_of_its_own()
    {
        using var mesh = new Mesh();
        var (paris, virginia) = (mesh.Ca.Issue(Paris, Mesh.Csr()), mesh.Ca.Issue(Virginia, Mesh.Csr()));
        Assert.NotEqual(paris.Chain[1], virginia.Chain[1]);
        Assert.Equal(paris.Chain[1], mesh.Ca.Issue(Paris with { Gateway = "paris-b" }, Mesh.Csr()).Chain[1]);
        foreach (var (site, grant) in new[] { ("paris", paris), ("virginia", virginia) })
        {
            using var intermediate = X509CertificateLoader.LoadCertificate(grant.Chain[1]);
            Assert.StartsWith($"OU=site:{site}, CN=Fabric intermediate ", intermediate.Subject);
            Assert.Equal(["spiffe://acme.example"], UriNames.Read(intermediate).Uris);
            Assert.Equal(mesh.Time.GetUtcNow().AddDays(365), intermediate.NotAfter.ToUniversalTime());
            Assert.Contains(intermediate.Extensions, e => e is { Critical: true, Oid.Value: "2.5.29.30" });
        }
    }

    [Fact]
    public void Issues_without_the_roots_key_until_the_intermediate_ends()
    {
        using var mesh = new Mesh();
        Assert.Empty(mesh.Ca.Prepare(["paris"]));
        TakeRoot(mesh);
        mesh.Time.Advance(TimeSpan.FromDays(364.5));
        using var leaf = X509CertificateLoader.LoadCertificate(mesh.Ca.Issue(Paris, Mesh.Csr()).Chain[0]);
        Assert.Equal(mesh.Time.GetUtcNow().AddHours(12), leaf.NotAfter.ToUniversalTime());

        mesh.Time.Advance(TimeSpan.FromDays(1));
        var refused = Assert.Throws<JoinException>(() => mesh.Ca.Issue(Paris, Mesh.Csr()));
        Assert.Equal(JoinFailure.Authority, refused.Failure);
        Assert.Contains("the intermediate certificate of site paris expired at", refused.Message);
        Assert.Contains("root.key", refused.Message);

        BringRoot(mesh);
        Assert.NotEmpty(mesh.Ca.Issue(Paris, Mesh.Csr()).Chain);
    }

    [Fact]
    public void A_new_site_waits_for_the_roots_key_and_keeps_its_token()
    {
        using var mesh = new Mesh();
        Assert.Empty(mesh.Ca.Prepare(["paris"]));
        TakeRoot(mesh);
        var token = mesh.Ca.CreateToken("virginia", "virginia-a");
        var refused = Assert.Throws<JoinException>(() => mesh.Ca.Redeem(token, Mesh.Csr()));
        Assert.Equal(JoinFailure.Authority, refused.Failure);
        Assert.Equal($"site virginia has no intermediate certificate, and root.key, which makes a new one, is not in {mesh.Folder["ca"]}; "
            + "put it there, try again, and take it away", refused.Message);
        Assert.Equal(["virginia"], mesh.Ca.Prepare(["paris", "virginia"]));

        BringRoot(mesh);
        Assert.Empty(mesh.Ca.Prepare(["paris", "virginia"]));
        TakeRoot(mesh);
        Assert.NotEmpty(mesh.Ca.Redeem(token, Mesh.Csr()).Chain);
    }

    [Fact]
    public void Replaces_an_intermediate_at_half_its_life()
    {
        using var mesh = new Mesh();
        var before = mesh.Ca.Issue(Paris, Mesh.Csr()).Chain[1];
        mesh.Time.Advance(TimeSpan.FromDays(180));
        Assert.Equal(before, mesh.Ca.Issue(Paris, Mesh.Csr()).Chain[1]);
        mesh.Time.Advance(TimeSpan.FromDays(5));
        Assert.NotEqual(before, mesh.Ca.Issue(Paris, Mesh.Csr()).Chain[1]);
    }

    [Fact]
    public void Rotates_the_intermediate_of_one_site()
    {
        using var mesh = new Mesh();
        var (paris, virginia) = (mesh.Ca.Issue(Paris, Mesh.Csr()).Chain[1], mesh.Ca.Issue(Virginia, Mesh.Csr()).Chain[1]);
        mesh.Ca.Rotate("paris");
        Assert.NotEqual(paris, mesh.Ca.Issue(Paris, Mesh.Csr()).Chain[1]);
        Assert.Equal(virginia, mesh.Ca.Issue(Virginia, Mesh.Csr()).Chain[1]);
        TakeRoot(mesh);
        Assert.Throws<FileNotFoundException>(() => mesh.Ca.Rotate("paris"));
    }

    /// <summary>A folder from before sites had intermediates: it goes on, and changes over where the root's key is there.</summary>
    [Fact]
    public void A_mesh_with_one_issuing_certificate_goes_on_and_changes_over()
    {
        using var mesh = new Mesh();
        MakeOld(mesh);
        TakeRoot(mesh);
        var old = mesh.Ca.Issue(Paris, Mesh.Csr());
        Assert.Equal(old.Chain[1], mesh.Ca.Issue(Virginia, Mesh.Csr()).Chain[1]);
        using var leaf = X509CertificateLoader.LoadCertificate(old.Chain[0]);
        Assert.Equal(Paris, SvidVerifier.Verify(leaf, [], Mesh.Domain, TrustBundle.FromDer(old.Bundle), [], mesh.Time.GetUtcNow()).Id);
        Assert.Empty(mesh.Ca.Prepare(["paris", "virginia"]));

        BringRoot(mesh);
        var own = mesh.Ca.Issue(Paris, Mesh.Csr()).Chain[1];
        Assert.NotEqual(old.Chain[1], own);
        TakeRoot(mesh);
        Assert.Equal(own, mesh.Ca.Issue(Paris, Mesh.Csr()).Chain[1]);
        Assert.Equal(old.Chain[1], mesh.Ca.Issue(Virginia, Mesh.Csr()).Chain[1]);

        mesh.Time.Advance(TimeSpan.FromDays(31));
        Assert.Equal(own, mesh.Ca.Issue(Paris, Mesh.Csr()).Chain[1]);
        Assert.Contains("site virginia has no intermediate", Assert.Throws<JoinException>(() => mesh.Ca.Issue(Virginia, Mesh.Csr())).Message);
    }

    [Fact]
    public void A_file_with_the_intermediate_of_another_site_is_refused()
    {
        using var mesh = new Mesh();
        Assert.Empty(mesh.Ca.Prepare(["paris", "virginia"]));
        foreach (var kind in new[] { "crt", "key" })
        {
            File.Copy(mesh.Folder[$"ca/sites/virginia.{kind}"], mesh.Folder[$"ca/sites/paris.{kind}"], overwrite: true);
        }

        Assert.Contains("is not that of site paris", Assert.Throws<InvalidDataException>(() => mesh.Ca.Issue(Paris, Mesh.Csr())).Message);
    }

    /// <summary>An implementation that no one here wrote agrees that the chain is valid for both purposes.</summary>
    [RequiresFact("openssl")]
    public async Task OpenSsl_agrees()
    {
        using var mesh = new Mesh();
        var grant = mesh.Ca.Issue(Paris, Mesh.Csr());
        var names = new[] { "leaf", "intermediate", "root" };
        foreach (var (name, der) in names.Zip([grant.Chain[0], grant.Chain[1], grant.Bundle[0]]))
        {
            using var certificate = X509CertificateLoader.LoadCertificate(der);
            File.WriteAllText(mesh.Folder[name], certificate.ExportCertificatePem());
        }

        foreach (var purpose in new[] { "sslserver", "sslclient" })
        {
            using var openssl = Process.Start(new ProcessStartInfo("openssl",
            [
                "verify", "-x509_strict", "-attime", $"{mesh.Time.GetUtcNow().ToUnixTimeSeconds()}", "-purpose", purpose,
                "-CAfile", mesh.Folder["root"], "-untrusted", mesh.Folder["intermediate"], mesh.Folder["leaf"],
            ])
            { RedirectStandardOutput = true, RedirectStandardError = true })!;
            await openssl.WaitForExitAsync().WaitAsync(TimeSpan.FromSeconds(20));
            Assert.True(openssl.ExitCode == 0, await openssl.StandardError.ReadToEndAsync());
        }
    }

    private static void TakeRoot(Mesh mesh) => File.Move(mesh.Folder["ca/root.key"], mesh.Folder["safe"]);

    private static void BringRoot(Mesh mesh) => File.Move(mesh.Folder["safe"], mesh.Folder["ca/root.key"]);

    /// <summary>What `fabric init` made before sites had intermediates: one that names no site, here for 30 days.</summary>
    private static void MakeOld(Mesh mesh)
    {
        using var root = X509Certificate2.CreateFromPemFile(mesh.Folder["ca/root.crt"], mesh.Folder["ca/root.key"]);
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest("CN=Fabric issuing 01234567 of acme.example", key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, true, 0, critical: true));
        request.CertificateExtensions.Add(
            new X509KeyUsageExtension(X509KeyUsageFlags.KeyCertSign | X509KeyUsageFlags.CrlSign, critical: true));
        request.CertificateExtensions.Add(UriNames.Write("spiffe://acme.example", critical: false));
        request.CertificateExtensions.Add(new X509SubjectKeyIdentifierExtension(request.PublicKey, critical: false));
        request.CertificateExtensions.Add(X509AuthorityKeyIdentifierExtension.CreateFromCertificate(root, true, false));
        using var old = request.Create(root, root.NotBefore, mesh.Time.GetUtcNow().AddDays(30), [7]);
        KeyPairFiles.Save(mesh.Folder["ca"], "issuing", key, [old]);
    }
}
