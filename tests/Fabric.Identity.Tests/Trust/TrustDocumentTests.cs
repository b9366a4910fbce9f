using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Fabric.Identity.Authority;
using Fabric.Identity.Svid;
using Fabric.Identity.Trust;
using Fabric.Protocol.Proto;
using Google.Protobuf;

namespace Fabric.Identity.Tests.Trust;

/// <summary>What a gateway takes for a trust document, and what it does not.</summary>
public class TrustDocumentTests
{
    private static readonly GatewayId Rome = new(Mesh.Domain, "rome", "rome-1");

    [Fact]
    public void An_eviction_is_taken_and_refuses_whom_it_names()
    {
        using var mesh = new Mesh();
        var paris = mesh.Join("paris", "paris-1");
        var rome = mesh.Join("rome", "rome-1");
        Assert.Null(paris.Refuses(Rome, rome.Root));

        paris.Accept(Authority(mesh).Evict("rome"), _ => { });

        var verdict = paris.Verify(rome.Certificate.TargetCertificate, rome.State.Intermediates);
        Assert.Equal((null, SvidRejection.Evicted), (verdict.Id, verdict.Rejection));
        Assert.Equal("site rome was evicted from the mesh", verdict.Reason);
        Assert.Equal(SvidRejection.Evicted, paris.Refuses(Rome, rome.Root)?.Rejection);
        var oslo = mesh.Join("oslo", "oslo-1").State;
        Assert.NotNull(paris.Verify(oslo.Leaf, oslo.Intermediates).Id);

        paris.Accept(Authority(mesh).Readmit("rome"), _ => { });
        Assert.NotNull(paris.Verify(rome.Certificate.TargetCertificate, rome.State.Intermediates).Id);
    }

    [Fact]
    public void One_gateway_may_be_out_and_its_site_in()
    {
        using var mesh = new Mesh();
        var paris = mesh.Join("paris", "paris-1");
        paris.Accept(Authority(mesh).Evict("rome/rome-1"), _ => { });

        Assert.NotNull(paris.Refuses(Rome, ""));
        Assert.Null(paris.Refuses(Rome with { Gateway = "rome-2" }, ""));
        Assert.Null(paris.Refuses(Rome with { Site = "paris" }, ""));
    }

    [Fact]
    public void The_evicted_neither_join_nor_renew_and_their_tokens_stay_good()
    {
        using var mesh = new Mesh();
        var token = mesh.Ca.CreateToken("rome", "rome-1");
        Authority(mesh).Evict("rome");

        Assert.Equal(JoinFailure.NotAdmitted, Assert.Throws<JoinException>(() => mesh.Ca.Issue(Rome, Mesh.Csr())).Failure);
        Assert.Equal(JoinFailure.NotAdmitted, Assert.Throws<JoinException>(() => mesh.Ca.Redeem(token, Mesh.Csr())).Failure);
        Assert.Equal(JoinFailure.NotAdmitted, Assert.Throws<JoinException>(() => mesh.Ca.CreateToken("rome", "rome-2")).Failure);

        Authority(mesh).Readmit("rome");
        Assert.NotEmpty(mesh.Ca.Redeem(token, Mesh.Csr()).Chain);
    }

    [Fact]
    public void Who_joins_after_an_eviction_knows_of_it()
    {
        using var mesh = new Mesh();
        Authority(mesh).Evict("rome");
        mesh.Join("paris", "paris-1");

        Assert.True(new GatewayKeyStore(mesh.Folder["paris-paris-1"]).Trust.Load()!.IsEvicted("rome", "any"));
    }

    [Fact]
    public void What_was_stored_holds_after_a_restart_and_older_versions_are_refused()
    {
        using var mesh = new Mesh();
        var file = new TrustFile(mesh.Folder["paris-paris-1"]);
        var first = Authority(mesh).Evict("rome");
        var second = Authority(mesh).Evict("oslo");
        mesh.Join("paris", "paris-1").Accept(second, file.Save);

        var again = GatewayIdentity.Load(new GatewayKeyStore(mesh.Folder["paris-paris-1"]), mesh.Time);
        again.Restore(file.Load()!);

        Assert.Equal(2u, again.Trust!.Version);
        Assert.NotNull(again.Refuses(Rome, ""));
        foreach (var replayed in new[] { first, second })
        {
            Assert.Contains("is not newer than 2", Refused(again, replayed));
        }
    }

    [Fact]
    public void What_cannot_be_stored_does_not_hold()
    {
        using var mesh = new Mesh();
        var paris = mesh.Join("paris", "paris-1");
        Assert.Throws<IOException>(() => paris.Accept(Authority(mesh).Evict("rome"), _ => throw new IOException("the disk is full")));
        Assert.Null(paris.Trust);
    }

    [Fact]
    public void A_change_that_changes_nothing_is_no_version()
    {
        using var mesh = new Mesh();
        Assert.Equal(1u, Authority(mesh).Evict("rome").Version);
        Assert.Equal(1u, Authority(mesh).Evict("rome").Version);
        Assert.Equal(2u, Authority(mesh).Evict("oslo/oslo-1").Version);
        Assert.Equal(2u, Authority(mesh).Readmit("nobody").Version);
    }

    [Theory]
    [InlineData("")]
    [InlineData("a/b/c")]
    [InlineData("a b")]
    [InlineData("../a")]
    [InlineData("/a")]
    public void Only_names_can_be_evicted(string name)
    {
        using var mesh = new Mesh();
        Assert.Throws<ArgumentException>(() => Authority(mesh).Evict(name));
        Assert.Null(Authority(mesh).Current);
    }

    [Fact]
    public void Forged_documents_are_refused()
    {
        using var mesh = new Mesh();
        using var other = new Mesh();
        using var foreign = new Mesh("other.example");
        var paris = mesh.Join("paris", "paris-1");
        var leaf = mesh.Join("rome", "rome-1");
        var good = Authority(mesh).Evict("rome");

        Assert.Contains("signed by nobody", Refused(paris, Authority(other).Evict("rome")));
        Assert.Contains("of other.example", Refused(paris, Authority(foreign).Evict("rome")));
        Assert.Contains("the signature is wrong", Refused(paris, AlteredDocument(good, s => s.Evicted.Clear())));

        // A gateway's certificate, and one that a site's intermediate made up, chain to the root as well.
        Assert.Contains("the signer is not spiffe://acme.example/fabric/trust", Refused(paris, Signed(good, leaf.State.Leaf, leaf.State.Intermediates)));
        using var issuer = X509Certificate2.CreateFromPemFile(Path.Combine(mesh.Folder["ca"], "sites", "rome.crt"), Path.Combine(mesh.Folder["ca"], "sites", "rome.key"));
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        using var made = CertificateProfile.TrustSigner(key, Mesh.Domain, issuer, mesh.Time.GetUtcNow());
        Assert.Contains("intermediate of a site", Refused(paris, Signed(good, made.CopyWithPrivateKey(key), [X509CertificateLoader.LoadCertificate(issuer.RawData)])));
        Assert.Null(paris.Trust);

        paris.Accept(good, _ => { });
        Assert.Equal(1u, paris.Trust!.Version);
    }

    [Fact]
    public void The_signers_key_cannot_bring_a_root_of_its_own()
    {
        using var mesh = new Mesh();
        using var evil = new Mesh();
        var paris = mesh.Join("paris", "paris-1");
        var evilRoot = evil.Ca.Current.Certificate;
        var signer = mesh.Ca.Current.TrustSigner(mesh.Time.GetUtcNow())!.Value;
        var good = Authority(mesh).Evict("rome");

        var bare = Signed(good with { Roots = [.. good.Roots, evilRoot] }, signer.Leaf, signer.Intermediates);
        Assert.Contains("was introduced by no root that is trusted here", Refused(paris, bare));

        // Introduced by itself, and by a site's intermediate.
        using var key = ECDsa.Create();
        key.ImportFromPem(File.ReadAllText(Path.Combine(evil.Folder["ca"], "root.key")));
        using var byItself = CertificateProfile.Introduction(key, Mesh.Domain, 2, evilRoot.CopyWithPrivateKey(key), mesh.Time.GetUtcNow());
        Assert.Contains("was introduced by no root", Refused(paris, Signed(good with { Roots = [.. good.Roots, evilRoot], Introductions = [byItself] },
            signer.Leaf, signer.Intermediates)));
    }

    [Fact]
    public void A_document_has_limits()
    {
        using var mesh = new Mesh();
        var good = Authority(mesh).Evict("rome");
        Assert.Contains("is not from 1 to", Malformed(Altered(good, s => s.Version = ulong.MaxValue)));
        Assert.Contains("is not from 1 to", Malformed(Altered(good, s => s.Version = 0)));
        Assert.Contains("at most 4096", Malformed(Altered(good, s => s.Evicted.Add(Enumerable.Range(0, 4096).Select(i => $"s{i}")))));
        Assert.Contains("neither SITE nor", Malformed(Altered(good, s => s.Evicted.Add("a/b/c"))));
        Assert.Contains("at most 8 roots", Malformed(Altered(good, s => s.Roots.Add(Enumerable.Repeat(s.Roots[0], 8)))));
        Assert.Contains("32 bytes", Malformed(Altered(good, s => s.Withdrawn.Add(ByteString.CopyFromUtf8("short")))));
        Assert.Contains("issuing root", Malformed(Altered(good, s => s.Issuing = ByteString.CopyFrom(new byte[32]))));
        Assert.Contains("withdrawn in it as well", Malformed(Altered(good, s => s.Withdrawn.Add(ByteString.CopyFrom(SHA256.HashData(s.Roots[0].Span))))));
        Assert.Contains("1 to 4 signatures", Malformed(new SignedTrust { Statement = good.Signed!.Statement }));
        Assert.Contains("at most 524288", Assert.Throws<InvalidDataException>(() => TrustDocument.Parse(new byte[TrustDocument.MaxBytes + 1])).Message);
    }

    [Fact]
    public void There_is_nothing_after_the_last_version()
    {
        using var mesh = new Mesh();
        var signer = mesh.Ca.Current.TrustSigner(mesh.Time.GetUtcNow())!.Value;
        var last = Signed(Authority(mesh).Evict("rome") with { Version = TrustDocument.MaxVersion }, signer.Leaf, signer.Intermediates);
        new TrustFile(mesh.Folder["ca"]).Save(last);
        Assert.Contains("no version after", Assert.Throws<ArgumentException>(() => Authority(mesh).Evict("oslo")).Message);
    }

    [Fact]
    public void Fuzz_the_parser_and_the_rules()
    {
        using var mesh = new Mesh();
        var paris = mesh.Join("paris", "paris-1");
        var good = Authority(mesh).Evict("rome").Signed!.ToByteArray();
        var random = new Random(7);
        for (var i = 0; i < 2000; i++)
        {
            var bytes = (byte[])good.Clone();
            for (var edits = random.Next(1, 4); edits > 0; edits--)
            {
                bytes[random.Next(bytes.Length)] ^= (byte)random.Next(1, 256);
            }

            bytes = random.Next(4) == 0 ? bytes[..random.Next(bytes.Length)] : bytes;
            try
            {
                // What passes says what was signed: an edit may have hit what nobody reads, such as a signature's second copy.
                var document = TrustDocument.Parse(bytes);
                TrustRules.Check(document, Mesh.Domain, null, paris.Bundle.Roots);
                Assert.Equal(TrustDocument.Parse(good).Signed!.Statement, document.Signed!.Statement);
            }
            catch (Exception e) when (e is InvalidDataException or TrustRefusedException)
            {
            }
        }
    }

    [Fact]
    public void A_damaged_file_is_an_error_that_says_what_to_do()
    {
        using var mesh = new Mesh();
        mesh.Join("paris", "paris-1");
        File.WriteAllText(Path.Combine(mesh.Folder["paris-paris-1"], TrustFile.Name), "nonsense");
        Assert.Contains("put trust.bin of another gateway in its place", Assert.Throws<InvalidDataException>(() => new TrustFile(mesh.Folder["paris-paris-1"]).Load()).Message);
    }

    [Fact]
    public void Where_another_CA_issues_its_certificate_for_the_purpose_signs()
    {
        using var mesh = new Mesh();
        var paris = mesh.Join("paris", "paris-1");
        var signer = mesh.Ca.Current.TrustSigner(mesh.Time.GetUtcNow())!.Value;
        using var key = signer.Leaf.GetECDsaPrivateKey()!;
        Directory.CreateDirectory(mesh.Folder["desk"]);
        File.WriteAllText(mesh.Folder["desk/trust.crt"], signer.Leaf.ExportCertificatePem());
        File.WriteAllText(mesh.Folder["desk/trust.key"], key.ExportPkcs8PrivateKeyPem());

        var desk = TrustAuthority.Open(mesh.Folder["desk"], mesh.Time);
        var document = desk.Evict("rome");

        Assert.True(desk.IsForeign);
        Assert.Empty(document.Roots);
        paris.Accept(document, _ => { });
        Assert.NotNull(paris.Refuses(Rome, ""));
        Assert.Throws<InvalidOperationException>(() => Rotation.Begin(desk, []));
        Assert.Contains("no trust key of another CA", Assert.Throws<FileNotFoundException>(() => TrustAuthority.Open(mesh.Folder["nowhere"], mesh.Time)).Message);
    }

    internal static TrustAuthority Authority(Mesh mesh) => TrustAuthority.Open(mesh.Folder["ca"], mesh.Time);

    private static string Refused(GatewayIdentity gateway, TrustDocument document) =>
        Assert.Throws<TrustRefusedException>(() => gateway.Accept(document, _ => Assert.Fail("it was stored"))).Message;

    private static string Malformed(SignedTrust signed) => Assert.Throws<InvalidDataException>(() => TrustDocument.Of(signed)).Message;

    private static TrustDocument Signed(TrustDocument document, X509Certificate2 signer, X509Certificate2Collection intermediates) =>
        TrustDocument.Of(TrustRules.Sign(document, [(signer, intermediates)]));

    /// <summary>Another statement under the old signatures.</summary>
    private static SignedTrust Altered(TrustDocument document, Action<TrustStatement> change)
    {
        var statement = TrustStatement.Parser.ParseFrom(document.Signed!.Statement);
        change(statement);
        return new SignedTrust(document.Signed) { Statement = statement.ToByteString() };
    }

    private static TrustDocument AlteredDocument(TrustDocument document, Action<TrustStatement> change) => TrustDocument.Of(Altered(document, change));
}
