using Fabric.Gateway.Catalog;
using Fabric.Gateway.Control;
using Fabric.Gateway.Telemetry;
using Fabric.Identity;
using Fabric.Identity.Joining;
using Fabric.Tunnel;

namespace Fabric.Gateway.Hosting;

/// <summary>What stands between this gateway and those who ask too much of it or claim too much.</summary>
internal sealed partial class GatewayProcess
{
    private AuditSieve _sieve = null!;
    private Admission _admission = null!;
    private PeerClaims _claims = null!;
    private CatalogReview _review = null!;

    private long AuditDropped => _audit.Dropped + _sieve.Limited;

    private void Guard()
    {
        _sieve = new AuditSieve(_options.AuditShare, _time);
        _admission = new Admission(_time);
        _claims = new PeerClaims(peer => _topology.FindGateway(peer) is not null, _time, _log);
    }

    private void Audit(AuditEntry entry)
    {
        if (_sieve.Keeps(entry))
        {
            _audit.Add(entry);
        }
    }

    private void CatalogChanged(string peer)
    {
        _review.Look(peer);
        Signal();
    }

    /// <summary>Who is refused for the rate is told so, and is in no log: counting is all that a flood is worth.</summary>
    private async Task JoinAsync(JoinServer authority, ProtocolConnection connection)
    {
        var refusal = _admission.Join(connection.Remote.Address);
        var outcome = await authority.ServeAsync(connection.Stream, connection.Peer, _stop.Token, refusal);
        if (refusal is null)
        {
            Log.Joined(_log, outcome.Gateway?.ToString() ?? "somebody", outcome.Failure == JoinFailure.None ? "granted" : outcome.Message);
        }
    }
}
