using System.Collections.Immutable;
using System.Net;
using System.Net.NetworkInformation;
using System.Net.Sockets;
using Fabric.Protocol.Dns;

namespace Fabric.Gateway.Lan;

/// <summary>The networks of an interface, IPv4 and IPv6: its own addresses, each with its range; none has a scope.</summary>
internal sealed record LanNetworks(int Index, ImmutableArray<(IPAddress Address, IPNetwork Range)> Own)
{
    public static LanNetworks None { get; } = new(0, []);

    public IEnumerable<IPAddress> Addresses => Own.Select(o => o.Address);

    /// <summary>Whether it has an address of that family.</summary>
    public bool Speaks(AddressFamily family) => Own.Any(o => o.Address.AddressFamily == family);

    /// <summary>Types of records that hold addresses which can be an endpoint's here.</summary>
    public ImmutableArray<DnsType> AddressTypes => [.. Addresses.Where(a => !a.IsIPv6LinkLocal).Select(Mdns.TypeOf).Distinct().Order()];

    /// <summary>As the kernel has it now. <see cref="None"/> when there is no such interface, or it is down or has no address.</summary>
    public static LanNetworks Of(string name)
    {
        try
        {
            if (NetworkInterface.GetAllNetworkInterfaces().FirstOrDefault(i => i.Name == name) is not { OperationalStatus: not OperationalStatus.Down } found)
            {
                return None;
            }

            var properties = found.GetIPProperties();
            ImmutableArray<(IPAddress, IPNetwork)> own =
            [
                .. properties.UnicastAddresses.Where(a => a.Address.AddressFamily is AddressFamily.InterNetwork or AddressFamily.InterNetworkV6)
                    .Select(a => (Address: Unscoped(a.Address), a.PrefixLength)).Select(a => (a.Address, new IPNetwork(Base(a.Address, a.PrefixLength), a.PrefixLength))),
            ];
            return own.IsEmpty ? None
                : new LanNetworks(found.Supports(NetworkInterfaceComponent.IPv4) ? properties.GetIPv4Properties().Index : properties.GetIPv6Properties().Index, own);
        }
        catch (NetworkInformationException)
        {
            // It goes while it is looked at.
            return None;
        }
    }

    /// <summary>Whether it is an address that another host of these networks can have.</summary>
    public bool HoldsOther(IPAddress address) => Holds(address) && !Addresses.Contains(Unscoped(address));

    /// <summary>Whether another host can be dialled there: one of link-local scope would need to be said with its interface, and endpoints have none.</summary>
    public bool IsEndpoint(IPAddress address) => !address.IsIPv6LinkLocal && HoldsOther(address);

    /// <summary>Whether a host of these networks can have that address: nothing from elsewhere is believed (RFC 6762 §11).</summary>
    public bool Holds(IPAddress address)
    {
        var plain = Unscoped(address);
        var (isSix, bits) = plain.AddressFamily == AddressFamily.InterNetworkV6 ? (true, 128) : (false, 32);
        foreach (var (_, range) in Own)
        {
            // Neither the network's own address nor that of all its hosts, which IPv6 does not have; of one host or two there are none of these.
            // Nor is IPv4 within IPv6, which a range contains as well.
            if (!plain.IsIPv4MappedToIPv6 && range.Contains(plain) && (range.PrefixLength >= bits - 1 || !plain.Equals(range.BaseAddress) && (isSix || !plain.Equals(Last(range)))))
            {
                return true;
            }
        }

        return false;
    }

    public bool Equals(LanNetworks? other) => other is not null && Index == other.Index && Own.SequenceEqual(other.Own);

    public override int GetHashCode() => HashCode.Combine(Index, Own.Length);

    /// <summary>Without the interface that it is on: that is known here.</summary>
    private static IPAddress Unscoped(IPAddress address) =>
        address.AddressFamily == AddressFamily.InterNetworkV6 && address.ScopeId != 0 ? new IPAddress(address.GetAddressBytes()) : address;

    private static IPAddress Base(IPAddress address, int prefix) => Masked(address, prefix, fill: false);

    private static IPAddress Last(IPNetwork range) => Masked(range.BaseAddress, range.PrefixLength, fill: true);

    private static IPAddress Masked(IPAddress address, int prefix, bool fill)
    {
        var bytes = address.GetAddressBytes();
        for (var bit = prefix; bit < 8 * bytes.Length; bit++)
        {
            var mask = (byte)(0x80 >> bit % 8);
            bytes[bit / 8] = (byte)(fill ? bytes[bit / 8] | mask : bytes[bit / 8] & ~mask);
        }

        return new IPAddress(bytes);
    }
}
