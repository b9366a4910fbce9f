using System.Net;
using System.Security.Cryptography;
using System.Text;

namespace Fabric.Overlay;

/// <summary>
/// Overlay addresses, which both ends compute alike and nobody assigns. Unique local addresses (RFC 4193): <c>fd</c>, a 40-bit
/// global ID from the trust domain, a 16-bit subnet from the link, a 64-bit interface ID from link and gateway. Each is the
/// front of a SHA-256. The link is in the interface ID as well, so that two links whose subnets collide share no address.
/// </summary>
public static class OverlayAddress
{
    /// <summary>The /48 of a trust domain.</summary>
    public static IPNetwork Prefix(string trustDomain)
    {
        Span<byte> address = stackalloc byte[16];
        WritePrefix(address, trustDomain);
        return new IPNetwork(new IPAddress(address), 48);
    }

    /// <summary>The address of a gateway on a vpn link.</summary>
    public static IPAddress Of(string trustDomain, string link, string gateway)
    {
        Span<byte> address = stackalloc byte[16];
        WritePrefix(address, trustDomain);
        Hash("subnet", link).AsSpan(0, 2).CopyTo(address[6..]);
        Hash("interface", link, gateway).AsSpan(0, 8).CopyTo(address[8..]);
        return new IPAddress(address);
    }

    private static void WritePrefix(Span<byte> address, string trustDomain)
    {
        address[0] = 0xfd;
        Hash("prefix", trustDomain).AsSpan(0, 5).CopyTo(address[1..]);
    }

    private static byte[] Hash(params string[] parts) =>
        SHA256.HashData(Encoding.UTF8.GetBytes("fabric overlay\0" + string.Join('\0', parts)));
}
