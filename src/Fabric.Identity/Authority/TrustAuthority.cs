using System.Security.Cryptography.X509Certificates;
using Fabric.Identity.Joining;
using Fabric.Identity.Storage;
using Fabric.Identity.Svid;
using Fabric.Identity.Trust;

namespace Fabric.Identity.Authority;

/// <summary>
/// Who writes the trust document: the mesh's own authority, or, where another CA issues the identities, a folder with <c>trust.crt</c> and
/// <c>trust.key</c>, a certificate of that CA for <c>spiffe://TRUST-DOMAIN/fabric/trust</c>. The document is in <c>trust.bin</c> of the same
/// folder; each change makes the next version, and one that changes nothing makes none, so everything here can be done again after a
/// crash. Publishing what was written is the caller's.
/// </summary>
public sealed class TrustAuthority
{
    private readonly string _dir;
    private readonly TimeProvider _time;
    private readonly TrustFile _file;

    private TrustAuthority(string dir, string trustDomain, TimeProvider time)
    {
        (_dir, TrustDomain, _time) = (dir, trustDomain, time);
        _file = new TrustFile(dir);
    }

    public string TrustDomain { get; }

    /// <summary>The document now; null when there is none yet.</summary>
    public TrustDocument? Current => _file.Load();

    /// <summary>Whether roots are another CA's business.</summary>
    public bool IsForeign => !MeshCa.Exists(_dir);

    internal string Folder => _dir;

    internal DateTimeOffset Now => _time.GetUtcNow();

    /// <summary>
    /// Throws <see cref="FileNotFoundException"/> when the folder holds neither an authority nor a trust key, and
    /// <see cref="InvalidDataException"/> when what it holds is damaged.
    /// </summary>
    public static TrustAuthority Open(string dir, TimeProvider time)
    {
        if (MeshCa.Exists(dir))
        {
            return new TrustAuthority(dir, MeshCa.Open(dir, time).TrustDomain, time);
        }

        var (leaf, _) = RootFolder.ForeignSigner(dir) ?? throw new FileNotFoundException(
            $"{dir} holds no mesh authority (no root.crt), and no trust key of another CA (no trust.crt and trust.key)");
        using (leaf)
        {
            return UriNames.Read(leaf).Uris is [var uri] && SpiffeId.TryParse(uri, out var id, out _) && uri == TrustRules.SignerId(id.TrustDomain)
                ? new TrustAuthority(dir, id.TrustDomain, time)
                : throw new InvalidDataException($"trust.crt in {dir} must have one URI name, spiffe://TRUST-DOMAIN/fabric/trust");
        }
    }

    /// <summary>
    /// Evicts a site, <c>SITE</c>, or a gateway, <c>SITE/GATEWAY</c>. Throws <see cref="ArgumentException"/> for other names,
    /// <see cref="JoinException"/> when nothing can be signed because the root's key is away.
    /// </summary>
    public TrustDocument Evict(string name) => ChangeNamed(name, d => d with { Evicted = d.Evicted.Add(name) });

    /// <summary>Takes an eviction back. Throws as <see cref="Evict"/> does.</summary>
    public TrustDocument Readmit(string name) => ChangeNamed(name, d => d with { Evicted = d.Evicted.Remove(name) });

    /// <summary>Has every gateway whose certificate was issued before now renew it at once. Throws as <see cref="Evict"/> does.</summary>
    public TrustDocument Renew() => Change(d => d with { RenewBefore = DateTimeOffset.FromUnixTimeMilliseconds(Now.ToUnixTimeMilliseconds()) });

    private TrustDocument Change(Func<TrustDocument, TrustDocument> change)
    {
        using (FolderLock.Take(_dir))
        {
            return Change_NeedsLock(change);
        }
    }

    /// <summary>The next version, signed by all whom some gateway may believe, and written; or the one that there is, if it says the same.</summary>
    internal TrustDocument Change_NeedsLock(Func<TrustDocument, TrustDocument> change)
    {
        var held = Current;
        var before = held ?? new TrustDocument { TrustDomain = TrustDomain, Roots = IsForeign ? [] : [RootFolder.Open(MeshCa.CurrentPath(_dir)).Certificate] };
        var next = change(before);
        if (held is not null && next.SaysTheSame(held))
        {
            return held;
        }

        if (next.Evicted.Count > TrustDocument.MaxEvicted || before.Version >= TrustDocument.MaxVersion)
        {
            throw new ArgumentException(before.Version >= TrustDocument.MaxVersion ? "there is no version after the trust document's last one"
                : $"{TrustDocument.MaxEvicted} are evicted already: readmit some, or take them out of the topology");
        }

        // Whole seconds, and never before the document that it follows: that one's roots may be younger than a clock that was set back.
        var now = DateTimeOffset.FromUnixTimeSeconds(Now.ToUnixTimeSeconds());
        next = next with { Version = before.Version + 1, Created = now > before.Created ? now : before.Created };
        var signed = TrustRules.Sign(next, Signers(before));
        var document = TrustDocument.Of(signed);
        _file.Save(document);
        return document;
    }

    /// <summary>By the roots that were trusted until now: whoever missed the last version believes one of them.</summary>
    private List<(X509Certificate2 Leaf, X509Certificate2Collection Intermediates)> Signers(TrustDocument before)
    {
        if (IsForeign)
        {
            return [RootFolder.ForeignSigner(_dir) ?? throw new FileNotFoundException($"there is no trust.crt in {_dir}")];
        }

        var roots = RootsOf(before);
        List<(X509Certificate2 Leaf, X509Certificate2Collection Intermediates)> signers =
            [.. roots.Select(r => r.TrustSigner(Now)).OfType<(X509Certificate2, X509Certificate2Collection)>()];
        return signers.Count > 0 ? signers : throw new JoinException(JoinFailure.Authority,
            $"nothing can be signed: there is no trust.key, and root.key, which makes one, is not in {roots[^1].Path}; put it there, try again, and take it away");
    }

    /// <summary>Folders of the document's roots, the newest last.</summary>
    internal List<RootFolder> RootsOf(TrustDocument document) =>
        [.. Generations().Where(g => TrustRules.Contains(document.Roots, g.Certificate))];

    /// <summary>All roots that there ever were, the newest last.</summary>
    internal IEnumerable<RootFolder> Generations()
    {
        yield return RootFolder.Open(_dir);
        var roots = Path.Combine(_dir, "roots");
        var later = (Directory.Exists(roots) ? Directory.EnumerateDirectories(roots) : [])
            .Select(d => (Path: d, Number: MeshCa.IsGeneration($"roots/{Path.GetFileName(d)}", out var n) && RootFolder.Exists(d) ? n : 0));
        foreach (var generation in later.Where(d => d.Number > 0).OrderBy(d => d.Number))
        {
            yield return RootFolder.Open(generation.Path);
        }
    }

    private TrustDocument ChangeNamed(string name, Func<TrustDocument, TrustDocument> change) => TrustDocument.IsName(name) ? Change(change)
        : throw new ArgumentException($"'{SpiffeId.Shown(name)}' is neither SITE nor SITE/GATEWAY");
}
