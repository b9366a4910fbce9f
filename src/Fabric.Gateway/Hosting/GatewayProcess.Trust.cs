using System.Collections.Immutable;
using Fabric.Gateway.Egress;
using Fabric.Gateway.Telemetry;
using Fabric.Gateway.Trust;
using Fabric.Topology.Model;
using Fabric.Tunnel.Drivers;

namespace Fabric.Gateway.Hosting;

/// <summary>How the gateway follows the mesh's trust document.</summary>
internal sealed partial class GatewayProcess
{
    private static readonly TimeSpan _laneLook = TimeSpan.FromSeconds(1);
    private ImmutableSortedSet<string>? _out;

    /// <summary>The topology was accepted: the loop follows it, without whom the mesh evicted. In the lock of reloads, or before all else.</summary>
    private void Follow(FabricTopology topology)
    {
        var trusted = topology.Without(_trust.Document, Identity.Id.Gateway);
        _out = _trust.Document?.Evicted;
        _trust.Keep(trusted.Sites.SelectMany(s => s.Gateways.Select(g => (s.Name, g.Name))).ToHashSet());
        _loop.Accept(FollowLan(trusted));
    }

    /// <summary>
    /// From now on a new document is followed: handshakes go by it already, lanes that it forbids end, then the plan is made without the
    /// evicted, and streams are decided again: where this gateway is the evicted one, or of the evicted site, none goes on, whether it was opened
    /// for a client here, served here, or both. Lanes whose ends have got certificates of another root are dialled anew, so that none is left
    /// when the old root goes.
    /// </summary>
    private void FollowTrust(GatewayTunnel tunnel, StreamReview streams)
    {
        _trust.OldLanes = tunnel.OldLanes;
        _trust.Changed = () =>
        {
            if (tunnel.ReviewPeers() is > 0 and var closed)
            {
                Log.LanesClosed(_log, closed);
            }

            lock (_reloadLock)
            {
                if (!(_out ?? []).SetEquals(_trust.Document!.Evicted))
                {
                    Follow(_topology);
                }
            }

            streams.Signal();
        };
        Own(_time.CreateTimer(_ => Look(tunnel, streams), null, _laneLook, _laneLook));
    }

    private void Look(GatewayTunnel tunnel, StreamReview streams)
    {
        RefreshLanes(tunnel);
        if (OwnEviction().Length > 0)
        {
            // One that had its route before, and got to its session after the review.
            streams.Signal();
        }
    }

    private void RefreshLanes(GatewayTunnel tunnel)
    {
        if (_trust.Document?.Issuing is { Length: > 0 } root && Identity.Root == root && tunnel.OldLanes(root) > 0)
        {
            tunnel.RefreshLanes(root, peer => _trust.Of(peer) is { } report && Convert.ToHexStringLower(report.LeafRoot.Span) == root);
        }
    }

    private string OwnEviction() => _trust.Document?.IsEvicted(Identity.Id.Site, Identity.Id.Gateway) == true
        ? $"this gateway, {Identity.Id.Site}/{Identity.Id.Gateway}, was evicted from the mesh: nobody talks to it" : "";
}
