using System.Globalization;
using System.Net;
using System.Net.Sockets;
using Fabric.Gateway.Snapshot;
using Fabric.Protocol.Grpc;
using Fabric.Topology;
using Fabric.Topology.Model;

namespace Fabric.Gateway.Faults;

/// <summary>
/// The packets of one link, in the words of nft: those that carry it, by the addresses and ports under it. Of a vpn link these are WireGuard's
/// own; where the peer's address is not known (it dials, from behind NAT), those inside it.
/// </summary>
/// <param name="Arriving">Expressions, each of which matches some of the packets that the peer sends.</param>
/// <param name="Leaving">The same for what this gateway sends.</param>
/// <param name="Inner">Of a vpn link, what is inside: so that a refusal is heard at once.</param>
/// <param name="Towards">An address on the way: it tells the network device.</param>
internal sealed record LinkMatch(IReadOnlyList<string> Arriving, IReadOnlyList<string> Leaving, (string Arriving, string Leaving)? Inner, IPAddress Towards)
{
    /// <summary>Throws FAILED_PRECONDITION for a link that rules cannot tell from others.</summary>
    public static LinkMatch Of(FabricSnapshot now, Link link)
    {
        var (here, there) = (link.EndOf(now.Self.Name), link.PeerOf(now.Self.Name));
        if (IsLoopback(here) || IsLoopback(there))
        {
            throw Cannot(link, "its addresses are loopback's, where rules would hit the other gateways of this machine");
        }

        return link.Kind == LinkKind.Vpn ? Vpn(now, link, here, there) : Interconnect(now, link, here, there);
    }

    private static LinkMatch Vpn(FabricSnapshot now, Link link, LinkEnd here, LinkEnd there)
    {
        var overlay = OverlayAddresses.Of(now.Topology.TrustDomain, link.Name, there.Gateway);
        var inner = (Address("saddr", overlay), Address("daddr", overlay));
        return there.Address is { } peer
            ? new LinkMatch([$"{Address("saddr", peer)} udp dport {Number(here.WireGuardPort)}"], [$"{Address("daddr", peer)} udp dport {Number(there.WireGuardPort)}"], inner, peer)
            : new LinkMatch([inner.Item1], [inner.Item2], null, overlay);
    }

    private static LinkMatch Interconnect(FabricSnapshot now, Link link, LinkEnd here, LinkEnd there)
    {
        var (own, theirs) = (now.Self.Port, now.Topology.FindGateway(there.Gateway)!.Port);
        if (there.Address is not { } peer)
        {
            throw Cannot(link, $"{there.Gateway} has no address on it: rules cannot tell it from other callers");
        }

        // Two links may end at one address of the peer: then the own one tells them apart.
        var shared = now.Topology.Links.Any(l => l != link && l.Kind == LinkKind.Interconnect && l.Touches(now.Self.Name) && peer.Equals(l.PeerOf(now.Self.Name).Address));
        if (shared && here.Address is null)
        {
            throw Cannot(link, "another link has the same address of the peer");
        }

        string From(string word, IPAddress address) => $"meta l4proto {{ tcp, udp }} {Address(word, address)}";
        var arriving = From("saddr", peer) + (shared ? $" {Address("daddr", here.Address!)}" : "");
        var leaving = From("daddr", peer) + (shared ? $" {Address("saddr", here.Address!)}" : "");
        return new LinkMatch(
            [$"{arriving} th sport {Number(theirs)}", $"{arriving} th dport {Number(own)}"],
            [$"{leaving} th dport {Number(theirs)}", $"{leaving} th sport {Number(own)}"], null, peer);
    }

    private static bool IsLoopback(LinkEnd end) => end.Address is { } address && IPAddress.IsLoopback(address);

    private static string Address(string word, IPAddress address) => $"{(address.AddressFamily == AddressFamily.InterNetwork ? "ip" : "ip6")} {word} {address}";

    private static string Number(int port) => port.ToString(CultureInfo.InvariantCulture);

    private static GrpcException Cannot(Link link, string why) => new(GrpcStatus.FailedPrecondition, $"link {link.Name} ({link.A.Gateway}, {link.B.Gateway}): {why}");
}
