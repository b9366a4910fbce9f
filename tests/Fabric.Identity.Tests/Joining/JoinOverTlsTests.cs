using System.Buffers.Binary;
using System.Net.Security;
using System.Security.Authentication;
using Fabric.Identity.Authority;
using Fabric.Identity.Joining;
using Fabric.Identity.Sources;
using Fabric.Protocol.Proto;
using Google.Protobuf;

namespace Fabric.Identity.Tests.Joining;

public class JoinOverTlsTests
{
    private static readonly (string, string)[] Files = [("fabric.yaml", "trustDomain: acme.example\n")];
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(20);

    [Fact]
    public async Task Joins_renews_and_gets_the_topology()
    {
        using var mesh = new Mesh();
        await using var server = new Server(mesh);
        var store = new GatewayKeyStore(mesh.Folder["virginia"]);
        var token = mesh.Ca.CreateToken("virginia", "virginia-a", null, ["away:1", "ca:7443"]);

        var grant = await JoinClient.JoinAsync(token, server.Dial, store, mesh.Time, default).WaitAsync(Limit);

        Assert.Equal(Files, grant.Topology);
        var identity = GatewayIdentity.Load(store, mesh.Time);
        Assert.Equal(new GatewayId(Mesh.Domain, "virginia", "virginia-a"), identity.Id);
        Assert.Equal(server.Identity.Id, identity.Authority!.Gateway);
        Assert.Equal(token.Addresses, identity.Authority.Addresses);

        var before = identity.Validity.NotAfter;
        await using var source = new EmbeddedSource(store, server.Dial, caFolder: null, mesh.Time);
        mesh.Time.Advance(TimeSpan.FromHours(14));
        Assert.True(identity.Swap(await source.NextAsync(identity, default).WaitAsync(Limit)));
        Assert.Equal(before.AddHours(14), identity.Validity.NotAfter);
        Assert.Equal(identity.Authority.Addresses, GatewayIdentity.Load(store, mesh.Time).Authority!.Addresses);

        var outcomes = await server.Outcomes();
        Assert.Equal([(false, JoinFailure.None), (true, JoinFailure.None)], outcomes.Select(o => (o.Renewal, o.Failure)));
        Assert.All(outcomes, o => Assert.Equal(identity.Id, o.Gateway));
    }

    [Theory]
    [InlineData(JoinFailure.TokenUsed, "has been used")]
    [InlineData(JoinFailure.TokenExpired, "expired at")]
    [InlineData(JoinFailure.TokenUnknown, "knows no such token")]
    [InlineData(JoinFailure.Unreachable, "away")]
    public async Task Says_why_not(JoinFailure failure, string because)
    {
        using var mesh = new Mesh();
        await using var server = new Server(mesh);
        var store = new GatewayKeyStore(mesh.Folder["virginia"]);
        var token = mesh.Ca.CreateToken("virginia", "virginia-a", null,
            [failure == JoinFailure.Unreachable ? "away:1" : "ca:7443"]);
        switch (failure)
        {
            case JoinFailure.TokenUsed: mesh.Ca.Redeem(token, Mesh.Csr()); break;
            case JoinFailure.TokenExpired: mesh.Time.Advance(TimeSpan.FromHours(2)); break;
            case JoinFailure.TokenUnknown: token = token with { Secret = new byte[32] }; break;
        }

        // The client's own look at the expiry is taken away, so that the authority's is what answers.
        token = token with { Expires = token.Expires.AddDays(1) };
        var e = await Assert.ThrowsAsync<JoinException>(() =>
            JoinClient.JoinAsync(token, server.Dial, store, mesh.Time, default).WaitAsync(Limit));

        Assert.Equal(failure, e.Failure);
        Assert.Contains(because, e.Message);
        Assert.False(store.Exists);
    }

    /// <summary>
    /// Someone in the middle has a mesh of the same name: TLS works, the root is another, and the secret stays here.
    /// </summary>
    [Fact]
    public async Task Another_root_is_refused_before_the_secret_is_sent()
    {
        using var mesh = new Mesh();
        using var evil = new Mesh();
        var token = mesh.Ca.CreateToken("virginia", "virginia-a", null, ["ca:7443"]);
        var store = new GatewayKeyStore(mesh.Folder["virginia"]);

        // First with its own root in the hello, then with the true root, which is public, copied into it.
        foreach (var roots in new[] { evil.Ca.Roots, mesh.Ca.Roots, [] })
        {
            var (client, far) = DuplexStream.Pair();
            var middle = Task.Run(async () =>
            {
                await using var tls = new SslStream(far);
                await tls.AuthenticateAsServerAsync(MeshTls.Server(evil.Join("paris", "paris-a"), true, JoinServer.Protocol));
                await JoinFraming.WriteAsync(tls, new JoinHello { Roots = { roots.Select(ByteString.CopyFrom) } }, default);
                var stolen = new MemoryStream();
                await tls.CopyToAsync(stolen);
                return stolen.ToArray();
            });
            var e = await Assert.ThrowsAsync<JoinException>(() =>
                JoinClient.JoinAsync(token, (_, _) => Task.FromResult(client), store, mesh.Time, default).WaitAsync(Limit));
            Assert.Equal(JoinFailure.WrongRoot, e.Failure);
            Assert.Empty(await middle.WaitAsync(Limit));
        }

        Assert.False(store.Exists);
        Assert.NotEmpty(mesh.Ca.Redeem(token, Mesh.Csr()).Chain);
    }

    [Fact]
    public async Task Renewal_needs_a_certificate_and_a_place_in_the_topology()
    {
        using var mesh = new Mesh();
        await using var server = new Server(mesh, admits: id => id.Gateway != "virginia-gone");
        var store = new GatewayKeyStore(mesh.Folder["gone"]);
        var token = mesh.Ca.CreateToken("virginia", "virginia-gone", null, ["ca:7443"]);
        await JoinClient.JoinAsync(token, server.Dial, store, mesh.Time, default).WaitAsync(Limit);
        var gone = GatewayIdentity.Load(store, mesh.Time);

        var e = await Assert.ThrowsAsync<JoinException>(() =>
            JoinClient.RenewAsync(gone, Mesh.Csr(), server.Dial, mesh.Time, default).WaitAsync(Limit));
        Assert.Equal(JoinFailure.NotAdmitted, e.Failure);

        var reply = await Raw(server, new JoinRequest { Csr = ByteString.CopyFrom(Mesh.Csr()) });
        Assert.Equal(JoinRefusal.NotAdmitted, reply.Refusal);
        Assert.Empty(reply.Chain);
    }

    /// <summary>
    /// Renewal trusts only the gateway that it joined at, or any gateway could hand out a bundle with its own root.
    /// </summary>
    [Fact]
    public async Task Renewal_refuses_another_gateway_of_the_mesh()
    {
        using var mesh = new Mesh();
        await using var server = new Server(mesh);
        await using var other = new Server(mesh, name: "paris-b");
        var store = new GatewayKeyStore(mesh.Folder["virginia"]);
        var token = mesh.Ca.CreateToken("virginia", "virginia-a", null, ["ca:7443"]);
        await JoinClient.JoinAsync(token, server.Dial, store, mesh.Time, default).WaitAsync(Limit);
        var identity = GatewayIdentity.Load(store, mesh.Time);

        var e = await Assert.ThrowsAsync<JoinException>(() =>
            JoinClient.RenewAsync(identity, Mesh.Csr(), other.Dial, mesh.Time, default).WaitAsync(Limit));
        Assert.Equal(JoinFailure.Unreachable, e.Failure);
    }

    [Fact]
    public async Task A_silent_peer_is_given_up_after_the_limit()
    {
        using var mesh = new Mesh();
        using var server = new JoinServer(mesh.Ca, () => Files, mesh.Time);
        var (client, far) = DuplexStream.Pair();
        var serving = server.ServeAsync(far, null, default);
        await JoinFraming.ReadAsync(client, JoinHello.Parser, JoinFraming.MaxHello, default).WaitAsync(Limit);
        mesh.Time.Advance(JoinServer.Limit);
        Assert.Equal(JoinFailure.Timeout, (await serving.WaitAsync(Limit)).Failure);
    }

    [Fact]
    public async Task More_than_the_places_are_told_to_come_again()
    {
        using var mesh = new Mesh();
        using var server = new JoinServer(mesh.Ca, () => Files, mesh.Time);
        using var stop = new CancellationTokenSource();
        var held = Enumerable.Range(0, JoinServer.MaxConcurrent).Select(_ =>
            server.ServeAsync(DuplexStream.Pair().B, null, stop.Token)).ToList();
        foreach (var refusal in new[] { null, "that address asks too often" })
        {
            // As a client meets it: hello first, then the answer, whether or not it has asked by then.
            var (client, far) = DuplexStream.Pair();
            var serving = server.ServeAsync(far, null, default, refusal);
            await JoinFraming.ReadAsync(client, JoinHello.Parser, JoinFraming.MaxHello, default).WaitAsync(Limit);
            var reply = await JoinFraming.ReadAsync(client, JoinReply.Parser, JoinFraming.MaxReply, default).WaitAsync(Limit);
            Assert.Equal((JoinRefusal)(int)JoinFailure.Busy, reply.Refusal);
            Assert.Equal(refusal ?? "too many join at once; try again", reply.Message);
            await client.DisposeAsync();
            Assert.Equal(JoinFailure.Busy, (await serving.WaitAsync(Limit)).Failure);
        }

        stop.Cancel();
        foreach (var one in held)
        {
            await Assert.ThrowsAnyAsync<OperationCanceledException>(() => one.WaitAsync(Limit));
        }
    }

    /// <summary>
    /// Any bytes for a request: an outcome, never an exception, never a certificate, never more memory than the limit.
    /// </summary>
    [Fact]
    public async Task Fuzz_requests()
    {
        using var mesh = new Mesh();
        using var server = new JoinServer(mesh.Ca, () => Files, mesh.Time);
        var random = new Random(13);
        var good = new JoinRequest
        {
            TokenId = ByteString.CopyFrom(new byte[8]),
            TokenSecret = ByteString.CopyFrom(new byte[32]),
            Csr = ByteString.CopyFrom(Mesh.Csr()),
        }.ToByteArray();
        for (var i = 0; i < 1000; i++)
        {
            var body = (byte[])good.Clone();
            for (var edits = random.Next(8); edits > 0; edits--)
            {
                body[random.Next(body.Length)] = (byte)random.Next(256);
            }

            var message = new byte[4 + body.Length];
            body.CopyTo(message.AsSpan(4));
            BinaryPrimitives.WriteInt32BigEndian(message, random.Next(4) == 0 ? random.Next(int.MinValue, int.MaxValue)
                : body.Length);
            var (client, far) = DuplexStream.Pair();
            await client.WriteAsync(message.AsMemory(0, random.Next(4) == 0 ? random.Next(message.Length) : message.Length));
            var serving = server.ServeAsync(far, null, default);
            await JoinFraming.ReadAsync(client, JoinHello.Parser, JoinFraming.MaxHello, default);
            await client.DisposeAsync();
            var outcome = await serving.WaitAsync(Limit);
            Assert.NotEqual(JoinFailure.None, outcome.Failure);
        }
    }

    /// <summary>A server that answers anything: the client ends with a JoinException.</summary>
    [Fact]
    public async Task Fuzz_replies()
    {
        using var mesh = new Mesh();
        var identity = mesh.Join("paris", "paris-a");
        var token = mesh.Ca.CreateToken("virginia", "virginia-a", null, ["ca:7443"]);
        var store = new GatewayKeyStore(mesh.Folder["virginia"]);
        var grant = mesh.Ca.Issue(identity.Id, Mesh.Csr());
        var good = new JoinReply
        {
            Chain = { grant.Chain.Select(ByteString.CopyFrom) },
            Bundle = { grant.Bundle.Select(ByteString.CopyFrom) },
        }.ToByteArray();
        var random = new Random(17);
        for (var i = 0; i < 60; i++)
        {
            var (client, far) = DuplexStream.Pair();
            var serving = Task.Run(async () =>
            {
                await using var tls = new SslStream(far);
                await tls.AuthenticateAsServerAsync(MeshTls.Server(identity, true, JoinServer.Protocol));
                await JoinFraming.WriteAsync(tls, new JoinHello { Roots = { mesh.Ca.Roots.Select(ByteString.CopyFrom) } },
                    default);
                await JoinFraming.ReadAsync(tls, JoinRequest.Parser, JoinFraming.MaxRequest, default);
                var message = new byte[4 + good.Length];
                good.CopyTo(message, 4);
                BinaryPrimitives.WriteInt32BigEndian(message, good.Length);
                for (var edits = random.Next(4); edits > 0; edits--)
                {
                    message[random.Next(4) == 0 ? random.Next(4) : random.Next(message.Length)] = (byte)random.Next(256);
                }

                await tls.WriteAsync(message);
            });
            await Assert.ThrowsAsync<JoinException>(() =>
                JoinClient.JoinAsync(token, (_, _) => Task.FromResult(client), store, mesh.Time, default).WaitAsync(Limit));
            await serving.WaitAsync(Limit);
            Assert.False(store.Exists);
        }
    }

    private static async Task<JoinReply> Raw(Server server, JoinRequest request)
    {
        await using var tls = new SslStream(await server.Dial("ca:7443", default), false, (_, _, _, _) => true);
        await tls.AuthenticateAsClientAsync(new SslClientAuthenticationOptions
        {
            TargetHost = "raw",
            EnabledSslProtocols = SslProtocols.Tls13,
            ApplicationProtocols = [new SslApplicationProtocol(JoinServer.Protocol)],
        }).WaitAsync(Limit);
        await JoinFraming.ReadAsync(tls, JoinHello.Parser, JoinFraming.MaxHello, default).WaitAsync(Limit);
        await JoinFraming.WriteAsync(tls, request, default);
        return await JoinFraming.ReadAsync(tls, JoinReply.Parser, JoinFraming.MaxReply, default).WaitAsync(Limit);
    }

    /// <summary>A gateway on the authority's host that accepts joining on <c>ca:7443</c>, as fabricd does.</summary>
    private sealed class Server(Mesh mesh, string name = "paris-a", Func<GatewayId, bool>? admits = null) : IAsyncDisposable
    {
        private readonly List<Task<JoinOutcome>> _conversations = [];
        private readonly JoinServer _server = new(mesh.Ca, () => Files, mesh.Time, admits);

        public GatewayIdentity Identity { get; } = mesh.Join("paris", name);

        public Task<Stream> Dial(string address, CancellationToken ct)
        {
            if (address != "ca:7443")
            {
                throw new IOException("no route: away");
            }

            var (client, far) = DuplexStream.Pair();
            _conversations.Add(Task.Run(() => Serve(far)));
            return Task.FromResult(client);
        }

        public Task<JoinOutcome[]> Outcomes() => Task.WhenAll(_conversations).WaitAsync(Limit);

        public async ValueTask DisposeAsync()
        {
            await Task.WhenAny(Task.WhenAll(_conversations), Task.Delay(Limit, TimeProvider.System, CancellationToken.None));
            _server.Dispose();
        }

        private async Task<JoinOutcome> Serve(Stream far)
        {
            await using var tls = new SslStream(far);
            await tls.AuthenticateAsServerAsync(MeshTls.Server(Identity, anonymous: true, JoinServer.Protocol));
            return await _server.ServeAsync(tls, MeshTls.PeerOf(tls, Identity), default);
        }
    }
}
