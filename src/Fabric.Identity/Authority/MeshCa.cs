using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Fabric.Identity.Joining;
using Fabric.Identity.Storage;
using Fabric.Identity.Svid;
using Fabric.Identity.Trust;

namespace Fabric.Identity.Authority;

/// <summary>
/// The mesh's own certificate authority, in one folder: <c>root.crt</c> and <c>root.key</c> (10 years), <c>sites/SITE.crt</c> and
/// <c>sites/SITE.key</c> (the site's intermediate, 1 year), <c>tokens/</c>. Folders are 0700, files 0600. An intermediate is made
/// on first use or by <see cref="Prepare"/>, and replaced at half its life: both need the root's key, and nothing else does, so it
/// may be taken away. The folder is the state: several processes may use it at once.
/// </summary>
/// <remarks>
/// <para>Roots that took the first one's place are in <c>roots/2</c> and so on, each with its own intermediates; <c>current</c> names the one
/// under which certificates are issued (<see cref="Rotation"/>).</para>
/// <para>A folder from before sites had intermediates of their own holds <c>issuing.crt</c> and <c>issuing.key</c>, which sign for any
/// site. They serve sites that have none, until they expire: so such a mesh goes on without the root's key, and changes over by
/// itself where the key is there. They are not renewed, and may be deleted once <see cref="Prepare"/> has made all intermediates.</para>
/// </remarks>
public sealed partial class MeshCa
{
    private readonly string _dir;
    private readonly TimeProvider _time;

    private MeshCa(string dir, string trustDomain, TimeProvider time)
    {
        (_dir, _time, TrustDomain) = (dir, time, trustDomain);
        Tokens = new JoinTokens(Path.Combine(dir, "tokens"), time);
    }

    public string TrustDomain { get; }

    /// <summary>SHA-256 over the DER of the root under which certificates are issued, 32 bytes.</summary>
    public byte[] RootFingerprint => TrustBundle.Fingerprint(Current.Certificate);

    /// <summary>Where <c>root.key</c> has to be for what needs it.</summary>
    public string RootKeyFolder => Current.Path;

    internal JoinTokens Tokens { get; }

    /// <summary>Self-signed roots, DER: of the trust document, or the one there is.</summary>
    internal IReadOnlyList<byte[]> Roots => RootsOf(Trust);

    /// <summary>The root under which certificates are issued, read anew each time: a rotation in another process changes it.</summary>
    internal RootFolder Current => RootFolder.Open(CurrentPath(_dir));

    internal TrustDocument? Trust => new TrustFile(_dir).Load();

    /// <summary>Whether the folder holds a complete authority.</summary>
    public static bool Exists(string dir) => RootFolder.Exists(dir);

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
            RootFolder.Create(dir, trustDomain, generation: 1, older: null, [], time.GetUtcNow());
        }

        return Open(dir, time);
    }

    /// <summary>
    /// Throws <see cref="FileNotFoundException"/> when the folder holds no authority, and <see cref="InvalidDataException"/> when
    /// what it holds is damaged.
    /// </summary>
    public static MeshCa Open(string dir, TimeProvider time)
    {
        var trustDomain = RootFolder.Open(dir).TrustDomain;
        return RootFolder.Open(CurrentPath(dir)).TrustDomain == trustDomain ? new MeshCa(dir, trustDomain, time)
            : throw new InvalidDataException($"{CurrentPath(dir)} is of another trust domain than {dir}");
    }

    /// <summary>A signing request over a key, as <see cref="Issue"/> and <see cref="Redeem"/> take it.</summary>
    public static byte[] Request(ECDsa key) => CertificateProfile.Request(key);

    /// <summary>
    /// Makes a one-time token with which gateway <paramref name="gateway"/> of <paramref name="site"/> can join. Throws
    /// <see cref="ArgumentException"/> for names that cannot stand in a SPIFFE ID, bad addresses, or a lifetime beyond 30 days, and
    /// <see cref="JoinException"/>: NotAdmitted, when the gateway or its site was evicted.
    /// </summary>
    /// <param name="addresses"><c>host:port</c> where this authority is served; at most 16; none for local use.</param>
    public JoinToken CreateToken(string site, string gateway, TimeSpan? ttl = null, IReadOnlyList<string>? addresses = null)
    {
        var id = new GatewayId(TrustDomain, site, gateway);
        Check(id);
        Admit(id, Trust);
        return Tokens.Create(id, ttl ?? JoinTokens.DefaultLife, RootFingerprint, addresses ?? []);
    }

    /// <summary>
    /// Makes the intermediates of these sites that are missing or past half their life, if the root's key is there. Returns the
    /// sites for which nothing can be issued now: they have none that is valid, and the key is away. What signs trust documents is made
    /// along with them.
    /// </summary>
    public IReadOnlyList<string> Prepare(IEnumerable<string> sites)
    {
        using (FolderLock.Take(_dir))
        {
            Current.TrustSigner(_time.GetUtcNow());
        }

        return [.. sites.Where(site =>
        {
            using var issuer = Find(site, _time.GetUtcNow(), out _, out _);
            return issuer is null;
        })];
    }

    /// <summary>
    /// Uses up a token and issues its gateway's certificate: the one way in, by network (<see cref="JoinServer"/>) and locally.
    /// A malformed request does not use up the token, nor does a site for which nothing can be issued now, nor an eviction. Throws
    /// <see cref="JoinException"/>.
    /// </summary>
    internal Grant Redeem(ReadOnlySpan<byte> tokenId, ReadOnlySpan<byte> secret, byte[] csr, out GatewayId id)
    {
        CertificateProfile.Parse(csr);
        var asker = Tokens.Find(tokenId, secret);
        Admit(asker, Trust);
        Issuer(asker.Site, _time.GetUtcNow(), out _).Dispose();
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
    /// <see cref="JoinException"/>: Authority, when its site has no valid intermediate and the root's key is away; NotAdmitted, when it or
    /// its site was evicted.
    /// </summary>
    public Grant Issue(GatewayId id, byte[] csr)
    {
        if (id.TrustDomain != TrustDomain)
        {
            throw new JoinException(JoinFailure.NotAdmitted, $"{id} is not of trust domain {TrustDomain}");
        }

        Check(id);
        var trust = Trust;
        Admit(id, trust);
        var now = _time.GetUtcNow();
        using var issuer = Issuer(id.Site, now, out var root);
        using var leaf = CertificateProfile.Leaf(id, csr, issuer, now);
        var roots = RootsOf(trust);
        return new Grant([leaf.RawData, issuer.RawData],
            [.. roots, .. roots.Any(r => r.AsSpan().SequenceEqual(root.RawData)) ? Array.Empty<byte[]>() : [root.RawData], issuer.RawData], [])
        {
            Trust = trust?.Signed,
        };
    }

    /// <summary>
    /// Replaces a site's intermediate and its key. Leaves that the old one signed stay valid. Throws
    /// <see cref="FileNotFoundException"/> when the root's key has been taken away.
    /// </summary>
    public void Rotate(string site)
    {
        using (FolderLock.Take(_dir))
        {
            Current.Make(site, _time.GetUtcNow());
        }
    }

    /// <summary>Folder of the root under which certificates are issued.</summary>
    internal static string CurrentPath(string dir)
    {
        var pointer = Path.Combine(dir, "current");
        var name = File.Exists(pointer) ? SafeFile.ReadText(pointer).Trim() : ".";
        return name == "." ? dir : IsGeneration(name, out _) ? Path.Combine(dir, name)
            : throw new InvalidDataException($"{pointer} names \"{SpiffeId.Shown(name)}\": it must be . or roots/NUMBER");
    }

    internal static bool IsGeneration(string name, out int number)
    {
        number = 0;
        return name.StartsWith("roots/", StringComparison.Ordinal)
            && int.TryParse(name.AsSpan("roots/".Length), System.Globalization.NumberStyles.None, null, out number) && number > 1;
    }

    private List<byte[]> RootsOf(TrustDocument? trust) => trust is { Roots.Length: > 0 }
        ? [.. trust.Roots.Select(r => r.RawData)] : [Current.Certificate.RawData];

    private X509Certificate2 Issuer(string site, DateTimeOffset now, out X509Certificate2 root)
    {
        var issuer = Find(site, now, out var folder, out var why);
        root = folder.Certificate;
        return issuer ?? throw folder.KeyIsAway(why);
    }

    /// <summary>What signs for the site, with its key, read anew each time: another process may have replaced it.</summary>
    private X509Certificate2? Find(string site, DateTimeOffset now, out RootFolder folder, out string why)
    {
        Check(new GatewayId(TrustDomain, site, "any"));
        using (FolderLock.Take(_dir))
        {
            folder = Current;
            return folder.Find(site, now, out why);
        }
    }

    private static void Admit(GatewayId id, TrustDocument? trust)
    {
        if (trust?.IsEvicted(id.Site, id.Gateway) == true)
        {
            throw new JoinException(JoinFailure.NotAdmitted, $"{id.Site}/{id.Gateway} was evicted from the mesh; `fabric site readmit` or "
                + "`fabric gateway readmit` lets it in again");
        }
    }

    private static void Check(GatewayId id)
    {
        if (!SpiffeId.IsSegment(id.Site, out var reason) || !SpiffeId.IsSegment(id.Gateway, out reason)
            || !SpiffeId.TryParse(id.ToString(), out _, out reason))
        {
            throw new ArgumentException(reason);
        }
    }
}
