using System.Collections.Immutable;

namespace Fabric.Routing.Sites;

/// <summary>Endpoints behind one port of a service in a site, as its gateways see them.</summary>
public readonly record struct PortHealth(int Endpoints, int Healthy);

/// <summary>What is known of one gateway of another site.</summary>
public sealed record GatewayView(string Gateway, string Site)
{
    /// <summary>Whether a path to it is active (see <c>PathDecision.Active</c>).</summary>
    public bool Reachable { get; init; }

    /// <summary>Score of the active path in milliseconds; null while unknown.</summary>
    public double? PathScore { get; init; }

    /// <summary>Why it cannot be reached; quoted in reasons.</summary>
    public string PathReason { get; init; } = "";

    /// <summary>Time since its catalog was last heard; null when it never was.</summary>
    public TimeSpan? CatalogAge { get; init; }

    public bool Draining { get; init; }

    /// <summary>What its catalog says of the asked port; null when it does not export it.</summary>
    public PortHealth? Health { get; init; }
}

/// <summary>What is asked: where new connections to one port of a service go.</summary>
public sealed record SiteQuestion(string Service, int Port, string LocalSite)
{
    /// <summary>Sites that export the service, in order of declaration.</summary>
    public ImmutableArray<string> Exports { get; init; } = [];

    /// <summary>Health of the own site's endpoints; null when it exports none behind that port.</summary>
    public PortHealth? Local { get; init; }

    /// <summary>Gateways of the other sites, in order of declaration.</summary>
    public ImmutableArray<GatewayView> Gateways { get; init; } = [];

    /// <summary>A catalog older than that is not believed. Default 5 s: five heartbeats.</summary>
    public TimeSpan StaleAfter { get; init; } = TimeSpan.FromSeconds(5);

    /// <summary>What was answered before; null at first.</summary>
    public SiteChoice? Before { get; init; }

    /// <summary>The instant.</summary>
    public TimeSpan Now { get; init; }
}

/// <summary>One site that exports the service: whether and why it is used.</summary>
/// <param name="Near">Gateways with about the same path score, that share the load; empty for the own site.</param>
/// <param name="Far">The other usable gateways, best first.</param>
/// <param name="Score">Of the best gateway's path in milliseconds; 0 for the own site.</param>
/// <param name="Reason">One sentence without a full stop: why it is first, comes later, or is not used.</param>
public sealed record SiteCandidate(
    string Site,
    bool Usable,
    bool Local,
    ImmutableArray<string> Near,
    ImmutableArray<string> Far,
    double Score,
    int Endpoints,
    int Healthy,
    string Reason);

/// <summary>A way to serve one connection. <see cref="Gateway"/> is null for the own site.</summary>
public readonly record struct SiteRoute(string Site, string? Gateway);
