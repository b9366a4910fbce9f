using System.Collections.Immutable;
using System.Net.Security;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Fabric.Identity.Authority;
using Fabric.Identity.Svid;

namespace Fabric.Identity;

/// <summary>
/// A gateway's identity from its <see cref="GatewayKeyStore"/>: one immutable state that a renewal swaps whole.
/// </summary>
public sealed class GatewayIdentity : IGatewayIdentity
{
    /// <summary>Intermediates learned from peers, one for each site, kept for resumed sessions; the oldest goes first.</summary>
    private const int MaxLearned = 64;

    private readonly GatewayKeyStore _store;
    private readonly TimeProvider _time;
    private volatile State _state;
    private ImmutableArray<X509Certificate2> _learned = [];

    private GatewayIdentity(GatewayKeyStore store, TimeProvider time, State state, GatewayId id) =>
        (_store, _time, _state, Id) = (store, time, state, id);

    public GatewayId Id { get; }

    public SslStreamCertificateContext Certificate => _state.Context;

    public TrustBundle Bundle => _state.Bundle;

    /// <summary>Where to renew; null: at the authority's folder on this host.</summary>
    public AuthorityContact? Authority => _state.Authority;

    /// <summary>From when until when the present certificate is valid, UTC.</summary>
    public (DateTimeOffset NotBefore, DateTimeOffset NotAfter) Validity =>
        (_state.Leaf.NotBefore.ToUniversalTime(), _state.Leaf.NotAfter.ToUniversalTime());

    /// <summary>
    /// Throws <see cref="FileNotFoundException"/> when no gateway has joined, <see cref="InvalidDataException"/> when the store
    /// is damaged. An expired certificate loads: <see cref="Validity"/> says so, and a local authority can still renew it.
    /// </summary>
    public static GatewayIdentity Load(GatewayKeyStore store, TimeProvider time)
    {
        var state = Read(store);
        return UriNames.Read(state.Leaf).Uris is [var uri] && SpiffeId.TryParse(uri, out var id, out _)
            && id.AsGateway() is { } gateway
            ? new GatewayIdentity(store, time, state, gateway)
            : throw new InvalidDataException($"the certificate in {store.Folder} names no gateway");
    }

    public SvidVerdict Verify(X509Certificate2 leaf, X509Certificate2Collection sent)
    {
        var verdict = SvidVerifier.Verify(leaf, sent, Id.TrustDomain, _state.Bundle, _learned, _time.GetUtcNow());
        foreach (var intermediate in verdict.Via.Where(v => !_learned.Contains(v) && !_state.Bundle.Intermediates.Contains(v)))
        {
            // A resumed TLS session brings only the leaf: what vouched for it once must be at hand then.
            ImmutableInterlocked.Update(ref _learned, l => l.Contains(intermediate) ? l
                : [.. l.TakeLast(MaxLearned - 1), intermediate]);
        }

        return verdict;
    }

    /// <summary>
    /// Gets a new certificate over a new key, checks it, writes it and swaps it in; handshakes from then on show it. Throws
    /// <see cref="JoinException"/>, and the present one stays.
    /// </summary>
    /// <param name="renew">From a signing request to what was granted: <c>JoinClient.RenewAsync</c> or <c>MeshCa.Issue</c>.</param>
    public async Task RenewAsync(Func<byte[], CancellationToken, Task<Grant>> renew, CancellationToken ct)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var grant = await renew(MeshCa.Request(key), ct);
        _store.Save(Id, key, grant, Authority, _time.GetUtcNow());
        _state = Read(_store);
    }

    private static State Read(GatewayKeyStore store)
    {
        var (leaf, intermediates, bundle, authority) = store.Load();
        if (OperatingSystem.IsWindows())
        {
            // SChannel does not take a key that lives only in memory.
            leaf = X509CertificateLoader.LoadPkcs12(leaf.Export(X509ContentType.Pkcs12), null);
        }

        return new State(leaf, SslStreamCertificateContext.Create(leaf, intermediates, offline: true), bundle, authority);
    }

    private sealed record State(X509Certificate2 Leaf, SslStreamCertificateContext Context, TrustBundle Bundle,
        AuthorityContact? Authority);
}
