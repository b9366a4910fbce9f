namespace Fabric.Tunnel.Drivers;

/// <summary>What the tunnel does when the mesh trusts others than before.</summary>
public sealed partial class GatewayTunnel
{
    /// <summary>
    /// Asks <see cref="Identity.IGatewayIdentity.Refuses"/> about the peer of every lane, and ends those that it refuses: the peer is told why. A
    /// lane that joins meanwhile asks by itself: whoever changes whom the identity trusts, and then calls this, leaves none behind. Returns how many.
    /// </summary>
    public int ReviewPeers()
    {
        var count = 0;
        foreach (var session in _sessions.Values)
        {
            if (session.ReviewPeer() is > 0 and var ended)
            {
                count += ended;
                RaiseChanged(session.Peer);
            }
        }

        return count;
    }

    /// <summary>Lanes of which either end showed a certificate under another root than that.</summary>
    /// <param name="root">SHA-256, hex.</param>
    public int OldLanes(string root) => _sessions.Values.Sum(s => s.OldLanes(root));

    /// <summary>
    /// Dials such lanes anew, those that this end dials: each goes on until its successor takes its place, and its streams move. For when
    /// both ends have other certificates by now.
    /// </summary>
    /// <param name="root">As above.</param>
    /// <param name="isReady">Whether a peer, by its name, has a certificate under it.</param>
    public void RefreshLanes(string root, Func<string, bool> isReady)
    {
        lock (_reconciling)
        {
            foreach (var ((peer, link, channel), keeper) in _keepers)
            {
                if (Session(peer)?.IsOld(root, link, channel) == true && isReady(peer))
                {
                    keeper.Refresh();
                }
            }
        }
    }
}
