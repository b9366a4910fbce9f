using System.Security.Cryptography.X509Certificates;
using Fabric.Identity.Authority;
using Fabric.Identity.Svid;
using Fabric.Identity.Trust;
using Fabric.Protocol.Proto;

namespace Fabric.Identity;

/// <summary>What the trust document makes of the identity: which roots count, who is out, and when to renew.</summary>
public sealed partial class GatewayIdentity
{
    private volatile TaskCompletionSource _renewalAsked = new(TaskCreationOptions.RunContinuationsAsynchronously);

    private static readonly SvidVerdict _heldExpired = SvidVerdict.Reject(SvidRejection.Expired, "a drill has this gateway's own certificate count as expired");

    /// <summary>
    /// Whether the own certificate counts as expired, whatever its dates: a drill's word. Then no handshake succeeds, whoever begins it. Default:
    /// never.
    /// </summary>
    public Func<bool> CountsAsExpired { get; set; } = static () => false;

    /// <summary>Asks the source for a new certificate now, instead of at half the life of this one.</summary>
    public void AskRenewal() => _renewalAsked.TrySetResult();

    /// <summary>The document that this gateway goes by; null: none yet.</summary>
    public TrustDocument? Trust => _view.Trust;

    public string Root => _view.Root;

    /// <summary>The certificate now, with what is sent along.</summary>
    public IdentityState State => _view.State;

    /// <summary>Completes when the mesh asks for a new certificate; done with it when one was swapped in.</summary>
    internal Task RenewalAsked => _renewalAsked.Task;

    public SvidVerdict? Refuses(GatewayId peer, string root) => Refuses(peer, root, _view);

    public SvidVerdict VerifyWorkload(X509Certificate2 leaf, X509Certificate2Collection sent)
    {
        if (CountsAsExpired())
        {
            return _heldExpired;
        }

        // Nothing is learned from it: a workload sends its intermediate along, and sessions are not resumed.
        var view = _view;
        var verdict = SvidVerifier.VerifyWorkload(leaf, sent, Id.TrustDomain, Id.Site, view.Bundle, _time.GetUtcNow());
        return verdict.Workload is not null && view.Trust?.Evicted.Contains(Id.Site) == true
            ? SvidVerdict.Reject(SvidRejection.Evicted, $"site {Id.Site} was evicted from the mesh") : verdict;
    }

    /// <summary>Signs what this gateway says of whom it trusts, by the key of the certificate of that state.</summary>
    public SignedReport Sign(GatewayTrust report, IdentityState state) => SignedReports.Sign(report, state);

    /// <summary>
    /// Throws <see cref="TrustRefusedException"/> with the reason unless the gateway that <paramref name="report"/> is about has signed it, by a
    /// certificate that is good here now.
    /// </summary>
    /// <param name="signed">As it came.</param>
    /// <param name="report">What <see cref="SignedReports.Read"/> made of it.</param>
    public void Check(SignedReport signed, GatewayTrust report) => SignedReports.Check(signed, report, Judge);

    /// <summary>
    /// The document that was stored when this gateway ran last: it was checked then. Throws <see cref="InvalidDataException"/> when it is that
    /// of another mesh.
    /// </summary>
    public void Restore(TrustDocument document)
    {
        if (document.TrustDomain != Id.TrustDomain)
        {
            throw new InvalidDataException($"{TrustFile.Name} is of trust domain {document.TrustDomain}, and this gateway is of {Id.TrustDomain}: delete it");
        }

        lock (_gate)
        {
            Take(document);
        }
    }

    /// <summary>
    /// Takes a document that somebody handed over. Throws <see cref="TrustRefusedException"/>, with nothing changed, when it is not
    /// acceptable (<see cref="TrustRules"/>).
    /// </summary>
    /// <param name="document">Well-formed, of whatever origin.</param>
    /// <param name="keep">Stores it, before anybody goes by it; what it throws is thrown.</param>
    public void Accept(TrustDocument document, Action<TrustDocument> keep)
    {
        lock (_gate)
        {
            TrustRules.Check(document, Id.TrustDomain, _view.Trust, _view.Bundle.Roots);
            keep(document);
            Take(document);
        }
    }

    private void Take(TrustDocument document)
    {
        var before = _view.Trust;
        _view = Viewed(_view.State, document);

        // Leaves begin in the past, for clocks that run behind.
        var issued = Validity.NotBefore + CertificateProfile.Backdate;
        if ((document.Issuing.Length > 0 && document.Issuing != Root && document.Issuing != before?.Issuing)
            || (document.RenewBefore is { } at && at != before?.RenewBefore && issued < at))
        {
            _renewalAsked.TrySetResult();
        }
    }

    private void RenewalIsDone()
    {
        if (_renewalAsked.Task.IsCompleted)
        {
            _renewalAsked = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        }
    }

    private static SvidVerdict? Refuses(GatewayId peer, string root, View view) => view.Trust switch
    {
        { } trust when trust.IsEvicted(peer.Site, peer.Gateway) => SvidVerdict.Reject(SvidRejection.Evicted, trust.Evicted.Contains(peer.Site)
            ? $"site {peer.Site} was evicted from the mesh" : $"gateway {peer.Site}/{peer.Gateway} was evicted from the mesh"),
        { } trust when trust.Withdrawn.Contains(root) => SvidVerdict.Reject(SvidRejection.RootWithdrawn,
            $"the root that vouches for {peer}, {root}, was withdrawn"),
        _ => null,
    };

    private View Viewed(IdentityState state, TrustDocument? trust)
    {
        var bundle = trust is null ? state.Bundle : state.Bundle.With(trust.Roots, trust.Withdrawn.Contains);
        var root = SvidVerifier.Verify(state.Leaf, state.Intermediates, Id.TrustDomain, bundle, [], _time.GetUtcNow()).Root;
        return new View(state, trust, bundle, root);
    }

    /// <summary>All that belongs together, swapped as one.</summary>
    private sealed record View(IdentityState State, TrustDocument? Trust, TrustBundle Bundle, string Root);
}
