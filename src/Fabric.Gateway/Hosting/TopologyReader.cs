using Fabric.Gateway.Control;
using Fabric.Gateway.Snapshot;
using Fabric.Identity;
using Fabric.Topology;
using Fabric.Topology.Model;

namespace Fabric.Gateway.Hosting;

/// <summary>Reads and accepts topologies for one gateway: whole, or not at all.</summary>
internal static class TopologyReader
{
    /// <summary>Throws <see cref="TopologyRefusedException"/> with every error, one a line.</summary>
    public static FabricTopology Accept(IReadOnlyList<TopologyFile> files, GatewayId id)
    {
        var result = TopologyLoader.Load(files);
        if (result.Topology is not { } topology)
        {
            throw new TopologyRefusedException(string.Join(Environment.NewLine, result.Diagnostics));
        }

        if (topology.TrustDomain != id.TrustDomain)
        {
            throw new TopologyRefusedException(
                $"the topology is of trust domain {topology.TrustDomain}, and this gateway's certificate of {id.TrustDomain}");
        }

        var self = topology.FindGateway(id.Gateway);
        return self is null
            ? throw new TopologyRefusedException(
                $"gateway {id.Gateway} is not in the topology, which has {Names(topology)}: this gateway joined under another name")
            : self.Site != id.Site
                ? throw new TopologyRefusedException($"gateway {id.Gateway} is in site {self.Site} here, and its certificate says {id.Site}")
                : topology;
    }

    /// <summary>
    /// The topology to start with: from the source, or where that is missing or bad, the last good one; then the reason is told.
    /// </summary>
    public static (FabricTopology Topology, IReadOnlyList<TopologyFile> Files, string? Fallback) Start(
        TopologySource source, GatewayId id)
    {
        try
        {
            var files = source.Read();
            return (Accept(files, id), files, null);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or TopologyRefusedException)
        {
            var kept = source.ReadLastGood();
            if (kept.Count == 0)
            {
                throw;
            }

            return (Accept(kept, id), kept, e.Message);
        }
    }

    private static string Names(FabricTopology topology) =>
        string.Join(", ", topology.Sites.SelectMany(s => s.Gateways).Select(g => g.Name).Take(10));
}
