using System.Collections.Immutable;
using Fabric.Protocol.Dns;
using Fabric.Protocol.Proto;
using Fabric.Routing.Sites;
using Fabric.Topology.Model;

namespace Fabric.Gateway.Snapshot;

/// <summary>Why a name of the fabric is answered as it is: what it stands for, and which sites and hosts were considered.</summary>
internal static class NameExplanation
{
    /// <summary>Of the service, site or host whose name this is, or is below; nothing for other names.</summary>
    public static void Tell(FabricSnapshot now, DnsName name, ResolveNameReply reply)
    {
        bool IsIn(string place) => name.IsAtOrBelow(DnsName.Parse($"{place}.{now.Topology.Domain}"));
        foreach (var service in now.Topology.Services)
        {
            var place = Named(service).FirstOrDefault(p => IsIn(p.Name));
            if (place is null)
            {
                continue;
            }

            reply.Service = service.FullName;
            (reply.OnlySite, reply.OnlyHost) = (place.Site ?? "", place.Host ?? "");
            foreach (var port in place.Ports)
            {
                var choice = now.Choices.GetValueOrDefault((place.Key, port.Port)) ?? now.Choices.GetValueOrDefault((service.FullName, port.Port));
                reply.Sites.Add(choice?.Candidates.Where(c => place.Site is null || c.Site == place.Site).Select(c => new ResolveSite
                {
                    Site = c.Site,
                    Usable = c.Usable,
                    Chosen = c.Usable && (place.Site is not null || c.Site == choice.Chosen),
                    Why = c.Reason,
                    Port = (uint)port.Port,
                }) ?? []);
            }

            if (service.Headless && place.Host is null)
            {
                reply.Hosts.Add(Hosts(now, service, place.Site));
            }

            return;
        }
    }

    /// <summary>What has names, those with more labels first: one is below the other.</summary>
    private static IEnumerable<ServicePlace> Named(Service service) => ServicePlace.Of(service).Where(p => p.Site is not null)
        .Concat(service.Headless ? service.Exports.Select(e => new ServicePlace(service, e.Site)) : [])
        .Append(new ServicePlace(service));

    private static IEnumerable<ResolveHost> Hosts(FabricSnapshot now, Service service, string? site)
    {
        var order = now.HostOrder.GetValueOrDefault(service.FullName, []);
        return ServicePlace.Of(service).Where(p => site is null || p.Site == site).Select(p =>
        {
            var asked = p.Ports.Select(x => now.Choices.GetValueOrDefault((p.Key, x.Port))?.Candidates[0]).OfType<SiteCandidate>().ToImmutableArray();
            var address = now.Addresses.GetValueOrDefault(p.Key);
            return new ResolveHost
            {
                Site = p.Site,
                Host = p.Host,
                Address = address?.ToString() ?? "",
                Answered = address is not null && asked.Any(c => c.Usable),
                Why = string.Join("; ", asked.Select(c => c.Reason).Distinct()),
            };
        }).OrderByDescending(h => h.Answered).ThenBy(h => order.IndexOf(h.Site) is >= 0 and var at ? at : int.MaxValue);
    }
}
