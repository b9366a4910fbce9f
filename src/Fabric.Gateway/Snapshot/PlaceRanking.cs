using System.Collections.Immutable;
using Fabric.Gateway.Catalog;
using Fabric.Gateway.Egress;
using Fabric.Protocol.Proto;
using Fabric.Routing.Sites;
using Fabric.Topology.Model;

namespace Fabric.Gateway.Snapshot;

/// <summary>
/// Where connections go that are to go to one site, or to one host there: as those of the service, by the same question, asked of that site alone. What
/// is true of a service is true of them: the way, the age of what is known, and how long a connection may wait for what was just lost.
/// </summary>
internal static class PlaceRanking
{
    /// <summary>Adds the choices of a service's sites and hosts for one port.</summary>
    /// <param name="choices">By the key of the place, and port.</param>
    /// <param name="service">The service.</param>
    /// <param name="question">What was asked for the service as a whole.</param>
    /// <param name="local">Its endpoints in the own site.</param>
    /// <param name="catalogs">What the other sites say of their hosts.</param>
    /// <param name="before">The last snapshot.</param>
    public static void Add(
        ImmutableDictionary<(string Service, int Port), SiteChoice>.Builder choices, Service service, SiteQuestion question,
        ImmutableArray<EndpointState> local, ICatalogs catalogs, FabricSnapshot? before)
    {
        if (!service.Headless && !service.SiteNames)
        {
            return;
        }

        var states = local.Where(e => e.Endpoint.Host is not null).DistinctBy(e => e.Endpoint.Host)
            .ToDictionary(e => e.Endpoint.Host!, StringComparer.Ordinal);
        var told = question.Gateways.ToDictionary(g => g.Gateway, g => Hosts(catalogs.Of(g.Gateway), service.FullName), StringComparer.Ordinal);
        var sites = service.Exports.ToDictionary(e => e.Site, e => question.Gateways.Where(g => g.Site == e.Site).ToImmutableArray(), StringComparer.Ordinal);
        foreach (var place in ServicePlace.Of(service).Where(p => p.Site is not null && p.Ports.Any(x => x.Port == question.Port)))
        {
            var gateways = sites[place.Site!];
            var key = (place.Key, question.Port);
            choices[key] = SiteChoice.Rank(question with
            {
                Exports = [place.Site!],
                Local = place.Site != question.LocalSite ? null : place.Host is null ? question.Local : Health(states.GetValueOrDefault(place.Host)),
                Gateways = place.Host is null ? gateways : [.. gateways.Select(g => g with
                {
                    Health = Health(told[g.Gateway].GetValueOrDefault(place.Host), question.Port),
                })],
                Before = before?.Choices.GetValueOrDefault(key),
            });
        }
    }

    private static Dictionary<string, ExportedHost> Hosts(PeerCatalog? catalog, string service) =>
        catalog?.Services.GetValueOrDefault(service)?.Hosts.ToDictionary(h => h.Host, StringComparer.Ordinal) ?? [];

    private static PortHealth? Health(EndpointState? state) => state is null ? null : new PortHealth(1, state.Healthy ? 1 : 0);

    private static PortHealth? Health(ExportedHost? told, int port) =>
        told is null || !told.Ports.Contains((uint)port) ? null : new PortHealth(1, told.Healthy.Contains((uint)port) ? 1 : 0);
}
