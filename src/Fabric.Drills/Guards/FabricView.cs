using Fabric.Protocol.Proto;
using Fabric.Topology.Model;

namespace Fabric.Drills.Guards;

/// <summary>All that guards go by: what one gateway sees of the running fabric, what the others answered, and when that was.</summary>
/// <param name="Topology">As read from disk.</param>
/// <param name="Status">Of the gateway that the drill is run through.</param>
/// <param name="Answers">Of each gateway that answered: what it can do, and what it has in force.</param>
/// <param name="Silent">Gateways that could not be asked, and why.</param>
/// <param name="BitsPerSecond">Measured towards each other gateway, both ways together; a gateway that is not in it was not measured.</param>
/// <param name="Holder">Another run on this host that is under way; empty when there is none.</param>
public sealed record FabricView(
    FabricTopology Topology,
    Status Status,
    IReadOnlyDictionary<string, FaultList> Answers,
    IReadOnlyDictionary<string, string> Silent,
    IReadOnlyDictionary<string, double> BitsPerSecond,
    DateTimeOffset Now,
    string Holder = "")
{
    /// <summary>
    /// A fabric in which all that is declared is up and every gateway can do everything: for checks without one that runs. Seen from the first gateway
    /// that no action takes away.
    /// </summary>
    public static FabricView Ideal(FabricTopology topology, DateTimeOffset now, string? from = null)
    {
        var gateways = topology.Sites.SelectMany(s => s.Gateways).ToArray();
        var self = gateways.FirstOrDefault(g => g.Name == from) ?? gateways[0];
        var status = new Status { Gateway = self.Name, Site = self.Site, TrustDomain = topology.TrustDomain, TopologyRevision = topology.Revision, State = "ready" };
        foreach (var site in topology.Sites)
        {
            var shown = new SiteStatus { Name = site.Name, Local = site.Name == self.Site };
            shown.Gateways.AddRange(site.Gateways.Select(g => new GatewayStatus
            {
                Name = g.Name,
                State = g == self ? "self" : "connected",
                ActiveLink = topology.Links.Where(l => l.Touches(self.Name) && l.Touches(g.Name) && g != self).MinBy(l => l.Cost)?.Name ?? "",
            }));
            status.Sites.Add(shown);
        }

        status.Links.AddRange(topology.Links.Where(l => l.Touches(self.Name)).Select(l => new LinkStatus
        {
            Name = l.Name,
            Peer = l.PeerOf(self.Name).Gateway,
            PeerSite = topology.FindGateway(l.PeerOf(self.Name).Gateway)!.Site,
            State = "up",
            Lane = "up",
            Cost = l.Cost,
            Score = l.Cost + 1,
        }));
        foreach (var service in topology.Services)
        {
            var shown = new ServiceStatus { Name = service.FullName, ChosenSite = service.Exports[0].Site };
            shown.Sites.AddRange(service.Exports.Select(e => new ServiceSiteStatus
            {
                Site = e.Site,
                Endpoints = (uint)e.Endpoints.Length,
                Healthy = (uint)e.Endpoints.Length,
                State = "healthy",
            }));
            status.Services.Add(shown);
        }

        return new FabricView(topology, status, gateways.ToDictionary(g => g.Name, g => Able(g.Name)), new Dictionary<string, string>(),
            new Dictionary<string, double>(), now);
    }

    public string SiteOf(string gateway) => Topology.FindGateway(gateway)?.Site ?? "";

    private static FaultList Able(string gateway)
    {
        var able = new FaultList { Gateway = gateway };
        able.Abilities.AddRange(Definition.DrillShapes.Kinds.Keys.Select(k => new FaultAbility { Kind = k, Means = "kernel" }));
        return able;
    }
}
