using System.Collections.Immutable;

namespace Fabric.Topology.Model;

/// <summary>Who may have faults applied at gateways, of those that run with <c>--allow-faults</c>.</summary>
public sealed record DrillSettings
{
    /// <summary><c>site</c>, which means all its gateways, or <c>site/gateway</c>. Default: none.</summary>
    public ImmutableArray<string> From { get; init; } = [];

    /// <summary>Whether that gateway is among them.</summary>
    public bool Allows(string site, string gateway) =>
        From.Any(f => f == site || (f.Length == site.Length + 1 + gateway.Length && f == $"{site}/{gateway}"));
}
