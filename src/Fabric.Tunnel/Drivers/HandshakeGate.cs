using System.Buffers.Binary;
using System.Collections.Immutable;
using System.Net;
using System.Net.Sockets;

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

    /// <summary>Addresses that are counted at once. When all of them are busy, further strangers are closed.</summary>
    private const int Counted = 4_096;

    private readonly Lock _lock = new();
    private readonly Dictionary<object, From> _byAddress = [];
    private readonly Dictionary<string, int> _byPeer = [];
    private readonly HashSet<IPAddress> _met = [];
    private readonly Queue<IPAddress> _metInOrder = new();
    private ImmutableHashSet<IPAddress> _planned = [];
    private TimeSpan _swept;
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
    public Place? TryEnter(IPAddress address, TimeSpan now, out Refusal why)
    {
        lock (_lock)
        {
            var source = Source(address);
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
        var from = Find(source, known, now);
        from?.Refill(now);
        if (from?.UnderWay >= limits.MaxHandshakesPerAddress || from?.Left < 1)
        {
            why = from.Left < 1 ? Refusal.HandshakeRate : Refusal.HandshakeAddressLimit;
            return null;
        }

        var reserved = known && _reserved < limits.MaxHandshakes;
        if (from is null || (!reserved && _strangers >= limits.MaxHandshakes))
        {
            why = Refusal.HandshakeLimit;
            return null;
        }

        _reserved += reserved ? 1 : 0;
        _strangers += reserved ? 0 : 1;
        from.UnderWay++;
        from.Left--;
        why = default;
        return new Place(this, from, reserved);
    }

    /// <summary>What is counted of an address; null when there are too many. Those that are idle are forgotten for it.</summary>
    private From? Find(object source, bool known, TimeSpan now)
    {
        if (_byAddress.TryGetValue(source, out var from))
        {
            return from;
        }

        if (_byAddress.Count >= Counted && now - _swept >= TimeSpan.FromSeconds(1))
        {
            _swept = now;
            foreach (var (idle, _) in _byAddress.Where(a => a.Value.UnderWay == 0 && now - a.Value.Since > TimeSpan.FromSeconds(2)).ToArray())
            {
                _byAddress.Remove(idle);
            }
        }

        return _byAddress.Count >= Counted && !known ? null
            : _byAddress[source] = new From { Since = now };
    }

    /// <summary>What is counted of one address.</summary>
    internal sealed class From
    {
        public int UnderWay;
        public double Left = Rate * 2;
        public TimeSpan Since;

        public void Refill(TimeSpan now)
        {
            Left = Math.Min(Rate * 2, Left + (now - Since).TotalSeconds * Rate);
            Since = now;
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

    /// <summary>One handshake under way.</summary>
    internal sealed class Place(HandshakeGate gate, From from, bool reserved) : IDisposable
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
                from.UnderWay--;
                if (_peer is not null && --gate._byPeer[_peer] == 0)
                {
                    gate._byPeer.Remove(_peer);
                }
            }
        }
    }

    private TunnelLimits Limits => limits;
}
