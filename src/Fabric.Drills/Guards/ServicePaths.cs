using Fabric.Topology.Model;

namespace Fabric.Drills.Guards;

/// <summary>
/// Ways from a site to a service, as the topology declares them and the gateway of the drill sees them: own endpoints, each link to a gateway of a site
/// that exports it, and each relay. What that gateway cannot see (links between others) counts as up unless a fault is on it.
/// </summary>
public static class ServicePaths
{
    /// <summary>Sites of which some workload may call it, by policies in force.</summary>
    public static IEnumerable<Site> Users(FabricTopology topology, Service service) => topology.Sites.Where(site => topology.Policies.Any(p =>
        p.Action == PolicyAction.Allow && p.Mode == PolicyMode.Enforce && p.To.Any(to => Covers(to, service)) && p.From.Any(from => Covers(from, site))));

    /// <summary>Names of the ways that are healthy under that damage.</summary>
    public static IReadOnlyList<string> Healthy(FabricView view, Damage damage, Site from, Service service)
    {
        var found = new List<string>();
        if (damage.HidesName(from, service))
        {
            return found;
        }

        foreach (var export in service.Exports.Select(e => view.Topology.Sites.First(s => s.Name == e.Site)).Where(s => Serves(view, damage, s, service)))
        {
            if (export.Name == from.Name)
            {
                found.AddRange(from.Gateways.Where(g => !damage.Has(g.Name)).Take(1).Select(_ => "own endpoints"));
                continue;
            }

            foreach (var (near, far) in from.Gateways.SelectMany(_ => export.Gateways, (near, far) => (near, far)))
            {
                found.AddRange(Between(view, damage, near.Name, far.Name).Select(l => $"{l.Name} to {far.Name}"));
                found.AddRange(Relays(view, damage, near.Name, far.Name).Select(relay => $"by {relay} to {far.Name}"));
            }
        }

        return found;
    }

    /// <summary>Healthy links between two gateways.</summary>
    public static IEnumerable<Link> Between(FabricView view, Damage damage, string a, string b) => damage.Has(a) || damage.Has(b) ? []
        : view.Topology.Links.Where(l => l.Touches(a) && l.Touches(b) && a != b && !damage.Has(l) && IsUp(view, l));

    /// <summary>Gateways of third sites that can carry a lane between the two.</summary>
    public static IEnumerable<string> Relays(FabricView view, Damage damage, string a, string b) => view.Topology.Sites
        .Where(s => s.Relay && s.Name != view.SiteOf(a) && s.Name != view.SiteOf(b)).SelectMany(s => s.Gateways).Select(g => g.Name)
        .Where(r => Between(view, damage, a, r).Any() && Between(view, damage, r, b).Any());

    /// <summary>False only for what the gateway of the drill knows to be down; why stands in its status.</summary>
    public static bool IsUp(FabricView view, Link link)
    {
        var self = view.Status.Gateway;
        return !link.Touches(self) || view.Status.Links.Any(s => s.Name == link.Name && s.Peer == link.PeerOf(self).Gateway
            && s is { State: "up", Lane: "up" or "", Drained: "" });
    }

    internal static bool Serves(FabricView view, Damage damage, Site site, Service service)
    {
        var seen = view.Status.Services.FirstOrDefault(s => s.Name == service.FullName)?.Sites.FirstOrDefault(s => s.Site == site.Name);
        return !damage.Has(site, service) && site.Gateways.Any(g => !damage.Has(g.Name)) && seen is not ({ Healthy: 0, Endpoints: > 0 } or { State: "down" });
    }

    private static bool Covers(string to, Service service) => to == service.FullName || to == $"*.{service.Namespace}";

    private static bool Covers(string from, Site site) => from == "site/*" || from.StartsWith($"site/{site.Name}/", StringComparison.Ordinal);
}
