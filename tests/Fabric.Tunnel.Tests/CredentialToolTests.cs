using System.Diagnostics;
using System.Formats.Asn1;
using System.Net.Security;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using Fabric.Testing;

namespace Fabric.Tunnel.Tests;

/// <summary>
/// What others wrote, with the mesh's bundle: OpenSSL's client and curl know a gateway's port by its certificate, and are known by theirs.
/// </summary>
public abstract class CredentialToolTests(CredentialMesh mesh, TunnelDriver driver) : IClassFixture<CredentialMesh>
{
    private const string Http = "http/1.1";
    private const string BetaName = "beta.virginia.test.example";

    [RequiresFact("openssl")]
    public async Task OpenSsl_and_a_gateway_know_each_other()
    {
        await using var beta = Beta();
        var (code, output) = await OpenSslAsync(beta, Alpha());
        Assert.True(code == 0, output);
        Assert.Contains("Verification: OK", output);
        Assert.Contains($"ALPN protocol: {Http}", output);
        Assert.Contains("TLSv1.3", output);
        Assert.Contains($"you are {CredentialMesh.Alpha}", output);
    }

    [RequiresFact("openssl")]
    public async Task OpenSsl_with_the_bundle_of_another_mesh_refuses_the_gateway()
    {
        await using var beta = Beta();
        var (code, output) = await OpenSslAsync(beta, [], mesh.Other.In("ca/root.crt"));
        Assert.True(code != 0, output);
        Assert.DoesNotContain("you are", output);
    }

    [RequiresFact("openssl")]
    public async Task OpenSsl_with_a_certificate_of_another_mesh_is_refused()
    {
        await using var beta = Beta();
        var (_, output) = await OpenSslAsync(beta, Shown(mesh.Other));
        Assert.DoesNotContain("you are", output);
        if (driver == TunnelDriver.Linux)
        {
            // unknown_ca; the platform's TLS has no means to tell.
            Assert.Contains("SSL alert number 48\n", output);
        }

        await Pair.Until(() => beta.Tunnel.Usage.Certificates.Single(c => c.Code == "untrusted_chain").Count == 1, "it is counted");
    }

    /// <summary>
    /// A certificate that leaked, without its key. OpenSSL compares public keys only, so a key file that lies about its own is taken.
    /// </summary>
    [RequiresFact("openssl")]
    public async Task A_good_certificate_without_its_key_is_refused()
    {
        await using var beta = Beta();
        var shown = Alpha();
        using var stolen = X509CertificateLoader.LoadCertificateFromFile(mesh.In("alpha/gateway.crt"));
        using var thief = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        File.WriteAllText(shown[^1] = mesh.In($"{driver}.thief.key"), KeyOf(thief.ExportParameters(true).D!, stolen.PublicKey.EncodedKeyValue.RawData));
        var (_, output) = await OpenSslAsync(beta, shown);
        Assert.DoesNotContain("you are", output);
        await Pair.Until(() => !beta.Log.IsEmpty, "it is logged");
        Assert.True(Assert.Single(beta.Log).Contains("bad signature", StringComparison.Ordinal), $"{beta.Log.First()}\n{output}");
    }

    /// <summary>A session that was saved as alpha is shown again by nobody: there is nothing in it that would name alpha.</summary>
    [RequiresFact("openssl")]
    public async Task A_session_that_OpenSsl_kept_is_not_resumed()
    {
        await using var beta = Beta();
        var session = mesh.In($"{driver}.session");
        var (_, first) = await OpenSslAsync(beta, [.. Alpha(), "-sess_out", session]);
        Assert.Contains($"you are {CredentialMesh.Alpha}", first);
        if (File.Exists(session))
        {
            var (_, second) = await OpenSslAsync(beta, ["-sess_in", session]);
            Assert.DoesNotContain("Reused", second);
            Assert.Contains("you are nobody", second);
        }
    }

    [RequiresFact("curl")]
    public async Task Curl_and_a_gateway_know_each_other()
    {
        await using var beta = Beta();
        var (code, output) = await CurlAsync(beta, mesh.In("ca/root.crt"), ["--cert", mesh.In("alpha/gateway.crt"), "--key", mesh.In("alpha/gateway.key")]);
        Assert.True(code == 0, output);
        Assert.Contains($"you are {CredentialMesh.Alpha}", output);
        (code, output) = await CurlAsync(beta, mesh.In("ca/root.crt"), []);
        Assert.True(code == 0, output);
        Assert.Contains("you are nobody", output);
    }

    [RequiresFact("curl")]
    public async Task Curl_with_the_bundle_of_another_mesh_or_another_name_refuses_the_gateway()
    {
        const int UnableToVerify = 60;
        await using var beta = Beta();
        Assert.Equal(UnableToVerify, (await CurlAsync(beta, mesh.Other.In("ca/root.crt"), [])).Code);
        Assert.Equal(UnableToVerify, (await CurlAsync(beta, mesh.In("ca/root.crt"), [], "alpha.paris.test.example")).Code);
    }

    /// <summary>Tells whoever speaks HTTP who it is.</summary>
    private TestGateway Beta()
    {
        var beta = new TestGateway(mesh.Beta, driver, null, new Dictionary<string, Func<ProtocolConnection, Task>>
        {
            [Http] = async connection =>
            {
                var body = $"you are {connection.Peer?.ToString() ?? "nobody"}\n";
                var answer = $"HTTP/1.1 200 OK\r\nContent-Length: {body.Length}\r\nConnection: close\r\n\r\n{body}";
                await connection.Stream.ReadAtLeastAsync(new byte[4096], "GET /".Length);
                await connection.Stream.WriteAsync(Encoding.ASCII.GetBytes(answer));
                await connection.Stream.FlushAsync();
                if (connection.Stream is SslStream tls)
                {
                    await tls.ShutdownAsync();
                    await tls.FlushAsync();
                }
            },
        });
        beta.Tunnel.Reconcile(new TunnelPlan { Listen = [Pair.AnyPort] });
        return beta;
    }

    /// <summary>The options that make a tool alpha, with the files that `fabric join` writes.</summary>
    private string[] Alpha() => Shown(mesh);

    private static string[] Shown(CredentialMesh mesh)
    {
        if (!File.Exists(mesh.In("alpha/gateway.crt")))
        {
            mesh.Join(CredentialMesh.Alpha);
        }

        return ["-cert", mesh.In("alpha/gateway.crt"), "-cert_chain", mesh.In("alpha/gateway.crt"), "-key", mesh.In("alpha/gateway.key")];
    }

    private Task<(int Code, string Output)> OpenSslAsync(TestGateway beta, string[] more, string? root = null) => RunAsync(
        "openssl",
        [
            "s_client", "-connect", beta.Address("gateway port").ToString(), "-servername", BetaName, "-verify_hostname", BetaName,
            "-CAfile", root ?? mesh.In("ca/root.crt"), "-no-CApath", "-verify_return_error", "-alpn", Http, "-ign_eof", .. more,
        ],
        "GET / HTTP/1.1\r\n\r\n");

    private Task<(int Code, string Output)> CurlAsync(TestGateway beta, string root, string[] more, string name = BetaName)
    {
        Shown(mesh);
        var port = beta.Address("gateway port").Port;
        return RunAsync(
            "curl",
            [
                "-sS", "--max-time", "20", "--http1.1", "--noproxy", "*", "--cacert", root, "--resolve", $"{name}:{port}:127.0.0.1", .. more,
                $"https://{name}:{port}/",
            ],
            "");
    }

    /// <summary>RFC 5915, with that private key and that public one.</summary>
    private static string KeyOf(byte[] secret, byte[] point)
    {
        var writer = new AsnWriter(AsnEncodingRules.DER);
        using (writer.PushSequence())
        {
            writer.WriteInteger(1);
            writer.WriteOctetString(secret);
            using (writer.PushSequence(new Asn1Tag(TagClass.ContextSpecific, 0)))
            {
                writer.WriteObjectIdentifier("1.2.840.10045.3.1.7");
            }

            using (writer.PushSequence(new Asn1Tag(TagClass.ContextSpecific, 1)))
            {
                writer.WriteBitString(point);
            }
        }

        return PemEncoding.WriteString("EC PRIVATE KEY", writer.Encode()) + "\n";
    }

    private static async Task<(int Code, string Output)> RunAsync(string program, string[] arguments, string input)
    {
        using var process = Process.Start(new ProcessStartInfo(program, arguments)
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        })!;
        var output = process.StandardOutput.ReadToEndAsync();
        var error = process.StandardError.ReadToEndAsync();
        try
        {
            await process.StandardInput.WriteAsync(input);
            process.StandardInput.Close();
        }
        catch (IOException)
        {
            // It has gone already, for the reason that it printed.
        }

        await process.WaitForExitAsync().WaitAsync(Pair.Limit);
        return (process.ExitCode, await output + await error);
    }
}

public sealed class PortableCredentialToolTests(CredentialMesh mesh) : CredentialToolTests(mesh, TunnelDriver.Portable);

public sealed class LinuxCredentialToolTests(CredentialMesh mesh) : CredentialToolTests(mesh, TunnelDriver.Linux);
