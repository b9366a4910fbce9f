using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Threading.Channels;
using Fabric.Identity.Authority;
using Fabric.Identity.Sources;
using Fabric.Testing;

namespace Fabric.Identity.Tests;

public class RenewalLoopTests
{
    private static readonly DateTimeOffset Start = new(2026, 1, 1, 0, 0, 0, TimeSpan.Zero);

    [Theory]
    [InlineData(0, 12.0)]
    [InlineData(-1, 10.8)]
    [InlineData(1, 13.2)]
    [InlineData(5, 13.2)]
    public void Renews_at_half_life(double jitter, double hours) =>
        Assert.Equal(hours, (RenewalLoop.RenewAt(Start, Start.AddHours(24), jitter) - Start).TotalHours, 6);

    [Theory]
    [InlineData(1, 0, 5)]
    [InlineData(2, 0, 10)]
    [InlineData(6, 0, 160)]
    [InlineData(7, 0, 300)]
    [InlineData(1_000_000, 0, 300)]
    [InlineData(1, 1, 6)]
    [InlineData(1, -1, 4)]
    public void Backs_off(int failures, double jitter, double seconds) =>
        Assert.Equal(seconds, RenewalLoop.RetryAfter(failures, jitter).TotalSeconds, 6);

    /// <summary>
    /// A week with an authority that is away for its second day: renewed in time before and after, retried in between.
    /// </summary>
    [Fact]
    public Task Renews_through_a_week() => Task.Run(async () =>
    {
        // Without a synchronization context, the loop runs on within Advance, up to its next wait: nothing is left to chance.
        using var mesh = new Mesh();
        var identity = mesh.Join("paris", "paris-a");
        var attempts = Channel.CreateUnbounded<RenewalAttempt>();
        var awayFrom = mesh.Time.GetUtcNow().AddHours(20);
        var source = new EmbeddedSource(new GatewayKeyStore(mesh.Folder["paris-paris-a"]),
            (self, csr, _) => mesh.Time.GetUtcNow() is var now && now > awayFrom && now < awayFrom.AddHours(6)
                ? throw new JoinException(JoinFailure.Unreachable, "away")
                : Task.FromResult(mesh.Ca.Issue(self.Id, csr)), mesh.Time);
        var loop = new RenewalLoop(
            identity, source, mesh.Time, new Random(1), a => Assert.True(attempts.Writer.TryWrite(a)));
        using var stop = new CancellationTokenSource();
        var running = loop.RunAsync(stop.Token);

        var seen = new List<RenewalAttempt>();
        var serials = new HashSet<string> { Serial() };
        while (mesh.Time.GetUtcNow() < Start.AddDays(7))
        {
            mesh.Time.Advance(TimeSpan.FromMinutes(1));
            while (attempts.Reader.TryRead(out var attempt))
            {
                seen.Add(attempt);
                serials.Add(Serial());
            }

            Assert.InRange(mesh.Time.GetUtcNow(), identity.Validity.NotBefore, identity.Validity.NotAfter);
        }

        stop.Cancel();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => running.WaitAsync(TimeSpan.FromSeconds(10)));
        var failed = seen.Where(a => a.Error is not null).ToList();
        var renewed = seen.Where(a => a.Error is null).ToList();
        Assert.InRange(renewed.Count, 12, 17);
        Assert.Equal(renewed.Count + 1, serials.Count);
        Assert.InRange(failed.Count, 6, 90);
        Assert.Equal(Enumerable.Range(1, failed.Count), failed.Select(f => f.FailuresInARow));
        Assert.All(failed.Zip(failed.Skip(1)), p => Assert.True(p.Second.At - p.First.At <= RenewalLoop.LongestRetry * 1.2));

        string Serial() => identity.Certificate.TargetCertificate.SerialNumber;
    });

    [Fact]
    public async Task A_failed_renewal_leaves_the_present_certificate()
    {
        using var mesh = new Mesh();
        var identity = mesh.Join("paris", "paris-a");
        var store = new GatewayKeyStore(mesh.Folder["paris-paris-a"]);
        var before = identity.Certificate;
        using var other = new Mesh("other.example");

        await Assert.ThrowsAsync<JoinException>(() =>
            Renew(new GatewayId("other.example", "paris", "paris-a"), other.Ca));
        Assert.Same(before, identity.Certificate);

        Assert.True(identity.Swap(await Renew(identity.Id, mesh.Ca)));
        Assert.NotEqual(Key(before.TargetCertificate), Key(identity.Certificate.TargetCertificate));
        var reloaded = GatewayIdentity.Load(new GatewayKeyStore(mesh.Folder["paris-paris-a"]), mesh.Time);
        Assert.Equal(identity.Certificate.TargetCertificate.Thumbprint, reloaded.Certificate.TargetCertificate.Thumbprint);

        Task<IdentityState> Renew(GatewayId named, MeshCa ca) => store.RenewAsync(identity.Id, null,
            (key, _) => Task.FromResult(ca.Issue(named, MeshCa.Request(key))), mesh.Time, default);

        static string Key(X509Certificate2 c) => Convert.ToHexString(c.PublicKey.ExportSubjectPublicKeyInfo());
    }

    /// <summary>A copy that lags behind, or an old backup, does not take the place of what is newer and still holds.</summary>
    [Fact]
    public void A_step_back_is_refused_unless_the_bundle_says_so()
    {
        using var mesh = new Mesh();
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var id = new GatewayId(Mesh.Domain, "paris", "paris-a");
        var old = IdentityState.Of(mesh.Ca.Issue(id, MeshCa.Request(key)), key, id, mesh.Time.GetUtcNow());
        mesh.Time.Advance(TimeSpan.FromHours(6));
        var present = IdentityState.Of(mesh.Ca.Issue(id, MeshCa.Request(key)), key, id, mesh.Time.GetUtcNow());
        var identity = new GatewayIdentity(present, mesh.Time);

        var e = Assert.Throws<JoinException>(() => identity.Swap(old));
        Assert.Equal(JoinFailure.Protocol, e.Failure);
        Assert.Contains("older than the present one", e.Message);
        Assert.Same(present.Certificate, identity.Certificate);
        Assert.False(identity.Swap(present));

        // An authority that was replaced vouches for its own only: then that is the way on.
        using var other = new Mesh();
        var anew = IdentityState.Of(other.Ca.Issue(id, MeshCa.Request(key)), key, id, mesh.Time.GetUtcNow());
        Assert.True(identity.Swap(anew));
        Assert.Throws<JoinException>(() => identity.Swap(
            IdentityState.Of(other.Ca.Issue(id with { Gateway = "paris-b" }, MeshCa.Request(key)), key, null, mesh.Time.GetUtcNow())));
    }
}
