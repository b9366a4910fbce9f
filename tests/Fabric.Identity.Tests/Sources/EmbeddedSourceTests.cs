using Fabric.Identity.Authority;
using Fabric.Identity.Joining;
using Fabric.Identity.Sources;

namespace Fabric.Identity.Tests.Sources;

/// <summary>The mesh's own authority; over the network it is asked in <c>JoinOverTlsTests</c>.</summary>
public sealed class EmbeddedSourceTests : SourceContract
{
    private protected override Subject Create() => new EmbeddedSubject();

    [Fact]
    public async Task Without_a_folder_and_without_a_contact_it_says_so()
    {
        using var mesh = new Mesh();
        var identity = mesh.Join("paris", "paris-a");
        await using var source = new EmbeddedSource(
            new GatewayKeyStore(mesh.Folder["paris-paris-a"]), (_, _) => throw new IOException("nobody is dialled"), null, mesh.Time);
        mesh.Time.Advance(TimeSpan.FromHours(14));
        var e = await Assert.ThrowsAsync<JoinException>(() => source.NextAsync(identity, default));
        Assert.Equal(JoinFailure.Authority, e.Failure);
        Assert.Contains("no --ca folder", e.Message);
    }

    private sealed class EmbeddedSubject : Subject
    {
        private bool _away;

        public EmbeddedSubject()
        {
            var store = new GatewayKeyStore(Mesh.Folder["identity"]);
            JoinClient.JoinLocally(Mesh.Ca.CreateToken(Id.Site, Id.Gateway), Mesh.Ca, store, Mesh.Time);
            Source = new EmbeddedSource(store, (_, csr, _) => _away
                ? throw new JoinException(JoinFailure.Unreachable, "away") : Task.FromResult(Issue(csr)), Mesh.Time);
        }

        public override IIdentitySource Source { get; }

        public override Task LeaveAsync()
        {
            _away = true;
            return Task.CompletedTask;
        }

        public override Task ReturnAsync()
        {
            _away = false;
            return Task.CompletedTask;
        }
    }
}
