using System.Collections.Immutable;
using System.Net;
using Fabric.Gateway.Catalog;
using Fabric.Gateway.Egress;
using Fabric.Gateway.Links;
using Fabric.Gateway.Probing;
using Fabric.Topology.Model;
using Fabric.Tunnel;

namespace Fabric.Gateway.Snapshot;

/// <summary>What the loop looks at and what follows it.</summary>
internal sealed record StateParts
{
    /// <summary>Name of this gateway.</summary>
    public required string Gateway { get; init; }
    public required ITunnel Tunnel { get; init; }
    public required IProber Prober { get; init; }
    public required IEndpointHealth Health { get; init; }
    public required CatalogPublisher Publisher { get; init; }
    public required ICatalogs Catalogs { get; init; }
    /// <summary>Service addresses of the site, and one sentence for each service that could have none.</summary>
    public required Func<FabricTopology, SiteGateway, (ImmutableDictionary<string, IPAddress> Addresses, ImmutableArray<string> Problems)> Addresses { get; init; }

    /// <summary>Services that DNS answers as if no site could serve them. Default: none.</summary>
    public Func<string, bool> Withdrawn { get; init; } = static _ => false;

    /// <summary>Told of what moved: streams to a peer to another link, a service to another site. Must return at once.</summary>
    public Action<Protocol.Proto.GatewayEvent> Happened { get; init; } = static _ => { };

    /// <summary>Null where vpn links are off.</summary>
    public OverlayLinks? Overlay { get; init; }

    /// <summary>An accepted topology is in the snapshot: Egress decides by it from now on, and what it decided before is to be looked at again.</summary>
    public Action Accepted { get; init; } = () => { };

    /// <summary>A turn is done, and readers see what it made: the loop lives.</summary>
    public required Action Turned { get; init; }

    /// <summary>Makes the range of service addresses local to this machine.</summary>
    public required Action<IPNetwork> ServiceRange { get; init; }
}
