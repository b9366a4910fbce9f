using System.Net;
using System.Net.Sockets;
using System.Runtime.InteropServices;

namespace Fabric.Overlay.Netlink;

/// <summary>A link as rtnetlink tells it.</summary>
internal sealed record Link(int Index, string Name, string? Kind, string? Alias, int Mtu, bool IsUp);

/// <summary>
/// A route as rtnetlink tells it, as far as Fabric sets it. <see cref="Mtu"/> and <see cref="SegmentSize"/>: 0 when unset.
/// </summary>
internal sealed record Route(IPNetwork Destination, int Index, byte Protocol, byte Table, byte Type, int Mtu, int SegmentSize);

/// <summary>Messages of rtnetlink: built and parsed, no I/O. Numbers: linux/rtnetlink.h, if_link.h, if_addr.h.</summary>
internal static class RtMessages
{
    public const byte TableMain = 254, TableLocal = 255;

    /// <summary>Routes that Fabric made carry this protocol number, unassigned in rt_protos; it touches no others.</summary>
    public const byte FabricProtocol = 70;
    public const byte TypeUnicast = 1, TypeLocal = 2;
    public const int LoopbackIndex = 1;

    private const ushort NewLink = 16, DelLink = 17, GetLink = 18, NewAddress = 20, DelAddress = 21, GetAddress = 22;
    private const ushort NewRoute = 24, DelRoute = 25, GetRoute = 26;
    private const ushort LinkName = 3, LinkMtu = 4, LinkInfo = 18, LinkAlias = 20, LinkFamilySpec = 26, InfoKind = 1;
    private const ushort AddressGenerationMode = 8;
    private const ushort AddressAddress = 1, AddressLocal = 2, AddressFlags = 8;
    private const ushort RouteDestination = 1, RouteInterface = 4, RouteMetrics = 8, RouteTable = 15, MetricMtu = 2,
        MetricSegmentSize = 8;
    private const int InterfaceUp = 1;
    private const byte NoGeneration = 1;
    private const uint NoDuplicateDetection = 2;
    private const byte ScopeUniverse = 0, ScopeLink = 253, ScopeHost = 254;

    private static readonly byte[] _anyLink = new byte[16];

    public static NetlinkMessage FindLink(string name) => new NetlinkMessage(GetLink, 0).Body(_anyLink).Text(LinkName, name);

    public static NetlinkMessage DumpLinks() => new NetlinkMessage(GetLink, NetlinkMessage.Dump).Body(_anyLink);

    public static NetlinkMessage AddLink(string name, string kind) =>
        new NetlinkMessage(NewLink, NetlinkMessage.Create | NetlinkMessage.Exclusive).Body(_anyLink).Text(LinkName, name)
            .Nested(LinkInfo, m => m.Text(InfoKind, kind));

    public static NetlinkMessage DeleteLink(int index) => new NetlinkMessage(DelLink, 0).Body(LinkBody(index, 0, 0));

    public static NetlinkMessage SetUp(int index) =>
        new NetlinkMessage(NewLink, 0).Body(LinkBody(index, InterfaceUp, InterfaceUp));

    public static NetlinkMessage SetMtu(int index, int mtu) =>
        new NetlinkMessage(NewLink, 0).Body(LinkBody(index, 0, 0)).Attribute(LinkMtu, mtu);

    public static NetlinkMessage SetAlias(int index, string alias) =>
        new NetlinkMessage(NewLink, 0).Body(LinkBody(index, 0, 0)).Text(LinkAlias, alias);

    /// <summary>No link-local address, and so no router solicitations into the tunnel.</summary>
    public static NetlinkMessage SetNoGeneratedAddresses(int index) =>
        new NetlinkMessage(NewLink, 0).Body(LinkBody(index, 0, 0)).Nested(LinkFamilySpec,
            m => m.Nested(Family(AddressFamily.InterNetworkV6), n => n.Attribute(AddressGenerationMode, NoGeneration)));

    public static NetlinkMessage DumpAddresses(int index) =>
        new NetlinkMessage(GetAddress, NetlinkMessage.Dump).Body(AddressBody(0, 0, 0, index));

    /// <summary>The address as its own range (/128 or /32), usable at once: there is nobody to collide with.</summary>
    public static NetlinkMessage AddAddress(int index, IPAddress address) =>
        OneAddress(new(NewAddress, NetlinkMessage.Create | NetlinkMessage.Replace), index, HostRange(address))
            .Attribute(AddressFlags, NoDuplicateDetection);

    public static NetlinkMessage DeleteAddress(int index, IPNetwork address) => OneAddress(new(DelAddress, 0), index, address);

    public static NetlinkMessage DumpRoutes(AddressFamily family) =>
        new NetlinkMessage(GetRoute, NetlinkMessage.Dump).Body([(byte)Family(family), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);

    /// <summary>
    /// A route to a peer. Its MTU bounds what TCP here sends, its advertised segment size what TCP at the far end sends: MSS
    /// clamping in both directions without a packet filter.
    /// </summary>
    public static NetlinkMessage ReplacePeerRoute(int index, IPNetwork range, int mtu) =>
        PeerRoute(new(NewRoute, NetlinkMessage.Create | NetlinkMessage.Replace), index, range)
            .Nested(RouteMetrics, m => m.Attribute(MetricMtu, mtu)
                .Attribute(MetricSegmentSize, OverlayMtu.SegmentSize(mtu, range.BaseAddress.AddressFamily)));

    public static NetlinkMessage DeletePeerRoute(int index, IPNetwork range) => PeerRoute(new(DelRoute, 0), index, range);

    public static NetlinkMessage AddLocalRoute(IPNetwork range) =>
        LocalRoute(new(NewRoute, NetlinkMessage.Create | NetlinkMessage.Exclusive), range);

    public static NetlinkMessage DeleteLocalRoute(IPNetwork range) => LocalRoute(new(DelRoute, 0), range);

    public static Link? ParseLink(NetlinkFrame frame)
    {
        if (frame.Type != NewLink)
        {
            return null;
        }

        var attributes = NetlinkReader.Attributes(frame, 16).ToArray();
        string? name = null, kind = null, alias = null;
        var mtu = 0;
        foreach (var attribute in attributes)
        {
            switch (attribute.Type)
            {
                case LinkName: name = attribute.Text(); break;
                case LinkMtu: mtu = attribute.Read<int>(); break;
                case LinkAlias: alias = attribute.Text(); break;
                case LinkInfo:
                    kind = NetlinkReader.Attributes(attribute.Value).Where(a => a.Type == InfoKind).Select(a => a.Text())
                        .FirstOrDefault();
                    break;
            }
        }

        var body = frame.Payload.Span;
        return name is null ? null
            : new(NetlinkReader.Read<int>(body, 4), name, kind, alias, mtu,
                (NetlinkReader.Read<int>(body, 8) & InterfaceUp) != 0);
    }

    /// <summary>Index of the interface, and the address with its range's length.</summary>
    public static (int Index, IPNetwork Address)? ParseAddress(NetlinkFrame frame)
    {
        if (frame.Type != NewAddress)
        {
            return null;
        }

        // A point-to-point interface has its own address in LOCAL and the far one in ADDRESS; IPv6 has only ADDRESS.
        var attributes = NetlinkReader.Attributes(frame, 8).Where(a => a.Type is AddressAddress or AddressLocal).ToArray();
        var body = frame.Payload.Span;
        return attributes.Length == 0 ? null
            : Range(attributes.MaxBy(a => a.Type).Value.Span, body[1]) is { } range ? (NetlinkReader.Read<int>(body, 4), range)
                : null;
    }

    public static Route? ParseRoute(NetlinkFrame frame)
    {
        if (frame.Type != NewRoute)
        {
            return null;
        }

        var body = frame.Payload;
        IPNetwork? destination = null;
        var (index, mtu, segment) = (0, 0, 0);
        foreach (var attribute in NetlinkReader.Attributes(frame, 12))
        {
            switch (attribute.Type)
            {
                case RouteDestination: destination = Range(attribute.Value.Span, body.Span[1]); break;
                case RouteInterface: index = attribute.Read<int>(); break;
                case RouteMetrics:
                    foreach (var metric in NetlinkReader.Attributes(attribute.Value))
                    {
                        mtu = metric.Type == MetricMtu ? metric.Read<int>() : mtu;
                        segment = metric.Type == MetricSegmentSize ? metric.Read<int>() : segment;
                    }

                    break;
            }
        }

        return destination is { } range ? new(range, index, body.Span[5], body.Span[4], body.Span[7], mtu, segment) : null;
    }

    private static NetlinkMessage OneAddress(NetlinkMessage message, int index, IPNetwork range)
    {
        var bytes = range.BaseAddress.GetAddressBytes();
        return message.Body(AddressBody(Family(range.BaseAddress.AddressFamily), (byte)range.PrefixLength, 0, index))
            .Attribute(AddressLocal, bytes).Attribute(AddressAddress, bytes);
    }

    private static NetlinkMessage PeerRoute(NetlinkMessage message, int index, IPNetwork range) =>
        OneRoute(message, index, range, TableMain,
            range.BaseAddress.AddressFamily == AddressFamily.InterNetwork ? ScopeLink : ScopeUniverse,
            TypeUnicast);

    private static NetlinkMessage LocalRoute(NetlinkMessage message, IPNetwork range) =>
        OneRoute(message, LoopbackIndex, range, TableLocal,
            range.BaseAddress.AddressFamily == AddressFamily.InterNetwork ? ScopeHost : ScopeUniverse, TypeLocal);

    private static NetlinkMessage OneRoute(NetlinkMessage message, int index, IPNetwork range, byte table, byte scope,
        byte type) =>
        message.Body([(byte)Family(range.BaseAddress.AddressFamily), (byte)range.PrefixLength, 0, 0,
                table, FabricProtocol, scope, type, 0, 0, 0, 0])
            .Attribute(RouteDestination, range.BaseAddress.GetAddressBytes())
            .Attribute(RouteTable, (uint)table)
            .Attribute(RouteInterface, index);

    private static byte[] LinkBody(int index, int flags, int change)
    {
        var body = new byte[16];
        MemoryMarshal.Write(body.AsSpan(4), index);
        MemoryMarshal.Write(body.AsSpan(8), flags);
        MemoryMarshal.Write(body.AsSpan(12), change);
        return body;
    }

    private static byte[] AddressBody(ushort family, byte length, byte flags, int index)
    {
        byte[] body = [(byte)family, length, flags, ScopeUniverse, 0, 0, 0, 0];
        MemoryMarshal.Write(body.AsSpan(4), index);
        return body;
    }

    /// <summary>Linux: AF_INET 2, AF_INET6 10; .NET's own numbers are those of Windows.</summary>
    internal static ushort Family(AddressFamily family) => (ushort)(family == AddressFamily.InterNetwork ? 2 : 10);

    internal static IPNetwork HostRange(IPAddress address) =>
        new(address, address.AddressFamily == AddressFamily.InterNetwork ? 32 : 128);

    /// <summary>Null when the bytes are no address, or the length is not of it.</summary>
    internal static IPNetwork? Range(ReadOnlySpan<byte> address, int length)
    {
        if (address.Length is not (4 or 16) || length > address.Length * 8)
        {
            return null;
        }

        // Host bits of an interface address (fd00::1/64) are not part of a range; a /128 is what Fabric sets.
        var bytes = address.ToArray();
        for (var bit = length; bit < bytes.Length * 8; bit++)
        {
            bytes[bit / 8] &= (byte)~(0x80 >> (bit % 8));
        }

        return new IPNetwork(new IPAddress(bytes), length);
    }
}
