using System.Net;
using System.Net.Sockets;

namespace Fabric.Overlay.Netlink;

/// <summary>Links, addresses and routes of the network namespace in which it was opened. Not safe for concurrent use.</summary>
internal sealed class Rtnetlink : IDisposable
{
    public const int NoDevice = 19, Exists = 17, NotSupported = 95;
    private const int NoSuchRoute = 3, NoEntry = 2;

    private readonly NetlinkSocket _socket;

    private Rtnetlink(NetlinkSocket socket) => _socket = socket;

    public static Rtnetlink Open(TimeSpan timeout) => new(NetlinkSocket.Open(NetlinkSocket.RouteProtocol, timeout));

    public static string AliasOf(string owner) => $"fabric {owner}";

    public void Dispose() => _socket.Dispose();

    public Link? FindLink(string name)
    {
        try
        {
            return Ask(RtMessages.FindLink(InterfaceName.Check(name)), OverlayStage.Interface, $"find interface {name}")
                .Select(RtMessages.ParseLink).FirstOrDefault(l => l is not null);
        }
        catch (OverlayException e) when (e.Errno == NoDevice)
        {
            return null;
        }
    }

    public IReadOnlyList<Link> GetLinks() => Ask(RtMessages.DumpLinks(), OverlayStage.Interface, "list interfaces")
        .Select(RtMessages.ParseLink).OfType<Link>().ToArray();

    public void AddLink(string name, string kind) =>
        Ask(RtMessages.AddLink(InterfaceName.Check(name), kind), OverlayStage.Interface, $"add interface {name} of kind {kind}");

    /// <summary>Idempotent.</summary>
    public void DeleteLink(int index) =>
        Try(RtMessages.DeleteLink(index), OverlayStage.Interface, $"remove interface {index}", NoDevice);

    public void SetAlias(Link link, string alias) =>
        Ask(RtMessages.SetAlias(link.Index, alias), OverlayStage.Interface, $"set the alias of {link.Name}");

    /// <summary>
    /// Address, MTU, link state and the routes to peers, by difference. Routes and addresses of an interface vanish when it
    /// goes down or is made anew, so that what is there is read each time.
    /// </summary>
    public void Configure(string name, int mtu, IPAddress? address, IReadOnlyCollection<IPNetwork> peers)
    {
        var link = FindLink(name)
            ?? throw new OverlayException(OverlayStage.Interface, $"interface {name} has gone; it is made anew", NoDevice);
        if (link.Mtu != mtu)
        {
            Ask(RtMessages.SetMtu(link.Index, mtu), OverlayStage.Address, $"set the MTU of {name} to {mtu}");
        }

        if (!link.IsUp)
        {
            Ask(RtMessages.SetNoGeneratedAddresses(link.Index), OverlayStage.Address, $"stop generated addresses on {name}");
            Ask(RtMessages.SetUp(link.Index), OverlayStage.Address, $"set {name} up");
        }

        if (address is not null)
        {
            ConfigureAddress(link, address);
        }

        ConfigureRoutes(link, mtu, peers);
    }

    private void ConfigureAddress(Link link, IPAddress address)
    {
        var wanted = RtMessages.HostRange(address);
        var present = Ask(RtMessages.DumpAddresses(link.Index), OverlayStage.Address, $"list addresses of {link.Name}")
            .Select(RtMessages.ParseAddress).Where(a => a?.Index == link.Index).Select(a => a!.Value.Address).ToArray();
        if (!present.Contains(wanted))
        {
            Ask(RtMessages.AddAddress(link.Index, address), OverlayStage.Address, $"add address {address} to {link.Name}");
        }

        // The interface is ours, and so is every host address on it: the rest are of an earlier topology.
        foreach (var other in present.Where(a => a != wanted && a.PrefixLength == a.BaseAddress.GetAddressBytes().Length * 8))
        {
            Try(RtMessages.DeleteAddress(link.Index, other), OverlayStage.Address, $"remove address {other} from {link.Name}",
                99);
        }
    }

    private void ConfigureRoutes(Link link, int mtu, IReadOnlyCollection<IPNetwork> peers)
    {
        var present = GetRoutes(AddressFamily.InterNetworkV6).Concat(GetRoutes(AddressFamily.InterNetwork))
            .Where(r => r.Index == link.Index && r.Protocol == RtMessages.FabricProtocol && r.Table == RtMessages.TableMain)
            .DistinctBy(r => r.Destination).ToDictionary(r => r.Destination);
        foreach (var range in peers)
        {
            var segment = OverlayMtu.SegmentSize(mtu, range.BaseAddress.AddressFamily);
            if (!present.Remove(range, out var route) || route.Mtu != mtu || route.SegmentSize != segment)
            {
                Ask(RtMessages.ReplacePeerRoute(link.Index, range, mtu), OverlayStage.Route, $"add route {range} on {link.Name}");
            }
        }

        foreach (var range in present.Keys)
        {
            Try(RtMessages.DeletePeerRoute(link.Index, range), OverlayStage.Route, $"remove route {range} from {link.Name}",
                NoSuchRoute);
        }
    }

    public IEnumerable<Route> GetRoutes(AddressFamily family) =>
        Ask(RtMessages.DumpRoutes(family), OverlayStage.Route, "list routes").Select(RtMessages.ParseRoute).OfType<Route>();

    /// <summary>True when it was not there.</summary>
    public bool AddLocalRoute(IPNetwork range) => !IsLoopback(range)
        && Try(RtMessages.AddLocalRoute(range), OverlayStage.Route, $"make {range} local", Exists);

    /// <summary>True when it was there.</summary>
    public bool RemoveLocalRoute(IPNetwork range) => !IsLoopback(range)
        && Try(RtMessages.DeleteLocalRoute(range), OverlayStage.Route, $"make {range} not local", NoSuchRoute, NoEntry);

    private static bool IsLoopback(IPNetwork range) =>
        range.BaseAddress.AddressFamily == AddressFamily.InterNetwork && range.BaseAddress.GetAddressBytes()[0] == 127
        && range.PrefixLength >= 8;

    private List<NetlinkFrame> Ask(NetlinkMessage message, OverlayStage stage, string what) =>
        _socket.Request(message, stage, what);

    /// <summary>False when the kernel answers with one of the errors that mean: it is so already.</summary>
    private bool Try(NetlinkMessage message, OverlayStage stage, string what, params int[] accepted)
    {
        try
        {
            Ask(message, stage, what);
            return true;
        }
        catch (OverlayException e) when (accepted.Contains(e.Errno))
        {
            return false;
        }
    }
}
