using System.Collections.Immutable;
using System.Runtime.CompilerServices;

namespace Fabric.Topology.Model;

/// <summary>
/// What has a service address of its own in an importing site: a service, the same at one site, or one host of a headless service.
/// </summary>
/// <param name="Service">The service.</param>
/// <param name="Site">The only site that connections go to; null: whichever is best.</param>
/// <param name="Host">The only host there that they go to; null: any endpoint.</param>
public sealed record ServicePlace(Service Service, string? Site = null, string? Host = null)
{
    /// <summary>Hosts of one headless service, over all sites: its answers fit into one message (65,535 bytes), whatever the names are.</summary>
    public const int MaxHosts = 200;

    /// <summary>Ports of one service.</summary>
    public const int MaxPorts = 100;

    /// <summary>The label above the names of sites: <c>web.shop.paris.site.DOMAIN</c>.</summary>
    public const string SiteLabel = "site";

    private static readonly ConditionalWeakTable<Service, ServicePlace[]> _known = new();

    /// <summary>The key that it goes by: <c>web.shop</c>, <c>web.shop/paris</c> or <c>db.shop/paris/db-0</c>.</summary>
    public string Key { get; } = Site is null ? Service.FullName : Host is null ? $"{Service.FullName}/{Site}" : $"{Service.FullName}/{Site}/{Host}";

    /// <summary>Its name below the domain: <c>web.shop</c>, <c>web.shop.paris.site</c> or <c>db-0.paris.db.shop</c>.</summary>
    public string Name { get; } = Host is not null ? $"{Host}.{Site}.{Service.FullName}"
        : Site is not null ? $"{Service.FullName}.{Site}.{SiteLabel}" : Service.FullName;

    /// <summary>Ports that it has: of a host, those that it has an endpoint for.</summary>
    public ImmutableArray<ServicePort> Ports { get; init; } = Service.Ports;

    /// <summary>What of a service has an address, in order of declaration: a headless one has none itself. Made once for each.</summary>
    public static IReadOnlyList<ServicePlace> Of(Service service) =>
        service.Headless || service.SiteNames ? _known.GetValue(service, Make) : [new ServicePlace(service)];

    private static ServicePlace[] Make(Service service) => service.Headless
        ? [.. service.Exports.SelectMany(e => e.Endpoints.GroupBy(p => p.Host, StringComparer.Ordinal).Select(h => new ServicePlace(service, e.Site, h.Key)
        {
            Ports = [.. service.Ports.Where(p => h.Any(x => x.ServicePort == p.Port))],
        }))]
        : [new ServicePlace(service), .. service.Exports.Select(e => new ServicePlace(service, e.Site))];
}
