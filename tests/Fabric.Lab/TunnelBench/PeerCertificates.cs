using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

using Fabric.Lab.Processes;

namespace Fabric.Lab.TunnelBench;

/// <summary>A CA, and a certificate for each end of the peers: ECDSA P-256, as gateways have.</summary>
public sealed class PeerCertificates
{
    public const string A = "a.bench.example";
    public const string B = "b.bench.example";

    private readonly WorkFolder _work;

    public PeerCertificates(WorkFolder work)
    {
        _work = work;
        var from = DateTimeOffset.UtcNow.AddHours(-1);
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest("CN=bench CA", key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
        using var ca = request.CreateSelfSigned(from, from.AddDays(2));
        File.WriteAllText(Ca, ca.ExportCertificatePem() + "\n");
        foreach (var name in new[] { A, B })
        {
            Issue(ca, name, from);
        }
    }

    public string Ca => _work.Of("peers-ca.pem");

    /// <summary>The file with the certificate of that name, and its key.</summary>
    public string Pem(string name) => _work.Of($"peers-{name}.pem");

    private void Issue(X509Certificate2 ca, string name, DateTimeOffset from)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest($"CN={name}", key, HashAlgorithmName.SHA256);
        var names = new SubjectAlternativeNameBuilder();
        names.AddDnsName(name);
        request.CertificateExtensions.Add(names.Build());
        using var certificate = request.Create(ca, from, from.AddDays(1), RandomNumberGenerator.GetBytes(16));
        File.WriteAllText(Pem(name), $"{certificate.ExportCertificatePem()}\n{key.ExportPkcs8PrivateKeyPem()}\n");
        File.SetUnixFileMode(Pem(name), UnixFileMode.UserRead | UnixFileMode.UserWrite);
    }
}
