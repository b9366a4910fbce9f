using System.Collections.Immutable;
using System.Net;
using System.Net.NetworkInformation;
using System.Net.Sockets;

namespace Fabric.Gateway.Lan;

/// <summary>The IPv4 networks of an interface: its own addresses, each with its range.</summary>
internal sealed record LanNetworks(int Index, ImmutableArray<(IPAddress Address, IPNetwork Range)> Own)
{
    public static LanNetworks None { get; } = new(0, []);

    public IEnumerable<IPAddress> Addresses => Own.Select(o => o.Address);

    /// <summary>As the kernel has it now. <see cref="None"/> when there is no such interface, or it is down or has no IPv4 address.</summary>
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
                .. properties.UnicastAddresses.Where(a => a.Address.AddressFamily == AddressFamily.InterNetwork)
                    .Select(a => (a.Address, new IPNetwork(Base(a.Address, a.PrefixLength), a.PrefixLength))),
            ];
            return own.IsEmpty ? None : new LanNetworks(properties.GetIPv4Properties().Index, own);
        }
        catch (NetworkInformationException)
        {
            // It goes while it is looked at.
            return None;
        }
    }

    /// <summary>Whether it is an address that another host of these networks can have.</summary>
    public bool HoldsOther(IPAddress address) => Holds(address) && !Addresses.Contains(address);

    /// <summary>Whether a host of these networks can have that address: nothing from elsewhere is believed (RFC 6762 §11).</summary>
    public bool Holds(IPAddress address)
    {
        foreach (var (_, range) in Own)
        {
            // Neither the network's own address nor that of all its hosts; below /31 there are none of these.
            if (range.Contains(address) && (range.PrefixLength >= 31 || !address.Equals(range.BaseAddress) && !address.Equals(Last(range))))
            {
                return true;
            }
        }

        return false;
    }

    public bool Equals(LanNetworks? other) => other is not null && Index == other.Index && Own.SequenceEqual(other.Own);

    public override int GetHashCode() => HashCode.Combine(Index, Own.Length);

    private static IPAddress Base(IPAddress address, int prefix) => Masked(address, prefix, fill: false);

    private static IPAddress Last(IPNetwork range) => Masked(range.BaseAddress, range.PrefixLength, fill: true);

    private static IPAddress Masked(IPAddress address, int prefix, bool fill)
    {
        var bytes = address.GetAddressBytes();
        for (var bit = prefix; bit < 32; bit++)
        {
            var mask = (byte)(0x80 >> bit % 8);
            bytes[bit / 8] = (byte)(fill ? bytes[bit / 8] | mask : bytes[bit / 8] & ~mask);
        }

        return new IPAddress(bytes);
    }
}
