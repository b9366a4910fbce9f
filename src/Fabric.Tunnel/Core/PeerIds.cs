using Fabric.Protocol.Tunnel;

namespace Fabric.Tunnel.Core;

/// <summary>
/// Which stream ids of the peer were seen. Ids grow by two and are never used again, but lanes may deliver them out of order,
/// so ids that were jumped over are kept until they come.
/// </summary>
internal sealed class PeerIds(bool odd, int limit)
{
    private readonly HashSet<uint> _missing = [];
    private uint _next = odd ? 1u : 2u;

    /// <summary>True for ids that the peer assigns.</summary>
    public bool AreTheirs(uint id) => (id & 1) == (_next & 1);

    /// <summary>True when the id was seen before.</summary>
    public bool WasSeen(uint id) => id < _next && !_missing.Contains(id);

    /// <summary>Notes the id. False when it was seen before. Throws when it jumps over more ids than may be pending.</summary>
    public bool See(uint id)
    {
        if (id < _next)
        {
            return _missing.Remove(id);
        }

        if ((id - _next) / 2 + _missing.Count > limit)
        {
            throw new FrameException($"stream {id} opened when {_next} was next: at most {limit} may be pending");
        }

        for (; _next < id; _next += 2)
        {
            _missing.Add(_next);
        }

        _next += 2;
        return true;
    }
}
