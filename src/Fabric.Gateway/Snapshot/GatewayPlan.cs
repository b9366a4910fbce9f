using System.Collections.Immutable;
using System.Net;
using Fabric.Gateway.Probing;
using Fabric.Overlay;
using Fabric.Topology;
using Fabric.Topology.Model;
using Fabric.Tunnel;

namespace Fabric.Gateway.Snapshot;

/// <summary>What one topology asks of this gateway: its lanes, listeners and probes. Pure.</summary>
internal sealed class GatewayPlan
{
    public GatewayPlan(FabricTopology topology, SiteGateway self, IReadOnlyDictionary<string, IPAddress> addresses)
    {
        var gateways = topology.Sites.SelectMany(s => s.Gateways).ToDictionary(g => g.Name, StringComparer.Ordinal);
        var lanes = ImmutableArray.CreateBuilder<LanePlan>();
        var probes = ImmutableArray.CreateBuilder<ProbeTarget>();
        foreach (var link in topology.Links.Where(l => l.Touches(self.Name)))
        {
            var peer = gateways[link.PeerOf(self.Name).Gateway];
            var (local, remote, mtu) = Addresses(topology, link, self.Name);
            var port = remote is null ? null : new IPEndPoint(remote, peer.Port);
            var dials = Dials(link, self.Name);
            lanes.Add(new LanePlan(peer.Name, link.Name, dials ? port : null)
            {
                Knock = dials ? null : port,
                MaxSegment = link.Kind == LinkKind.Vpn ? OverlayMtu.SegmentSize(mtu, remote!.AddressFamily) : 0,
            });
            probes.Add(new ProbeTarget(peer.Name, link.Name, local, port, mtu) { Capacity = link.Capacity });
        }

        Relays = RelaysOf(topology, self);
        Tunnel = new TunnelPlan
        {
            Sites = gateways.ToImmutableDictionary(g => g.Key, g => g.Value.Site, StringComparer.Ordinal),
            Relays = Relays.Where(r => !DialsThroughRelay(self.Name, r.Key)).ToImmutableDictionary(),
            Listen = [.. self.Listen.Select(a => new IPEndPoint(a, self.Port))],
            Lanes = lanes.ToImmutable(),
            Services =
            [
                .. topology.Services.SelectMany(ServicePlace.Of).Where(p => addresses.ContainsKey(p.Key))
                    .SelectMany(p => p.Ports.SelectMany(x => Listeners(p, x, addresses[p.Key]))),
            ],
        };
        Probes = probes.ToImmutable();
        Peers = lanes.Select(l => l.Peer).Concat(Relays.Keys).ToImmutableHashSet(StringComparer.Ordinal);
        RemotePeers = Peers.Where(p => gateways[p].Site != self.Site).ToImmutableHashSet(StringComparer.Ordinal);
    }

    public TunnelPlan Tunnel { get; }
    public ImmutableArray<ProbeTarget> Probes { get; }

    /// <summary>Gateways that some link reaches, or a relay.</summary>
    public ImmutableHashSet<string> Peers { get; }

    /// <summary>Those of other sites: they export what this site does not know.</summary>
    public ImmutableHashSet<string> RemotePeers { get; }

    /// <summary>Gateways that may carry lanes to one of another site: those with a link to both, whose site relays. By that one's name.</summary>
    public ImmutableDictionary<string, ImmutableHashSet<string>> Relays { get; }

    /// <summary>Of two gateways, the one whose name sorts first chooses the relay and dials: one lane, and not two.</summary>
    public static bool DialsThroughRelay(string self, string peer) => string.CompareOrdinal(self, peer) < 0;

    private static ImmutableDictionary<string, ImmutableHashSet<string>> RelaysOf(FabricTopology topology, SiteGateway self)
    {
        var linked = topology.Links.SelectMany(l => new[] { (l.A.Gateway, l.B), (l.B.Gateway, l.A) })
            .ToLookup(l => l.Gateway, l => l.Item2.Gateway, StringComparer.Ordinal);
        var relays = topology.Sites.Where(s => s.Relay).SelectMany(s => s.Gateways).Select(g => g.Name)
            .Where(r => linked[r].Contains(self.Name, StringComparer.Ordinal)).ToImmutableHashSet(StringComparer.Ordinal);
        return topology.Sites.Where(s => s.Name != self.Site).SelectMany(s => s.Gateways).Select(g => g.Name)
            .Select(peer => KeyValuePair.Create(peer, relays.Intersect(linked[peer]).Remove(peer)))
            .Where(r => !r.Value.IsEmpty).ToImmutableDictionary(StringComparer.Ordinal);
    }

    private static IEnumerable<ServiceListener> Listeners(ServicePlace place, ServicePort port, IPAddress address)
    {
        var listener = new ServiceListener(place.Service.FullName, port.Port, new IPEndPoint(address, port.Port)) { Place = place.Key, Host = place.Host };
        if (port.CarriesStreams)
        {
            yield return port.Tls != PortTls.Svid ? listener : listener with
            {
                AsksCertificate = true,

                // The endpoint gets what was inside as it is: h2 only where the topology says that it speaks it.
                Protocols = port is { Alpn.IsEmpty: true, Protocol: ServiceProtocol.Http } ? "http/1.1" : string.Join(' ', port.Alpn),
            };
        }

        if (port.CarriesDatagrams)
        {
            yield return listener with { Datagrams = true, FlowIdle = place.Service.FlowIdle };
        }
    }

    /// <summary>
    /// Whether this end dials the lane. On a vpn link both ends could; on an interconnect, the end that can be reached waits.
    /// Where both can, the one whose name sorts first dials, so that there is one lane and not two.
    /// </summary>
    private static bool Dials(Link link, string self)
    {
        var (here, there) = (link.EndOf(self), link.PeerOf(self));
        var both = link.Kind == LinkKind.Vpn || here.Address is not null && there.Address is not null;
        return both ? string.CompareOrdinal(self, there.Gateway) < 0 : there.Address is not null;
    }

    private static (IPAddress? Local, IPAddress? Remote, int Mtu) Addresses(FabricTopology topology, Link link, string self)
    {
        var (here, there) = (link.EndOf(self), link.PeerOf(self));
        return link.Kind == LinkKind.Interconnect
            ? (here.Address, there.Address, link.Mtu)
            : (OverlayAddresses.Of(topology.TrustDomain, link.Name, self),
                OverlayAddresses.Of(topology.TrustDomain, link.Name, there.Gateway),
                OverlayMtu.For(link.Mtu, link.A.Address ?? link.B.Address));
    }
}
