using System.Net.Security;
using System.Security.Authentication;
using Fabric.Identity.Svid;

namespace Fabric.Identity.Tests;

public class MeshTlsTests
{
    private const string Protocol = "fabric/1";
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(20);

    [Fact]
    public async Task Both_ends_know_each_other()
    {
        using var mesh = new Mesh();
        var (paris, virginia) = (mesh.Join("paris", "paris-a"), mesh.Join("virginia", "virginia-a"));
        var (atVirginia, atParis) = await Handshake(MeshTls.Client(paris, virginia.Id, Protocol), paris,
            MeshTls.Server(virginia, false, Protocol), virginia);
        Assert.Equal((paris.Id, virginia.Id), (atVirginia!.Value, atParis!.Value));
    }

    /// <summary>
    /// A resumed TLS 1.3 session shows the server only the leaf: with intermediates at hand only from the wire, every second
    /// connection fails. Here the verifier starts without knowing the other site's intermediate, and learns it from the first.
    /// </summary>
    [Fact]
    public async Task Connections_resume_again_and_again_also_when_the_intermediate_is_new()
    {
        using var mesh = new Mesh();
        var virginia = mesh.Join("virginia", "virginia-a");
        var paris = mesh.Join("paris", "paris-a");
        Assert.DoesNotContain(virginia.Bundle.Intermediates, i => paris.Bundle.Intermediates.Contains(i));

        for (var i = 0; i < 6; i++)
        {
            var (atVirginia, atParis) = await Handshake(MeshTls.Client(paris, virginia.Id, Protocol), paris,
                MeshTls.Server(virginia, false, Protocol), virginia);
            Assert.Equal((paris.Id, virginia.Id), (atVirginia!.Value, atParis!.Value));
        }

        // The proof that the trap was there: a gateway that never saw the handshake cannot judge the bare leaf.
        var stranger = GatewayIdentity.Load(new GatewayKeyStore(mesh.Folder["virginia-virginia-a"]), mesh.Time);
        Assert.Equal(SvidRejection.IssuerUnknown, stranger.Verify(paris.Certificate.TargetCertificate, []).Rejection);
        Assert.Equal(paris.Id, virginia.Verify(paris.Certificate.TargetCertificate, []).Id);
    }

    [Fact]
    public async Task A_gateway_of_another_mesh_is_refused_by_both_ends()
    {
        using var mesh = new Mesh();
        using var evil = new Mesh();
        var (ours, theirs) = (mesh.Join("paris", "paris-a"), evil.Join("paris", "paris-b"));
        await Assert.ThrowsAnyAsync<Exception>(() =>
            Handshake(MeshTls.Client(ours, null, Protocol), ours, MeshTls.Server(theirs, true, Protocol), theirs));
        await Assert.ThrowsAnyAsync<Exception>(() =>
            Handshake(MeshTls.Client(theirs, null, Protocol), theirs, MeshTls.Server(ours, true, Protocol), ours));
        var verdict = ours.Verify(theirs.Certificate.TargetCertificate, [.. theirs.Bundle.Intermediates]);
        Assert.Equal(SvidRejection.UntrustedChain, verdict.Rejection);
        Assert.Contains("does not chain", verdict.Reason);
    }

    [Fact]
    public async Task A_gateway_that_was_not_dialled_is_refused()
    {
        using var mesh = new Mesh();
        var (paris, virginia) = (mesh.Join("paris", "paris-a"), mesh.Join("virginia", "virginia-a"));
        await Assert.ThrowsAsync<AuthenticationException>(() =>
            Handshake(MeshTls.Client(paris, virginia.Id with { Gateway = "virginia-b" }, Protocol),
            paris, MeshTls.Server(virginia, false, Protocol), virginia));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task A_client_without_certificate_comes_only_where_it_may(bool allowed)
    {
        using var mesh = new Mesh();
        var virginia = mesh.Join("virginia", "virginia-a");
        var anonymous = MeshTls.Client(virginia, null, Protocol);
        anonymous.ClientCertificateContext = null;
        var handshake = Handshake(anonymous, virginia, MeshTls.Server(virginia, allowed, Protocol), virginia);
        if (allowed)
        {
            Assert.Null((await handshake).AtServer);
        }
        else
        {
            await Assert.ThrowsAnyAsync<Exception>(() => handshake);
        }
    }

    [Fact]
    public async Task An_expired_gateway_is_refused()
    {
        using var mesh = new Mesh();
        var paris = mesh.Join("paris", "paris-a");
        mesh.Time.Advance(TimeSpan.FromHours(25));
        var virginia = mesh.Join("virginia", "virginia-a");
        await Assert.ThrowsAnyAsync<Exception>(() =>
            Handshake(MeshTls.Client(paris, null, Protocol), paris, MeshTls.Server(virginia, false, Protocol), virginia));
        var verdict = virginia.Verify(paris.Certificate.TargetCertificate, []);
        Assert.Equal(SvidRejection.Expired, verdict.Rejection);
    }

    /// <summary>A handshake and a byte each way (a TLS 1.3 client is done before the server has judged it).</summary>
    private static async Task<(GatewayId? AtServer, GatewayId? AtClient)> Handshake(SslClientAuthenticationOptions client,
        IGatewayIdentity clientSelf, SslServerAuthenticationOptions server, IGatewayIdentity serverSelf)
    {
        var (near, far) = DuplexStream.Pair();
        await using var a = new SslStream(near);
        await using var b = new SslStream(far);
        var serving = Task.Run(async () =>
        {
            try
            {
                await b.AuthenticateAsServerAsync(server);
                await b.WriteAsync(new byte[1]);
                await b.ReadExactlyAsync(new byte[1]);
                return MeshTls.PeerOf(b, serverSelf);
            }
            catch
            {
                await far.DisposeAsync();
                throw;
            }
        });
        try
        {
            await a.AuthenticateAsClientAsync(client).WaitAsync(Limit);
            Assert.Equal(Protocol, a.NegotiatedApplicationProtocol.ToString());
            await a.WriteAsync(new byte[1]).AsTask().WaitAsync(Limit);
            await a.ReadExactlyAsync(new byte[1]).AsTask().WaitAsync(Limit);
            return (await serving.WaitAsync(Limit), MeshTls.PeerOf(a, clientSelf));
        }
        finally
        {
            await near.DisposeAsync();
            await Task.WhenAny(serving);
        }
    }
}
