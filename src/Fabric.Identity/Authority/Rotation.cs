using System.Text.Json;
using Fabric.Identity.Joining;
using Fabric.Identity.Storage;
using Fabric.Identity.Svid;
using Fabric.Identity.Trust;

namespace Fabric.Identity.Authority;

/// <summary>Steps of a rotation, in order.</summary>
public enum RotationStep
{
    /// <summary>The new root is in the document, beside the old one.</summary>
    Introduce,

    /// <summary>Certificates are issued under the new root; whoever has one under the old one renews.</summary>
    Reissue,

    /// <summary>The old root is trusted no more.</summary>
    Withdraw,
}

/// <summary>
/// One root takes another's place. The state is in the authority's folder: <c>rotation.json</c> from <see cref="Begin"/> to
/// <see cref="Finish"/>, the new root in a folder of its own, and the trust document. Each step writes whole files and finds what it has done
/// before, so that it may be done again after a crash at any moment. When the next step may be taken, nobody here knows: whoever drives it
/// has asked the gateways.
/// </summary>
public sealed class Rotation
{
    private const string StateFile = "rotation.json";
    private readonly TrustAuthority _authority;
    private readonly string _name;

    private Rotation(TrustAuthority authority, State state)
    {
        (_authority, _name, Old, Started) = (authority, state.To, state.From, DateTimeOffset.FromUnixTimeSeconds(state.Started));
    }

    /// <summary>Fingerprint of the root that is to go.</summary>
    public string Old { get; }

    /// <summary>Fingerprint of the root that comes.</summary>
    public string New => TrustDocument.Fingerprint(Next.Certificate);

    /// <summary>Folder of the new root; <c>root.key</c> in it may be taken away from now on.</summary>
    public string Folder => Path.Combine(_authority.Folder, _name);

    public DateTimeOffset Started { get; }

    private RootFolder Next => RootFolder.Open(Folder);

    /// <summary>The rotation that is under way; null when none is.</summary>
    public static Rotation? UnderWay(TrustAuthority authority) => Read(authority) is { } state ? new Rotation(authority, state) : null;

    /// <summary>
    /// Begins one, or goes on with the one that is under way: makes the new root, with intermediates for these sites, and has the old one
    /// introduce it. Throws <see cref="JoinException"/>, with nothing changed, when the old root's key is away, and
    /// <see cref="InvalidOperationException"/> where roots are another CA's business.
    /// </summary>
    public static Rotation Begin(TrustAuthority authority, IEnumerable<string> sites)
    {
        if (authority.IsForeign)
        {
            throw new InvalidOperationException($"{authority.Folder} holds no root of the mesh: roots are rotated where the identities come from");
        }

        using (FolderLock.Take(authority.Folder))
        {
            var old = RootFolder.Open(MeshCa.CurrentPath(authority.Folder));
            var state = Read(authority);
            if (state is null)
            {
                RequireKey(old);
                MeshCa.IsGeneration(Path.GetRelativePath(authority.Folder, old.Path).Replace('\\', '/'), out var number);
                state = new State($"roots/{Math.Max(number, 1) + 1}", TrustDocument.Fingerprint(old.Certificate), authority.Now.ToUnixTimeSeconds());
                SafeFile.Write(Path.Combine(authority.Folder, StateFile), JsonSerializer.Serialize(state));
            }

            if (!MeshCa.IsGeneration(state.To, out var generation))
            {
                throw new InvalidDataException($"{StateFile} in {authority.Folder} is damaged: \"{SpiffeId.Shown(state.To)}\" is not roots/NUMBER");
            }

            var folder = Path.Combine(authority.Folder, state.To);
            if (!RootFolder.Exists(folder))
            {
                RequireKey(old);
                SafeFile.MakeFolder(Path.Combine(authority.Folder, "roots"));
                using var key = old.WithKey();

                // Before it has a say: the first document about the new root must be signed by the old one.
                old.TrustSigner(authority.Now);
                RootFolder.Create(folder, authority.TrustDomain, generation, key, sites, authority.Now);
            }

            return new Rotation(authority, state);
        }
    }

    /// <summary>Idempotent, and none goes back behind a later one. Returns the document to publish.</summary>
    public TrustDocument Take(RotationStep step)
    {
        using (FolderLock.Take(_authority.Folder))
        {
            var next = Next;
            if (step >= RotationStep.Reissue)
            {
                // Signed by the old root alone, and there before anything is under the new one.
                _authority.Change_NeedsLock(document => Introduced(document, next));

                // Before the document asks anybody to renew: who asks then gets the new one.
                SafeFile.Write(Path.Combine(_authority.Folder, "current"), _name + "\n");
            }

            return _authority.Change_NeedsLock(document =>
            {
                document = Introduced(document, next);
                if (step >= RotationStep.Reissue)
                {
                    document = document with { Issuing = New };
                }

                return step < RotationStep.Withdraw ? document : document with
                {
                    Roots = [next.Certificate],
                    Withdrawn = document.Withdrawn.Union(document.Roots.Select(TrustDocument.Fingerprint).Where(f => f != New)),
                };
            });
        }
    }

    private static TrustDocument Introduced(TrustDocument document, RootFolder next) => TrustRules.Contains(document.Roots, next.Certificate) ? document
        : document with
        {
            Roots = document.Roots.Add(next.Certificate),
            Introductions = [.. document.Introductions.TakeLast(TrustDocument.MaxRoots - 1), next.Introduction!],
        };

    /// <summary>The new root is the mesh's, and the old one's key is worth nothing. Idempotent.</summary>
    public void Finish() => File.Delete(Path.Combine(_authority.Folder, StateFile));

    private static void RequireKey(RootFolder old)
    {
        if (!old.HasKey)
        {
            throw new JoinException(JoinFailure.Authority, $"the old root has to introduce the new one, and root.key is not in {old.Path}; "
                + "put it there, try again, and take it away");
        }
    }

    private static State? Read(TrustAuthority authority)
    {
        var path = Path.Combine(authority.Folder, StateFile);
        try
        {
            return File.Exists(path) ? JsonSerializer.Deserialize<State>(SafeFile.ReadText(path)) is { To: not null, From: not null } state ? state
                : throw new InvalidDataException($"{path} is damaged") : null;
        }
        catch (JsonException e)
        {
            throw new InvalidDataException($"{path} is damaged: {e.Message}", e);
        }
    }

    private sealed record State(string To, string From, long Started);
}
