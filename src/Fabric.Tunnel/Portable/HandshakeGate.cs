using System.Buffers.Binary;
using System.Collections.Immutable;
using System.Net;
using System.Net.Sockets;

namespace Fabric.Tunnel.Portable;

/// <summary>
/// How many handshakes may be under way: in all, from one address, of one gateway. Nobody waits here: who comes too late is
/// closed at once, and that is the newest. Known addresses (those that the plan dials, and those from which a gateway has
/// had a lane) have as many places again that strangers cannot take. Safe to call from any thread.
/// </summary>
internal sealed class HandshakeGate(TunnelLimits limits)
{
    /// <summary>Addresses that are remembered because a lane came from them; the oldest is forgotten first.</summary>
    private const int Remembered = 1_024;

    private readonly Lock _lock = new();
    private readonly Dictionary<IPAddress, int> _byAddress = [];
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
            _planned = [.. addresses.Select(Source)];
        }
    }

    /// <summary>A gateway has a lane from there.</summary>
    public void Met(IPAddress address)
    {
        lock (_lock)
        {
            var source = Source(address);
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
    public Place? TryEnter(IPAddress address, out Refusal why)
    {
        lock (_lock)
        {
            var source = Source(address);
            var fromThere = _byAddress.GetValueOrDefault(source);
            if (fromThere >= limits.MaxHandshakesPerAddress)
            {
                why = Refusal.HandshakeAddressLimit;
                return null;
            }

            var reserved = (_planned.Contains(source) || _met.Contains(source)) && _reserved < limits.MaxHandshakes;
            if (!reserved && _strangers >= limits.MaxHandshakes)
            {
                why = Refusal.HandshakeLimit;
                return null;
            }

            _reserved += reserved ? 1 : 0;
            _strangers += reserved ? 0 : 1;
            _byAddress[source] = fromThere + 1;
            why = default;
            return new Place(this, source, reserved);
        }
    }

    /// <summary>An IPv4 address, or the /64 of an IPv6 address: what one customer has.</summary>
    private static IPAddress Source(IPAddress address)
    {
        if (address.AddressFamily != AddressFamily.InterNetworkV6)
        {
            return address;
        }

        if (address.IsIPv4MappedToIPv6)
        {
            return address.MapToIPv4();
        }

        Span<byte> bytes = stackalloc byte[16];
        address.TryWriteBytes(bytes, out _);
        BinaryPrimitives.WriteInt64BigEndian(bytes[8..], 0);
        return new IPAddress(bytes);
    }

    private static void Decrement<T>(Dictionary<T, int> counts, T key)
        where T : notnull
    {
        if (--counts[key] == 0)
        {
            counts.Remove(key);
        }
    }

    /// <summary>One handshake under way.</summary>
    internal sealed class Place(HandshakeGate gate, IPAddress source, bool reserved) : IDisposable
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
                Decrement(gate._byAddress, source);
                if (_peer is not null)
                {
                    Decrement(gate._byPeer, _peer);
                }
            }
        }
    }

    private TunnelLimits Limits => limits;
}
