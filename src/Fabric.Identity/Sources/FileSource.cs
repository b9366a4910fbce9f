using System.Security.Cryptography;
using Fabric.Identity.Storage;
using Fabric.Identity.Svid;

namespace Fabric.Identity.Sources;

/// <summary>
/// Any CA, through three PEM files that somebody else keeps fresh: the certificate with its intermediates, its key, and the bundle
/// (roots, and intermediates if wanted). They are looked at every 2 s, not watched, because their folder may be swapped by a symbolic
/// link. A change counts when two looks in a row have seen the same: one that is still being written does not, nor does a set that
/// does not belong together. The key must not be open to others than its owner and group.
/// </summary>
public sealed class FileSource(string certificate, string key, string bundle, TimeProvider time) : IIdentitySource
{
    private static readonly TimeSpan Look = TimeSpan.FromSeconds(2);
    private FileSet? _taken;

    public string Name => $"files {certificate}";

    /// <summary>A look costs nobody anything, and whoever repairs the files waits for it.</summary>
    public TimeSpan LongestRetry => TimeSpan.FromSeconds(10);

    public async Task<IdentityState> NextAsync(GatewayIdentity? self, CancellationToken ct)
    {
        // Forgotten until it is good: after a failure even what was there before is news.
        var taken = _taken;
        _taken = null;
        var set = Read();
        if (self is not null)
        {
            FileSet? before = null;
            while (set != before || set == taken)
            {
                await RenewalLoop.WaitUntil(time.GetUtcNow() + Look, time, ct);
                (before, set) = (set, Read());
            }
        }

        var state = Accept(set, self?.Id);
        _taken = set;
        return state;
    }

    public ValueTask DisposeAsync() => ValueTask.CompletedTask;

    private FileSet Read() => new(SafeFile.ReadForeign(certificate, secret: false), SafeFile.ReadForeign(key, secret: true),
        SafeFile.ReadForeign(bundle, secret: false));

    private IdentityState Accept(FileSet set, GatewayId? id)
    {
        using var pair = ECDsa.Create();
        try
        {
            pair.ImportFromPem(set.Key);
        }
        catch (Exception e) when (e is CryptographicException or ArgumentException)
        {
            throw new JoinException(JoinFailure.Protocol, $"{key} holds no ECDSA key as PEM, not encrypted: {e.Message}", e);
        }

        var grant = new Grant(Certificates(certificate, set.Certificate), Certificates(bundle, set.Bundle), []);
        try
        {
            return IdentityState.Of(grant, pair, id, time.GetUtcNow());
        }
        catch (JoinException e)
        {
            throw new JoinException(e.Failure, $"{certificate}, {key} and {bundle}: {e.Message}", e);
        }
    }

    private static List<byte[]> Certificates(string path, string pem) =>
        [.. Pem.Certificates(path, pem).Take(TrustBundle.MaxCertificates + 1).Select(c => c.RawData)];

    private sealed record FileSet(string Certificate, string Key, string Bundle)
    {
        /// <summary>A record would print its key.</summary>
        public override string ToString() => nameof(FileSet);
    }
}
