using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Fabric.Identity.Authority;
using Fabric.Identity.Joining;
using Fabric.Identity.Storage;

namespace Fabric.Identity.Tests.Storage;

public class KillSafeTests
{
    [Fact]
    public void A_half_written_file_changes_nothing_and_goes_with_the_next_write()
    {
        using var folder = new TemporaryFolder();
        SafeFile.Write(folder["x"], "old");
        File.WriteAllText(folder[".x.tmp-dead"], "ne");
        Assert.Equal("old", SafeFile.ReadText(folder["x"]));
        SafeFile.Write(folder["x"], "new");
        Assert.Equal("new", SafeFile.ReadText(folder["x"]));
        Assert.Equal([folder["x"]], Directory.EnumerateFiles(folder.Root));
    }

    [Fact]
    public void A_file_over_the_limit_is_not_read()
    {
        using var folder = new TemporaryFolder();
        File.WriteAllBytes(folder["x"], new byte[SafeFile.MaxBytes + 1]);
        Assert.Throws<InvalidDataException>(() => SafeFile.ReadText(folder["x"]));
    }

    /// <summary>
    /// Every state that a kill during the three steps of a replacement can leave loads, with the old pair or the new.
    /// </summary>
    [Theory]
    [InlineData(0, false)]
    [InlineData(1, false)]
    [InlineData(2, true)]
    [InlineData(3, true)]
    public void A_pair_killed_while_replaced_loads(int stepsDone, bool isNew)
    {
        using var mesh = new Mesh();
        var dir = mesh.Folder["pair"];
        SafeFile.MakeFolder(dir);
        var (oldKey, oldLeaf) = Pair(mesh);
        var (newKey, newLeaf) = Pair(mesh);
        KeyPairFiles.Save(dir, "g", oldKey, [oldLeaf]);

        // As KeyPairFiles.Save does it, cut off after a number of steps.
        if (stepsDone >= 1)
        {
            SafeFile.Write(Path.Combine(dir, "g.key.next"), newKey.ExportPkcs8PrivateKeyPem());
        }

        if (stepsDone >= 2)
        {
            SafeFile.Write(Path.Combine(dir, "g.crt"), newLeaf.ExportCertificatePem());
        }

        if (stepsDone >= 3)
        {
            File.Move(Path.Combine(dir, "g.key.next"), Path.Combine(dir, "g.key"), overwrite: true);
        }

        for (var i = 0; i < 2; i++)
        {
            var (leaf, _) = KeyPairFiles.Load(dir, "g");
            Assert.True(leaf.HasPrivateKey);
            Assert.Equal((isNew ? newLeaf : oldLeaf).Thumbprint, leaf.Thumbprint);
        }

        // And the next replacement goes through whatever was left.
        KeyPairFiles.Save(dir, "g", oldKey, [oldLeaf]);
        Assert.Equal(oldLeaf.Thumbprint, KeyPairFiles.Load(dir, "g").Leaf.Thumbprint);
        Assert.False(File.Exists(Path.Combine(dir, "g.key.next")));
    }

    [Fact]
    public void Files_that_do_not_belong_together_are_refused()
    {
        using var mesh = new Mesh();
        var dir = mesh.Folder["pair"];
        SafeFile.MakeFolder(dir);
        var (key, leaf) = Pair(mesh);
        var (other, _) = Pair(mesh);
        KeyPairFiles.Save(dir, "g", other, [leaf]);
        Assert.Throws<InvalidDataException>(() => KeyPairFiles.Load(dir, "g"));
        File.WriteAllText(Path.Combine(dir, "g.key"), "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
        Assert.Throws<InvalidDataException>(() => KeyPairFiles.Load(dir, "g"));
        KeyPairFiles.Save(dir, "g", key, [leaf]);
        File.WriteAllText(Path.Combine(dir, "g.crt"), "garbage");
        Assert.Throws<InvalidDataException>(() => KeyPairFiles.Load(dir, "g"));
    }

    [Fact]
    public void A_store_survives_reload_and_says_what_is_wrong()
    {
        using var mesh = new Mesh();
        var store = new GatewayKeyStore(mesh.Folder["identity"]);
        Assert.False(store.Exists);
        Assert.Contains("fabric join", Assert.Throws<FileNotFoundException>(() =>
            GatewayIdentity.Load(store, mesh.Time)).Message);

        JoinClient.JoinLocally(mesh.Ca.CreateToken("paris", "paris-a"), mesh.Ca, store, mesh.Time);
        Assert.Equal(new GatewayId(Mesh.Domain, "paris", "paris-a"), GatewayIdentity.Load(store, mesh.Time).Id);
        Assert.Null(GatewayIdentity.Load(store, mesh.Time).Authority);

        File.WriteAllText(Path.Combine(store.Folder, "bundle.pem"), "");
        Assert.Throws<InvalidDataException>(() => GatewayIdentity.Load(store, mesh.Time));
    }

    [Fact]
    public void A_store_takes_only_a_certificate_of_its_own_key_and_name()
    {
        using var mesh = new Mesh();
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        using var other = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var id = new GatewayId(Mesh.Domain, "paris", "paris-a");
        var grant = mesh.Ca.Issue(id, MeshCa.Request(key));
        var store = new GatewayKeyStore(mesh.Folder["identity"]);

        Refused("another key", id, other, grant);
        Refused("was asked for", id with { Gateway = "paris-b" }, key, grant);
        Refused("no certificate", id, key, grant with { Chain = [] });
        Refused("malformed", id, key, grant with { Bundle = [[1, 2, 3]] });
        Refused("needs a root", id, key, grant with { Bundle = [] });
        Assert.False(store.Exists);

        void Refused(string because, GatewayId asked, ECDsa over, Grant granted)
        {
            var e = Assert.Throws<JoinException>(() => store.Save(asked, over, granted, null, mesh.Time.GetUtcNow()));
            Assert.Equal(JoinFailure.Protocol, e.Failure);
            Assert.Contains(because, e.Message);
        }
    }

    private static (ECDsa Key, X509Certificate2 Leaf) Pair(Mesh mesh)
    {
        var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var grant = mesh.Ca.Issue(new GatewayId(Mesh.Domain, "paris", "paris-a"), MeshCa.Request(key));
        return (key, X509CertificateLoader.LoadCertificate(grant.Chain[0]));
    }
}
