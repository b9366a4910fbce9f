using Fabric.Identity.Authority;
using Fabric.Identity.Joining;

namespace Fabric.Identity.Tests.Joining;

public class JoinTokensTests
{
    [Fact]
    public void Good_once()
    {
        using var mesh = new Mesh();
        var token = mesh.Ca.CreateToken("paris", "paris-a");
        Assert.NotEmpty(mesh.Ca.Redeem(token, Mesh.Csr()).Chain);
        Fails(mesh.Ca, token, JoinFailure.TokenUsed);

        // Also for an authority opened later, and when it has expired as well.
        mesh.Time.Advance(TimeSpan.FromDays(1));
        Fails(MeshCa.Open(mesh.Folder["ca"], mesh.Time), token, JoinFailure.TokenUsed);
    }

    [Fact]
    public void Expires()
    {
        using var mesh = new Mesh();
        var token = mesh.Ca.CreateToken("paris", "paris-a", TimeSpan.FromMinutes(10));
        mesh.Time.Advance(TimeSpan.FromMinutes(10));
        Fails(mesh.Ca, token, JoinFailure.TokenExpired);
    }

    [Fact]
    public void A_wrong_secret_and_an_unknown_token_are_not_told_apart()
    {
        using var mesh = new Mesh();
        var token = mesh.Ca.CreateToken("paris", "paris-a");
        var wrong = Fails(mesh.Ca, token with { Secret = new byte[32] }, JoinFailure.TokenUnknown);
        var unknown = Fails(mesh.Ca, token with { Id = new byte[8] }, JoinFailure.TokenUnknown);
        var malformed = Fails(mesh.Ca, token with { Id = [1] }, JoinFailure.TokenUnknown);
        Assert.Equal(wrong, unknown);
        Assert.Equal(wrong, malformed);
        Assert.NotEmpty(mesh.Ca.Redeem(token, Mesh.Csr()).Chain);
    }

    [Fact]
    public void A_bad_request_does_not_use_it_up()
    {
        using var mesh = new Mesh();
        var token = mesh.Ca.CreateToken("paris", "paris-a");
        Assert.Equal(JoinFailure.BadRequest, Assert.Throws<JoinException>(() => mesh.Ca.Redeem(token, [1, 2, 3])).Failure);
        Assert.NotEmpty(mesh.Ca.Redeem(token, Mesh.Csr()).Chain);
    }

    [Fact]
    public void Is_of_one_mesh()
    {
        using var mesh = new Mesh();
        using var other = new Mesh();
        Fails(other.Ca, mesh.Ca.CreateToken("paris", "paris-a"), JoinFailure.WrongRoot);
    }

    /// <summary>50 at once, each through an authority of its own over the same folder, as separate processes would be.</summary>
    [Fact]
    public async Task Of_50_redemptions_at_once_one_succeeds()
    {
        using var mesh = new Mesh();
        for (var round = 0; round < 5; round++)
        {
            var token = mesh.Ca.CreateToken("paris", "paris-a");
            using var gate = new Barrier(50);
            var racers = Enumerable.Range(0, 50).Select(_ =>
            {
                var (ca, csr) = (MeshCa.Open(mesh.Folder["ca"], mesh.Time), Mesh.Csr());
                return Task.Factory.StartNew(() =>
                {
                    gate.SignalAndWait();
                    try
                    {
                        ca.Redeem(token, csr);
                        return JoinFailure.None;
                    }
                    catch (JoinException e)
                    {
                        return e.Failure;
                    }
                }, TaskCreationOptions.LongRunning);
            }).ToList();
            var results = await Task.WhenAll(racers).WaitAsync(TimeSpan.FromSeconds(30));
            Assert.Equal(1, results.Count(r => r == JoinFailure.None));
            Assert.Equal(49, results.Count(r => r == JoinFailure.TokenUsed));
        }
    }

    [Fact]
    public void Old_ones_are_swept()
    {
        using var mesh = new Mesh();
        var used = mesh.Ca.CreateToken("paris", "paris-a");
        mesh.Ca.Redeem(used, Mesh.Csr());
        mesh.Ca.CreateToken("paris", "paris-b");
        mesh.Time.Advance(TimeSpan.FromDays(8));
        var token = mesh.Ca.CreateToken("paris", "paris-c");
        Assert.Equal([$"{Convert.ToHexStringLower(token.Id)}.json"],
            Directory.EnumerateFiles(Path.Combine(mesh.Folder["ca"], "tokens")).Select(Path.GetFileName));
        Fails(mesh.Ca, used, JoinFailure.TokenUnknown);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(-1)]
    [InlineData(31 * 24 * 3600)]
    public void Life_has_limits(int seconds)
    {
        using var mesh = new Mesh();
        Assert.Throws<ArgumentException>(() => mesh.Ca.CreateToken("paris", "a", TimeSpan.FromSeconds(seconds)));
    }

    [Fact]
    public void Addresses_are_checked()
    {
        using var mesh = new Mesh();
        Assert.Throws<ArgumentException>(() => mesh.Ca.CreateToken("paris", "a", null, ["no-port"]));
        Assert.Throws<ArgumentException>(() => mesh.Ca.CreateToken("paris", "a", null, [.. Enumerable.Repeat("h:1", 17)]));
    }

    private static string Fails(MeshCa ca, JoinToken token, JoinFailure failure)
    {
        var e = Assert.Throws<JoinException>(() => ca.Redeem(token, Mesh.Csr()));
        Assert.Equal(failure, e.Failure);
        return e.Message;
    }
}
