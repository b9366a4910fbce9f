using System.Diagnostics.CodeAnalysis;
using System.Net;

namespace Fabric.Topology;

/// <summary>Arithmetic on addresses, and a stricter parser than the platform's, which takes <c>1</c> for 0.0.0.1.</summary>
internal static class Ip
{
    public static bool TryParse(string text, [NotNullWhen(true)] out IPAddress? address, out string? hint)
    {
        hint = null;
        address = null;
        if (text.Length is 0 or > 45 || text.IndexOfAny(['%', '[', ']', '/']) >= 0
            || !IPAddress.TryParse(text, out IPAddress? parsed))
        {
            hint = text.Contains('%') ? "addresses with a zone are not supported"
                : text.Any(char.IsAsciiLetter) && !text.Contains(':') ? "names are not looked up here: give the address" : null;
            return false;
        }

        if (parsed.IsIPv4MappedToIPv6)
        {
            hint = $"write {parsed.MapToIPv4()}";
            return false;
        }

        if (!IsV6(parsed) && parsed.ToString() != text)
        {
            hint = $"it would be read as {parsed}: write four decimal numbers without leading zeros";
            return false;
        }

        address = parsed;
        return true;
    }

    public static bool IsV6(IPAddress address) => address.GetAddressBytes().Length == 16;

    public static bool IsAny(IPAddress address) => address.Equals(IPAddress.Any) || address.Equals(IPAddress.IPv6Any);

    /// <summary>An address that one host can have: not unspecified, multicast, reserved or broadcast.</summary>
    public static bool IsUnicast(IPAddress address)
    {
        byte first = address.GetAddressBytes()[0];
        return IsV6(address) ? first != 0xff && !IsAny(address) : first is not 0 and < 224;
    }

    /// <summary>
    /// Where clouds give a host's credentials to whoever can open a connection from it: AWS, Azure, Google and others (169.254.169.254, fd00:ec2::254),
    /// ECS tasks (169.254.170.2), Alibaba (100.100.100.200).
    /// </summary>
    public static bool IsMetadata(IPAddress address) => _metadata.Contains(address);

    private static readonly HashSet<IPAddress> _metadata =
        [.. new[] { "169.254.169.254", "fd00:ec2::254", "169.254.170.2", "100.100.100.200" }.Select(IPAddress.Parse)];

    public static UInt128 ToNumber(IPAddress address)
    {
        UInt128 number = 0;
        foreach (byte b in address.GetAddressBytes())
        {
            number = (number << 8) | b;
        }

        return number;
    }

    public static IPAddress FromNumber(UInt128 number, bool v6)
    {
        var bytes = new byte[v6 ? 16 : 4];
        for (int i = bytes.Length - 1; i >= 0; i--)
        {
            bytes[i] = (byte)(number & 0xff);
            number >>= 8;
        }

        return new IPAddress(bytes);
    }

    public static IPAddress First(IPAddress address, int prefix) =>
        FromNumber(ToNumber(address) & ~HostMask(IsV6(address) ? 128 : 32, prefix), IsV6(address));

    public static IPAddress Last(IPNetwork network)
    {
        bool v6 = IsV6(network.BaseAddress);
        return FromNumber(ToNumber(network.BaseAddress) | HostMask(v6 ? 128 : 32, network.PrefixLength), v6);
    }

    private static UInt128 HostMask(int bits, int prefix) => prefix == 0 && bits == 128 ? UInt128.MaxValue
        : (UInt128.One << (bits - prefix)) - 1;
}
