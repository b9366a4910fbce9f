using System.Collections.Immutable;
using System.Net;

namespace Fabric.Topology.Model;

/// <summary>Where a site's gateways look up names that are not the fabric's, and for whom.</summary>
public sealed record DnsForwarding
{
    /// <summary>Servers for all names but those of <see cref="Zones"/>. Null, the default: those of the machine's
    /// <c>/etc/resolv.conf</c>. Empty: such names are REFUSED.</summary>
    public ImmutableArray<IPEndPoint>? Servers { get; init; }

    /// <summary>For whom: all others are REFUSED. Null, the default: loopback, and the addresses of the site's workloads.</summary>
    public ImmutableArray<IPNetwork>? Clients { get; init; }

    /// <summary>Servers for these zones; the longest one that a name is in decides.</summary>
    public ImmutableArray<DnsForwardingZone> Zones { get; init; } = [];

    public bool Equals(DnsForwarding? other) => other is not null && Same(Servers, other.Servers) && Same(Clients, other.Clients)
        && Zones.SequenceEqual(other.Zones);

    public override int GetHashCode() => HashCode.Combine(Servers?.Length, Clients?.Length, Zones.Length);

    private static bool Same<T>(ImmutableArray<T>? a, ImmutableArray<T>? b) =>
        a is { } x && b is { } y ? x.SequenceEqual(y) : a is null && b is null;
}

/// <param name="Zone">E.g. <c>corp.example</c>: it and the names below it.</param>
/// <param name="Servers">At least one.</param>
public sealed record DnsForwardingZone(string Zone, ImmutableArray<IPEndPoint> Servers)
{
    public bool Equals(DnsForwardingZone? other) => other is not null && Zone == other.Zone && Servers.SequenceEqual(other.Servers);

    public override int GetHashCode() => Zone.GetHashCode(StringComparison.Ordinal);
}
