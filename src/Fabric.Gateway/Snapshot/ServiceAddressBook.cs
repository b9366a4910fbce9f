using System.Collections.Immutable;
using System.Net;
using Fabric.Gateway.Hosting;
using Fabric.Topology;
using Fabric.Topology.Model;

namespace Fabric.Gateway.Snapshot;

/// <summary>
/// Gives each service its address in this site and remembers it: a name keeps its address for as long as the range holds it,
/// also when the service is away for a while and nobody else needed it meanwhile.
/// </summary>
internal sealed class ServiceAddressBook(StateFolder state)
{
    private const string File = "service-addresses.json";

    private ImmutableDictionary<string, IPAddress> _kept = Read(state);

    /// <summary>Addresses by <c>name.namespace</c>, and one sentence for each service that could have none.</summary>
    public (ImmutableDictionary<string, IPAddress> Addresses, ImmutableArray<string> Problems) Assign(
        FabricTopology topology, SiteGateway self)
    {
        var addresses = ServiceAddresses.Assign(topology, self, _kept, out var problems);
        var taken = addresses.Values.ToHashSet();
        var kept = _kept.Where(k => !addresses.ContainsKey(k.Key) && !taken.Contains(k.Value)).Concat(addresses).ToImmutableDictionary(StringComparer.Ordinal);
        if (kept.Count != _kept.Count || kept.Any(k => !k.Value.Equals(_kept.GetValueOrDefault(k.Key))))
        {
            _kept = kept;
            state.WriteJson(File, kept.ToDictionary(k => k.Key, k => k.Value.ToString()));
        }

        return (addresses, problems);
    }

    private static ImmutableDictionary<string, IPAddress> Read(StateFolder state) => state
        .ReadJson<Dictionary<string, string>>(File, [])
        .Where(k => IPAddress.TryParse(k.Value, out _))
        .ToImmutableDictionary(k => k.Key, k => IPAddress.Parse(k.Value), StringComparer.Ordinal);
}
