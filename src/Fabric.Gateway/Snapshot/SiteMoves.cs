using System.Collections.Immutable;
using Fabric.Protocol.Proto;
using Fabric.Routing.Sites;

namespace Fabric.Gateway.Snapshot;

/// <summary>Which services go to another site than before, to none, or to one again.</summary>
internal static class SiteMoves
{
    /// <param name="before">Null: there was nothing before, and nothing is told.</param>
    public static void Tell(
        ImmutableDictionary<(string Service, int Port), SiteChoice>? before, ImmutableDictionary<(string Service, int Port), SiteChoice> now,
        Action<GatewayEvent> happened)
    {
        foreach (var (key, choice) in now)
        {
            if (before is null || !before.TryGetValue(key, out var old))
            {
                continue;
            }

            var (from, to) = (old.Chosen, choice.Chosen);
            if (from != to)
            {
                happened(new GatewayEvent
                {
                    Kind = to is null ? "service-lost" : from is null ? "service-back" : "service-moved",
                    Service = key.Service,
                    Text = $"port {key.Port}: {from ?? "no site"} → {to ?? "no site"}",
                });
            }
        }
    }
}
