using System.Collections.Immutable;
using Fabric.Topology.Model;

namespace Fabric.Gateway.Lan;

/// <summary>
/// What was found on the local networks goes into the topology that the gateway runs, as endpoints of the exports that ask for it. Then all
/// follows that follows endpoints: checks, the catalog, the choice of one, status.
/// </summary>
internal static class LanEndpoints
{
    /// <summary>Types that exports of the site ask for, each once.</summary>
    public static ImmutableArray<string> Types(FabricTopology topology, string site) =>
        [.. Exports(topology, site).Select(e => e.Lan.Type).Distinct(StringComparer.Ordinal).Order(StringComparer.Ordinal)];

    /// <summary>Endpoints for each service that has some: one for each instance, at the first of its addresses.</summary>
    public static ImmutableSortedDictionary<string, ImmutableArray<ServiceEndpoint>> Of(FabricTopology topology, string site, IReadOnlyCollection<LanService> found)
    {
        var endpoints = ImmutableSortedDictionary.CreateBuilder<string, ImmutableArray<ServiceEndpoint>>(StringComparer.Ordinal);
        foreach (var (service, export, lan) in Exports(topology, site))
        {
            // What is declared already stays one endpoint.
            var others = found.Where(f => f.Type == lan.Type).Select(f => new ServiceEndpoint(f.Addresses[0], f.Port, lan.ServicePort))
                .Distinct().Except(export.Endpoints).OrderBy(e => e.Address.ToString(), StringComparer.Ordinal).ThenBy(e => e.Port).ToImmutableArray();
            if (!others.IsEmpty)
            {
                endpoints[service.FullName] = others;
            }
        }

        return endpoints.ToImmutable();
    }

    /// <summary>The topology with these endpoints in the site's exports.</summary>
    public static FabricTopology With(this FabricTopology topology, string site, ImmutableSortedDictionary<string, ImmutableArray<ServiceEndpoint>> endpoints) =>
        endpoints.IsEmpty ? topology : topology with
        {
            Services =
            [
                .. topology.Services.Select(s => !endpoints.TryGetValue(s.FullName, out var more) ? s : s with
                {
                    Exports = [.. s.Exports.Select(e => e.Site == site ? e with { Endpoints = e.Endpoints.AddRange(more) } : e)],
                }),
            ],
        };

    /// <summary>Whether they are the same.</summary>
    public static bool Same(
        ImmutableSortedDictionary<string, ImmutableArray<ServiceEndpoint>> a, ImmutableSortedDictionary<string, ImmutableArray<ServiceEndpoint>> b) =>
        a.Count == b.Count && a.Zip(b).All(p => p.First.Key == p.Second.Key && p.First.Value.SequenceEqual(p.Second.Value));

    private static IEnumerable<(Service Service, ServiceExport Export, LanExport Lan)> Exports(FabricTopology topology, string site) =>
        from service in topology.Services
        from export in service.Exports
        where export.Site == site && export.Lan is not null
        select (service, export, export.Lan!);
}
