using System.Collections.Immutable;
using System.Net;
using Fabric.Topology.Model;

namespace Fabric.Routing.Policies;

/// <summary>Who calls, within one site. Immutable; resolving by source address allocates nothing.</summary>
public sealed class CallerIdentity
{
    private readonly (IPNetwork Network, string Id)[] _byLength;
    private readonly string _unidentified;

    /// <summary>Compiles the workloads of one site.</summary>
    public CallerIdentity(FabricTopology topology, string site)
    {
        var root = $"spiffe://{topology.TrustDomain}/site/{site}";
        _unidentified = $"{root}/unidentified";
        // A stable sort: of equal prefixes the one declared first wins.
        _byLength = [.. topology.Workloads
            .Where(w => w.Site == site)
            .SelectMany(w => w.Addresses.Select(a => (Network: a, Id: $"{root}/workload/{w.Name}")))
            .OrderByDescending(w => w.Network.PrefixLength)];
        Local = [.. topology.Workloads.Where(w => w.Site == site && w.IsLocal)
            .OrderByDescending(w => (w.UnixUser is null ? 0 : 1) + (w.Cgroup is null ? 0 : 1))
            .Select(w => (w, $"{root}/workload/{w.Name}"))];
    }

    /// <summary>
    /// Workloads that are processes of this machine, with their IDs; those that say both user and cgroup first, then as declared. They go before
    /// those with addresses.
    /// </summary>
    public ImmutableArray<(Workload Workload, string Id)> Local { get; }

    /// <summary>
    /// <c>spiffe://td/site/&lt;site&gt;/workload/&lt;name&gt;</c> of the workload with the longest prefix that holds the address, or
    /// <c>spiffe://td/site/&lt;site&gt;/unidentified</c>. IPv4 addresses mapped into IPv6 count as IPv4.
    /// </summary>
    public string Resolve(IPAddress source)
    {
        source = source.IsIPv4MappedToIPv6 ? source.MapToIPv4() : source;
        foreach (var (network, id) in _byLength)
        {
            if (network.Contains(source))
            {
                return id;
            }
        }

        return _unidentified;
    }
}
