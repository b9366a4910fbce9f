using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Fabric.Identity.Joining;
using Fabric.Identity.Storage;
using Fabric.Identity.Svid;

namespace Fabric.Identity.Authority;

/// <summary>
/// The mesh's own certificate authority, in one folder: <c>root.crt</c> and <c>root.key</c> (10 years), <c>issuing.crt</c> and
/// <c>issuing.key</c> (1 year), <c>tokens/</c>. The folder is 0700, its files 0600. Issuing needs only the issuing key: the
/// root's may be taken away, and is needed again once a year to replace the issuing certificate, which happens by itself at
/// half its life when the root's key is there. The folder is the state: several processes may use it at once.
/// </summary>
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
            using var rootKey = ECDsa.Create(ECCurve.NamedCurves.nistP256);
            using var root = CertificateProfile.Root(rootKey, trustDomain, time.GetUtcNow());
            SafeFile.Write(Path.Combine(dir, "root.key"), rootKey.ExportPkcs8PrivateKeyPem() + "\n");
            WriteIssuing(dir, trustDomain, root, time.GetUtcNow());
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
    /// Uses up a token and issues its gateway's certificate: the one way in, by network (<see cref="JoinServer"/>) and locally.
    /// A malformed request does not use up the token. Throws <see cref="JoinException"/>.
    /// </summary>
    internal Grant Redeem(ReadOnlySpan<byte> tokenId, ReadOnlySpan<byte> secret, byte[] csr, out GatewayId id)
    {
        CertificateProfile.Parse(csr);
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
    /// Issues a leaf of 24 h for <paramref name="id"/>. The caller has established that the asker is that gateway.
    /// </summary>
    public Grant Issue(GatewayId id, byte[] csr)
    {
        if (id.TrustDomain != TrustDomain)
        {
            throw new JoinException(JoinFailure.NotAdmitted, $"{id} is not of trust domain {TrustDomain}");
        }

        Check(id);
        var now = _time.GetUtcNow();
        using var issuing = Issuing(now);
        using var leaf = CertificateProfile.Leaf(id, csr, issuing, now);
        return new Grant([leaf.RawData, issuing.RawData], [_root.RawData, issuing.RawData], []);
    }

    /// <summary>
    /// Replaces the issuing certificate and key. Leaves that the old one signed stay valid. Throws
    /// <see cref="FileNotFoundException"/> when the root's key has been taken away.
    /// </summary>
    public void RotateIssuing()
    {
        using (FolderLock.Take(_dir))
        {
            RotateIssuing_NeedsLock(_time.GetUtcNow());
        }
    }

    private void RotateIssuing_NeedsLock(DateTimeOffset now)
    {
        using var key = ECDsa.Create();
        key.ImportFromPem(SafeFile.ReadText(RootKeyPath));
        using var root = _root.CopyWithPrivateKey(key);
        WriteIssuing(_dir, TrustDomain, root, now);
    }

    /// <summary>The issuing certificate with its key, read anew each time: another process may have replaced it.</summary>
    private X509Certificate2 Issuing(DateTimeOffset now)
    {
        using (FolderLock.Take(_dir))
        {
            var issuing = KeyPairFiles.Load(_dir, "issuing").Leaf;
            if (now >= RenewalLoop.RenewAt(issuing.NotBefore, issuing.NotAfter, 0) && File.Exists(RootKeyPath))
            {
                issuing.Dispose();
                RotateIssuing_NeedsLock(now);
                issuing = KeyPairFiles.Load(_dir, "issuing").Leaf;
            }

            if (now < issuing.NotAfter)
            {
                return issuing;
            }

            var expired = issuing.NotAfter.ToUniversalTime();
            issuing.Dispose();
            throw new JoinException(JoinFailure.Authority,
                $"the issuing certificate expired at {expired:u}; put root.key back into {_dir} and try again");
        }
    }

    private static void WriteIssuing(string dir, string trustDomain, X509Certificate2 root, DateTimeOffset now)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        using var certificate = CertificateProfile.Issuing(key, trustDomain, root, now);
        KeyPairFiles.Save(dir, "issuing", key, [certificate]);
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

    private static string RootPath(string dir) => Path.Combine(dir, "root.crt");
}
