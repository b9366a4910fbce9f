using System.Collections.Immutable;

namespace Fabric.Gateway.Links;

/// <summary>
/// Faults injected into this gateway's own links, for drills where no one can cut a cable: the tunnel and the prober both ask
/// it. One writer at a time, readers without locks.
/// </summary>
internal sealed class FaultTable
{
    private ImmutableDictionary<(string Peer, string Link), InjectedFault> _faults =
        ImmutableDictionary<(string, string), InjectedFault>.Empty;

    /// <summary>Raised after a change, outside locks.</summary>
    public event Action? Changed;

    public InjectedFault Of(string peer, string link) => Volatile.Read(ref _faults).GetValueOrDefault((peer, link));

    public void Set(string peer, string link, InjectedFault fault)
    {
        ImmutableInterlocked.Update(ref _faults, faults => fault == InjectedFault.None
            ? faults.Remove((peer, link))
            : faults.SetItem((peer, link), fault));
        Changed?.Invoke();
    }
}

/// <summary>What is cut, seen from this gateway.</summary>
[Flags]
internal enum InjectedFault
{
    None = 0,

    /// <summary>What the peer sends does not arrive here.</summary>
    CutIn = 1,

    /// <summary>What this gateway sends does not leave.</summary>
    CutOut = 2,

    Cut = CutIn | CutOut,
}
