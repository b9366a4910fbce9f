using System.Diagnostics;
using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Authentication;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using Fabric.Identity.Authority;
using Fabric.Protocol.Grpc;
using Fabric.Protocol.Proto;
using Fabric.Testing;
using Fabric.Tunnel;
using static Fabric.Gateway.Tests.Hosting.LoopbackFabric;

namespace Fabric.Gateway.Tests.Hosting;

/// <summary>
/// Callers who are known by their certificates: <c>web.shop</c> says <c>tls: svid</c>, and is in virginia. Workload till of paris may call it,
/// which no address is of; the clients are curl, openssl, and the platform's.
/// </summary>
public abstract class CertifiedCallerTests(TunnelDriver driver) : IAsyncLifetime
{
    private const string Domain = "acme.example";
    private const string Till = $"spiffe://{Domain}/site/paris/workload/till";

    private readonly TemporaryFolder _folder = new();
    private LoopbackFabric _fabric = null!;
    private IPEndPoint _service = null!;

    public async Task InitializeAsync()
    {
        _fabric = await LoopbackFabric.StartAsync(driver: driver);
        await UseAsync();
        var service = (await _fabric.Admin(Paris).StatusAsync()).Services.Single(s => s.Name == "web.shop");
        _service = new IPEndPoint(IPAddress.Parse(service.ServiceAddress), (int)service.Ports[0]);
        await _fabric.Admin(Paris).UntilAsync(s => s.Listeners.Any(l => l.Name == "web.shop" && l.Open));
        Issue("paris", "till");
    }

    public async Task DisposeAsync()
    {
        await _fabric.DisposeAsync();
        _folder.Dispose();
    }

    private void Issue(string site, string name) =>
        MeshCa.Open(_fabric.CaFolder, TimeProvider.System).IssueWorkload(site, name, TimeSpan.FromHours(1), _folder["svid"]);

    private async Task UseAsync(string from = "site/paris/workload/till", string protocol = "tcp", string more = "")
    {
        _fabric.Write(_fabric.Topology(more).Replace($"ports: [ {{ port: {_fabric.ServicePort} }} ]",
                $"ports: [ {{ port: {_fabric.ServicePort}, protocol: {protocol}, tls: svid }} ]", StringComparison.Ordinal)
            .Replace("from: [ site/paris/workload/shop ]", $"from: [ {from} ]", StringComparison.Ordinal));
        foreach (var gateway in new[] { Paris, Virginia, Factory })
        {
            var revision = (await _fabric.Admin(gateway).ReloadAsync()).Revision;
            await _fabric.Admin(gateway).UntilAsync(s => s.TopologyRevision == revision);
        }
    }

    private string Bundle => _folder["svid/bundle.pem"];

    /// <summary>What openssl prints when it connects with that certificate and key, and sends a line.</summary>
    private async Task<string> OpensslAsync(string? certificate, string? key)
    {
        string[] shown = certificate is null ? [] : ["-cert", certificate, "-cert_chain", certificate, "-key", key!];
        string[] all = ["s_client", "-connect", _service.ToString(), "-CAfile", Bundle, "-verify_return_error",
            "-verify_hostname", $"paris-1.paris.{Domain}", "-tls1_3", "-quiet", "-no_ign_eof", .. shown];
        using var process = Process.Start(new ProcessStartInfo("openssl", all)
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        })!;
        await process.StandardInput.WriteLineAsync("hello");
        var error = process.StandardError.ReadToEndAsync();
        var seen = new StringBuilder();
        while (!seen.ToString().EndsWith("hello\n", StringComparison.Ordinal) && await process.StandardOutput.ReadLineAsync().WaitAsync(Wait.Limit) is { } line)
        {
            seen.Append(line).Append('\n');
        }

        try
        {
            process.StandardInput.Close();
        }
        catch (IOException)
        {
            // It is gone.
        }

        await process.WaitForExitAsync().WaitAsync(Wait.Limit);
        return seen + await error.WaitAsync(Wait.Limit);
    }

    private (string Certificate, string Key) Of(string name) => (_folder[$"svid/{name}.crt"], _folder[$"svid/{name}.key"]);

    [RequiresFact("openssl")]
    public async Task A_good_certificate_names_the_caller_through_two_gateways()
    {
        var seen = await OpensslAsync(Of("till").Certificate, Of("till").Key);
        Assert.StartsWith("virginia\nhello\n", seen);
        await Wait.UntilAsync(() => _fabric.Audit(Virginia).Any(l => l["caller"] == Till), () => "it is written");
        var line = _fabric.Audit(Virginia).First(l => l["caller"] == Till);
        Assert.Equal(("allow", "gateway", Paris), (line["verdict"], line["established"], line["assertedBy"]));
    }

    [RequiresFact("curl")]
    public async Task Curl_asks_with_the_meshs_bundle_and_the_requests_are_read()
    {
        using var server = new TcpListener(IPAddress.Loopback, 0);
        server.Start();
        var asked = new TaskCompletionSource<string>();
        _ = Task.Run(async () =>
        {
            using var client = await server.AcceptTcpClientAsync();
            var stream = client.GetStream();
            var buffer = new byte[4096];
            asked.TrySetResult(Encoding.ASCII.GetString(buffer, 0, await stream.ReadAsync(buffer)));
            await stream.WriteAsync("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"u8.ToArray());
        });
        var port = FreePorts.Take(1)[0];
        await UseAsync(more: $$"""
              - name: site
                namespace: shop
                ports: [ { port: {{port}}, protocol: http, tls: svid } ]
                health: { type: none }
                exports: [ { site: virginia, endpoints: [ "127.0.0.1:{{((IPEndPoint)server.LocalEndpoint).Port}}" ] } ]

            """);
        await _fabric.Admin(Paris).UntilAsync(s => s.Services.Any(v => v is { Name: "site.shop", ChosenSite: "virginia" })
            && s.Listeners.Any(l => l.Name == "site.shop" && l.Open));
        var address = (await _fabric.Admin(Paris).StatusAsync()).Services.Single(s => s.Name == "site.shop").ServiceAddress;
        using var curl = Process.Start(new ProcessStartInfo("curl", ["-sS", "--max-time", "20", "--cacert", Bundle, "--cert", Of("till").Certificate,
            "--key", Of("till").Key, "--connect-to", $"::{address}:{port}", $"https://paris-1.paris.{Domain}/a"])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        })!;
        var error = curl.StandardError.ReadToEndAsync();
        Assert.True(await curl.StandardOutput.ReadToEndAsync().WaitAsync(Wait.Limit) == "hello", await error);
        Assert.StartsWith("GET /a HTTP/1.1\r\n", await asked.Task.WaitAsync(Wait.Limit));
    }

    [RequiresFact("openssl")]
    public async Task Where_the_gateway_serves_it_itself_the_log_says_certificate()
    {
        Issue("virginia", "till");
        await UseAsync("site/virginia/workload/till");
        var service = (await _fabric.Admin(Virginia).StatusAsync()).Services.Single(s => s.Name == "web.shop");
        using var client = new TcpClient();
        await client.ConnectAsync(IPAddress.Parse(service.ServiceAddress), (int)service.Ports[0]);
        await using var tls = await SecureAsync(client, "till");
        Assert.Equal("virginia\n", await ReadAsync(tls, "virginia\n".Length));
        await tls.WriteAsync("one"u8.ToArray());
        await tls.ShutdownAsync();
        Assert.Equal("one", await ReadAsync(tls, 100));
        await Wait.UntilAsync(() => _fabric.Audit(Virginia).Any(l => l["established"] == "certificate"), () => "it is written");
        Assert.All(_fabric.Audit(Virginia).Where(l => l["established"] == "certificate"),
            l => Assert.Equal(("allow", "self", $"spiffe://{Domain}/site/virginia/workload/till"), (l["verdict"], l["assertedBy"], l["caller"])));
    }

    /// <summary>One after the other at the same gateway: each is its own verdict, whatever was before.</summary>
    [RequiresFact("openssl")]
    public async Task Bad_certificates_are_refused_and_written()
    {
        await IsRefusedAsync("workload_of_another_site", BadCertificate, Issued("virginia"));
        await IsRefusedAsync("not_a_workload", BadCertificate, (_fabric.State(Paris, "identity", "gateway.crt"), _fabric.State(Paris, "identity", "gateway.key")));
        await IsRefusedAsync("expired", CertificateExpired, ByHand("paris", [Till], until: DateTimeOffset.UtcNow.AddMinutes(-1)));
        await IsRefusedAsync("untrusted_chain", UnknownCa, ByHand(null, [Till]));
        await IsRefusedAsync("untrusted_chain", UnknownCa, Foreign(), 2);
        await IsRefusedAsync("no_certificate", CertificateRequired, (null, null));
        await IsRefusedAsync("many_uri_names", BadCertificate, ByHand("paris", [Till, Till + "2"]));
        await IsRefusedAsync("issuer_of_another_site", BadCertificate, ByHand("virginia", [Till]));
        await IsRefusedAsync("extended_key_usage", UnsupportedCertificate, ByHand("paris", [Till], purpose: "1.3.6.1.5.5.7.3.1"));
        Assert.StartsWith("virginia\nhello\n", await OpensslAsync(Of("till").Certificate, Of("till").Key));
    }

    [RequiresFact("openssl")]
    public async Task Where_the_site_was_evicted_nobody_is_a_caller()
    {
        await _fabric.Admin(Paris).CallAsync(AdminMethods.PublishTrust, _fabric.Authority.Evict("paris").Signed!);
        await IsRefusedAsync("evicted", CertificateRevoked, Of("till"));
    }

    [RequiresFact("curl")]
    public async Task Curl_is_told_why_it_is_refused()
    {
        var (certificate, key) = ByHand("paris", [Till], until: DateTimeOffset.UtcNow.AddMinutes(-1));
        using var curl = Process.Start(new ProcessStartInfo("curl", ["-sS", "--max-time", "20", "--cacert", Bundle, "--cert", certificate, "--key", key,
            "--connect-to", $"::{_service}", $"https://paris-1.paris.{Domain}/a"])
        {
            RedirectStandardError = true,
        })!;
        var error = await curl.StandardError.ReadToEndAsync().WaitAsync(Wait.Limit);
        Assert.Contains(driver == TunnelDriver.Linux ? "alert certificate expired" : "Empty reply", error, StringComparison.OrdinalIgnoreCase);
    }

    // Alerts, as openssl prints them (RFC 8446 §6.2).
    private const int BadCertificate = 42;
    private const int UnsupportedCertificate = 43;
    private const int CertificateRevoked = 44;
    private const int CertificateExpired = 45;
    private const int UnknownCa = 48;
    private const int CertificateRequired = 116;

    /// <param name="times">How often that code has been by then.</param>
    /// <param name="alert">What the client is told, where the TLS library can tell it; else the connection ends without, and is not reset either.</param>
    private async Task IsRefusedAsync(string code, int alert, (string? Certificate, string? Key) shown, int times = 1)
    {
        var seen = await OpensslAsync(shown.Certificate, shown.Key);
        Assert.Contains(driver == TunnelDriver.Linux ? $"SSL alert number {alert}\n" : "unexpected eof while reading", seen, StringComparison.Ordinal);
        Assert.False(seen.Contains("virginia\n", StringComparison.Ordinal) || seen.Contains("hello", StringComparison.Ordinal), seen);
        Dictionary<string, string>[] Lines() => [.. _fabric.Audit(Paris).Where(l => l["reason"].EndsWith($"[{code}]", StringComparison.Ordinal))];
        await Wait.UntilAsync(() => Lines().Length == times, () => $"{code} is written: {string.Join('\n', _fabric.Audit(Paris).Select(l => l["reason"]))}");
        Assert.All(Lines(), l => Assert.Equal(("deny", "none", $"web.shop:{_service.Port}"), (l["verdict"], l["established"], l["service"])));
        Assert.Equal((ulong)times, (await _fabric.Admin(Paris).StatusAsync()).Capacity.Certificates.Single(c => c.Kind == code).Count);
        Assert.DoesNotContain(_fabric.Audit(Virginia), l => l["caller"] == Till);
    }

    [Fact]
    public async Task Policies_hold_for_the_caller_and_a_change_of_them_ends_its_stream()
    {
        using var client = await ConnectAsync();
        await using var tls = await SecureAsync(client, "till");
        Assert.Equal("virginia\n", await ReadAsync(tls, "virginia\n".Length));

        // The topology knows shop by its address, which till has as well: that counts for nothing here.
        Issue("paris", "shop");
        await UseAsync("site/paris/workload/shop");
        Assert.Equal("", await ReadAsync(tls, 1));

        using var denied = await ConnectAsync();
        Assert.Equal("", await TryAsync(denied, "till"));
        await Wait.UntilAsync(() => _fabric.Audit(Virginia).Any(l => l["verdict"] == "deny" && l["caller"] == Till), () => "it is written");
        using var allowed = await ConnectAsync();
        Assert.Equal("virginia\n", await TryAsync(allowed, "shop"));
    }

    [Fact]
    public async Task Bytes_go_both_ways_until_both_have_ended()
    {
        using var client = await ConnectAsync();
        await using var tls = await SecureAsync(client, "till");
        Assert.Equal("virginia\n", await ReadAsync(tls, "virginia\n".Length));
        var sent = new byte[8 << 20];
        Random.Shared.NextBytes(sent);
        var sending = Task.Run(async () => await tls.WriteAsync(sent));
        var received = new byte[sent.Length];
        await tls.ReadExactlyAsync(received).AsTask().WaitAsync(Wait.Limit);
        await sending.WaitAsync(Wait.Limit);
        Assert.True(received.AsSpan().SequenceEqual(sent));

        // Not while this client reads: its TLS library has one state for both ways.
        await tls.ShutdownAsync();
        Assert.Equal(0, await tls.ReadAsync(new byte[1]).AsTask().WaitAsync(Wait.Limit));
        await _fabric.Admin(Paris).UntilAsync(s => s.Streams == 0);
    }

    [Fact]
    public async Task An_end_without_close_notify_is_a_reset()
    {
        using var client = await ConnectAsync();
        await using var tls = await SecureAsync(client, "till");
        Assert.Equal("virginia\n", await ReadAsync(tls, "virginia\n".Length));
        client.Client.Shutdown(SocketShutdown.Send);
        Assert.Equal("", await ReadAsync(tls, 1));
        await _fabric.Admin(Paris).UntilAsync(s => s.Streams == 0);
    }

    [Fact]
    public async Task Handshakes_that_do_not_end_are_limited_and_over_after_a_while()
    {
        var clients = new List<TcpClient>();
        try
        {
            // More than one address may have under way.
            for (var i = 0; i < 40; i++)
            {
                try
                {
                    clients.Add(await ConnectAsync());
                }
                catch (SocketException)
                {
                    // Reset so soon that the connect was not seen to be done.
                }
            }

            await CountedAsync("caller_handshake_limit");
            await CountedAsync("caller_handshake_timeout");
            await Task.WhenAll(clients.Select(EndAsync));
        }
        finally
        {
            clients.ForEach(c => c.Dispose());
        }

        using var client = await ConnectAsync();
        Assert.Equal("virginia\n", await TryAsync(client, "till"));
    }

    private Task CountedAsync(string kind) => _fabric.Admin(Paris).UntilAsync(s => s.Capacity.Refusals.Any(r => r.Kind == kind && r.Count > 0));

    private static async Task EndAsync(TcpClient client)
    {
        try
        {
            Assert.Equal(0, await client.GetStream().ReadAsync(new byte[1]).AsTask().WaitAsync(Wait.Limit));
        }
        catch (Exception e) when (e is IOException or SocketException)
        {
            // A reset is an end as well.
        }
    }

    private async Task<TcpClient> ConnectAsync()
    {
        var client = new TcpClient();
        await client.ConnectAsync(_service).WaitAsync(Wait.Limit);
        return client;
    }

    private async Task<SslStream> SecureAsync(TcpClient client, string name)
    {
        var own = new X509Certificate2Collection();
        own.ImportFromPemFile(Of(name).Certificate);
        var leaf = X509Certificate2.CreateFromPemFile(Of(name).Certificate, Of(name).Key);
        var tls = new SslStream(client.GetStream());
        await tls.AuthenticateAsClientAsync(new SslClientAuthenticationOptions
        {
            TargetHost = "any",
            EnabledSslProtocols = SslProtocols.Tls13,
            ClientCertificateContext = SslStreamCertificateContext.Create(leaf, [own[1]], offline: true),
            RemoteCertificateValidationCallback = (_, _, _, _) => true,
        }).WaitAsync(Wait.Limit);
        return tls;
    }

    /// <summary>The first line, or empty when there is none.</summary>
    private async Task<string> TryAsync(TcpClient client, string name)
    {
        try
        {
            await using var tls = await SecureAsync(client, name);
            return await ReadAsync(tls, "virginia\n".Length);
        }
        catch (Exception e) when (e is IOException or SocketException)
        {
            return "";
        }
    }

    /// <summary>So many bytes, or those before the end or a reset.</summary>
    private static async Task<string> ReadAsync(SslStream tls, int most)
    {
        var buffer = new byte[most];
        var count = 0;
        try
        {
            while (count < most && await tls.ReadAsync(buffer.AsMemory(count)).AsTask().WaitAsync(Wait.Limit) is var read && read > 0)
            {
                count += read;
            }
        }
        catch (Exception e) when (e is IOException or SocketException)
        {
            // Reset.
        }

        return Encoding.ASCII.GetString(buffer, 0, count);
    }

    private (string, string) Issued(string site)
    {
        Issue(site, "other");
        return Of("other");
    }

    private (string, string) Foreign()
    {
        MeshCa.Create(_folder["foreign-ca"], Domain, TimeProvider.System).IssueWorkload("paris", "till", TimeSpan.FromHours(1), _folder["foreign"]);
        return (_folder["foreign/till.crt"], _folder["foreign/till.key"]);
    }

    /// <summary>What the authority would not issue, signed with its key.</summary>
    /// <param name="site">Whose intermediate signs; null: its own key.</param>
    private (string, string) ByHand(string? site, string[] names, DateTimeOffset? until = null, string purpose = "1.3.6.1.5.5.7.3.2")
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest("CN=till", key, HashAlgorithmName.SHA256);
        var san = new SubjectAlternativeNameBuilder();
        names.ToList().ForEach(n => san.AddUri(new Uri(n)));
        request.CertificateExtensions.Add(san.Build(critical: true));
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(false, false, 0, true));
        request.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.DigitalSignature, true));
        request.CertificateExtensions.Add(new X509EnhancedKeyUsageExtension([new Oid(purpose)], false));
        var (from, to) = (DateTimeOffset.UtcNow.AddMinutes(-3), until ?? DateTimeOffset.UtcNow.AddHours(1));
        string pem;
        if (site is null)
        {
            pem = request.CreateSelfSigned(from, to).ExportCertificatePem();
        }
        else
        {
            using var issuer = X509Certificate2.CreateFromPemFile(Path.Combine(_fabric.CaFolder, $"sites/{site}.crt"), Path.Combine(_fabric.CaFolder, $"sites/{site}.key"));
            pem = request.Create(issuer, from, to, RandomNumberGenerator.GetBytes(12)).ExportCertificatePem() + "\n" + issuer.ExportCertificatePem();
        }

        return (_folder.Write("hand.crt", pem + "\n"), _folder.Write("hand.key", key.ExportPkcs8PrivateKeyPem() + "\n"));
    }
}

public sealed class PortableCertifiedCallerTests() : CertifiedCallerTests(TunnelDriver.Portable);

public sealed class LinuxCertifiedCallerTests() : CertifiedCallerTests(TunnelDriver.Linux);
