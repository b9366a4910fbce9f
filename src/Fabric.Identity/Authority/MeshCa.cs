using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Fabric.Identity.Joining;
using Fabric.Identity.Storage;
using Fabric.Identity.Svid;

namespace Fabric.Identity.Authority;

/// <summary>
/// The mesh's own certificate authority, in one folder: <c>root.crt</c> and <c>root.key</c> (10 years), <c>sites/SITE.crt</c> and
/// <c>sites/SITE.key</c> (the site's intermediate, 1 year), <c>tokens/</c>. Folders are 0700, files 0600. An intermediate is made
/// on first use or by <see cref="Prepare"/>, and replaced at half its life: both need the root's key, and nothing else does, so it
/// may be taken away. The folder is the state: several processes may use it at once.
/// </summary>
/// <remarks>
/// A folder from before sites had intermediates of their own holds <c>issuing.crt</c> and <c>issuing.key</c>, which sign for any
/// site. They serve sites that have none, until they expire: so such a mesh goes on without the root's key, and changes over by
/// itself where the key is there. They are not renewed, and may be deleted once <see cref="Prepare"/> has made all intermediates.
/// </remarks>
public sealed class MeshCa
{
    private readonly string _dir;
    private readonly TimeProvider _time;
    private readonly X509Certificate2 _root;

    private MeshCa(string dir, string trustDomain, X509Certificate2 root, TimeProvider time)
    {
        (_dir, _root, _time, TrustDomain) = (dir, root, time, trustDomain);
        Tokens = new JoinTokens(Path.Combine(dir, "tokens"), time);
    }

    public string TrustDomain { get; }

    /// <summary>SHA-256 over the root certificate's DER, 32 bytes.</summary>
    public byte[] RootFingerprint => TrustBundle.Fingerprint(_root);

    internal JoinTokens Tokens { get; }

    /// <summary>Self-signed roots, DER.</summary>
    internal IReadOnlyList<byte[]> Roots => [_root.RawData];

    /// <summary>Whether the folder holds a complete authority.</summary>
    public static bool Exists(string dir) => File.Exists(RootPath(dir));

    /// <summary>
    /// Makes a new authority in <paramref name="dir"/>. Throws <see cref="IOException"/> when there is one already, and
    /// <see cref="ArgumentException"/> for a bad trust domain. Killed in between, the folder holds none (its root certificate is
    /// written last), and a second call starts anew.
    /// </summary>
    public static MeshCa Create(string dir, string trustDomain, TimeProvider time)
    {
        if (!SpiffeId.IsTrustDomain(trustDomain, out var reason))
        {
            throw new ArgumentException(reason, nameof(trustDomain));
        }

        SafeFile.MakeFolder(dir);
        using (FolderLock.Take(dir))
        {
            if (Exists(dir))
            {
                throw new IOException($"{dir} holds an authority already; it is not overwritten");
            }

            SafeFile.MakeFolder(Path.Combine(dir, "tokens"));

            // Intermediates of a root that was never finished would outlive it.
            SafeFile.MakeFolder(SitesPath(dir));
            Directory.Delete(SitesPath(dir), recursive: true);
            using var rootKey = ECDsa.Create(ECCurve.NamedCurves.nistP256);
            using var root = CertificateProfile.Root(rootKey, trustDomain, time.GetUtcNow());
            SafeFile.Write(Path.Combine(dir, "root.key"), rootKey.ExportPkcs8PrivateKeyPem() + "\n");
            SafeFile.Write(RootPath(dir), root.ExportCertificatePem() + "\n");
        }

        return Open(dir, time);
    }

    /// <summary>
    /// Throws <see cref="FileNotFoundException"/> when the folder holds no authority, and <see cref="InvalidDataException"/> when
    /// what it holds is damaged.
    /// </summary>
    public static MeshCa Open(string dir, TimeProvider time)
    {
        if (!Exists(dir))
        {
            throw new FileNotFoundException($"{dir} holds no mesh authority (no root.crt)");
        }

        try
        {
            var root = X509Certificate2.CreateFromPem(SafeFile.ReadText(RootPath(dir)));
            return UriNames.Read(root).Uris is [var uri] && SpiffeId.TryParse(uri, out var id, out _) && id.Path.Length == 0
                ? new MeshCa(dir, id.TrustDomain, root, time)
                : throw new InvalidDataException($"{RootPath(dir)} does not name a trust domain");
        }
        catch (Exception e) when (e is CryptographicException or System.Formats.Asn1.AsnContentException)
        {
            throw new InvalidDataException($"{RootPath(dir)} is damaged: {e.Message}", e);
        }
    }

    /// <summary>A signing request over a key, as <see cref="Issue"/> and <see cref="Redeem"/> take it.</summary>
    public static byte[] Request(ECDsa key) => CertificateProfile.Request(key);

    /// <summary>
    /// Makes a one-time token with which gateway <paramref name="gateway"/> of <paramref name="site"/> can join. Throws
    /// <see cref="ArgumentException"/> for names that cannot stand in a SPIFFE ID, bad addresses, or a lifetime beyond 30 days.
    /// </summary>
    /// <param name="addresses"><c>host:port</c> where this authority is served; at most 16; none for local use.</param>
    public JoinToken CreateToken(string site, string gateway, TimeSpan? ttl = null, IReadOnlyList<string>? addresses = null)
    {
        Check(new GatewayId(TrustDomain, site, gateway));
        return Tokens.Create(new GatewayId(TrustDomain, site, gateway), ttl ?? JoinTokens.DefaultLife, RootFingerprint,
            addresses ?? []);
    }

    /// <summary>
    /// Makes the intermediates of these sites that are missing or past half their life, if the root's key is there. Returns the
    /// sites for which nothing can be issued now: they have none that is valid, and the key is away.
    /// </summary>
    public IReadOnlyList<string> Prepare(IEnumerable<string> sites) => [.. sites.Where(site =>
    {
        using var issuer = Find(site, _time.GetUtcNow(), out _);
        return issuer is null;
    })];

    /// <summary>
    /// Uses up a token and issues its gateway's certificate: the one way in, by network (<see cref="JoinServer"/>) and locally.
    /// A malformed request does not use up the token, nor does a site for which nothing can be issued now. Throws
    /// <see cref="JoinException"/>.
    /// </summary>
    internal Grant Redeem(ReadOnlySpan<byte> tokenId, ReadOnlySpan<byte> secret, byte[] csr, out GatewayId id)
    {
        CertificateProfile.Parse(csr);
        Issuer(Tokens.Find(tokenId, secret).Site, _time.GetUtcNow()).Dispose();
        id = Tokens.Redeem(tokenId, secret);
        return Issue(id, csr);
    }

    /// <inheritdoc cref="Redeem(ReadOnlySpan{byte}, ReadOnlySpan{byte}, byte[], out GatewayId)"/>
    public Grant Redeem(JoinToken token, byte[] csr)
    {
        if (!CryptographicOperations.FixedTimeEquals(token.RootFingerprint, RootFingerprint))
        {
            throw new JoinException(JoinFailure.WrongRoot,
                $"the token is for trust domain {token.TrustDomain}, and its root is not the one in {_dir}");
        }

        return Redeem(token.Id, token.Secret, csr, out _);
    }

    /// <summary>
    /// Issues a leaf of 24 h for <paramref name="id"/>. The caller has established that the asker is that gateway. Throws
    /// <see cref="JoinException"/>: Authority, when its site has no valid intermediate and the root's key is away.
    /// </summary>
    public Grant Issue(GatewayId id, byte[] csr)
    {
        if (id.TrustDomain != TrustDomain)
        {
            throw new JoinException(JoinFailure.NotAdmitted, $"{id} is not of trust domain {TrustDomain}");
        }

        Check(id);
        var now = _time.GetUtcNow();
        using var issuer = Issuer(id.Site, now);
        using var leaf = CertificateProfile.Leaf(id, csr, issuer, now);
        return new Grant([leaf.RawData, issuer.RawData], [_root.RawData, issuer.RawData], []);
    }

    /// <summary>
    /// Replaces a site's intermediate and its key. Leaves that the old one signed stay valid. Throws
    /// <see cref="FileNotFoundException"/> when the root's key has been taken away.
    /// </summary>
    public void Rotate(string site)
    {
        using (FolderLock.Take(_dir))
        {
            Make_NeedsLock(site, _time.GetUtcNow());
        }
    }

    private X509Certificate2 Issuer(string site, DateTimeOffset now) => Find(site, now, out var why) ?? throw new JoinException(
        JoinFailure.Authority, $"{why}, and root.key, which makes a new one, is not in {_dir}; put it there, try again, and take it away");

    /// <summary>What signs for the site, with its key, read anew each time: another process may have replaced it.</summary>
    private X509Certificate2? Find(string site, DateTimeOffset now, out string why)
    {
        Check(new GatewayId(TrustDomain, site, "any"));
        why = "";
        using (FolderLock.Take(_dir))
        {
            var own = Load(SitesPath(_dir), site);
            if ((own is null || now >= RenewalLoop.RenewAt(own.NotBefore, own.NotAfter, 0)) && File.Exists(RootKeyPath))
            {
                own?.Dispose();
                Make_NeedsLock(site, now);
                own = Load(SitesPath(_dir), site);
            }

            why = own is null ? $"site {site} has no intermediate certificate"
                : $"the intermediate certificate of site {site} expired at {own.NotAfter.ToUniversalTime():u}";
            return own is not null && (!IssuerNames.TrySite(own, out var named, out _) || named != site)
                ? throw new InvalidDataException($"{KeyPairFiles.CertificatePath(SitesPath(_dir), site)} is not that of site {site}")
                : Valid(own) ?? Valid(Load(_dir, "issuing"));
        }

        X509Certificate2? Valid(X509Certificate2? issuer)
        {
            if (issuer is null || now < issuer.NotAfter)
            {
                return issuer;
            }

            issuer.Dispose();
            return null;
        }
    }

    private static X509Certificate2? Load(string dir, string name) =>
        File.Exists(KeyPairFiles.CertificatePath(dir, name)) ? KeyPairFiles.Load(dir, name).Leaf : null;

    private void Make_NeedsLock(string site, DateTimeOffset now)
    {
        using var rootKey = ECDsa.Create();
        rootKey.ImportFromPem(SafeFile.ReadText(RootKeyPath));
        using var root = _root.CopyWithPrivateKey(rootKey);
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        using var certificate = CertificateProfile.Intermediate(key, TrustDomain, site, root, now);
        SafeFile.MakeFolder(SitesPath(_dir));
        KeyPairFiles.Save(SitesPath(_dir), site, key, [certificate]);
    }

    private static void Check(GatewayId id)
    {
        if (!SpiffeId.IsSegment(id.Site, out var reason) || !SpiffeId.IsSegment(id.Gateway, out reason)
            || !SpiffeId.TryParse(id.ToString(), out _, out reason))
        {
            throw new ArgumentException(reason);
        }
    }

    private string RootKeyPath => Path.Combine(_dir, "root.key");

    private static string SitesPath(string dir) => Path.Combine(dir, "sites");

    private static string RootPath(string dir) => Path.Combine(dir, "root.crt");
}
