using Fabric.Tunnel.Core;

namespace Fabric.Tunnel.Drivers;

/// <summary>What becomes of a session when the mesh trusts somebody no more.</summary>
internal sealed partial class PeerSession
{
    /// <summary>
    /// Ends the lanes whose peers are trusted no more, and the session with them when none is left of one who was evicted: nobody resumes it.
    /// Returns how many lanes.
    /// </summary>
    public int ReviewPeer()
    {
        lock (Gate)
        {
            var count = 0;
            var evicted = "";
            foreach (var core in _core.Session?.Lanes ?? [])
            {
                var lane = (Lane)core.Owner!;
                if (_tunnel.Options.Identity.Refuses(lane.Peer, lane.PeerRoot) is not { } refusal)
                {
                    continue;
                }

                count++;
                _tunnel.Refusals.AddCertificate(new CertificateRefusedException(refusal.Rejection, refusal.Reason));
                _tunnel.Log.Write($"lane {core.Epoch} to {Peer} over {core.Link}: {refusal.Reason}");
                lane.SayGoodbye(StreamCode.PolicyDenied, refusal.Reason);
                evicted = refusal.Rejection == Identity.Svid.SvidRejection.Evicted ? refusal.Reason : evicted;
                _core.Session!.EndLane(core, refusal.Reason, Now);
            }

            if (evicted.Length > 0)
            {
                _core.Dismiss(evicted, Now);
            }

            Rearm();
            return count;
        }
    }

    /// <summary>Lanes of which either end showed a certificate under another root than that.</summary>
    public int OldLanes(string root)
    {
        lock (Gate)
        {
            return _core.Session?.Lanes.Count(l => ((Lane)l.Owner!).IsOld(root)) ?? 0;
        }
    }

    /// <summary>Whether the lane over that link and channel is such a one.</summary>
    public bool IsOld(string root, string link, int channel)
    {
        lock (Gate)
        {
            return _core.Session?.Lanes.Any(l => l.Link == link && l.Channel == channel && ((Lane)l.Owner!).IsOld(root)) == true;
        }
    }
}
