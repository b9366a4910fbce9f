namespace Fabric.Drills.Faults;

/// <summary>A fault on a link of one gateway.</summary>
/// <param name="Peer">Gateway at the other end; empty: all peers over that link.</param>
public sealed record LinkFault(string Link, string Peer = "", FaultKind Kind = FaultKind.Cut)
{
    public override string ToString() => $"{FaultActions.NameOf(Kind)} {Link}{(Peer.Length > 0 ? $" to {Peer}" : "")}";
}

/// <summary>Packets vanish: no reset, no interface down.</summary>
public enum FaultKind
{
    /// <summary>Both ways.</summary>
    Cut,

    /// <summary>What the peer sends does not arrive.</summary>
    CutIn,

    /// <summary>What the gateway sends does not leave.</summary>
    CutOut,
}

/// <summary>A fault may still be in force. The message says how to clear it by hand.</summary>
public sealed class FaultNotRevertedException(LinkFault fault, Exception inner)
    : Exception($"'{fault}' may still be in force ({inner.Message}): clear it on that gateway, or restart its fabricd", inner)
{
    public LinkFault Fault { get; } = fault;
}
