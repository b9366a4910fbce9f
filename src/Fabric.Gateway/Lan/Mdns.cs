using System.Net;
using System.Net.Sockets;
using Fabric.Protocol.Dns;

namespace Fabric.Gateway.Lan;

/// <summary>What multicast DNS (RFC 6762) and DNS-SD (RFC 6763) say in numbers and names.</summary>
internal static class Mdns
{
    /// <summary>Seconds for records with a host's name or address in them (RFC 6762 §10).</summary>
    public const uint HostTtl = 120;

    /// <summary>Seconds for all others, and what a TTL of strangers counts at most.</summary>
    public const uint OtherTtl = 4500;

    /// <summary>Seconds for those who ask like a plain DNS client (§6.7).</summary>
    public const uint LegacyTtl = 10;

    /// <summary>Bytes of a message that is read (§17).</summary>
    public const int MaxMessage = 9000;

    /// <summary>Bytes of a message that is sent: what passes an Ethernet whole.</summary>
    public const int MaxSent = 1440;

    public const DnsType Nsec = (DnsType)47;

    /// <summary>In the class of a record: it is the only one of its kind (§10.2). In that of a question: answer me alone (§5.4).</summary>
    private const ushort TopBit = 0x8000;

    /// <summary>All who speak it on a network. What is sent to it goes over IPv6 as well, to <see cref="Group6"/>, each where the interface has addresses.</summary>
    public static readonly IPEndPoint Group = new(new IPAddress([224, 0, 0, 251]), 5353);

    public static readonly IPAddress Group6 = IPAddress.Parse("ff02::fb");

    public static readonly DnsName Local = DnsName.Parse("local");

    /// <summary>Which types of services there are (RFC 6763 §9).</summary>
    public static readonly DnsName Types = DnsName.Parse("_services._dns-sd._udp.local");

    public static readonly DnsName Fabric = TypeName("_fabric._tcp");

    /// <summary>Of the record that has such an address.</summary>
    public static DnsType TypeOf(IPAddress address) => address.AddressFamily == AddressFamily.InterNetwork ? DnsType.A : DnsType.Aaaa;

    /// <param name="type">Such as <c>_http._tcp</c>.</param>
    public static DnsName TypeName(string type) => DnsName.Parse(type + ".local");

    public static bool HasTopBit(DnsClass @class) => ((ushort)@class & TopBit) != 0;

    public static DnsClass WithTopBit(DnsClass @class) => (DnsClass)((ushort)@class | TopBit);

    public static DnsClass Plain(DnsClass @class) => (DnsClass)((ushort)@class & ~TopBit);

    /// <summary>Name, type, class and data are the same; TTLs may differ.</summary>
    public static bool Same(DnsRecord a, DnsRecord b) =>
        a.Type == b.Type && Plain(a.Class) == Plain(b.Class) && a.Name.Equals(b.Name) && SameData(a.Data, b.Data);

    public static bool SameData(DnsData a, DnsData b) => a.Type == b.Type && (a.Equals(b) || Bytes(a).AsSpan().SequenceEqual(Bytes(b)));

    /// <summary>Data without compression: what probes at the same time are compared by (§8.2).</summary>
    public static byte[] Bytes(DnsData data)
    {
        switch (data)
        {
            case DnsTarget target:
                return target.Name.Wire.ToArray();
            case DnsOpaque opaque:
                return [.. opaque.Bytes];
            default:
                Span<byte> buffer = stackalloc byte[2048];
                var writer = new DnsWriter(buffer);
                var large = new byte[DnsLimits.Tcp];
                if (!writer.TryWriteRecord([0], DnsClass.Internet, 0, data))
                {
                    writer = new DnsWriter(large);
                    return writer.TryWriteRecord([0], DnsClass.Internet, 0, data) ? large[(DnsLimits.Header + 11)..writer.Length] : [];
                }

                return buffer[(DnsLimits.Header + 11)..writer.Length].ToArray();
        }
    }

    /// <summary>That a unique name has records of these types and no others (§6.1).</summary>
    public static DnsRecord Only(DnsName name, uint ttl, params ReadOnlySpan<DnsType> types)
    {
        var bitmap = new byte[32];
        var last = 0;
        foreach (var type in types)
        {
            bitmap[(int)type / 8] |= (byte)(0x80 >> (int)type % 8);
            last = Math.Max(last, (int)type / 8);
        }

        return new DnsRecord(name, WithTopBit(DnsClass.Internet), ttl, new DnsOpaque(Nsec, [.. name.Wire, 0, (byte)(last + 1), .. bitmap[..(last + 1)]]));
    }
}
