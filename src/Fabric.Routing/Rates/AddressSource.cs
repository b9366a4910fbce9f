using System.Buffers.Binary;
using System.Net;

namespace Fabric.Routing.Rates;

/// <summary>What counts as one source of connections.</summary>
public static class AddressSource
{
    /// <summary>An IPv4 address, also one that is written as IPv6, or the /64 of an IPv6 address: what one customer has.</summary>
    public static IPAddress Of(IPAddress address)
    {
        if (address.IsIPv4MappedToIPv6)
        {
            return address.MapToIPv4();
        }

        Span<byte> bytes = stackalloc byte[16];
        if (!address.TryWriteBytes(bytes, out var written) || written < bytes.Length)
        {
            return address;
        }

        BinaryPrimitives.WriteInt64BigEndian(bytes[8..], 0);
        return new IPAddress(bytes);
    }
}
