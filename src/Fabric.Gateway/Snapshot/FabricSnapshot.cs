using System.Collections.Immutable;
using System.Net;
using Fabric.Gateway.Dns;
using Fabric.Gateway.Probing;
using Fabric.Routing.Paths;
using Fabric.Routing.Policies;
using Fabric.Routing.Sites;
using Fabric.Topology.Model;
using Fabric.Tunnel;

namespace Fabric.Gateway.Snapshot;

/// <summary>
/// Everything that a reader may ask, at one moment: Ingress, Egress, DNS and <c>status</c> consult this and nothing else.
/// Immutable; <see cref="StateLoop"/> makes the next and swaps one reference.
/// </summary>
internal sealed record FabricSnapshot
{
    public required FabricTopology Topology { get; init; }
    public required SiteGateway Self { get; init; }
    public required PolicyEvaluator Policies { get; init; }
    public required CallerIdentity Callers { get; init; }

    /// <summary>Service addresses in this site, by the key of what has one (<see cref="ServicePlace.Key"/>): <c>name.namespace</c> for a service.</summary>
    public required ImmutableDictionary<string, IPAddress> Addresses { get; init; }

    /// <summary>Services whose bytes take two links at once.</summary>
    public ImmutableHashSet<string> Mirrored { get; init; } = [];

    /// <summary>Links of this gateway that are probed, with the verdict on each.</summary>
    public ImmutableArray<LinkHealthSnapshot> Links { get; init; } = [];

    /// <summary>How links are used, by peer gateway.</summary>
    public ImmutableDictionary<string, PathDecision> Paths { get; init; } = ImmutableDictionary<string, PathDecision>.Empty;

    /// <summary>Lanes through other gateways, up or not.</summary>
    public ImmutableArray<RelayView> Relays { get; init; } = [];

    /// <summary>The order in which DNS tells the sites of headless services, by service.</summary>
    public ImmutableDictionary<string, ImmutableArray<string>> HostOrder { get; init; } = ImmutableDictionary<string, ImmutableArray<string>>.Empty;

    /// <summary>Where new connections go, by the key of what is connected to (<see cref="ServicePlace.Key"/>), and port.</summary>
    public ImmutableDictionary<(string Service, int Port), SiteChoice> Choices { get; init; } =
        ImmutableDictionary<(string, int), SiteChoice>.Empty;

    public required DnsZone Zone { get; init; }
    public required TunnelStatus Tunnel { get; init; }

    /// <summary>No new streams are accepted.</summary>
    public bool Draining { get; init; }

    /// <summary>Links that this gateway drains.</summary>
    public ImmutableHashSet<(string Peer, string Link)> DrainedLinks { get; init; } = [];

    /// <summary>Empty, or why the newest topology was refused.</summary>
    public string TopologyError { get; init; } = "";

    /// <summary>Services without a service address, and why.</summary>
    public ImmutableArray<string> AddressProblems { get; init; } = [];

    /// <summary>Who drains the link, as <c>by paris-1</c>; null when neither end does.</summary>
    public string? Drained(string peer, string link, IEnumerable<LaneStatus> lanes) =>
        DrainedLinks.Contains((peer, link)) ? $"by {Self.Name}" : lanes.Any(l => l.Link == link && l.PeerDrains) ? $"by {peer}" : null;

    /// <summary>The range that service addresses of this site come from.</summary>
    public IPNetwork ServiceRange => Topology.Sites.First(s => s.Name == Self.Site).ServiceAddresses;
}
