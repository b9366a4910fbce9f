using Fabric.Tunnel.Core;

namespace Fabric.Tunnel.Drivers;

/// <summary>What the core says of the session as a whole, for logs and metrics; in the lock.</summary>
internal sealed partial class PeerSession
{
    void ISessionDriver.Moved(LaneCore from, LaneCore to, int streams, TimeSpan pause) =>
        _tunnel.Told(() => _tunnel.Options.Moved(new LaneMove(Peer, streams, from.Link, to.Link, from.LeaveReason, pause)));

    /// <summary>Connections broke by it, and nothing else says why all of them did.</summary>
    void ISessionDriver.SessionEnded(string reason, int streams) =>
        _tunnel.Log.Write($"session with {Peer} ended, and {streams} streams of services with it: {reason}");
}
