using System.Net.Security;
using System.Net.Sockets;
using System.Security.Authentication;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Fabric.Identity;
using Fabric.Identity.Authority;
using Fabric.Identity.Svid;
using Fabric.Testing;
using Fabric.Tunnel.Linux;
using Fabric.Tunnel.Portable;

namespace Fabric.Tunnel.Tests.Linux;

/// <summary>Handshakes by libssl, with itself and with the portable driver's.</summary>
public sealed class TlsHandshakeTests : TlsTests
{
    private readonly TestAuthority _other;

    public TlsHandshakeTests() => _other = Own(new TestAuthority("other.example"));

    private TlsMemoryPair Pair(TlsContext client, TlsContext server, string? offered = null, string? expected = null) =>
        Own(new TlsMemoryPair(client, server, offered is null ? null : [offered], expected));

    [RequiresFact("libssl")]
    public void The_library_is_there()
    {
        Assert.True(TlsLibrary.IsAvailable(out var reason));
        Assert.Equal("", reason);
    }

    [RequiresFact("libssl")]
    public void Both_ends_know_each_other_and_the_protocol()
    {
        var pair = Pair(Context("alpha"), Context("beta"), "fabric-join/1", "beta");
        Assert.Equal(TlsStatus.WantRead, pair.Client.Handshake());
        Assert.Null(pair.Client.Peer);
        Assert.Equal((TlsStatus.Done, TlsStatus.Done), pair.Shake());
        Assert.Equal(("beta", "alpha"), (pair.Client.Peer!.Value.Gateway, pair.Server.Peer!.Value.Gateway));
        Assert.Equal(("fabric-join/1", "fabric-join/1"), (pair.Client.SelectedAlpn, pair.Server.SelectedAlpn));
        Assert.Equal((null, null), (pair.Client.Error, pair.Server.Error));
        Assert.Equal(0, pair.ToClient.Length + pair.ToServer.Length);
    }

    [RequiresTheory("libssl")]
    [InlineData(true)]
    [InlineData(false)]
    public async Task It_shakes_hands_with_the_portable_driver_and_bytes_go_both_ways(bool isServer)
    {
        var (client, server) = await TlsEnd.ConnectAsync();
        var (near, far) = isServer ? (server, client) : (client, server);
        using var end = new TlsEnd(isServer
            ? TlsSession.Server(Context("alpha"), TlsEnd.Over(near), ["fabric/1"])
            : TlsSession.Client(Context("alpha"), TlsEnd.Over(near), "fabric/1", "beta"), near);
        var shaking = end.HandshakeAsync();
        var (stream, peer) = await PortableAsync(far, Gateway("beta"), !isServer, isServer ? "alpha" : null);
        await using (stream)
        {
            Assert.Equal((TlsStatus.Done, "fabric/1", "beta"), (await shaking, end.Session.SelectedAlpn, end.Session.Peer!.Value.Gateway));
            Assert.Equal("alpha", peer!.Value.Gateway);

            var sent = new byte[1_000_000];
            new Random(1).NextBytes(sent);
            var (there, back) = (new byte[sent.Length], new byte[sent.Length]);
            await Task.WhenAll(end.WriteAsync(sent), stream.ReadExactlyAsync(there).AsTask());
            await Task.WhenAll(stream.WriteAsync(sent).AsTask(), end.ReadExactlyAsync(back));
            Assert.True(sent.AsSpan().SequenceEqual(there) && sent.AsSpan().SequenceEqual(back));

            await stream.ShutdownAsync();
            Assert.Equal((0, TlsStatus.Closed), await end.ReadAsync(back));
            await end.CloseAsync();
            Assert.Equal(0, await stream.ReadAsync(there));
        }
    }

    [RequiresFact("libssl")]
    public async Task A_portable_client_without_a_certificate_gets_in_as_nobody()
    {
        var (client, server) = await TlsEnd.ConnectAsync();
        using var end = new TlsEnd(TlsSession.Server(Context("alpha"), TlsEnd.Over(server), ["fabric/1", "fabric-join/1"]), server);
        var shaking = end.HandshakeAsync();
        await using var stream = new SslStream(new NetworkStream(client, ownsSocket: true));
        await stream.AuthenticateAsClientAsync(new SslClientAuthenticationOptions
        {
            TargetHost = "fabric",
            EnabledSslProtocols = SslProtocols.Tls13,
            RemoteCertificateValidationCallback = (_, _, _, _) => true,
        });
        Assert.Equal((TlsStatus.Done, "", null), (await shaking, end.Session.SelectedAlpn, end.Session.Peer));
    }

    [RequiresFact("libssl")]
    public async Task An_older_version_is_refused()
    {
        var (client, server) = await TlsEnd.ConnectAsync();
        using var end = new TlsEnd(TlsSession.Server(Context("alpha"), TlsEnd.Over(server), ["fabric/1"]), server);
        var shaking = end.HandshakeAsync();
        await using var stream = new SslStream(new NetworkStream(client, ownsSocket: true));
        await Assert.ThrowsAsync<AuthenticationException>(() => stream.AuthenticateAsClientAsync(new SslClientAuthenticationOptions
        {
            TargetHost = "fabric",
            EnabledSslProtocols = SslProtocols.Tls12,
            RemoteCertificateValidationCallback = (_, _, _, _) => true,
        }));
        Assert.Equal(TlsStatus.Failed, await shaking);
        Assert.Contains("protocol", end.Session.Error);
    }

    [RequiresFact("libssl")]
    public void A_server_of_another_authority_is_refused_and_told()
    {
        var pair = Pair(Context("alpha"), Context(Own(_other.Gateway("beta"))));
        Assert.Equal((TlsStatus.Failed, TlsStatus.Failed), pair.Shake());
        Assert.Equal("certificate refused: not issued by the CA of test.example [untrusted_chain]", pair.Client.Error);
        Assert.Equal("the peer ended TLS with the alert unknown CA", pair.Server.Error);
        Assert.Null(pair.Client.Peer);
    }

    [RequiresFact("libssl")]
    public void A_server_of_another_name_is_refused_and_told()
    {
        var pair = Pair(Context("alpha"), Context("beta"), expected: "gamma");
        Assert.Equal((TlsStatus.Failed, TlsStatus.Failed), pair.Shake());
        const string Reason = "the certificate is that of spiffe://test.example/site/beta/gateway/beta: gateway gamma was expected there";
        Assert.Equal($"certificate refused: {Reason} [wrong_gateway]", pair.Client.Error);
        Assert.Contains("bad certificate", pair.Server.Error);
    }

    [RequiresFact("libssl")]
    public void A_client_of_another_authority_is_refused_and_its_first_read_tells()
    {
        // One that takes any server, so that only the other end refuses.
        var stranger = new Gullible(Own(_other.Gateway("alpha")));
        var pair = Pair(Context(stranger), Context("beta"));
        Assert.Equal((TlsStatus.Done, TlsStatus.Failed), pair.Shake());
        Assert.Equal("certificate refused: not issued by the CA of test.example [untrusted_chain]", pair.Server.Error);
        Assert.Null(pair.Server.Peer);
        Assert.Equal(0, pair.Client.Read(new byte[100], out var status));
        Assert.Equal((TlsStatus.Failed, "the peer ended TLS with the alert unknown CA"), (status, pair.Client.Error));
        Assert.Equal(0, pair.Client.Write(new byte[100], out status));
        Assert.Equal(TlsStatus.Failed, status);
    }

    [RequiresTheory("libssl")]
    [InlineData(true)]
    [InlineData(false)]
    public async Task The_portable_driver_refuses_and_is_refused_with_the_same_words(bool portableRefuses)
    {
        var (client, server) = await TlsEnd.ConnectAsync();
        var (trusting, honest) = ((IGatewayIdentity)new Gullible(Own(_other.Gateway("alpha"))), (IGatewayIdentity)Gateway("beta"));
        var (ours, theirs) = portableRefuses ? (trusting, honest) : (honest, trusting);
        using var end = new TlsEnd(TlsSession.Server(Context(ours), TlsEnd.Over(server), ["fabric/1"]), server);
        var shaking = end.HandshakeAsync();
        if (portableRefuses)
        {
            var error = await Assert.ThrowsAnyAsync<AuthenticationException>(() => PortableAsync(client, theirs, false, null));
            Assert.Equal("certificate refused: not issued by the CA of test.example [untrusted_chain]", error.Message);
            // That client judges when its own part is done: the first read tells.
            Assert.Equal(TlsStatus.Done, await shaking);
            Assert.True((await end.ReadAsync(new byte[1])).Status is TlsStatus.Failed or TlsStatus.Truncated, end.Session.Error);
            return;
        }

        var (stream, _) = await PortableAsync(client, theirs, false, null);
        await using (stream)
        {
            Assert.Equal(TlsStatus.Failed, await shaking);
            Assert.Equal("certificate refused: not issued by the CA of test.example [untrusted_chain]", end.Session.Error);
            await Assert.ThrowsAnyAsync<IOException>(async () => Assert.NotEqual(0, await stream.ReadAsync(new byte[1])));
        }
    }

    [RequiresFact("libssl")]
    public void An_identity_that_throws_refuses_and_nothing_breaks()
    {
        var pair = Pair(Context(new Broken(Gateway("alpha"))), Context("beta"));
        Assert.Equal((TlsStatus.Failed, TlsStatus.Failed), pair.Shake());
        Assert.Equal("the disk is gone", pair.Client.Error);
        Assert.Contains("bad certificate", pair.Server.Error);
    }

    [RequiresFact("libssl")]
    public void A_protocol_that_is_not_spoken_is_refused_and_told()
    {
        var pair = Pair(Context("alpha"), Context("beta"), offered: "fabric/2");
        Assert.Equal((TlsStatus.Failed, TlsStatus.Failed), pair.Shake());
        Assert.Equal("the peer ended TLS with the alert no application protocol", pair.Client.Error);
        Assert.Equal("TLS failed: no application protocol (alert no application protocol)", pair.Server.Error);
    }

    [RequiresFact("libssl")]
    public async Task A_server_that_chooses_no_protocol_is_refused_as_the_portable_driver_does()
    {
        var (client, server) = await TlsEnd.ConnectAsync();
        using var end = new TlsEnd(TlsSession.Client(Context("alpha"), TlsEnd.Over(client), "fabric/1", null), client);
        var shaking = end.HandshakeAsync();
        await using var stream = new SslStream(new NetworkStream(server, ownsSocket: true));
        var options = MeshTls.Server(Gateway("beta"), anonymous: true);
        options.ApplicationProtocols = null;
        await stream.AuthenticateAsServerAsync(options);
        Assert.Equal((TlsStatus.Failed, "the server does not speak fabric/1"), (await shaking, end.Session.Error));
    }

    [RequiresFact("libssl")]
    public void Intermediates_are_sent_and_a_renewed_certificate_is_shown_from_the_next_connection_on()
    {
        var folder = Directory.CreateTempSubdirectory("fabric-tls-").FullName;
        try
        {
            var ca = MeshCa.Create(Path.Combine(folder, "ca"), "mesh.example", TimeProvider.System);
            var beta = Join(ca, folder, "beta");
            // Beta has never seen the certificate that signs alpha's: it has to come with it.
            ca.Rotate("paris");
            var alpha = Join(ca, folder, "alpha");
            var (client, server) = (Context(alpha), Context(beta));
            var old = Pair(client, server);
            Assert.Equal((TlsStatus.Done, TlsStatus.Done), old.Shake());
            Assert.Equal("alpha", old.Server.Peer!.Value.Gateway);
            Assert.Equal((TlsStatus.Done, TlsStatus.Done), Pair(client, server).Shake());
            Assert.Equal(1, client.Generation);

            using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
            alpha.Swap(IdentityState.Of(ca.Issue(alpha.Id, MeshCa.Request(key)), key, alpha.Id, DateTimeOffset.UtcNow));
            var renewed = Pair(client, server);
            Assert.Equal((TlsStatus.Done, TlsStatus.Done), renewed.Shake());
            Assert.Equal((2, 1), (client.Generation, server.Generation));

            // And the connection from before goes on, even when there are to be no more.
            client.Dispose();
            Assert.Equal(3, old.Client.Write("old"u8, out _));
            Assert.Equal(TlsStatus.Done, old.Client.Flush());
            Assert.Equal(3, old.Server.Read(new byte[10], out _));
            Assert.Throws<ObjectDisposedException>(() => Pair(client, server));
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    [RequiresTheory("libssl")]
    [InlineData("the client, at once", true, 0)]
    [InlineData("the client, within its first message", true, 100)]
    [InlineData("the server, within its answer", false, 700)]
    public void An_end_in_the_middle_is_told(string who, bool client, int after)
    {
        var pair = Pair(Context("alpha"), Context("beta"));
        var (wire, reader) = client ? (pair.ToServer, pair.Server) : (pair.ToClient, pair.Client);
        wire.Allowance = after;
        var (atClient, atServer) = pair.Shake();
        Assert.Equal((TlsStatus.WantRead, TlsStatus.WantRead), (atClient, atServer));
        wire.Ended = true;
        Assert.True(reader.Handshake() == TlsStatus.Failed, who);
        Assert.Equal("the peer closed the connection during the TLS handshake", reader.Error);
        Assert.Equal(TlsStatus.Failed, reader.Handshake());
    }

    [RequiresFact("libssl")]
    public void Garbage_in_place_of_a_handshake_is_refused()
    {
        var pair = Pair(Context("alpha"), Context("beta"));
        pair.ToServer.Put("GET / HTTP/1.1\r\nHost: fabric\r\n\r\n"u8);
        Assert.Equal(TlsStatus.Failed, pair.Server.Handshake());
        Assert.Equal("TLS failed: http request", pair.Server.Error);

        var random = new Random(3);
        for (var i = 0; i < 200; i++)
        {
            var noise = new byte[random.Next(1, 5000)];
            random.NextBytes(noise);
            var other = Pair(Context("alpha"), Context("beta"));
            other.ToServer.Put(noise);
            other.ToServer.Ended = other.Server.HungUp = true;
            Assert.Equal(TlsStatus.Failed, other.Server.Handshake());
            Assert.NotNull(other.Server.Error);
        }
    }

    [RequiresFact("libssl")]
    public void A_flipped_bit_anywhere_in_a_handshake_fails_it_and_nothing_else()
    {
        for (var at = 0; at < 1_500; at += 13)
        {
            var pair = Pair(Context("alpha"), Context("beta"));
            pair.Client.Handshake();
            pair.Client.Flush();
            pair.Server.Handshake();
            pair.Server.Flush();
            pair.ToClient.Flip(at % pair.ToClient.Length);
            var (client, server) = pair.Shake();
            // A length that became larger waits for what never comes.
            Assert.True(client is TlsStatus.Failed or TlsStatus.WantRead, $"byte {at}: {client}");
            Assert.NotEqual(TlsStatus.Done, server);
        }
    }

    private static GatewayIdentity Join(MeshCa ca, string folder, string name)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var id = new GatewayId(ca.TrustDomain, "paris", name);
        var store = new GatewayKeyStore(Path.Combine(folder, name));
        store.Save(id, key, ca.Issue(id, MeshCa.Request(key)), null, DateTimeOffset.UtcNow);
        return GatewayIdentity.Load(store, TimeProvider.System);
    }

    private static async Task<(SslStream Stream, GatewayId? Peer)> PortableAsync(
        Socket socket, IGatewayIdentity identity, bool isServer, string? expected)
    {
        var transport = new NetworkStream(socket, ownsSocket: true);
        using var limit = new CancellationTokenSource(Wait.Limit);
        return isServer
            ? await MutualTls.AcceptAsync(transport, identity, ["fabric/1"], limit.Token)
            : await MutualTls.ConnectAsync(transport, identity, "fabric/1", expected, limit.Token);
    }

    /// <summary>Believes every certificate.</summary>
    private sealed class Gullible(TestIdentity self) : IGatewayIdentity
    {
        public GatewayId Id => self.Id;

        public SslStreamCertificateContext Certificate => self.Certificate;

        public SvidVerdict Verify(X509Certificate2 leaf, X509Certificate2Collection sent) => SvidVerdict.Accept(self.Id, []);
    }

    private sealed class Broken(TestIdentity self) : IGatewayIdentity
    {
        public GatewayId Id => self.Id;

        public SslStreamCertificateContext Certificate => self.Certificate;

        public SvidVerdict Verify(X509Certificate2 leaf, X509Certificate2Collection sent) => throw new IOException("the disk is gone");
    }
}
