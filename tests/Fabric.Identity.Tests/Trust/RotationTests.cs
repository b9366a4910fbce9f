using Fabric.Identity.Authority;
using Fabric.Identity.Joining;
using Fabric.Identity.Sources;
using Fabric.Identity.Svid;
using Fabric.Identity.Trust;

namespace Fabric.Identity.Tests.Trust;

/// <summary>One root takes another's place: what each step writes, and that every state in between goes on.</summary>
public class RotationTests
{
    [Fact]
    public void Step_by_step_everybody_believes_everybody()
    {
        using var mesh = new Mesh();
        var (paris, rome) = (mesh.Join("paris", "paris-1"), mesh.Join("rome", "rome-1"));
        var old = paris.Root;
        var rotation = Begin(mesh);
        Assert.Equal(old, rotation.Old);
        Assert.NotEqual(old, rotation.New);

        // Introduced: both are trusted, certificates are as before.
        var introduced = rotation.Take(RotationStep.Introduce);
        foreach (var gateway in new[] { paris, rome })
        {
            gateway.Accept(introduced, _ => { });
            Assert.Equal(2, gateway.Bundle.Roots.Count);
            Assert.False(gateway.RenewalAsked.IsCompleted);
        }

        Assert.Equal(old, Renewed(mesh, rome).Root);

        // Reissued: who hears of it renews, and is believed by those who did not yet.
        var reissued = rotation.Take(RotationStep.Reissue);
        rome.Accept(reissued, _ => { });
        Assert.True(rome.RenewalAsked.IsCompleted);
        Renewed(mesh, rome);
        Assert.Equal(rotation.New, rome.Root);
        Assert.False(rome.RenewalAsked.IsCompleted);
        BelieveEachOther(paris, rome);
        paris.Accept(reissued, _ => { });
        Renewed(mesh, paris);
        BelieveEachOther(paris, rome);

        // Withdrawn: what the old root signs is worth nothing.
        var withdrawn = rotation.Take(RotationStep.Withdraw);
        paris.Accept(withdrawn, _ => { });
        Assert.Equal([rotation.New], paris.Bundle.Roots.Select(TrustDocument.Fingerprint));
        BelieveEachOther(paris, rome);
        Assert.Equal(SvidRejection.RootWithdrawn, paris.Refuses(rome.Id, old)?.Rejection);
        Assert.Null(paris.Refuses(rome.Id, rotation.New));

        rotation.Finish();
        Assert.Null(Rotation.UnderWay(TrustDocumentTests.Authority(mesh)));
        Assert.Equal(rotation.New, mesh.Join("oslo", "oslo-1").Root);
    }

    [Fact]
    public void A_certificate_under_a_withdrawn_root_is_refused()
    {
        using var mesh = new Mesh();
        var (paris, late) = (mesh.Join("paris", "paris-1"), mesh.Join("rome", "rome-1"));
        Rotate(mesh);
        paris.Accept(TrustDocumentTests.Authority(mesh).Current!, _ => { });

        Assert.Equal(SvidRejection.IssuerUnknown, paris.Verify(late.State.Leaf, late.State.Intermediates).Rejection);
        Assert.Equal("", paris.Root);
        Assert.True(paris.RenewalAsked.IsCompleted);
    }

    [Fact]
    public void Whoever_was_away_for_a_rotation_follows_in_one_step()
    {
        using var mesh = new Mesh();
        var away = mesh.Join("rome", "rome-1");
        var fresh = GatewayIdentity.Load(new GatewayKeyStore(mesh.Folder["rome-rome-1"]), mesh.Time);
        Rotate(mesh);

        // The last document is signed by the old root's signer as well, and says who introduced the new one.
        away.Accept(TrustDocumentTests.Authority(mesh).Current!, _ => { });
        Assert.Equal(3u, away.Trust!.Version);

        // After the next rotation the old root's word is not there any more: it has to join anew.
        Rotate(mesh);
        Assert.Contains("signed by nobody", Assert.Throws<TrustRefusedException>(
            () => fresh.Accept(TrustDocumentTests.Authority(mesh).Current!, _ => { })).Message);
        away.Accept(TrustDocumentTests.Authority(mesh).Current!, _ => { });
        Assert.Equal(2, TrustDocumentTests.Authority(mesh).Current!.Withdrawn.Count);
        Assert.EndsWith("roots/3", mesh.Ca.RootKeyFolder.Replace('\\', '/'));
    }

    /// <summary>As a process leaves it that was killed there, and run again from the start.</summary>
    [Theory]
    [InlineData("before the folder")]
    [InlineData("before root.crt")]
    [InlineData("begun")]
    [InlineData("introduced")]
    [InlineData("between current and trust.bin")]
    [InlineData("reissued")]
    [InlineData("withdrawn")]
    public void Every_state_that_a_crash_leaves_goes_on(string killed)
    {
        using var mesh = new Mesh();
        var paris = mesh.Join("paris", "paris-1");
        var first = Begin(mesh);
        string In(string name) => Path.Combine(mesh.Folder["ca"], name);
        switch (killed)
        {
            case "before the folder": Directory.Delete(In("roots"), recursive: true); break;
            case "before root.crt": File.Delete(Path.Combine(first.Folder, "root.crt")); break;
            case "introduced": first.Take(RotationStep.Introduce); break;
            case "between current and trust.bin":
                first.Take(RotationStep.Introduce);
                File.Copy(In("trust.bin"), In("before"));
                first.Take(RotationStep.Reissue);
                File.Move(In("before"), In("trust.bin"), overwrite: true);
                break;
            case "reissued": first.Take(RotationStep.Introduce); first.Take(RotationStep.Reissue); break;
            case "withdrawn": first.Take(RotationStep.Withdraw); break;
        }

        // Whoever renews in that state gets what others believe that are as far.
        if (TrustDocumentTests.Authority(mesh).Current is { } now)
        {
            paris.Accept(now, _ => { });
        }

        Assert.NotEqual("", Renewed(mesh, paris).Root);

        var rotation = Begin(mesh);
        Assert.Equal(first.Old, rotation.Old);
        foreach (var step in Enum.GetValues<RotationStep>())
        {
            Assert.Equal(rotation.Take(step).Version, rotation.Take(step).Version);
        }

        var document = TrustDocumentTests.Authority(mesh).Current!;
        rotation.Finish();
        rotation.Finish();

        Assert.Equal([rotation.New], document.Roots.Select(TrustDocument.Fingerprint));
        Assert.Equal([first.Old], document.Withdrawn);
        Assert.Equal(2, TrustDocumentTests.Authority(mesh).Generations().Count());
        Assert.Equal(rotation.New, mesh.Join("rome", "rome-1").Root);
    }

    [Fact]
    public void Without_the_old_roots_key_nothing_is_begun_and_the_error_says_what_to_put_where()
    {
        using var mesh = new Mesh();
        mesh.Join("paris", "paris-1");
        var key = Path.Combine(mesh.Folder["ca"], "root.key");
        var text = File.ReadAllText(key);
        File.Delete(key);

        var error = Assert.Throws<JoinException>(() => Begin(mesh));
        Assert.Equal(JoinFailure.Authority, error.Failure);
        Assert.Contains($"root.key is not in {mesh.Folder["ca"]}; put it there", error.Message);
        Assert.Null(Rotation.UnderWay(TrustDocumentTests.Authority(mesh)));

        // Once begun, neither key is needed.
        File.WriteAllText(key, text);
        var rotation = Begin(mesh);
        File.Delete(key);
        File.Delete(Path.Combine(rotation.Folder, "root.key"));
        foreach (var step in Enum.GetValues<RotationStep>())
        {
            rotation.Take(step);
        }

        Assert.Equal(rotation.New, mesh.Join("paris", "paris-2").Root);
    }

    [Fact]
    public void Evicting_needs_no_root_key_once_there_is_a_trust_key()
    {
        using var mesh = new Mesh();
        File.Delete(Path.Combine(mesh.Folder["ca"], "root.key"));
        Assert.Equal(1u, TrustDocumentTests.Authority(mesh).Evict("rome").Version);

        // A folder from before trust documents.
        File.Delete(Path.Combine(mesh.Folder["ca"], "trust.crt"));
        Assert.Contains($"root.key, which makes one, is not in {mesh.Folder["ca"]}",
            Assert.Throws<JoinException>(() => TrustDocumentTests.Authority(mesh).Evict("oslo")).Message);
    }

    [Fact]
    public async Task Asked_to_renew_a_gateway_does_so_at_once_and_once()
    {
        using var mesh = new Mesh();
        var paris = mesh.Join("paris", "paris-1");
        await using var source = new EmbeddedSource(new GatewayKeyStore(mesh.Folder["paris-paris-1"]),
            (_, _) => throw new IOException("nobody is dialled"), mesh.Folder["ca"], mesh.Time);
        var next = source.NextAsync(paris, default);
        mesh.Time.Advance(TimeSpan.FromMinutes(1));
        Assert.False(next.IsCompleted);

        paris.Accept(TrustDocumentTests.Authority(mesh).Renew(), _ => { });
        Assert.True(paris.Swap(await next.WaitAsync(TimeSpan.FromSeconds(20))));

        Assert.False(paris.RenewalAsked.IsCompleted);
        paris.Accept(TrustDocumentTests.Authority(mesh).Evict("rome"), _ => { });
        Assert.False(paris.RenewalAsked.IsCompleted);
    }

    private static Rotation Begin(Mesh mesh) => Rotation.Begin(TrustDocumentTests.Authority(mesh), ["paris", "rome"]);

    private static void Rotate(Mesh mesh)
    {
        var rotation = Begin(mesh);
        foreach (var step in Enum.GetValues<RotationStep>())
        {
            rotation.Take(step);
        }

        rotation.Finish();
    }

    private static GatewayIdentity Renewed(Mesh mesh, GatewayIdentity gateway)
    {
        mesh.Time.Advance(TimeSpan.FromSeconds(1));
        using var key = System.Security.Cryptography.ECDsa.Create(System.Security.Cryptography.ECCurve.NamedCurves.nistP256);
        gateway.Swap(IdentityState.Of(mesh.Ca.Issue(gateway.Id, MeshCa.Request(key)), key, gateway.Id, mesh.Time.GetUtcNow()));
        return gateway;
    }

    private static void BelieveEachOther(GatewayIdentity a, GatewayIdentity b)
    {
        Assert.Equal(b.Id, a.Verify(b.State.Leaf, b.State.Intermediates).Id);
        Assert.Equal(a.Id, b.Verify(a.State.Leaf, a.State.Intermediates).Id);
    }
}
