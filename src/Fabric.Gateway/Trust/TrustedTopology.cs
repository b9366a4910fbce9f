using Fabric.Identity.Trust;
using Fabric.Topology.Model;

namespace Fabric.Gateway.Trust;

/// <summary>
/// The topology that a gateway runs: the declared one without whom the mesh evicted. Lanes, relays, WireGuard peers, routes, names and
/// probes follow the topology, so what is not in it is let go of by the way that everything takes that was taken out of it.
/// </summary>
internal static class TrustedTopology
{
    /// <summary>
    /// Evicted gateways go, and their links; sites that were evicted, or have no gateway left, with their exports and workloads; and services that nobody
    /// exports any more. The own gateway stays, and its links: when it is the evicted one, the others refuse it, and where they let it in again it
    /// has to be there to hear of it.
    /// </summary>
    /// <param name="topology">As declared.</param>
    /// <param name="trust">Null: nobody is out.</param>
    /// <param name="self">This gateway.</param>
    public static FabricTopology Without(this FabricTopology topology, TrustDocument? trust, string self)
    {
        if (trust is null || trust.Evicted.IsEmpty)
        {
            return topology;
        }

        bool Stays(SiteGateway gateway) => gateway.Name == self || !trust.IsEvicted(gateway.Site, gateway.Name);
        var sites = topology.Sites.Select(s => s with { Gateways = [.. s.Gateways.Where(Stays)] })
            .Where(s => !s.Gateways.IsEmpty).ToList();
        var gateways = sites.SelectMany(s => s.Gateways).Select(g => g.Name).ToHashSet(StringComparer.Ordinal);
        var names = sites.Select(s => s.Name).ToHashSet(StringComparer.Ordinal);
        var services = topology.Services.Select(s => s with { Exports = [.. s.Exports.Where(e => names.Contains(e.Site))] });
        return topology with
        {
            Sites = [.. sites],
            Links = [.. topology.Links.Where(l => gateways.Contains(l.A.Gateway) && gateways.Contains(l.B.Gateway))],
            Services = [.. services.Where(s => !s.Exports.IsEmpty)],
            Workloads = [.. topology.Workloads.Where(w => names.Contains(w.Site))],
        };
    }
}
