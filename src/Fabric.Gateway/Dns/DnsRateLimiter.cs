using Fabric.Protocol.Dns;

namespace Fabric.Gateway.Dns;

internal enum DnsLimit
{
    Pass,

    /// <summary>Over the limit, and one of those that are told to come again over TCP or with a cookie.</summary>
    Slip,

    /// <summary>Over the limit: no answer.</summary>
    Drop,
}

/// <summary>
/// Counts the same answer to the same source within a second: the name for answers with data, the RCODE alone for others, so that
/// random names do not help; the /24 or /56 of the source. Of those over the limit every second one slips. The table has a fixed size:
/// where two share a place, the later one takes it and starts to count at 0, so what a full table costs is strictness.
/// </summary>
/// <remarks>Loopback is never limited: nobody reaches it from elsewhere. Counting is not locked; under a race one answer too many
/// passes.</remarks>
internal sealed class DnsRateLimiter(int perSecond)
{
    private const int Places = 1 << 16;
    private const int SlipEvery = 2;
    private const int CountBits = 16;
    private const int SecondBits = 16;

    private readonly ulong[] _places = new ulong[Places];

    public DnsLimit Count(ReadOnlySpan<byte> address, DnsRcode rcode, ReadOnlySpan<byte> name, long second)
    {
        if (IsLoopback(address))
        {
            return DnsLimit.Pass;
        }

        // Seeded for this process: nobody can aim at a place.
        var hash = new HashCode();
        hash.AddBytes(address[..(address.Length == 4 ? 3 : 7)]);
        hash.Add((int)rcode);
        if (rcode == DnsRcode.NoError)
        {
            hash.Add(DnsNameComparer.Hash(name));
        }

        var key = (uint)hash.ToHashCode();
        ref var place = ref _places[key % Places];
        var held = Volatile.Read(ref place);
        var stamp = (ulong)key << 32 | (ulong)(second & (1 << SecondBits) - 1) << CountBits;
        var count = held >> CountBits == stamp >> CountBits ? (held & (1 << CountBits) - 1) + 1 : 1;
        Volatile.Write(ref place, stamp | Math.Min(count, (1 << CountBits) - 2 | count & 1));
        return count <= (ulong)perSecond ? DnsLimit.Pass : count % SlipEvery == 0 ? DnsLimit.Slip : DnsLimit.Drop;
    }

    private static bool IsLoopback(ReadOnlySpan<byte> address) => address.Length switch
    {
        4 => address[0] == 127,
        16 => address[..15].IndexOfAnyExcept((byte)0) < 0 && address[15] == 1,
        _ => true,
    };
}
