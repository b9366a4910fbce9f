using System.Collections.Immutable;
using System.Net;
using Fabric.Overlay.Keys;
using Fabric.Topology;
using Fabric.Topology.Model;

namespace Fabric.Overlay;

/// <summary>What the overlay of one gateway should be: one interface per name of a vpn link.</summary>
public sealed record OverlayPlan(ImmutableArray<OverlayInterface> Interfaces)
{
    public static OverlayPlan Empty { get; } = new([]);

    /// <summary>NATs forget idle flows after 30 s at the earliest; WireGuard's own advice is 25 s.</summary>
    private static readonly TimeSpan _natKeepalive = TimeSpan.FromSeconds(25);

    /// <summary>
    /// The vpn links that touch <paramref name="gateway"/>, as interfaces with the gateways at their other ends as peers. A peer
    /// whose key is neither in <paramref name="peerKeys"/> nor pinned in the topology is left out until it is known; a pinned key
    /// wins. Throws <see cref="OverlayException"/> when two links give the same interface name.
    /// </summary>
    /// <param name="topology">The accepted topology.</param>
    /// <param name="gateway">This gateway's name.</param>
    /// <param name="key">This gateway's key, the same on all of its interfaces.</param>
    /// <param name="peerKeys">Keys introduced over mutual TLS, by name of gateway.</param>
    /// <param name="options">Owner and prefix.</param>
    public static OverlayPlan For(FabricTopology topology, string gateway, WireGuardKey key,
        IReadOnlyDictionary<string, WireGuardPublicKey> peerKeys, OverlayOptions options)
    {
        var pinned = topology.Sites.SelectMany(s => s.Gateways).Where(g => g.WireGuardKey is not null)
            .ToDictionary(g => g.Name, g => WireGuardPublicKey.FromBytes(g.WireGuardKey!.Value.AsSpan()), StringComparer.Ordinal);
        var interfaces = ImmutableArray.CreateBuilder<OverlayInterface>();
        var mine = topology.Links.Where(l => l.Kind == LinkKind.Vpn && l.Touches(gateway));
        foreach (var links in mine.GroupBy(l => l.Name, StringComparer.Ordinal))
        {
            var peers = ImmutableArray.CreateBuilder<OverlayPeer>();
            foreach (var link in links)
            {
                var (here, there) = (link.EndOf(gateway), link.PeerOf(gateway));
                if (pinned.TryGetValue(there.Gateway, out var peerKey) || peerKeys.TryGetValue(there.Gateway, out peerKey))
                {
                    var address = OverlayAddresses.Of(topology.TrustDomain, link.Name, there.Gateway);
                    var endpoint = there.Address is null ? null : new IPEndPoint(there.Address, there.WireGuardPort);
                    peers.Add(new(there.Gateway, address, new(peerKey, endpoint, [new IPNetwork(address, 128)],
                        here.Address is null ? _natKeepalive : null)));
                }
            }

            var name = InterfaceName.For(options.InterfacePrefix, links.Key);
            if (interfaces.FirstOrDefault(i => i.Interface == name) is { } other)
            {
                throw new OverlayException(OverlayStage.Interface,
                    $"links '{other.Link}' and '{links.Key}' both need interface {name}: rename one of them");
            }

            interfaces.Add(new(links.Key, name, new DeviceConfig
            {
                PrivateKey = key,
                ListenPort = links.First().EndOf(gateway).WireGuardPort,
                Address = OverlayAddresses.Of(topology.TrustDomain, links.Key, gateway),
                Mtu = links.Min(l => OverlayMtu.For(l.Mtu, l.A.Address ?? l.B.Address)),
                Peers = [.. peers.Select(p => p.WireGuard)],
            }, peers.ToImmutable()));
        }

        return new(interfaces.ToImmutable());
    }

    /// <summary>The same, with none of these gateways as a peer.</summary>
    public OverlayPlan Without(IReadOnlySet<string> gateways) => new([.. Interfaces.Select(i =>
    {
        ImmutableArray<OverlayPeer> peers = [.. i.Peers.Where(p => !gateways.Contains(p.Gateway))];
        return i with { Peers = peers, Config = i.Config with { Peers = [.. peers.Select(p => p.WireGuard)] } };
    })]);
}

/// <summary>One interface of the overlay.</summary>
/// <param name="Link">The name of the vpn link.</param>
/// <param name="Interface">The name of the interface.</param>
/// <param name="Config">What it should be.</param>
/// <param name="Peers">The gateways behind the peers of <paramref name="Config"/>.</param>
public sealed record OverlayInterface(string Link, string Interface, DeviceConfig Config, ImmutableArray<OverlayPeer> Peers);

/// <summary>A gateway as a peer: its overlay address, and how WireGuard reaches it.</summary>
public sealed record OverlayPeer(string Gateway, IPAddress Address, WireGuardPeer WireGuard);
