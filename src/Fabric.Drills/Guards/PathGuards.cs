using Fabric.Drills.Definition;
using Fabric.Drills.Reports;
using Fabric.Topology.Model;

namespace Fabric.Drills.Guards;

/// <summary>Guards about who still reaches what.</summary>
internal static class PathGuards
{
    /// <summary>
    /// Every service keeps its paths from every site that may call it. A site that is cut off on purpose is not asked: to lose its paths is what was declared.
    /// </summary>
    public static DrillGuardVerdict Paths(DrillDefinition drill, FabricView view, IReadOnlyList<(TimeSpan At, Damage Damage)> moments)
    {
        var (against, fewest, asked) = (new List<string>(), int.MaxValue, new List<string>());
        foreach (var service in view.Topology.Services)
        {
            var needed = drill.Guards.PathsOfServices.GetValueOrDefault(service.FullName, drill.Guards.MinHealthyPaths);
            foreach (var site in ServicePaths.Users(view.Topology, service))
            {
                var worst = moments.Where(m => !m.Damage.Isolates(site.Name))
                    .Select(m => ServicePaths.Healthy(view, m.Damage, site, service)).MinBy(p => p.Count);
                if (worst is null)
                {
                    continue;
                }

                if (worst.Count < needed)
                {
                    against.Add($"{service.FullName} would have {Count(worst)} from {site.Name}, and needs {needed}"
                        + (worst.Count > 0 ? $": {string.Join(", ", worst)}" : ""));
                }

                fewest = Math.Min(fewest, worst.Count);
                asked.Add($"{service.FullName} from {site.Name} {Count(worst)}");
            }
        }

        return DrillGuard.Verdict("paths", against, asked.Count == 0 ? "no service is called from a site that stays connected"
            : asked.Count <= 6 ? string.Join("; ", asked) : $"at least {fewest} for each of {asked.Count} pairs of service and site");
    }

    /// <summary>No target may export a protected service, or be what carries it: the link in use where that is seen, any link that could be elsewhere.</summary>
    public static DrillGuardVerdict Protected(DrillDefinition drill, FabricView view, IReadOnlyCollection<Target> targets)
    {
        var against = new List<string>();
        foreach (var service in view.Topology.Services.Where(s => drill.Guards.ProtectedServices.Contains(s.FullName)))
        {
            foreach (var target in targets)
            {
                if (Touches(view, target, service) is { } how)
                {
                    against.Add($"{target} touches {service.FullName}, which is protected: {how}");
                }
            }
        }

        return DrillGuard.Verdict("protected", against, drill.Guards.ProtectedServices.Count == 0 ? "no service is protected"
            : $"nothing touches {string.Join(", ", drill.Guards.ProtectedServices)}");
    }

    private static string? Touches(FabricView view, Target target, Service service)
    {
        var exports = service.Exports.Any(e => e.Site == target.Site);
        if (target.Action.Service == service.FullName)
        {
            return "it is the target itself";
        }

        if (target.Action.Service.Length == 0 && target.Action.Link.Length == 0 && exports)
        {
            return $"{target.Site} exports it";
        }

        foreach (var user in ServicePaths.Users(view.Topology, service))
        {
            if (user.Name == target.Site && target.Action.Kind is not ("service-down" or "dns-withdraw" or "source-gone") && target.Action.Link.Length == 0)
            {
                return $"{user.Name} may call it";
            }

            var carriers = user.Name == view.Status.Site ? InUse(view, service) : Possible(view, user, service);
            if (target.Links.FirstOrDefault(carriers.Contains) is { } link)
            {
                return $"link {link.Name} ({link.A.Gateway}, {link.B.Gateway}) {(user.Name == view.Status.Site ? "carries" : "may carry")} it from {user.Name}";
            }
        }

        return null;
    }

    /// <summary>Links that calls of the own site take now: to the gateways of the chosen site, and of a relay both legs.</summary>
    private static HashSet<Link> InUse(FabricView view, Service service)
    {
        var chosen = view.Status.Services.FirstOrDefault(s => s.Name == service.FullName)?.ChosenSite;
        var links = new HashSet<Link>();
        foreach (var peer in view.Status.Sites.Where(s => s.Name == chosen && !s.Local).SelectMany(s => s.Gateways))
        {
            links.UnionWith(peer.ActiveLink.StartsWith("via:", StringComparison.Ordinal)
                ? view.Topology.Links.Where(l => l.Touches(peer.ActiveLink[4..]) && (l.Touches(peer.Name) || l.Touches(view.Status.Gateway)))
                : view.Topology.Links.Where(l => l.Name == peer.ActiveLink && l.Touches(peer.Name) && l.Touches(view.Status.Gateway)));
        }

        return links;
    }

    private static HashSet<Link> Possible(FabricView view, Site user, Service service) => [.. view.Topology.Links.Where(l =>
        user.Gateways.Any(g => l.Touches(g.Name)) && service.Exports.Any(e => e.Site != user.Name && (e.Site == view.SiteOf(l.A.Gateway) || e.Site == view.SiteOf(l.B.Gateway))))];

    private static string Count(IReadOnlyCollection<string> paths) => paths.Count switch { 0 => "no path", 1 => "1 path", var n => $"{n} paths" };
}
