using System.Net.Security;
using System.Security.Cryptography.X509Certificates;
using Fabric.Testing;

namespace Fabric.Identity.Tests.Sources;

/// <summary>
/// What a gateway may rely on whatever its identity comes from. Every source has it under its own authority, the remote ones over the
/// transport and protocol that are documented for them.
/// </summary>
public abstract class SourceContract : IAsyncLifetime
{
    private readonly CancellationTokenSource _stop = new();
    private readonly List<RenewalAttempt> _attempts = [];
    private Subject _subject = null!;
    private GatewayIdentity _self = null!;
    private Task _following = Task.CompletedTask;

    private protected abstract Subject Create();

    public async Task InitializeAsync()
    {
        _subject = Create();
        await _subject.StartAsync();
        _self = new GatewayIdentity(await _subject.Source.NextAsync(null, default).WaitAsync(Wait.Limit), _subject.Mesh.Time);
        var loop = new RenewalLoop(_self, _subject.Source, _subject.Mesh.Time, new Random(1), attempt =>
        {
            lock (_attempts)
            {
                _attempts.Add(attempt);
            }
        });
        _following = Task.Run(() => loop.RunAsync(_stop.Token));
    }

    public async Task DisposeAsync()
    {
        await _stop.CancelAsync();
        await _following.WaitAsync(Wait.Limit).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        await _subject.Source.DisposeAsync();
        await _subject.DisposeAsync();
        _stop.Dispose();
    }

    [Fact]
    public async Task First_identity_is_this_gateways_and_its_peers_know_it()
    {
        Assert.Equal(Subject.Id, _self.Id);
        Assert.True(_self.Certificate.TargetCertificate.HasPrivateKey);
        Assert.Equal(Subject.Id, await SeenByPeerAsync());
        Assert.False(string.IsNullOrWhiteSpace(_subject.Source.Name));
    }

    [Fact]
    public async Task Next_identity_is_shown_from_then_on_without_a_restart()
    {
        for (var i = 0; i < 3; i++)
        {
            var before = _self.Certificate.TargetCertificate;
            await _subject.AnnounceAsync(_self);
            await UntilAsync(() => !_self.Certificate.TargetCertificate.Equals(before), "another certificate");

            Assert.NotEqual(Key(before), Key(_self.Certificate.TargetCertificate));
            Assert.Equal(Subject.Id, await SeenByPeerAsync());
        }

        await UntilAsync(() => Attempts().Count(a => a.Changed) == 3, "three changes are told");
        Assert.DoesNotContain(Attempts(), a => a.Error is not null);
    }

    [Fact]
    public async Task Authority_that_is_away_is_told_and_the_present_identity_stays_until_it_is_back()
    {
        var before = _self.Certificate;
        await _subject.LeaveAsync();
        await _subject.AnnounceAsync(_self);
        await UntilAsync(() => Attempts().Count(a => a.Error is not null) >= 2, "two failures are told");

        Assert.Same(before, _self.Certificate);
        Assert.Equal(Subject.Id, await SeenByPeerAsync());
        Assert.All(Attempts().Where(a => a.Error is not null), a => Assert.NotEqual("", a.Error!.Message));

        await _subject.ReturnAsync();
        await _subject.AnnounceAsync(_self);
        await UntilAsync(() => _self.Certificate != before && Attempts()[^1].Error is null, "the next identity, and nothing wrong any more");
        Assert.Equal(Subject.Id, await SeenByPeerAsync());
    }

    [Theory]
    [InlineData(Answer.AnotherGateway, "paris-b")]
    [InlineData(Answer.AnotherKey, "key")]
    [InlineData(Answer.AnotherRoot, "does not chain to a root")]
    [InlineData(Answer.Expired, "expired at")]
    [InlineData(Answer.Garbage, "")]
    public async Task Bad_answer_is_told_and_the_present_identity_stays_until_there_is_a_good_one(Answer answer, string because)
    {
        var before = _self.Certificate;
        _subject.Answer = answer;
        await _subject.AnnounceAsync(_self);
        await UntilAsync(() => Attempts().Any(a => a.Error is not null), "a failure is told");

        var told = Assert.IsType<JoinException>(Attempts().First(a => a.Error is not null).Error);
        Assert.Equal(JoinFailure.Protocol, told.Failure);
        Assert.Contains(because, told.Message);
        Assert.DoesNotContain("PRIVATE", told.Message);
        Assert.Same(before, _self.Certificate);
        Assert.Equal(Subject.Id, await SeenByPeerAsync());

        _subject.Answer = Answer.Good;
        await _subject.AnnounceAsync(_self);
        await UntilAsync(() => _self.Certificate != before && Attempts()[^1].Error is null, "the next identity, and nothing wrong any more");
    }

    [Fact]
    public async Task Bundle_that_changes_is_what_peers_are_judged_by_from_then_on()
    {
        var stranger = _subject.OfTheOther();
        Assert.Null(Judge());

        _subject.TwoRoots = true;
        await _subject.AnnounceAsync(_self);
        await UntilAsync(() => Judge() is not null, "a peer of the other root is known");

        _subject.TwoRoots = false;
        await _subject.AnnounceAsync(_self);
        await UntilAsync(() => Judge() is null, "a peer of the other root is not known any more");
        Assert.Equal(Subject.Id, await SeenByPeerAsync());

        GatewayId? Judge() => _self.Verify(stranger.Leaf, [.. stranger.Certificate.IntermediateCertificates]).Id;
    }

    /// <summary>The clock goes on, half a second at a time, as long as nothing is under way.</summary>
    private Task UntilAsync(Func<bool> condition, string what) => Wait.UntilAsync(
        () =>
        {
            if (!condition() && !_subject.Busy)
            {
                _subject.Mesh.Time.Advance(TimeSpan.FromSeconds(0.5));
            }

            return condition();
        },
        () => $"{what}; told so far: {string.Join(" | ", Attempts().Select(a => a.Error?.Message ?? "good"))}");

    private List<RenewalAttempt> Attempts()
    {
        lock (_attempts)
        {
            return [.. _attempts];
        }
    }

    /// <summary>Whom a peer of the mesh sees in a handshake with this gateway, which has to know the peer as well.</summary>
    private async Task<GatewayId?> SeenByPeerAsync()
    {
        const string protocol = "fabric/1";
        var peer = _subject.Mesh.Join("virginia", $"virginia-{Guid.NewGuid():n}");
        var (near, far) = DuplexStream.Pair();
        await using var client = new SslStream(near);
        await using var server = new SslStream(far);
        var serving = Task.Run(async () =>
        {
            await server.AuthenticateAsServerAsync(MeshTls.Server(peer, anonymous: false, protocol));
            await server.WriteAsync(new byte[1]);
            return MeshTls.PeerOf(server, peer);
        });
        await client.AuthenticateAsClientAsync(MeshTls.Client(_self, peer.Id, protocol)).WaitAsync(Wait.Limit);
        await client.ReadExactlyAsync(new byte[1]).AsTask().WaitAsync(Wait.Limit);
        return await serving.WaitAsync(Wait.Limit);
    }

    private static string Key(X509Certificate2 c) => Convert.ToHexString(c.PublicKey.ExportSubjectPublicKeyInfo());
}
