using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text.Json;
using Fabric.Identity.Sources;
using Fabric.Identity.Svid;
using Fabric.Testing;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;

namespace Fabric.Identity.Tests.Sources;

/// <summary>
/// Vault's PKI engine, as its API documentation describes <c>pki/sign/:role</c>, over TLS. The role behaves as one that was made with
/// Vault's defaults: names come from the signing request.
/// </summary>
public sealed class VaultSourceTests : SourceContract
{
    private protected override Subject Create() => new VaultSubject();

    [Fact]
    public async Task Request_is_the_documented_one_and_the_key_stays_here()
    {
        await using var subject = await VaultSubject.StartedAsync();
        var state = await subject.Source.NextAsync(null, default);
        var (path, token, body) = Assert.Single(subject.Requests);
        Assert.Equal(("POST /v1/pki/fabric/sign/gateway", VaultSubject.Token), (path, token));
        Assert.Equal("paris-a.paris.acme.example", body.GetProperty("common_name").GetString());
        Assert.Equal(Subject.Id.ToString(), body.GetProperty("uri_sans").GetString());
        Assert.Equal("12h", body.GetProperty("ttl").GetString());
        Assert.True(body.GetProperty("exclude_cn_from_sans").GetBoolean());
        Assert.False(body.GetProperty("remove_roots_from_chain").GetBoolean());
        var asked = CertificateRequest.LoadSigningRequestPem(body.GetProperty("csr").GetString()!, HashAlgorithmName.SHA256);
        Assert.Equal(asked.PublicKey.ExportSubjectPublicKeyInfo(), state.Leaf.PublicKey.ExportSubjectPublicKeyInfo());
        Assert.DoesNotContain("PRIVATE", body.GetRawText());
    }

    [Fact]
    public async Task Roots_of_a_file_take_the_place_of_those_in_the_chain()
    {
        await using var subject = await VaultSubject.StartedAsync(("bundleFile", "roots.pem"));
        File.WriteAllText(subject.Mesh.Folder["vault/roots.pem"], VaultSubject.Pem(subject.Mesh.Ca.Roots[0]));
        var state = await subject.Source.NextAsync(null, default);
        Assert.True(subject.Requests[0].Body.GetProperty("remove_roots_from_chain").GetBoolean());
        Assert.Equal(subject.Mesh.Ca.Roots, state.Bundle.ToDer());
        Assert.Single(state.Certificate.IntermediateCertificates);
    }

    [Fact]
    public async Task Chain_without_a_root_is_refused_with_what_to_do()
    {
        await using var subject = await VaultSubject.StartedAsync();
        subject.WithoutRoots = true;
        var e = await Assert.ThrowsAsync<JoinException>(() => subject.Source.NextAsync(null, default));
        Assert.Contains("no root in Vault's ca_chain", e.Message);
        Assert.Contains("bundleFile", e.Message);
    }

    [Fact]
    public async Task Restart_needs_no_Vault_and_those_who_only_look_leave_nothing_behind()
    {
        await using var subject = await VaultSubject.StartedAsync();
        await using (var looking = subject.Open(keep: false))
        {
            await looking.NextAsync(null, default);
        }

        Assert.False(Directory.Exists(subject.Mesh.Folder["identity-vault"]));
        var first = await subject.Source.NextAsync(null, default);
        await subject.LeaveAsync();
        await using var again = subject.Open();
        Assert.Equal(first.Leaf.Thumbprint, (await again.NextAsync(null, default)).Leaf.Thumbprint);
        await using var another = subject.Open(keep: true, ("id", "spiffe://acme.example/site/paris/gateway/paris-b"));
        Assert.Equal(JoinFailure.Unreachable, (await Assert.ThrowsAsync<JoinException>(() => another.NextAsync(null, default))).Failure);
    }

    [Theory]
    [InlineData(403, """{"errors":["1 error occurred:\n\t* permission denied"]}""", JoinFailure.NotAdmitted, "permission denied")]
    [InlineData(400, """{"errors":["subject alternate name not allowed by this role"]}""", JoinFailure.BadRequest, "not allowed by this role")]
    [InlineData(404, """{"errors":[]}""", JoinFailure.BadRequest, "is the mount right?")]
    [InlineData(429, "slow down", JoinFailure.Busy, "429")]
    [InlineData(503, """{"errors":["Vault is sealed"]}""", JoinFailure.Authority, "sealed")]
    [InlineData(500, """{"errors":{}}""", JoinFailure.Authority, "500")]
    [InlineData(307, "", JoinFailure.Protocol, "redirects are not followed")]
    [InlineData(200, "<html>", JoinFailure.Protocol, "not that of pki/sign")]
    [InlineData(200, """{"data":null}""", JoinFailure.Protocol, "not that of pki/sign")]
    [InlineData(200, """{"data":{"certificate":"x","ca_chain":["y"]}}""", JoinFailure.Protocol, "no certificates as PEM|0 certificates")]
    [InlineData(204, "", JoinFailure.Authority, "204")]
    public async Task Refusals_are_told_with_Vaults_reason_and_without_the_token(int status, string body, JoinFailure failure, string because)
    {
        await using var subject = await VaultSubject.StartedAsync();
        subject.Own = async http =>
        {
            http.Response.StatusCode = status;
            http.Response.Headers.Location = "https://elsewhere.example/v1/pki/fabric/sign/gateway";
            if (body.Length > 0)
            {
                await http.Response.WriteAsync(body);
            }
        };
        var e = await Assert.ThrowsAsync<JoinException>(() => subject.Source.NextAsync(null, default));
        Assert.Equal(failure, e.Failure);
        Assert.Contains(because.Split('|'), part => e.Message.Contains(part, StringComparison.Ordinal));
        Assert.DoesNotContain(VaultSubject.Token, e.ToString());
        Assert.Single(subject.Requests);
    }

    [Fact]
    public async Task Answer_over_the_limit_is_not_read_and_one_that_never_comes_is_given_up()
    {
        await using var subject = await VaultSubject.StartedAsync();
        subject.Own = http => http.Response.WriteAsync(new string(' ', 1 << 20));
        Assert.Contains("over the limit", (await Assert.ThrowsAsync<JoinException>(() => subject.Source.NextAsync(null, default))).Message);

        var asked = new TaskCompletionSource();
        subject.Own = async http =>
        {
            asked.SetResult();
            await Task.Delay(Timeout.Infinite, http.RequestAborted).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        };
        var waiting = subject.Source.NextAsync(null, default);
        await asked.Task.WaitAsync(Wait.Limit);
        subject.Mesh.Time.Advance(TimeSpan.FromSeconds(15));
        Assert.Equal(JoinFailure.Timeout, (await Assert.ThrowsAsync<JoinException>(() => waiting.WaitAsync(Wait.Limit))).Failure);
    }

    [Fact]
    public async Task Server_that_the_CA_file_does_not_vouch_for_gets_no_token()
    {
        await using var subject = await VaultSubject.StartedAsync();
        await using var another = await VaultSubject.StartedAsync();
        File.Copy(another.Mesh.Folder["vault/tls.pem"], subject.Mesh.Folder["vault/tls.pem"], overwrite: true);
        var e = await Assert.ThrowsAsync<JoinException>(() => subject.Source.NextAsync(null, default));
        Assert.Equal(JoinFailure.Unreachable, e.Failure);
        Assert.Empty(subject.Requests);
    }

    [RequiresFact("chmod")]
    public async Task Token_is_read_for_each_request_and_must_be_private()
    {
        await using var subject = await VaultSubject.StartedAsync();
        var path = subject.Mesh.Folder["vault/token"];
        File.WriteAllText(path, "expired");
        Assert.Equal(JoinFailure.NotAdmitted, (await Assert.ThrowsAsync<JoinException>(() => subject.Source.NextAsync(null, default))).Failure);
        File.WriteAllText(path, "two words");
        Assert.Contains("holds no token", (await Assert.ThrowsAsync<InvalidDataException>(() => subject.Source.NextAsync(null, default))).Message);
        File.WriteAllText(path, VaultSubject.Token + "\n");
        Mode.Set(path, "644");
        Assert.Contains("mode 644", (await Assert.ThrowsAsync<InvalidDataException>(() => subject.Source.NextAsync(null, default))).Message);
        Mode.Set(path, "600");
        Assert.NotNull(await subject.Source.NextAsync(null, default));
    }

    [Theory]
    [InlineData("address", "http://vault.example:8200", "is not https://host:port")]
    [InlineData("address", "https://vault.example/v1", "is not https://host:port")]
    [InlineData("mount", "pki/../sys", "mount 'pki/../sys'")]
    [InlineData("mount", "/pki", "mount '/pki'")]
    [InlineData("role", "a?b", "role 'a?b'")]
    [InlineData("ttl", "1 day", "ttl '1 day'")]
    [InlineData("id", "spiffe://acme.example/workload/web", "names no gateway")]
    [InlineData("id", "paris-a", "does not begin with spiffe://")]
    [InlineData("rolle", "x", "rolle")]
    [InlineData("role", null, "role")]
    public void Settings_that_are_not_good_are_refused_by_value(string field, string? value, string because)
    {
        using var folder = new TemporaryFolder();
        VaultSubject.WriteSettings(folder["vault.json"], (field, value));
        var e = Assert.Throws<InvalidDataException>(() => VaultSettings.Read(folder["vault.json"]));
        Assert.Contains("vault.json: ", e.Message);
        Assert.Contains(because, e.Message);
    }

    private sealed class VaultSubject : Subject
    {
        public const string Token = "hvs.CAESIJ-secret";

        private readonly X509Certificate2 _certificate = OfTheServer();
        private IIdentitySource? _source;
        private Host? _host;
        private int _dialled;
        private int _answered;

        public VaultSubject()
        {
            Directory.CreateDirectory(Mesh.Folder["vault"]);
            File.WriteAllText(Mesh.Folder["vault/tls.pem"], _certificate.ExportCertificatePem());
            File.WriteAllText(Mesh.Folder["vault/token"], Token + "\n");
            Mode.Set(Mesh.Folder["vault/token"], "600");
            Configure = [];
        }

        public override IIdentitySource Source => _source ??= Open(keep: true, Configure);

        public override bool Busy => Volatile.Read(ref _dialled) != Volatile.Read(ref _answered);

        public List<(string Path, string Token, JsonElement Body)> Requests { get; } = [];

        /// <summary>An answer in place of the documented one.</summary>
        public Func<HttpContext, Task>? Own { get; set; }

        public bool WithoutRoots { get; set; }

        private (string, string?)[] Configure { get; init; }

        public static async Task<VaultSubject> StartedAsync(params (string, string?)[] settings)
        {
            var subject = new VaultSubject { Configure = settings };
            await subject.StartAsync();
            return subject;
        }

        public static void WriteSettings(string path, params (string Field, string? Value)[] changes)
        {
            var fields = new Dictionary<string, string>
            {
                ["address"] = "https://vault.example:8200",
                ["mount"] = "pki/fabric",
                ["role"] = "gateway",
                ["id"] = Id.ToString(),
                ["tokenFile"] = "token",
                ["caFile"] = "tls.pem",
                ["ttl"] = "12h",
            };
            foreach (var (field, value) in changes)
            {
                fields.Remove(field);
                if (value is not null)
                {
                    fields[field] = value;
                }
            }

            File.WriteAllText(path, "// How this gateway reaches Vault.\n" + JsonSerializer.Serialize(fields));
        }

        public static string Pem(byte[] certificate) => PemEncoding.WriteString("CERTIFICATE", certificate);

        public IIdentitySource Open(bool keep = true, params (string, string?)[] settings)
        {
            WriteSettings(Mesh.Folder["vault/vault.json"], settings);
            return IdentitySources.Open(
                $"vault:{Mesh.Folder["vault/vault.json"]}", Mesh.Folder["identity"], keep, DialAsync, null, Mesh.Time);
        }

        public override Task StartAsync() => ReturnAsync();

        public override async Task LeaveAsync() => await _host!.DisposeAsync();

        public override async Task ReturnAsync() => _host = await Host.StartAsync(
            ServeAsync, kestrel => kestrel.Listen(IPAddress.Loopback, 0, listen => listen.UseHttps(_certificate)));

        public override async ValueTask DisposeAsync()
        {
            await _host!.DisposeAsync();
            _certificate.Dispose();
            await base.DisposeAsync();
        }

        private async Task<Stream> DialAsync(string address, CancellationToken ct)
        {
            Assert.Equal("vault.example:8200", address);
            Interlocked.Increment(ref _dialled);
            try
            {
                return await Dial.TcpAsync(_host!.Port, ct);
            }
            catch
            {
                Interlocked.Decrement(ref _dialled);
                throw;
            }
        }

        private async Task ServeAsync(HttpContext http)
        {
            try
            {
                using var body = await JsonDocument.ParseAsync(http.Request.Body);
                Requests.Add(($"{http.Request.Method} {http.Request.Path}", http.Request.Headers["X-Vault-Token"].ToString(), body.RootElement.Clone()));
                await (Own ?? SignAsync)(http);
            }
            finally
            {
                Interlocked.Increment(ref _answered);
            }
        }

        private Task SignAsync(HttpContext http)
        {
            var (path, token, body) = Requests[^1];
            if (token != Token || path != "POST /v1/pki/fabric/sign/gateway")
            {
                http.Response.StatusCode = 403;
                return http.Response.WriteAsJsonAsync(new { errors = new[] { "permission denied" } });
            }

            var csr = CertificateRequest.LoadSigningRequestPem(body.GetProperty("csr").GetString()!, HashAlgorithmName.SHA256,
                CertificateRequestLoadOptions.UnsafeLoadCertificateExtensions);
            var names = csr.CertificateExtensions.Single(e => e.Oid?.Value == "2.5.29.17");
            if (!names.Format(false).Contains(Id.ToString(), StringComparison.Ordinal))
            {
                http.Response.StatusCode = 400;
                return http.Response.WriteAsJsonAsync(new { errors = new[] { "the request names nobody whom the role allows" } });
            }

            var pem = body.GetProperty("csr").GetString()!;
            var grant = Issue(Convert.FromBase64String(pem[PemEncoding.Find(pem).Base64Data]));
            var roots = WithoutRoots || body.GetProperty("remove_roots_from_chain").GetBoolean() ? [] : grant.Bundle.Where(IsRoot);
            return http.Response.WriteAsJsonAsync(new
            {
                request_id = Guid.NewGuid(),
                lease_id = "",
                renewable = false,
                data = new
                {
                    certificate = Pem(grant.Chain[0]),
                    issuing_ca = Pem(grant.Chain.Count > 1 ? grant.Chain[1] : grant.Bundle[0]),
                    ca_chain = grant.Chain.Skip(1).Concat(roots).Select(Pem),
                    expiration = 1_800_000_000,
                    serial_number = "39:dd:2e",
                },
            });
        }

        private static bool IsRoot(byte[] certificate)
        {
            using var one = X509CertificateLoader.LoadCertificate(certificate);
            return TrustBundle.IsSelfIssued(one);
        }

        /// <summary>Vault's own, which is judged by the real clock.</summary>
        private static X509Certificate2 OfTheServer()
        {
            using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
            var request = new CertificateRequest("CN=vault.example", key, HashAlgorithmName.SHA256);
            var names = new SubjectAlternativeNameBuilder();
            names.AddDnsName("vault.example");
            request.CertificateExtensions.Add(names.Build());
            return request.CreateSelfSigned(DateTimeOffset.UnixEpoch.AddYears(30), DateTimeOffset.UnixEpoch.AddYears(130));
        }
    }
}
