using System.Security.Cryptography;
using System.Text.Json;
using Fabric.Identity.Storage;
using Fabric.Identity.Svid;
using Fabric.Identity.Trust;

namespace Fabric.Identity;

/// <summary>Where a gateway renews: the gateway that served its joining, and how to reach it.</summary>
public sealed record AuthorityContact(GatewayId Gateway, IReadOnlyList<string> Addresses);

/// <summary>
/// A gateway's identity on disk: <c>gateway.key</c>, <c>gateway.crt</c> (leaf, then intermediates), <c>bundle.pem</c>, and
/// <c>authority.json</c> (absent when it joined on the authority's own host). Folder 0700, files 0600; a process killed at any
/// moment leaves a pair that loads.
/// </summary>
/// <param name="dir">Usually <c>/var/lib/fabric/identity</c>. Made by the first <see cref="Save"/>.</param>
public sealed class GatewayKeyStore(string dir)
{
    private const string Name = "gateway";

    public string Folder => dir;

    /// <summary>The trust document that this gateway goes by. Where its identity has another source, there is nothing else here.</summary>
    public TrustFile Trust { get; } = new(dir);

    /// <summary>Whether a gateway has joined from here.</summary>
    public bool Exists => File.Exists(KeyPairFiles.CertificatePath(dir, Name));

    /// <summary>
    /// Writes what was granted, after checking that it is a valid certificate of <paramref name="id"/> over
    /// <paramref name="key"/>. Throws <see cref="JoinException"/> otherwise, with nothing written.
    /// </summary>
    public void Save(GatewayId id, ECDsa key, Grant grant, AuthorityContact? authority, DateTimeOffset now)
    {
        var (chain, bundle) = grant.Accept(id, key, now);
        SafeFile.MakeFolder(dir);

        // The bundle first: the new one verifies the old certificate as well, the old one may not verify the new.
        SafeFile.Write(BundlePath, bundle.ToPem());
        if (authority is null)
        {
            File.Delete(AuthorityPath);
        }
        else
        {
            SafeFile.Write(AuthorityPath,
                JsonSerializer.Serialize(new AuthorityEntry(authority.Gateway.ToString(), [.. authority.Addresses])));
        }

        KeyPairFiles.Save(dir, Name, key, chain);
    }

    /// <summary>
    /// Joins: as <see cref="Save"/>, and from now on this gateway goes by the trust document that came along, and by no other that it
    /// may have had in a mesh before. Throws <see cref="JoinException"/> when that is not acceptable, with nothing written.
    /// </summary>
    internal void Join(GatewayId id, ECDsa key, Grant grant, AuthorityContact? authority, DateTimeOffset now)
    {
        TrustDocument? trust = null;
        try
        {
            var (_, bundle) = grant.Accept(id, key, now);
            if (grant.Trust is { } signed)
            {
                trust = TrustDocument.Of(signed);
                TrustRules.Check(trust, id.TrustDomain, held: null, bundle.Roots);
            }
        }
        catch (Exception e) when (e is InvalidDataException or TrustRefusedException)
        {
            throw new JoinException(JoinFailure.Protocol, $"the trust document that was granted is not acceptable: {e.Message}", e);
        }

        if (trust is null)
        {
            Trust.Delete();
        }
        else
        {
            Trust.Save(trust);
        }

        Save(id, key, grant, authority, now);
    }

    /// <summary>
    /// Throws <see cref="FileNotFoundException"/> when no gateway has joined from here, and <see cref="InvalidDataException"/>
    /// when what is here is damaged.
    /// </summary>
    internal IdentityState Load()
    {
        if (!Exists)
        {
            throw new FileNotFoundException($"no gateway has joined from {dir}: run `fabric join`");
        }

        var (leaf, intermediates) = KeyPairFiles.Load(dir, Name);
        var state = new IdentityState(leaf, intermediates, TrustBundle.FromPem(SafeFile.ReadText(BundlePath)), LoadAuthority());
        return state.Names is not null ? state : throw new InvalidDataException($"the certificate in {dir} names no gateway");
    }

    /// <summary>
    /// Gets a new certificate over a new key, checks it, writes it, and returns the state that it makes. Throws what
    /// <paramref name="ask"/> throws, and <see cref="JoinException"/> when what was granted is not acceptable; nothing is written then.
    /// </summary>
    internal async Task<IdentityState> RenewAsync(GatewayId id, AuthorityContact? authority,
        Func<ECDsa, CancellationToken, Task<Grant>> ask, TimeProvider time, CancellationToken ct)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var grant = await ask(key, ct);
        Save(id, key, grant, authority, time.GetUtcNow());
        return Load();
    }

    private AuthorityContact? LoadAuthority()
    {
        if (!File.Exists(AuthorityPath))
        {
            return null;
        }

        try
        {
            var entry = JsonSerializer.Deserialize<AuthorityEntry>(SafeFile.ReadText(AuthorityPath));
            return entry is { Addresses: { } addresses }
                && SpiffeId.TryParse(entry.Gateway, out var id, out _) && id.AsGateway() is { } gateway
                ? new AuthorityContact(gateway, addresses)
                : throw new InvalidDataException($"{AuthorityPath} names no gateway");
        }
        catch (JsonException e)
        {
            throw new InvalidDataException($"{AuthorityPath} is damaged: {e.Message}", e);
        }
    }

    private string BundlePath => Path.Combine(dir, "bundle.pem");

    private string AuthorityPath => Path.Combine(dir, "authority.json");

    private sealed record AuthorityEntry(string Gateway, string[] Addresses);
}
