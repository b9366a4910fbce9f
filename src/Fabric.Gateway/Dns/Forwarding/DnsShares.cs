using System.Buffers.Binary;

namespace Fabric.Gateway.Dns.Forwarding;

/// <summary>
/// Places that clients share. A client may have as many as are free: alone it gets half of them, and of two that always want more each comes to a
/// third, so that who comes later finds some. A client is an IPv4 address or an IPv6 /64; those without an address are one. Safe for concurrent use.
/// </summary>
internal sealed class DnsShares(int places)
{
    private readonly Dictionary<ulong, int> _ofClients = [];
    private readonly Lock _lock = new();
    private int _taken;

    public int Taken => Volatile.Read(ref _taken);

    /// <summary>A place, which disposal gives back; null: none is left for that client, which has so many.</summary>
    public Place? TryTake(ReadOnlySpan<byte> address, out int has)
    {
        var client = Key(address);
        lock (_lock)
        {
            has = _ofClients.GetValueOrDefault(client);
            if (has >= places - _taken)
            {
                return null;
            }

            _ofClients[client] = has + 1;
            _taken++;
            return new Place(this, client);
        }
    }

    private static ulong Key(ReadOnlySpan<byte> address) => address.Length switch
    {
        16 => BinaryPrimitives.ReadUInt64BigEndian(address),
        // No /64 that a client may have begins with these bits: they are of multicast.
        4 => 0xFFFF_0000_0000_0000 | BinaryPrimitives.ReadUInt32BigEndian(address),
        _ => ulong.MaxValue,
    };

    private void Return(ulong client)
    {
        lock (_lock)
        {
            _taken--;
            if (_ofClients[client] is > 1 and var has)
            {
                _ofClients[client] = has - 1;
            }
            else
            {
                _ofClients.Remove(client);
            }
        }
    }

    internal sealed class Place(DnsShares shares, ulong client) : IDisposable
    {
        private DnsShares? _shares = shares;

        public void Dispose() => Interlocked.Exchange(ref _shares, null)?.Return(client);
    }
}
