using System.Collections.Immutable;
using Fabric.Gateway.Dns;
using Fabric.Routing.Sites;
using Fabric.Topology.Model;

namespace Fabric.Gateway.Snapshot;

/// <summary>
/// What DNS says of single sites and hosts (<see cref="ServicePlace"/>), and of headless services: those that can be reached now, the nearest first. For
/// the state loop's thread alone: it remembers in which order sites were told.
/// </summary>
internal sealed class PlaceNames
{
    private FabricTopology? _topology;

    /// <summary>Sites of headless services in the order in which they are told.</summary>
    public ImmutableDictionary<string, ImmutableArray<string>> Orders { get; private set; } = ImmutableDictionary<string, ImmutableArray<string>>.Empty;

    /// <summary>The names of a service's sites and hosts; of a headless service also its own.</summary>
    public IEnumerable<DnsService> Of(
        FabricSnapshot now, Service service, ImmutableDictionary<(string Service, int Port), SiteChoice> choices)
    {
        var places = ServicePlace.Of(service).Where(p => p.Site is not null && now.Addresses.ContainsKey(p.Key))
            .Select(p => Look(p, choices)).ToList();
        foreach (var (place, candidates, why) in places)
        {
            yield return new DnsService(
                service.Name, service.Namespace, now.Addresses[place.Key], place.Host is null ? Ports(service) : [], candidates.Count > 0)
            {
                Site = place.Site,
                Host = place.Host,
                Why = why,
            };
        }

        if (service.Headless)
        {
            Forget(now.Topology);
            var hosts = Hosts(now, service, places);
            foreach (var site in service.Exports.Select(e => e.Site))
            {
                yield return Headless(service, site, [.. hosts.Where(h => h.Site == site)], places);
            }

            yield return Headless(service, null, hosts, places);
        }
    }

    public static ImmutableArray<DnsPort> Ports(Service service) =>
    [
        .. service.Ports.Where(p => p.CarriesStreams).Select(p => new DnsPort(p.Name, p.Port, Tcp: true) { Alpn = p.Alpn }),
        .. service.Ports.Where(p => p.CarriesDatagrams).Select(p => new DnsPort(p.Name, p.Port, Tcp: false)),
    ];

    /// <summary>Why a site is not used. It holds no figure that moves from turn to turn.</summary>
    public static string Why(SiteCandidate site) => site.Healthy > 0 ? $"{site.Site} is out of reach or draining"
        : site.Endpoints > 0 ? $"{site.Site} has no healthy endpoint"
        : $"{site.Site} is not known to have an endpoint";

    private ImmutableArray<DnsHost> Hosts(FabricSnapshot now, Service service, List<Seen> places)
    {
        // Where the ways to its hosts are scored at all, they are scored alike: hosts of a site are behind the same gateways.
        var sites = places.SelectMany(p => p.Candidates.Select(c => c.Candidate)).GroupBy(c => c.Site).Select(g => g.MinBy(c => c.Score)!).ToList();
        var before = Orders.GetValueOrDefault(service.FullName, []);
        var order = SiteOrder.Follow(before, sites);
        Orders = order.SequenceEqual(before) ? Orders : Orders.SetItem(service.FullName, order);
        return
        [
            .. places.Where(p => p.Candidates.Count > 0).OrderBy(p => order.IndexOf(p.Place.Site!)).Select(p => new DnsHost(
                p.Place.Host!, p.Place.Site!, now.Addresses[p.Place.Key], (ushort)order.IndexOf(p.Place.Site!), [.. p.Candidates.Select(c => c.Port)])),
        ];
    }

    /// <summary>Orders of services that are gone.</summary>
    private void Forget(FabricTopology topology)
    {
        if (ReferenceEquals(topology, _topology))
        {
            return;
        }

        _topology = topology;
        var there = topology.Services.Select(s => s.FullName).ToHashSet(StringComparer.Ordinal);
        Orders = Orders.RemoveRange(Orders.Keys.Where(k => !there.Contains(k)));
    }

    private static DnsService Headless(Service service, string? site, ImmutableArray<DnsHost> hosts, List<Seen> places) =>
        new(service.Name, service.Namespace, null, Ports(service), !hosts.IsEmpty)
        {
            Site = site,
            Hosts = hosts,
            Why = !hosts.IsEmpty ? "" : $"no host of {service.FullName} can be reached{(site is null ? "" : $" in {site}")}: "
                + string.Join(", ", places.Where(p => site is null || p.Place.Site == site).Select(p => p.Site).Distinct()),
        };

    private static Seen Look(ServicePlace place, ImmutableDictionary<(string Service, int Port), SiteChoice> choices)
    {
        var asked = place.Ports.Select(p => (p.Port, Candidate: choices[(place.Key, p.Port)].Candidates[0])).ToList();
        var usable = asked.Where(c => c.Candidate.Usable).ToList();
        if (usable.Count > 0)
        {
            return new Seen(place, usable, "") { Site = "" };
        }

        var site = string.Join(", ", asked.Select(c => Why(c.Candidate)).Distinct());
        var what = place.Host is null ? $"only {place.Site} is asked for" : $"host {place.Host} of {place.Service.FullName}";
        return new Seen(place, usable, $"{what}: {site}") { Site = site };
    }

    /// <param name="Candidates">The site, for each port that it can be reached on.</param>
    /// <param name="Why">Empty, or why it can be reached on none.</param>
    private sealed record Seen(ServicePlace Place, List<(int Port, SiteCandidate Candidate)> Candidates, string Why)
    {
        /// <summary>That, of the site alone; empty as well.</summary>
        public required string Site { get; init; }
    }
}
