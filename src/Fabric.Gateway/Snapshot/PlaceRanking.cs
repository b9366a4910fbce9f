using System.Collections.Immutable;
using Fabric.Gateway.Catalog;
using Fabric.Gateway.Egress;
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

        var sites = service.Exports.ToDictionary(e => e.Site, e => question.Gateways.Where(g => g.Site == e.Site).ToImmutableArray(), StringComparer.Ordinal);
        foreach (var place in ServicePlace.Of(service).Where(p => p.Site is not null && p.Ports.Any(x => x.Port == question.Port)))
        {
            var gateways = sites[place.Site!];
            var key = (place.Key, question.Port);
            choices[key] = SiteChoice.Rank(question with
            {
                Exports = [place.Site!],
                Local = place.Site != question.LocalSite ? null : place.Host is null ? question.Local : Health(local, place.Host),
                Gateways = place.Host is null ? gateways : [.. gateways.Select(g => g with
                {
                    Health = Health(catalogs.Of(g.Gateway)?.Services.GetValueOrDefault(service.FullName), place.Host, question.Port),
                })],
                Before = before?.Choices.GetValueOrDefault(key),
            });
        }
    }

    private static PortHealth? Health(ImmutableArray<EndpointState> local, string host) =>
        local.FirstOrDefault(e => e.Endpoint.Host == host) is { } state ? new PortHealth(1, state.Healthy ? 1 : 0) : null;

    private static PortHealth? Health(Protocol.Proto.ExportedService? exported, string host, int port) =>
        exported?.Hosts.FirstOrDefault(h => h.Host == host) is { } told && told.Ports.Contains((uint)port)
            ? new PortHealth(1, told.Healthy.Contains((uint)port) ? 1 : 0) : null;
}
