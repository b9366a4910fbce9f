using System.Collections.Immutable;
using System.Net;
using Fabric.Gateway.Hosting;
using Fabric.Topology.Model;

namespace Fabric.Gateway.Snapshot;

/// <summary>
/// Gives each service its address in this site and remembers it: a name keeps its address for as long as the range holds it,
/// also when the service is away for a while, so that no cached DNS answer ever comes to mean another service.
/// </summary>
internal sealed class ServiceAddressBook(StateFolder state)
{
    private const string File = "service-addresses.json";

    private readonly Dictionary<string, string> _kept = state.ReadJson<Dictionary<string, string>>(File, []);

    /// <summary>Addresses by <c>name.namespace</c>, and one sentence for each service that could have none.</summary>
    public (ImmutableDictionary<string, IPAddress> Addresses, ImmutableArray<string> Problems) Assign(
        FabricTopology topology, SiteGateway self)
    {
        var range = topology.Sites.First(s => s.Name == self.Site).ServiceAddresses;
        var assigned = Kept(range);
        var count = assigned.Count;
        var addresses = ImmutableDictionary.CreateBuilder<string, IPAddress>(StringComparer.Ordinal);
        var problems = ImmutableArray.CreateBuilder<string>();
        foreach (var service in topology.Services)
        {
            try
            {
                if (!assigned.TryGetValue(service.FullName, out var address) || service.Address is not null)
                {
                    address = service.Address ?? ServiceAddresses.Pick(range, service.FullName, assigned, [self.Dns.Address]);
                    assigned[service.FullName] = address;
                }

                addresses[service.FullName] = address;
            }
            catch (InvalidOperationException e)
            {
                problems.Add($"{service.FullName}: {e.Message}");
            }
        }

        if (assigned.Count != count)
        {
            foreach (var (service, address) in assigned)
            {
                _kept[service] = address.ToString();
            }

            state.WriteJson(File, _kept);
        }

        return (addresses.ToImmutable(), problems.ToImmutable());
    }

    private Dictionary<string, IPAddress> Kept(IPNetwork range)
    {
        var assigned = new Dictionary<string, IPAddress>(StringComparer.Ordinal);
        foreach (var (service, text) in _kept)
        {
            if (IPAddress.TryParse(text, out var address) && range.Contains(address))
            {
                assigned[service] = address;
            }
        }

        return assigned;
    }
}
