using Fabric.Topology.Asked;
using Fabric.Topology.Model;

namespace Fabric.Topology.Checks;

/// <summary>Names of sites and hosts (see <see cref="ServicePlace"/>): each means one thing, and DNS can hold it.</summary>
internal static class PlaceChecks
{
    private const int MaxDnsName = 253;

    public static void Check(AskedMesh mesh, AskedService service, DiagnosticBag diagnostics)
    {
        if (service.Headless?.Value == true)
        {
            CheckHeadless(service, diagnostics);
        }
        else
        {
            foreach (Located<string> host in service.Exports.SelectMany(e => e.Value.Endpoints).Select(e => e.Value.Host).OfType<Located<string>>())
            {
                diagnostics.Error(DiagnosticCodes.DoesNotApply, host.At,
                    $"host does not apply to service {Name(service)}: one address stands for all of its endpoints", "make it headless: true");
            }
        }

        CheckLength(mesh, service, diagnostics);
        CheckSiteLabel(mesh, service, diagnostics);
    }

    /// <summary>Service addresses that it takes; of what was refused, as many as could be read.</summary>
    public static int Count(AskedService service) => service.Headless?.Value == true
        ? service.Exports.Sum(e => Hosts(e.Value).Distinct(StringComparer.Ordinal).Count())
        : service.SiteNames?.Value == true ? 1 + service.Exports.Length : 1;

    private static void CheckHeadless(AskedService service, DiagnosticBag diagnostics)
    {
        if (service.Address is { } address)
        {
            diagnostics.Error(DiagnosticCodes.DoesNotApply, address.At,
                $"address does not apply to service {Name(service)}: it is headless, and each of its hosts has an address", "leave it out");
        }

        if (service.SiteNames is { Value: true } names)
        {
            diagnostics.Error(DiagnosticCodes.DoesNotApply, names.At,
                $"siteNames does not apply to service {Name(service)}: it is headless, and has names of sites already", "leave it out");
        }

        foreach (AskedExport export in service.Exports.Select(e => e.Value))
        {
            var hosts = new Names("host", diagnostics, " in this export", "a host has one endpoint for each port: give the other one a host");
            foreach ((AskedEndpoint endpoint, Mark at) in export.Endpoints.Where(e => e.Value.HostName is not null))
            {
                string port = endpoint.Port is { } given ? $" for port {given.Value}" : "";
                hosts.IsNew(new Located<string>(endpoint.HostName + port, endpoint.Host?.At ?? at));
            }
        }

        if (Count(service) > ServicePlace.MaxHosts)
        {
            diagnostics.Error(DiagnosticCodes.BadCount, service.Headless!.Value.At,
                $"the headless service {Name(service)} has {Count(service)} hosts; it may have at most {ServicePlace.MaxHosts}: all are in one answer",
                "make several services of it");
        }
    }

    private static void CheckLength(AskedMesh mesh, AskedService service, DiagnosticBag diagnostics)
    {
        if (service.FullName is not { } name || (service.Headless?.Value != true && service.SiteNames?.Value != true))
        {
            return;
        }

        int domain = (mesh.Domain?.Value ?? FabricTopology.DefaultDomain).Length + 1;
        int port = service.Ports.Select(p => (int?)p.Value.NameLength).Max() ?? 0;
        foreach (AskedExport export in service.Exports.Select(e => e.Value).Where(e => e.Site is not null))
        {
            string site = export.Site!.Value.Value;
            int host = service.Headless?.Value == true ? Hosts(export).Select(h => (int?)h.Length).Max() ?? 0 : 0;
            int length = name.Length + 1 + site.Length + 1
                + Math.Max(host, port + ServicePlace.SiteLabel.Length) + domain;
            if (length > MaxDnsName)
            {
                diagnostics.Error(DiagnosticCodes.BadDomain, export.Site.Value.At,
                    $"the longest name of service {Name(service)} at site {Words.Quote(site)} has {length} characters with the domain; "
                    + $"a DNS name has at most {MaxDnsName}", "shorten the domain, or the names");
            }
        }
    }

    /// <summary>What stands below <c>paris.site</c> are names of the site paris, not of a service paris in the namespace site.</summary>
    private static void CheckSiteLabel(AskedMesh mesh, AskedService service, DiagnosticBag diagnostics)
    {
        if (service.Namespace?.Value == ServicePlace.SiteLabel && service.Name is { } name && mesh.SitesByName.All.ContainsKey(name.Value)
            && mesh.Services.Any(s => s.Value.Headless?.Value == true || s.Value.SiteNames?.Value == true))
        {
            diagnostics.Error(DiagnosticCodes.DuplicateName, name.At,
                $"the name {Words.Quote(service.FullName!)} is that of a service and stands above the names of the site {Words.Quote(name.Value)}",
                "give the service another namespace, or no service siteNames or headless");
        }
    }

    private static IEnumerable<string> Hosts(AskedExport export) => export.Endpoints.Select(e => e.Value.HostName).OfType<string>();

    private static string Name(AskedService service) => Words.Quote(service.FullName ?? "?");
}
