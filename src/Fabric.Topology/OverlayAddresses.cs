using System.Net;
using System.Security.Cryptography;
using System.Text;

namespace Fabric.Topology;

/// <summary>
/// Addresses inside the WireGuard overlay, derived from names so that nobody hands them out: a unique local prefix
/// (RFC 4193) from the trust domain, 16 bits of subnet from the link, 64 bits from the gateway. 16 bits can collide; the
/// loader refuses a topology in which they do.
/// </summary>
public static class OverlayAddresses
{
    /// <summary><c>fd</c> and the first 5 bytes of SHA-256(trust domain): a /48.</summary>
    public static IPNetwork Prefix(string trustDomain) => new(new IPAddress(PrefixBytes(trustDomain)), 48);

    /// <summary>The gateway's address on the interface of that vpn link: the /48, then 2 bytes of SHA-256(link name), then
    /// 8 bytes of SHA-256(gateway name).</summary>
    public static IPAddress Of(string trustDomain, string link, string gateway)
    {
        byte[] address = PrefixBytes(trustDomain);
        Hash(link).AsSpan(0, 2).CopyTo(address.AsSpan(6));
        Hash(gateway).AsSpan(0, 8).CopyTo(address.AsSpan(8));
        return new IPAddress(address);
    }

    private static byte[] PrefixBytes(string trustDomain)
    {
        var address = new byte[16];
        address[0] = 0xfd;
        Hash(trustDomain).AsSpan(0, 5).CopyTo(address.AsSpan(1));
        return address;
    }

    private static byte[] Hash(string text) => SHA256.HashData(Encoding.UTF8.GetBytes(text));
}
