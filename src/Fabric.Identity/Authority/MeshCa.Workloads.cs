using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Fabric.Identity.Joining;
using Fabric.Identity.Storage;
using Fabric.Identity.Svid;

namespace Fabric.Identity.Authority;

/// <content>Certificates of workloads: for those that have no SPIFFE Workload API at hand. Nothing renews them.</content>
public sealed partial class MeshCa
{
    /// <summary>Longest life of a workload's certificate: nobody can take one back, but with its whole site.</summary>
    public static readonly TimeSpan MostWorkloadLife = TimeSpan.FromDays(30);

    /// <summary>
    /// Issues a workload's certificate over a new key, and writes <c>NAME.crt</c> (leaf, then intermediate), <c>NAME.key</c> (PKCS #8) and
    /// <c>bundle.pem</c> (the mesh's roots) into a folder, all 0600. Throws <see cref="ArgumentException"/> for names that cannot stand in a SPIFFE ID
    /// or a life over <see cref="MostWorkloadLife"/>; <see cref="JoinException"/>: Authority, when the site has no valid intermediate and the root's
    /// key is away; NotAdmitted, when the site was evicted.
    /// </summary>
    /// <param name="life">How long it is good; not beyond its issuer's end.</param>
    /// <returns>Whom it names, and until when.</returns>
    public (SpiffeId Id, DateTimeOffset Until) IssueWorkload(string site, string name, TimeSpan life, string folder)
    {
        if (life <= TimeSpan.Zero || life > MostWorkloadLife)
        {
            throw new ArgumentException($"a workload's certificate is good for at most {MostWorkloadLife.TotalDays:0} days");
        }

        if (!SpiffeId.IsSegment(site, out var reason) || !SpiffeId.IsSegment(name, out reason)
            || !SpiffeId.TryParse($"spiffe://{TrustDomain}/site/{site}/workload/{name}", out var id, out reason))
        {
            throw new ArgumentException(reason);
        }

        var trust = Trust;
        if (trust?.Evicted.Contains(site) == true)
        {
            throw new JoinException(JoinFailure.NotAdmitted, $"site {site} was evicted from the mesh; `fabric site readmit` lets it in again");
        }

        var now = _time.GetUtcNow();
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        using var issuer = Issuer(site, now, out var root);
        using var leaf = CertificateProfile.Workload(id, Request(key), issuer, now, life);
        var roots = RootsOf(trust);
        var bundle = TrustBundle.FromDer([.. roots, .. roots.Any(r => r.AsSpan().SequenceEqual(root.RawData)) ? Array.Empty<byte[]>() : [root.RawData]]);
        SafeFile.MakeFolder(folder);
        KeyPairFiles.Save(folder, name, key, [leaf, issuer]);
        SafeFile.Write(Path.Combine(folder, "bundle.pem"), bundle.ToPem());
        return (id, new DateTimeOffset(leaf.NotAfter.ToUniversalTime()));
    }
}
