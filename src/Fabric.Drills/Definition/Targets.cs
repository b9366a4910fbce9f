using System.Collections.Immutable;
using Fabric.Topology.Asked;
using Fabric.Topology.Model;

namespace Fabric.Drills.Definition;

/// <summary>One fault at one gateway, and the links that it touches.</summary>
public sealed record Target(DrillAction Action, string Gateway, string Site, ImmutableArray<Link> Links)
{
    /// <summary>Whether nobody can ask the gateway while the fault is in force: then only its duration ends it.</summary>
    public bool Deaf => Action.Kind is "gateway-kill" or "gateway-pause";

    public override string ToString() => Targets.Describe(Action, Gateway);
}

/// <summary>What an action is about in a topology, or why it is about nothing there.</summary>
/// <param name="Key">Of the action, that the problem is about.</param>
public sealed record TargetResult(ImmutableArray<Target> Found, string? Problem = null, string Key = "kind", string? Hint = null);

/// <summary>Finds what actions are about. An action about nothing is an error, never a drill that changes nothing and passes.</summary>
public static class Targets
{
    public static TargetResult Of(DrillAction action, FabricTopology topology)
    {
        var gateways = topology.Sites.SelectMany(s => s.Gateways).ToArray();
        if (action.Gateway.Length == 0)
        {
            SiteGateway[] ofSite = [.. gateways.Where(g => g.Site == action.Site)];
            return ofSite.Length > 0
                ? new TargetResult([.. ofSite.Select(g => new Target(action, g.Name, g.Site, Touched(action, topology, g.Name)))])
                : Nothing("site", $"there is no site {Words.Quote(action.Site)}", action.Site, topology.Sites.Select(s => s.Name));
        }

        if (topology.FindGateway(action.Gateway) is not { } gateway)
        {
            return Nothing("gateway", $"there is no gateway {Words.Quote(action.Gateway)}", action.Gateway, gateways.Select(g => g.Name));
        }

        if (action.Link.Length > 0 && OfLink(action, topology) is { } noLink)
        {
            return noLink;
        }

        if (action.Service.Length > 0 && OfService(action, topology, gateway) is { } noService)
        {
            return noService;
        }

        return new TargetResult([new Target(action, gateway.Name, gateway.Site, Touched(action, topology, gateway.Name))]);
    }

    /// <summary>"link-down of dx to virginia-1 at paris-1".</summary>
    public static string Describe(DrillAction action, string gateway) => action.Kind
        + (action.Link.Length > 0 ? $" of {action.Link}" : action.Service.Length > 0 ? $" of {action.Service}" : "")
        + (action.Peer.Length > 0 ? $" to {action.Peer}" : "")
        + (action.Direction is "both" or "" ? "" : $" ({action.Direction})")
        + (gateway.Length > 0 ? $" at {gateway}" : $" of site {action.Site}");

    private static TargetResult? OfLink(DrillAction action, FabricTopology topology)
    {
        Link[] named = [.. topology.Links.Where(l => l.Name == action.Link)];
        Link[] here = [.. named.Where(l => l.Touches(action.Gateway))];
        return named.Length == 0
                ? Nothing("link", $"there is no link {Words.Quote(action.Link)}", action.Link, topology.Links.Select(l => l.Name).Distinct())
            : here.Length == 0
                ? Nothing("link", $"link {Words.Quote(action.Link)} has no end at gateway {Words.Quote(action.Gateway)}", "",
                    topology.Links.Where(l => l.Touches(action.Gateway)).Select(l => l.Name).Distinct())
            : action.Peer.Length > 0 && here.All(l => l.PeerOf(action.Gateway).Gateway != action.Peer)
                ? Nothing("peer", $"link {Words.Quote(action.Link)} does not join {Words.Quote(action.Gateway)} with {Words.Quote(action.Peer)}",
                    action.Peer, here.Select(l => l.PeerOf(action.Gateway).Gateway))
            : null;
    }

    private static TargetResult? OfService(DrillAction action, FabricTopology topology, SiteGateway gateway)
    {
        var service = topology.Services.FirstOrDefault(s => s.FullName == action.Service);
        return service is null
                ? Nothing("service", $"there is no service {Words.Quote(action.Service)}", action.Service, topology.Services.Select(s => s.FullName))
            : action.Kind == "service-down" && service.Exports.All(e => e.Site != gateway.Site)
                ? Nothing("service", $"service {Words.Quote(action.Service)} is not exported by {gateway.Site}, the site of {gateway.Name}", "",
                    service.Exports.SelectMany(e => topology.Sites.Where(s => s.Name == e.Site).SelectMany(s => s.Gateways)).Select(g => g.Name))
            : null;
    }

    private static ImmutableArray<Link> Touched(DrillAction action, FabricTopology topology, string gateway) => action.Kind switch
    {
        "service-down" or "dns-withdraw" or "source-gone" => [],
        _ when action.Link.Length > 0 => [.. topology.Links.Where(l => l.Name == action.Link && l.Touches(gateway)
            && (action.Peer.Length == 0 || l.PeerOf(gateway).Gateway == action.Peer))],
        _ => [.. topology.Links.Where(l => l.Touches(gateway))],
    };

    private static TargetResult Nothing(string key, string problem, string word, IEnumerable<string> known) =>
        new([], problem, key, Words.DidYouMean(word, known));
}
