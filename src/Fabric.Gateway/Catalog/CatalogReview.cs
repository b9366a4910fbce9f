using System.Collections.Concurrent;
using Fabric.Topology.Model;

namespace Fabric.Gateway.Catalog;

/// <summary>
/// Whether catalogs say what their sites may say. What the topology does not let a site export is never used, whoever says it; here it is told.
/// Gateways take a new topology one after the other, so one that runs another revision gets a minute before it counts as one that lies.
/// </summary>
/// <param name="topology">The one in force; null at the start.</param>
/// <param name="catalogs">What peers said.</param>
/// <param name="claims">Hears of what is not believed.</param>
/// <param name="time">The clock.</param>
internal sealed class CatalogReview(Func<FabricTopology?> topology, ICatalogs catalogs, PeerClaims claims, TimeProvider time)
{
    public static readonly TimeSpan Patience = TimeSpan.FromMinutes(1);

    private readonly ConcurrentDictionary<string, Finding> _findings = new(StringComparer.Ordinal);

    /// <summary>What catalogs say now that they may not, one sentence each.</summary>
    public IEnumerable<string> Problems => _findings.OrderBy(f => f.Key, StringComparer.Ordinal)
        .Where(f => f.Value.SameRevision || time.GetElapsedTime(f.Value.Since) >= Patience)
        .Select(f => $"the catalog of {f.Key} is not believed: {f.Value.What}");

    /// <summary>That peer's catalog, or the topology, is another one.</summary>
    public void Look(string peer)
    {
        if (topology() is not { } now || catalogs.Of(peer) is not { } catalog || Objection(now, peer, catalog) is not { } what)
        {
            _findings.TryRemove(peer, out _);
            return;
        }

        var before = _findings.GetValueOrDefault(peer);
        var same = catalog.TopologyRevision == now.Revision;
        _findings[peer] = new Finding(what, same, before?.Since ?? time.GetTimestamp());
        if (before?.What != what || (same && !before.SameRevision))
        {
            claims.Refuse(peer, PeerClaim.Catalog, what);
        }
    }

    /// <summary>All of them: the topology is another one.</summary>
    public void LookAtAll()
    {
        foreach (var gateway in topology()?.Sites.SelectMany(s => s.Gateways) ?? [])
        {
            Look(gateway.Name);
        }
    }

    /// <summary>One sentence; null when there is nothing to object to.</summary>
    private static string? Objection(FabricTopology now, string peer, PeerCatalog catalog)
    {
        var site = now.FindGateway(peer)?.Site;
        var exported = now.Services.Where(s => s.Exports.Any(e => e.Site == site)).ToDictionary(s => s.FullName, StringComparer.Ordinal);
        var foreign = catalog.Services.Values.Where(s => !exported.TryGetValue(s.Service, out var declared)
            || s.Ports.Any(p => declared.Ports.All(d => d.Port != p.Port))
            || s.Hosts.Any(h => !HasHost(declared, site, h))).Select(s => s.Service).Order(StringComparer.Ordinal).ToList();
        var linked = now.Links.Where(l => l.Touches(peer)).Select(l => l.PeerOf(peer).Gateway).ToHashSet(StringComparer.Ordinal);
        var strangers = catalog.Neighbours.Keys.Where(n => !linked.Contains(n)).Order(StringComparer.Ordinal).ToList();
        string[] parts =
        [
            .. foreign.Count == 0 ? Array.Empty<string>() : [$"the topology does not let site {site} export {Some(foreign)}"],
            .. strangers.Count == 0 ? Array.Empty<string>() : [$"the topology gives it no link with {Some(strangers)}"],
        ];
        return parts.Length == 0 ? null : string.Join("; ", parts)
            + (catalog.TopologyRevision == now.Revision ? "" : $" (it runs topology {catalog.TopologyRevision}, this gateway {now.Revision})");
    }

    private static bool HasHost(Service declared, string? site, Protocol.Proto.ExportedHost host)
    {
        var ports = declared.Exports.Where(e => e.Site == site).SelectMany(e => e.Endpoints).Where(e => e.Host == host.Host)
            .Select(e => (uint)e.ServicePort).ToHashSet();
        return ports.Count > 0 && host.Ports.All(ports.Contains);
    }

    private static string Some(List<string> names) =>
        string.Join(", ", names.Take(3)) + (names.Count > 3 ? $" and {names.Count - 3} more" : "");

    private sealed record Finding(string What, bool SameRevision, long Since);
}
