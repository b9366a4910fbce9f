using Fabric.Drills.Definition;
using Fabric.Topology.Model;

namespace Fabric.Drills.Guards;

/// <summary>What several faults take away while all of them are in force. A link with any fault counts as none to rely on.</summary>
public sealed class Damage
{
    private readonly HashSet<(string Site, string Service)> _exports = [];
    private readonly HashSet<(string Gateway, string Service)> _names = [];
    private readonly HashSet<Link> _links = [];
    private readonly HashSet<string> _gateways = [];
    private readonly HashSet<string> _isolated = [];

    private Damage(IEnumerable<Target> targets)
    {
        foreach (var target in targets)
        {
            _links.UnionWith(target.Links);
            switch (target.Action.Kind)
            {
                case "gateway-kill" or "gateway-pause":
                    _gateways.Add(target.Gateway);
                    break;
                case "site-isolate":
                    _isolated.Add(target.Site);
                    break;
                case "service-down":
                    _exports.Add((target.Site, target.Action.Service));
                    break;
                case "dns-withdraw":
                    _names.Add((target.Gateway, target.Action.Service));
                    break;
            }
        }
    }

    public IReadOnlyCollection<Link> Links => _links;

    public bool Has(Link link) => _links.Contains(link);

    public bool Has(string gateway) => _gateways.Contains(gateway);

    public bool Isolates(string site) => _isolated.Contains(site);

    public bool Has(Site site, Service service) => _exports.Contains((site.Name, service.FullName));

    /// <summary>No gateway of the site answers for the name.</summary>
    public bool HidesName(Site site, Service service) => site.Gateways.All(g => _names.Contains((g.Name, service.FullName)) || Has(g.Name))
        && site.Gateways.Any(g => _names.Contains((g.Name, service.FullName)));

    public static Damage Of(IEnumerable<Target> targets) => new(targets);

    /// <summary>One for each moment at which something more breaks: when an action begins, with those that are in force then.</summary>
    public static IReadOnlyList<(TimeSpan At, Damage Damage)> Moments(IReadOnlyCollection<Target> targets) =>
    [
        .. targets.Select(t => t.Action.Start).Distinct().Order().Select(at =>
            (at, new Damage(targets.Where(t => t.Action.Start <= at && at < t.Action.Start + t.Action.Duration)))),
    ];
}
