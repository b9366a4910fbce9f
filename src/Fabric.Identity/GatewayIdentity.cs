using System.Collections.Immutable;
using System.Net.Security;
using System.Security.Cryptography.X509Certificates;
using Fabric.Identity.Svid;

namespace Fabric.Identity;

/// <summary>
/// A gateway's identity: one immutable state, which the next one replaces whole. Where states come from is an
/// <see cref="Sources.IIdentitySource"/>'s matter.
/// </summary>
public sealed partial class GatewayIdentity : IGatewayIdentity
{
    /// <summary>Intermediates learned from peers, one for each site, kept for resumed sessions; the oldest goes first.</summary>
    private const int MaxLearned = 64;

    private readonly TimeProvider _time;
    private readonly Lock _gate = new();
    private volatile View _view;
    private ImmutableArray<X509Certificate2> _learned = [];

    /// <summary>Throws <see cref="InvalidDataException"/> when the certificate names no gateway.</summary>
    public GatewayIdentity(IdentityState first, TimeProvider time)
    {
        _time = time;
        Id = first.Names ?? throw new InvalidDataException("the certificate names no gateway");
        _view = Viewed(first, null);
    }

    public GatewayId Id { get; }

    public SslStreamCertificateContext Certificate => _view.State.Certificate;

    /// <summary>What came with the certificate, and what the trust document makes of it.</summary>
    public TrustBundle Bundle => _view.Bundle;

    /// <summary>Where to renew; null: at the authority's folder on this host.</summary>
    public AuthorityContact? Authority => _view.State.Authority;

    /// <summary>From when until when the present certificate is valid, UTC.</summary>
    public (DateTimeOffset NotBefore, DateTimeOffset NotAfter) Validity => _view.State.Validity;

    /// <summary>
    /// Throws <see cref="FileNotFoundException"/> when no gateway has joined, <see cref="InvalidDataException"/> when the store
    /// is damaged. An expired certificate loads: <see cref="Validity"/> says so, and a local authority can still renew it.
    /// </summary>
    public static GatewayIdentity Load(GatewayKeyStore store, TimeProvider time) => new(store.Load(), time);

    /// <summary>
    /// Takes the next state; handshakes from then on show its certificate and trust its bundle. False when it is the one that is
    /// held. Throws <see cref="JoinException"/>, and keeps the one that is held, when it names another gateway or is a step back.
    /// </summary>
    public bool Swap(IdentityState next)
    {
        using var _ = _gate.EnterScope();
        var held = _view.State;
        if (next.Names != Id)
        {
            throw new JoinException(JoinFailure.Protocol,
                $"the new certificate names {next.Names?.ToString() ?? "no gateway"}, and this gateway is {Id}: restart it to become another");
        }

        if (next.IsOlderThan(held, Id.TrustDomain, _time.GetUtcNow()))
        {
            throw new JoinException(JoinFailure.Protocol,
                $"the new certificate is older than the present one (it ends {next.Validity.NotAfter:u}, the present one "
                + $"{held.Validity.NotAfter:u}): restart the gateway to go back to it");
        }

        if (next.Same(held))
        {
            return false;
        }

        _view = Viewed(next, _view.Trust);
        RenewalIsDone();
        return true;
    }

    public SvidVerdict Verify(X509Certificate2 leaf, X509Certificate2Collection sent)
    {
        var verdict = Judge(leaf, sent);
        foreach (var intermediate in verdict.Via.Where(v => !_learned.Contains(v) && !_view.Bundle.Intermediates.Contains(v)))
        {
            // A resumed TLS session brings only the leaf: what vouched for it once must be at hand then.
            ImmutableInterlocked.Update(ref _learned, l => l.Contains(intermediate) ? l
                : [.. l.TakeLast(MaxLearned - 1), intermediate]);
        }

        return verdict;
    }

    private SvidVerdict Judge(X509Certificate2 leaf, X509Certificate2Collection sent)
    {
        if (CountsAsExpired())
        {
            return _heldExpired;
        }

        var view = _view;
        var verdict = SvidVerifier.Verify(leaf, sent, Id.TrustDomain, view.Bundle, _learned, _time.GetUtcNow());
        return verdict.Id is { } id && Refuses(id, verdict.Root, view) is { } refusal ? refusal : verdict;
    }
}
