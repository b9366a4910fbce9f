using System.Diagnostics;
using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Fabric.Gateway.Dns;
using Fabric.Testing;
using static Fabric.Gateway.Tests.Dns.DnsFixtures;

namespace Fabric.Gateway.Tests.Dns;

/// <summary>The resolvers that programs bring: of C libraries, which ask port 53 of what their resolv.conf names, and of runtimes.</summary>
public sealed class DnsResolverTests : IAsyncLifetime
{
    private const string Web = "web.shop.svc.clusterset.local";
    private static readonly DnsZone TheZone = DnsFixtures.Zone();

    // Port 53 of an address of this process's own.
    private static readonly IPAddress Address = new([127, 53, (byte)(Environment.ProcessId >> 8), (byte)(Environment.ProcessId | 1)]);

    private readonly TemporaryFolder _folder = new();
    private DnsServer? _server;

    public Task InitializeAsync()
    {
        if (Environment.IsPrivilegedProcess)
        {
            _server = new DnsServer(new DnsServerOptions { Listen = [new IPEndPoint(Address, 53)] }, () => TheZone, TimeProvider.System);
            _server.Start();
        }

        return Task.CompletedTask;
    }

    public async Task DisposeAsync()
    {
        await (_server?.DisposeAsync() ?? ValueTask.CompletedTask);
        _folder.Dispose();
    }

    [RequiresTheory("root", "getent", "unshare")]
    [InlineData("ahostsv4 " + Web, "127.64.3.9")]
    [InlineData("ahostsv6 db.shop.svc.clusterset.local", "fd00::7")]
    [InlineData("hosts web", "127.64.3.9")]
    [InlineData("hosts 127.64.3.9", Web)]
    public async Task Glibc_resolves(string arguments, string expected) =>
        Assert.Contains(expected, (await InNamespace($"getent {arguments}")).Output);

    [RequiresTheory("root", "getent", "unshare")]
    [InlineData("ahostsv4 nothing.shop.svc.clusterset.local")]
    [InlineData("ahostsv4 idle.shop.svc.clusterset.local")]
    public async Task Glibc_finds_nothing_and_says_so_at_once(string arguments)
    {
        // glibc waits 5 s for an answer that does not come, each time; a busy machine is not slow three times in a row.
        var took = new List<TimeSpan>();
        do
        {
            var clock = Stopwatch.StartNew();
            Assert.Equal(2, (await InNamespace($"getent {arguments}")).ExitCode);
            took.Add(clock.Elapsed);
        }
        while (took.Min() >= TimeSpan.FromSeconds(4) && took.Count < 3);
        Assert.InRange(took.Min(), TimeSpan.Zero, TimeSpan.FromSeconds(4));
    }

    [RequiresFact("root", "musl-gcc", "unshare")]
    public async Task Musl_resolves()
    {
        var source = Path.Combine(_folder.Root, "resolve.c");
        var program = Path.Combine(_folder.Root, "resolve");
        await File.WriteAllTextAsync(source, """
            #include <arpa/inet.h>
            #include <netdb.h>
            #include <stdio.h>
            int main(int count, char **names) {
              for (int i = 1; i < count; i++) {
                struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
                char text[64];
                int error = getaddrinfo(names[i], 0, &hints, &found);
                if (error) { printf("%s %s\n", names[i], gai_strerror(error)); continue; }
                getnameinfo(found->ai_addr, found->ai_addrlen, text, sizeof text, 0, 0, NI_NUMERICHOST);
                printf("%s %s\n", names[i], text);
              }
            }
            """);
        Assert.Equal(0, (await Run("musl-gcc", "-static", "-o", program, source)).ExitCode);
        var (_, output) = await InNamespace($"{program} {Web} db.shop.svc.clusterset.local web nothing.shop.svc.clusterset.local idle.shop.svc.clusterset.local");
        var lines = output.Trim().Split('\n');
        Assert.Equal(
            [
                $"{Web} 127.64.3.9", "db.shop.svc.clusterset.local fd00::7", "web 127.64.3.9",
                "nothing.shop.svc.clusterset.local Name does not resolve",
            ],
            lines[..4]);

        // Before 1.2.4 musl says the same of both.
        Assert.Matches("^idle.shop.svc.clusterset.local Name (does not resolve|has no usable address)$", lines[4]);
    }

    [RequiresFact("root", "python3", "unshare")]
    public async Task Python_resolves()
    {
        const string Program = "import socket; print(socket.getaddrinfo(\"" + Web + "\", 80)[0][4], socket.gethostbyaddr(\"127.64.3.9\")[0])";
        Assert.Equal($"('127.64.3.9', 80) {Web}", (await InNamespace($"/usr/bin/python3 -c '{Program}'")).Output.Trim());
    }

    [RequiresFact("root", "node")]
    public async Task Node_resolves()
    {
        var (_, output) = await Run("node", "-e", $$"""
            const { Resolver } = require('dns').promises;
            const r = new Resolver();
            r.setServers(['{{Address}}:53']);
            const say = p => p.then(v => JSON.stringify(v), e => e.code);
            Promise.all([
              say(r.resolve4('{{Web}}')), say(r.resolve6('db.shop.svc.clusterset.local')), say(r.resolveSrv('_http._tcp.{{Web}}')),
              say(r.resolveTxt('dns-version.clusterset.local')), say(r.reverse('127.64.3.9')), say(r.resolve4('no.{{Web}}')),
              say(r.resolve4('idle.shop.svc.clusterset.local')),
            ]).then(a => console.log(a.join('\n')));
            """);
        Assert.Equal(
            [
                "[\"127.64.3.9\"]", "[\"fd00::7\"]", $$"""[{"name":"{{Web}}","port":80,"priority":0,"weight":0}]""", "[[\"1.0.0\"]]",
                $"[\"{Web}\"]", "ENOTFOUND", "ENODATA",
            ],
            output.Trim().Split('\n').Select(l => l.Replace(",\"type\":\"SRV\"", "")));
    }

    [RequiresFact("root", "delv")]
    public async Task Delv_resolves()
    {
        var (_, output) = await Run("delv", $"@{Address}", "-i", Web, "A");
        Assert.Matches(@"web\.shop\.svc\.clusterset\.local\.\s+[0-5]\s+IN\s+A\s+127\.64\.3\.9", output);
    }

    [RequiresFact("kdig")]
    public async Task Kdig_asks_over_TLS()
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest("CN=dns.example", key, HashAlgorithmName.SHA256);
        var names = new SubjectAlternativeNameBuilder();
        names.AddDnsName("dns.example");
        request.CertificateExtensions.Add(names.Build());
        using var certificate = request.CreateSelfSigned(DateTimeOffset.UtcNow.AddDays(-1), DateTimeOffset.UtcNow.AddDays(1));
        var (pem, keyPem) = (Path.Combine(_folder.Root, "tls.pem"), Path.Combine(_folder.Root, "tls.key"));
        await File.WriteAllTextAsync(pem, certificate.ExportCertificatePem());
        await File.WriteAllTextAsync(keyPem, key.ExportPkcs8PrivateKeyPem());
        var file = new DnsCertificateFile($"{pem},{keyPem}", TimeProvider.System);
        await using var server = new DnsServer(
            new DnsServerOptions
            {
                Listen = [new IPEndPoint(IPAddress.Loopback, 0)],
                ListenTls = [new IPEndPoint(IPAddress.Loopback, 0)],
                Certificate = () => file.Current,
            },
            () => TheZone, TimeProvider.System);
        server.Start();
        string[] common = ["@127.0.0.1", "-p", $"{server.TlsEndPoints[0].Port}", "+retry=0", "+timeout=10", $"+tls-ca={pem}", "+tls-hostname=dns.example"];
        var (_, output) = await Run("kdig", [.. common, "+tls", "+padding", "+keepopen", Web, "A", "dns-version.clusterset.local", "TXT"]);
        Assert.Contains("TLS session (TLS1.3)", output);
        Assert.Contains("127.64.3.9", output);
        Assert.Contains("\"1.0.0\"", output);
        Assert.Contains("PADDING", output);
        Assert.Equal(2, server.Statistics.TcpQueries);
    }

    /// <summary>With a resolv.conf of its own, which nobody else sees.</summary>
    private async Task<(int ExitCode, string Output)> InNamespace(string command)
    {
        var resolv = Path.Combine(_folder.Root, "resolv.conf");
        var nsswitch = Path.Combine(_folder.Root, "nsswitch.conf");
        await File.WriteAllTextAsync(resolv, $"nameserver {Address}\nsearch shop.svc.clusterset.local\noptions timeout:5 attempts:1\n");
        await File.WriteAllTextAsync(nsswitch, "hosts: dns\n");
        return await Run(
            "unshare", "-m", "sh", "-c",
            $"mount --bind {resolv} /etc/resolv.conf && mount --bind {nsswitch} /etc/nsswitch.conf && exec {command}");
    }

    private static async Task<(int ExitCode, string Output)> Run(string program, params string[] arguments)
    {
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(30));
        using var process = Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardOutput = true })!;
        try
        {
            var output = await process.StandardOutput.ReadToEndAsync(limit.Token);
            await process.WaitForExitAsync(limit.Token);
            return (process.ExitCode, output);
        }
        finally
        {
            process.Kill();
        }
    }
}
