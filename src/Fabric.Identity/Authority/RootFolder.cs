using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Fabric.Identity.Joining;
using Fabric.Identity.Storage;
using Fabric.Identity.Svid;

namespace Fabric.Identity.Authority;

/// <summary>
/// One root of the mesh with what it signed: <c>root.crt</c>, <c>root.key</c>, <c>sites/</c> with the sites' intermediates, and
/// <c>trust.crt</c>, <c>trust.key</c>, which sign trust documents. A root that took another's place has <c>introduction.crt</c> as well.
/// Callers hold the lock of the authority's folder.
/// </summary>
internal sealed class RootFolder
{
    private const string Signer = "trust";

    private RootFolder(string path, string trustDomain, X509Certificate2 certificate) =>
        (Path, TrustDomain, Certificate) = (path, trustDomain, certificate);

    public string Path { get; }
    public string TrustDomain { get; }
    public X509Certificate2 Certificate { get; }

    /// <summary>The same key, signed by the root before; null for the first.</summary>
    public X509Certificate2? Introduction => File.Exists(IntroductionPath(Path)) ? X509Certificate2.CreateFromPem(SafeFile.ReadText(IntroductionPath(Path))) : null;

    private string KeyPath => System.IO.Path.Combine(Path, "root.key");

    private string SitesPath => System.IO.Path.Combine(Path, "sites");

    public static bool Exists(string path) => File.Exists(CertificatePath(path));

    /// <summary>
    /// A new root. Its certificate is written last: killed in between, the folder holds none, and a second call starts anew.
    /// </summary>
    /// <param name="older">The root that introduces it, with its key; null for the mesh's first.</param>
    /// <param name="sites">Sites whose intermediates are made as well.</param>
    public static RootFolder Create(string path, string trustDomain, int generation, X509Certificate2? older, IEnumerable<string> sites, DateTimeOffset now)
    {
        SafeFile.MakeFolder(path);
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        using var bare = CertificateProfile.Root(key, trustDomain, now, generation);
        SafeFile.Write(System.IO.Path.Combine(path, "root.key"), key.ExportPkcs8PrivateKeyPem() + "\n");
        var root = new RootFolder(path, trustDomain, X509CertificateLoader.LoadCertificate(bare.RawData));

        // Intermediates of a root that was never finished would outlive it.
        SafeFile.MakeFolder(root.SitesPath);
        Directory.Delete(root.SitesPath, recursive: true);
        if (older is not null)
        {
            using var introduction = CertificateProfile.Introduction(key, trustDomain, generation, older, now);
            SafeFile.Write(IntroductionPath(path), introduction.ExportCertificatePem() + "\n");
        }

        using var signing = root.WithKey();
        root.MakeSigner(signing, now);
        foreach (var site in sites)
        {
            root.Make(site, now);
        }

        SafeFile.Write(CertificatePath(path), root.Certificate.ExportCertificatePem() + "\n");
        return root;
    }

    /// <summary>Throws <see cref="FileNotFoundException"/> when there is none, <see cref="InvalidDataException"/> when it is damaged.</summary>
    public static RootFolder Open(string path)
    {
        if (!Exists(path))
        {
            throw new FileNotFoundException($"{path} holds no mesh authority (no root.crt)");
        }

        try
        {
            var root = X509Certificate2.CreateFromPem(SafeFile.ReadText(CertificatePath(path)));
            return UriNames.Read(root).Uris is [var uri] && SpiffeId.TryParse(uri, out var id, out _) && id.Path.Length == 0
                ? new RootFolder(path, id.TrustDomain, root)
                : throw new InvalidDataException($"{CertificatePath(path)} does not name a trust domain");
        }
        catch (Exception e) when (e is CryptographicException or System.Formats.Asn1.AsnContentException)
        {
            throw new InvalidDataException($"{CertificatePath(path)} is damaged: {e.Message}", e);
        }
    }

    /// <summary>The root with its key. Throws <see cref="FileNotFoundException"/> when that has been taken away.</summary>
    public X509Certificate2 WithKey()
    {
        using var key = ECDsa.Create();
        key.ImportFromPem(SafeFile.ReadText(KeyPath));
        return Certificate.CopyWithPrivateKey(key);
    }

    /// <summary>Whether the root's key is there.</summary>
    public bool HasKey => File.Exists(KeyPath);

    /// <summary>
    /// What signs for the site, with its key: made when there is none, or when it is past half its life, if the root's key is there. Null when
    /// there is none that is valid now.
    /// </summary>
    public X509Certificate2? Find(string site, DateTimeOffset now, out string why)
    {
        var own = Load(SitesPath, site);
        if ((own is null || now >= RenewalLoop.RenewAt(own.NotBefore, own.NotAfter, 0)) && HasKey)
        {
            own?.Dispose();
            Make(site, now);
            own = Load(SitesPath, site);
        }

        why = own is null ? $"site {site} has no intermediate certificate"
            : $"the intermediate certificate of site {site} expired at {own.NotAfter.ToUniversalTime():u}";
        return own is not null && (!IssuerNames.TrySite(own, out var named, out _) || named != site)
            ? throw new InvalidDataException($"{KeyPairFiles.CertificatePath(SitesPath, site)} is not that of site {site}")
            : Valid(own, now) ?? Valid(Load(Path, "issuing"), now);
    }

    /// <summary>Replaces a site's intermediate and its key. Throws <see cref="FileNotFoundException"/> when the root's key is away.</summary>
    public void Make(string site, DateTimeOffset now)
    {
        using var root = WithKey();
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        using var certificate = CertificateProfile.Intermediate(key, TrustDomain, site, root, now);
        SafeFile.MakeFolder(SitesPath);
        KeyPairFiles.Save(SitesPath, site, key, [certificate]);
    }

    /// <summary>What signs trust documents for this root, made if the root's key is there; null when there is none and it is not.</summary>
    public (X509Certificate2 Leaf, X509Certificate2Collection Intermediates)? TrustSigner(DateTimeOffset now)
    {
        if (!File.Exists(KeyPairFiles.CertificatePath(Path, Signer)))
        {
            if (!HasKey)
            {
                return null;
            }

            using var root = WithKey();
            MakeSigner(root, now);
        }

        return KeyPairFiles.Load(Path, Signer);
    }

    /// <summary>What another CA issued for the purpose, in a folder without a root; null when there is nothing.</summary>
    public static (X509Certificate2 Leaf, X509Certificate2Collection Intermediates)? ForeignSigner(string path) =>
        File.Exists(KeyPairFiles.CertificatePath(path, Signer)) ? KeyPairFiles.Load(path, Signer) : null;

    public JoinException KeyIsAway(string why) => new(JoinFailure.Authority,
        $"{why}, and root.key, which makes a new one, is not in {Path}; put it there, try again, and take it away");

    private void MakeSigner(X509Certificate2 root, DateTimeOffset now)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        using var certificate = CertificateProfile.TrustSigner(key, TrustDomain, root, now);
        KeyPairFiles.Save(Path, Signer, key, [certificate]);
    }

    private static X509Certificate2? Valid(X509Certificate2? issuer, DateTimeOffset now)
    {
        if (issuer is null || now < issuer.NotAfter)
        {
            return issuer;
        }

        issuer.Dispose();
        return null;
    }

    private static X509Certificate2? Load(string dir, string name) =>
        File.Exists(KeyPairFiles.CertificatePath(dir, name)) ? KeyPairFiles.Load(dir, name).Leaf : null;

    private static string CertificatePath(string path) => System.IO.Path.Combine(path, "root.crt");

    private static string IntroductionPath(string path) => System.IO.Path.Combine(path, "introduction.crt");
}
