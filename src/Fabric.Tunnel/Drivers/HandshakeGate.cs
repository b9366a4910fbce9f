using System.Collections.Immutable;
using System.Net;
using Fabric.Routing.Rates;

namespace Fabric.Tunnel.Drivers;

/// <summary>
/// How many handshakes may be under way: in all, from one address, of one gateway; and how many an address may begin in a second,
/// for each costs a signature. Nobody waits here: who comes too late is closed at once, and that is the newest. Known addresses (those that the plan dials, and those from which a gateway has
/// had a lane) have as many places again that strangers cannot take. Safe to call from any thread.
/// </summary>
internal sealed class HandshakeGate(TunnelLimits limits)
{
    /// <summary>Addresses that are remembered because a lane came from them; the oldest is forgotten first.</summary>
    private const int Remembered = 1_024;

    /// <summary>Handshakes that one address may begin in a second; twice as many at once. About a fifth of a core.</summary>
    public const int Rate = 100;

    private static readonly SourceLimit _limit = new(Rate, Rate * 2);

    private readonly Lock _lock = new();
    private readonly SourceRates<object> _strangersBegin = new(_limit);

    /// <summary>A table of their own, which strangers cannot fill.</summary>
    private readonly SourceRates<object> _knownBegin = new(_limit);

    /// <summary>Handshakes under way by address: as many as there are, at most.</summary>
    private readonly Dictionary<object, int> _byAddress = [];
    private readonly Dictionary<string, int> _byPeer = [];
    private readonly HashSet<IPAddress> _met = [];
    private readonly Queue<IPAddress> _metInOrder = new();
    private ImmutableHashSet<IPAddress> _planned = [];
    private int _strangers;
    private int _reserved;

    /// <summary>Handshakes under way.</summary>
    public int Count
    {
        get
        {
            lock (_lock)
            {
                return _strangers + _reserved;
            }
        }
    }

    /// <summary>Addresses of peers in the plan.</summary>
    public void Plan(IEnumerable<IPAddress> addresses)
    {
        lock (_lock)
        {
            _planned = [.. addresses.Select(AddressSource.Of)];
        }
    }

    /// <summary>A gateway has a lane from there.</summary>
    public void Met(IPAddress address)
    {
        lock (_lock)
        {
            var source = AddressSource.Of(address);
            if (!_met.Add(source))
            {
                return;
            }

            _metInOrder.Enqueue(source);
            if (_metInOrder.Count > Remembered)
            {
                _met.Remove(_metInOrder.Dequeue());
            }
        }
    }

    /// <summary>A place for a new connection, to be disposed of when the handshake is over; null with the reason when there is none.</summary>
    public Place? TryEnter(IPAddress address, TimeSpan now, out Refusal why)
    {
        lock (_lock)
        {
            var source = AddressSource.Of(address);
            return TryEnter(source, _planned.Contains(source) || _met.Contains(source), now, out why);
        }
    }

    /// <summary>A place for what a relay hands over: it counts as an address of its own, and as a known one.</summary>
    public Place? TryEnter(string relay, TimeSpan now, out Refusal why)
    {
        lock (_lock)
        {
            return TryEnter(relay, true, now, out why);
        }
    }

    private Place? TryEnter(object source, bool known, TimeSpan now, out Refusal why)
    {
        var underWay = _byAddress.GetValueOrDefault(source);
        var reserved = known && _reserved < limits.MaxHandshakes;
        why = underWay >= limits.MaxHandshakesPerAddress ? Refusal.HandshakeAddressLimit : Refusal.HandshakeLimit;
        if (underWay >= limits.MaxHandshakesPerAddress || (!reserved && _strangers >= limits.MaxHandshakes))
        {
            return null;
        }

        if (!(known ? _knownBegin : _strangersBegin).TryTake(source, now))
        {
            why = Refusal.HandshakeRate;
            return null;
        }

        _reserved += reserved ? 1 : 0;
        _strangers += reserved ? 0 : 1;
        _byAddress[source] = underWay + 1;
        why = default;
        return new Place(this, source, reserved);
    }

    /// <summary>One handshake under way.</summary>
    internal sealed class Place(HandshakeGate gate, object source, bool reserved) : IDisposable
    {
        private string? _peer;
        private bool _left;

        /// <summary>The certificate says who it is. False when that gateway has too many handshakes under way.</summary>
        public bool TryName(string peer)
        {
            lock (gate._lock)
            {
                var count = gate._byPeer.GetValueOrDefault(peer);
                if (count >= gate.Limits.MaxHandshakesPerPeer)
                {
                    return false;
                }

                gate._byPeer[peer] = count + 1;
                _peer = peer;
                return true;
            }
        }

        public void Dispose()
        {
            lock (gate._lock)
            {
                if (_left)
                {
                    return;
                }

                _left = true;
                gate._reserved -= reserved ? 1 : 0;
                gate._strangers -= reserved ? 0 : 1;
                if (--gate._byAddress[source] == 0)
                {
                    gate._byAddress.Remove(source);
                }

                if (_peer is not null && --gate._byPeer[_peer] == 0)
                {
                    gate._byPeer.Remove(_peer);
                }
            }
        }
    }

    private TunnelLimits Limits => limits;
}
