using System.Net.Security;
using System.Security.Authentication;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Fabric.Identity.Authority;
using Fabric.Identity.Svid;
using Fabric.Protocol.Proto;
using Google.Protobuf;

namespace Fabric.Identity.Joining;

/// <summary>
/// The gateway's side of joining and renewing. <c>dial</c> opens a plain connection to a <c>host:port</c>; TLS is made here.
/// Joining trusts nothing but the token: the server's certificate is checked against the root whose fingerprint the token
/// holds, and only then is the secret sent. Each attempt takes at most 15 s. All failures are <see cref="JoinException"/>.
/// </summary>
public static class JoinClient
{
    private static readonly TimeSpan Limit = JoinServer.Limit;

    /// <summary>
    /// Makes a key, redeems the token at the first of its addresses that answers, and writes the identity into
    /// <paramref name="store"/>. Returns the mesh's topology files.
    /// </summary>
    public static async Task<Grant> JoinAsync(JoinToken token, Func<string, CancellationToken, Task<Stream>> dial,
        GatewayKeyStore store, TimeProvider time, CancellationToken ct)
    {
        if (token.Addresses.Count == 0)
        {
            throw new JoinException(JoinFailure.Unreachable,
                "the token holds no address: it can only be redeemed on the authority's own host (--ca)");
        }

        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var failures = new List<JoinException>();
        foreach (var address in token.Addresses)
        {
            try
            {
                var (grant, server) = await RedeemAsync(token, MeshCa.Request(key), c => dial(address, c), time, ct);
                store.Join(token.GatewayId, key, grant, new AuthorityContact(server, token.Addresses), time.GetUtcNow());
                return grant;
            }
            catch (JoinException e) when (e.Failure is JoinFailure.Unreachable or JoinFailure.WrongRoot or JoinFailure.Busy)
            {
                failures.Add(new JoinException(e.Failure, $"{address}: {e.Message}", e));
            }
        }

        var worst = failures.Find(f => f.Failure == JoinFailure.WrongRoot) ?? failures[0];
        throw new JoinException(worst.Failure, string.Join("; ", failures.Select(f => f.Message)), worst);
    }

    /// <summary>Joins on the authority's own host, without network.</summary>
    public static Grant JoinLocally(JoinToken token, MeshCa ca, GatewayKeyStore store, TimeProvider time)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var grant = ca.Redeem(token, MeshCa.Request(key));
        store.Join(token.GatewayId, key, grant, authority: null, time.GetUtcNow());
        return grant;
    }

    /// <summary>Redeems the token over one connection, and says which gateway served it.</summary>
    public static async Task<(Grant Grant, GatewayId Server)> RedeemAsync(JoinToken token, byte[] csr,
        Func<CancellationToken, Task<Stream>> connect, TimeProvider time, CancellationToken ct)
    {
        if (time.GetUtcNow() >= token.Expires)
        {
            throw new JoinException(JoinFailure.TokenExpired,
                $"the token expired at {token.Expires:u}; make a new one with `fabric token create`");
        }

        X509Certificate2? leaf = null;
        X509Certificate2Collection sent = [];
        var options = new SslClientAuthenticationOptions
        {
            TargetHost = "fabric-join",
            EnabledSslProtocols = SslProtocols.Tls13,
            AllowTlsResume = false,
            CertificateChainPolicy = MeshTls.Policy(),
            ApplicationProtocols = [new SslApplicationProtocol(JoinServer.Protocol)],

            // Who this is cannot be judged yet: the root comes in the hello. Kept here, judged below before anything is sent.
            RemoteCertificateValidationCallback = (_, certificate, chain, _) =>
            {
                leaf = certificate is null ? null : X509CertificateLoader.LoadCertificate(certificate.GetRawCertData());
                sent = [.. MeshTls.Sent(chain).Take(8).Select(c => X509CertificateLoader.LoadCertificate(c.RawData))];
                return leaf is not null;
            },
        };
        GatewayId server = default;
        var grant = await Converse(connect, options, hello => server = Pinned(token, hello, leaf!, sent, time.GetUtcNow()),
            new JoinRequest
            {
                TokenId = ByteString.CopyFrom(token.Id),
                TokenSecret = ByteString.CopyFrom(token.Secret),
                Csr = ByteString.CopyFrom(csr),
            },
            time, ct);
        return (grant, server);
    }

    /// <summary>
    /// Asks the authority that this gateway joined at for a new certificate, with the present one as the ticket.
    /// </summary>
    public static async Task<Grant> RenewAsync(GatewayIdentity self, byte[] csr,
        Func<string, CancellationToken, Task<Stream>> dial, TimeProvider time, CancellationToken ct)
    {
        var authority = self.Authority ?? throw new JoinException(JoinFailure.Unreachable,
            "this gateway joined on the authority's own host: it renews there, from the folder");
        var failures = new List<JoinException>();
        foreach (var address in authority.Addresses)
        {
            try
            {
                var options = MeshTls.Client(self, authority.Gateway, JoinServer.Protocol);
                var request = new JoinRequest { Csr = ByteString.CopyFrom(csr) };
                return await Converse(c => dial(address, c), options, _ => { }, request, time, ct);
            }
            catch (JoinException e) when (e.Failure is not JoinFailure.NotAdmitted)
            {
                failures.Add(new JoinException(e.Failure, $"{address}: {e.Message}", e));
            }
        }

        throw new JoinException(failures[0].Failure, string.Join("; ", failures.Select(f => f.Message)), failures[0]);
    }

    /// <summary>Connect, TLS, hello, request, reply: the whole conversation, in order.</summary>
    private static async Task<Grant> Converse(Func<CancellationToken, Task<Stream>> connect,
        SslClientAuthenticationOptions options,
        Action<JoinHello> judge, JoinRequest request, TimeProvider time, CancellationToken ct)
    {
        using var limit = new CancellationTokenSource(Limit, time);
        using var both = CancellationTokenSource.CreateLinkedTokenSource(ct, limit.Token);
        try
        {
            await using var stream = new SslStream(await Open(connect, both.Token));
            await Secure(stream, options, both.Token);
            var hello = await JoinFraming.ReadAsync(stream, JoinHello.Parser, JoinFraming.MaxHello, both.Token);
            judge(hello);
            await JoinFraming.WriteAsync(stream, request, both.Token);
            var reply = await JoinFraming.ReadAsync(stream, JoinReply.Parser, JoinFraming.MaxReply, both.Token);
            return reply.Refusal == JoinRefusal.None ? Granted(reply)
                : throw new JoinException(
                    reply.Refusal <= JoinRefusal.Authority ? (JoinFailure)(int)reply.Refusal : JoinFailure.Protocol,
                        reply.Message);
        }
        catch (OperationCanceledException e) when (!ct.IsCancellationRequested)
        {
            throw new JoinException(JoinFailure.Timeout, $"no answer within {Limit.TotalSeconds:0} s", e);
        }
        catch (Exception e) when (e is InvalidDataException or IOException)
        {
            throw new JoinException(JoinFailure.Protocol, $"the server broke off: {e.Message}", e);
        }
    }

    private static Grant Granted(JoinReply reply) => new([.. reply.Chain.Select(c => c.ToByteArray())], [.. reply.Bundle.Select(c => c.ToByteArray())],
        [.. reply.Topology.Select(f => (f.Name, f.Text))])
    {
        Trust = reply.Trust,
    };

    /// <summary>Whatever a dial throws (its sockets are the caller's), it means the same here.</summary>
    private static async Task<Stream> Open(Func<CancellationToken, Task<Stream>> connect, CancellationToken ct)
    {
        try
        {
            return await connect(ct);
        }
        catch (Exception e) when (e is not OperationCanceledException)
        {
            throw new JoinException(JoinFailure.Unreachable, e.Message, e);
        }
    }

    private static async Task Secure(SslStream stream, SslClientAuthenticationOptions options, CancellationToken ct)
    {
        try
        {
            await stream.AuthenticateAsClientAsync(options, ct);
        }
        catch (Exception e) when (e is AuthenticationException or IOException)
        {
            throw new JoinException(JoinFailure.Unreachable, $"the TLS handshake failed: {e.Message}", e);
        }
    }

    /// <summary>The server, when its certificate chains to the root that the token pins; otherwise WrongRoot.</summary>
    private static GatewayId Pinned(JoinToken token, JoinHello hello, X509Certificate2 leaf, X509Certificate2Collection sent,
        DateTimeOffset now)
    {
        var der = hello.Roots.Select(r => r.ToByteArray())
            .FirstOrDefault(r => CryptographicOperations.FixedTimeEquals(SHA256.HashData(r), token.RootFingerprint));
        var reason = $"its root is not the one that the token names (sha256 {Convert.ToHexStringLower(token.RootFingerprint)})";
        if (der is not null)
        {
            var verdict = SvidVerifier.Verify(leaf, sent, token.TrustDomain, TrustBundle.FromDer([der]), [], now);
            if (verdict.Id is { } server)
            {
                return server;
            }

            reason = verdict.Reason;
        }

        throw new JoinException(JoinFailure.WrongRoot,
            $"the server is not of {token.TrustDomain}: {reason}; the secret was not sent");
    }
}
