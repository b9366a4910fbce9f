using System.Net;
using System.Net.Http.Headers;
using System.Net.Security;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.Json;
using Fabric.Identity.Storage;
using Fabric.Identity.Svid;

namespace Fabric.Identity.Sources;

/// <summary>
/// HashiCorp Vault's PKI engine: <c>POST /v1/MOUNT/sign/ROLE</c> over a new key, at half the life of the present certificate. The key
/// is made here and stays here. What Vault signed is kept in a store, so that a restart needs no Vault. One request takes at most 15 s
/// and its answer at most 256 KiB; redirects are not followed, because the token would go along.
/// </summary>
/// <param name="store">Where it is kept.</param>
/// <param name="keep">False: what is signed is written nowhere.</param>
/// <param name="dial">Opens a plain connection to <c>host:port</c>; TLS is made here.</param>
public sealed class VaultSource(
    VaultSettings settings, GatewayKeyStore store, bool keep, Func<string, CancellationToken, Task<Stream>> dial, TimeProvider time)
    : IIdentitySource
{
    private const int MaxAnswer = 256 << 10;
    private const int MaxToken = 4096;
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(15);
    private readonly HalfLife _due = new(time);

    public string Name => $"vault {settings.Address} {settings.Mount}/sign/{settings.Role}";

    public async Task<IdentityState> NextAsync(GatewayIdentity? self, CancellationToken ct)
    {
        if (self is null && store.Exists && store.Load() is var kept && kept.Names == settings.Gateway)
        {
            return kept;
        }

        if (self is not null)
        {
            await _due.WaitAsync(self, ct);
        }

        if (keep)
        {
            return await store.RenewAsync(settings.Gateway, authority: null, SignAsync, time, ct);
        }

        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        return IdentityState.Of(await SignAsync(key, ct), key, settings.Gateway, time.GetUtcNow());
    }

    public ValueTask DisposeAsync() => ValueTask.CompletedTask;

    private async Task<Grant> SignAsync(ECDsa key, CancellationToken ct)
    {
        using var limit = new CancellationTokenSource(Limit, time);
        using var both = CancellationTokenSource.CreateLinkedTokenSource(ct, limit.Token);
        using var request = Request(key);
        try
        {
            using var client = Client();
            using var response = await client.SendAsync(request, both.Token);
            var body = await response.Content.ReadAsByteArrayAsync(both.Token);
            return response.StatusCode == HttpStatusCode.OK ? Granted(body) : throw Refused(response.StatusCode, body);
        }
        catch (OperationCanceledException e) when (!ct.IsCancellationRequested)
        {
            throw new JoinException(JoinFailure.Timeout, $"Vault did not answer within {Limit.TotalSeconds:0} s", e);
        }
        catch (HttpRequestException e)
        {
            // The innermost says it best: "connection refused", or what is wrong with the certificate.
            throw e.HttpRequestError == HttpRequestError.ConfigurationLimitExceeded
                ? new JoinException(JoinFailure.Protocol, $"Vault's answer is over the limit of {MaxAnswer} bytes", e)
                : new JoinException(JoinFailure.Unreachable, $"Vault at {settings.Address}: {e.GetBaseException().Message}", e);
        }
    }

    /// <summary>A client for one request, so that files are read anew each time. It happens twice a day.</summary>
    private HttpClient Client()
    {
        var handler = new SocketsHttpHandler
        {
            ConnectCallback = async (c, ct) => await dial(
                c.DnsEndPoint.Host.Contains(':') ? $"[{c.DnsEndPoint.Host}]:{c.DnsEndPoint.Port}" : $"{c.DnsEndPoint.Host}:{c.DnsEndPoint.Port}", ct),
            AllowAutoRedirect = false,
            UseProxy = false,
            UseCookies = false,
        };
        if (settings.CaFile is { } path)
        {
            var policy = MeshTls.Policy();
            policy.CustomTrustStore.AddRange(Certificates(path, SafeFile.ReadForeign(path, secret: false)));
            handler.SslOptions = new SslClientAuthenticationOptions { CertificateChainPolicy = policy };
        }

        return new HttpClient(handler) { MaxResponseContentBufferSize = MaxAnswer, Timeout = Timeout.InfiniteTimeSpan };
    }

    private HttpRequestMessage Request(ECDsa key)
    {
        var token = SafeFile.ReadForeign(settings.TokenFile, secret: true).Trim();
        if (token.Length is 0 or > MaxToken || token.AsSpan().ContainsAnyExceptInRange('!', '~'))
        {
            throw new InvalidDataException(
                $"{settings.TokenFile} holds no token: 1 to {MaxToken} printable characters without blanks were expected");
        }

        var id = settings.Gateway;
        var name = $"{id.Gateway}.{id.Site}.{id.TrustDomain}";

        // Vault's roles take the names from the request by default, and from the fields where they are told to: both say the same.
        var csr = new CertificateRequest($"CN={name}", key, HashAlgorithmName.SHA256);
        csr.CertificateExtensions.Add(UriNames.Write(id.ToString(), critical: false));
        var body = JsonSerializer.Serialize(new
        {
            csr = csr.CreateSigningRequestPem(),
            common_name = name,
            uri_sans = id.ToString(),
            ttl = settings.Ttl,
            exclude_cn_from_sans = true,
            // The chain is where the roots come from, unless this host has them.
            remove_roots_from_chain = settings.BundleFile is not null,
        });
        var request = new HttpRequestMessage(HttpMethod.Post, $"{settings.Address.TrimEnd('/')}/v1/{settings.Mount}/sign/{settings.Role}")
        {
            Content = new StringContent(body, Encoding.UTF8, new MediaTypeHeaderValue("application/json")),
        };
        request.Headers.Add("X-Vault-Token", token);
        request.Headers.Add("X-Vault-Request", "true");
        return request;
    }

    private Grant Granted(byte[] body)
    {
        string? certificate;
        List<string> chain;
        try
        {
            using var answer = JsonDocument.Parse(body);
            var data = answer.RootElement.GetProperty("data");
            certificate = data.GetProperty("certificate").GetString();
            chain = data.TryGetProperty("ca_chain", out var all) && all.ValueKind == JsonValueKind.Array
                ? [.. all.EnumerateArray().Select(c => c.GetString() ?? "")]
                : data.TryGetProperty("issuing_ca", out var one) ? [one.GetString() ?? ""] : [];
        }
        catch (Exception e) when (e is JsonException or KeyNotFoundException or InvalidOperationException)
        {
            throw new JoinException(JoinFailure.Protocol, $"Vault's answer is not that of pki/sign: {e.Message}", e);
        }

        var leaf = Certificates("certificate", certificate ?? "");
        var authorities = Certificates("ca_chain", string.Join('\n', chain));
        var bundle = settings.BundleFile is { } path ? Certificates(path, SafeFile.ReadForeign(path, secret: false)) : authorities;
        return bundle.Any(TrustBundle.IsSelfIssued)
            ? new Grant([.. leaf.Concat(authorities.Where(a => !TrustBundle.IsSelfIssued(a))).Select(c => c.RawData)],
                [.. bundle.Select(c => c.RawData)], [])
            : throw new JoinException(JoinFailure.Protocol, "there is no root in Vault's ca_chain: add the root to the chain of the "
                + "mount's issuer, or name a file with it by bundleFile");
    }

    private static X509Certificate2Collection Certificates(string what, string text)
    {
        var all = Pem.Certificates(what, text);
        return all.Count is > 0 and <= TrustBundle.MaxCertificates ? all : throw new JoinException(JoinFailure.Protocol,
            $"{what} holds {all.Count} certificates as PEM; 1 to {TrustBundle.MaxCertificates} were expected");
    }

    /// <summary>Vault says why as <c>{"errors": [ … ]}</c>.</summary>
    private JoinException Refused(HttpStatusCode status, byte[] body)
    {
        var why = "";
        try
        {
            using var answer = JsonDocument.Parse(body);
            why = string.Join("; ", answer.RootElement.GetProperty("errors").EnumerateArray().Select(e => e.GetString()));
        }
        catch (Exception e) when (e is JsonException or KeyNotFoundException or InvalidOperationException)
        {
            // A proxy in between, perhaps: the status is all there is.
        }

        var told = new string([.. why.Take(300).Select(c => char.IsControl(c) ? ' ' : c)]);
        var (failure, hint) = (int)status switch
        {
            403 => (JoinFailure.NotAdmitted, $"the token in {settings.TokenFile} must be valid, and its policy must allow update on "
                + $"{settings.Mount}/sign/{settings.Role}"),
            400 => (JoinFailure.BadRequest, $"the role must allow {settings.Id} as a URI name and EC keys"),
            404 => (JoinFailure.BadRequest, "is the mount right?"),
            >= 300 and < 400 => (JoinFailure.Protocol, "redirects are not followed: name the active node, or a load balancer"),
            429 => (JoinFailure.Busy, "it limits requests, or is a standby"),
            503 => (JoinFailure.Authority, "it is sealed, or in maintenance"),
            _ => (JoinFailure.Authority, "its log says more"),
        };
        return new JoinException(failure, $"Vault at {settings.Address} answers {(int)status}{(told.Length > 0 ? $": {told}" : "")} (hint: {hint})");
    }
}
