using System.Collections.Immutable;

namespace Fabric.Topology.Model;

/// <summary>What a gateway does by multicast DNS (RFC 6762).</summary>
/// <param name="Interfaces">Names of the interfaces: 1 to 16, each once.</param>
/// <param name="Announce">Whether it tells of itself there.</param>
public sealed record LanSettings(ImmutableArray<string> Interfaces, bool Announce)
{
    public bool Equals(LanSettings? other) => other is not null && Interfaces.SequenceEqual(other.Interfaces) && Announce == other.Announce;

    public override int GetHashCode() => HashCode.Combine(Interfaces.Length, Announce);
}

/// <summary>Services that tell of themselves by DNS-SD (RFC 6763).</summary>
/// <param name="Type">Such as <c>_http._tcp</c>.</param>
/// <param name="ServicePort">The service's port that they are behind.</param>
public sealed record LanExport(string Type, int ServicePort);
