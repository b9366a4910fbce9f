using System.Collections.Immutable;
using Fabric.Protocol.Proto;

namespace Fabric.Gateway.Catalog;

/// <summary>
/// What one gateway of another site says of its exports, and when it last said anything. Immutable: an update makes the next.
/// </summary>
/// <param name="Heard">Timestamp (of the daemon's TimeProvider) of the last message.</param>
internal sealed record PeerCatalog(
    ImmutableDictionary<string, ExportedService> Services,
    string TopologyRevision,
    bool Draining,
    ulong Sequence,
    long Heard)
{
    /// <summary>Streams that it carries for others than this gateway.</summary>
    public int Load { get; init; }

    /// <summary>A peer exports at most this many services; one that announces more is not believed at all.</summary>
    public const int MaxServices = 10_000;

    /// <summary>
    /// The view after one more message. Throws <see cref="InvalidDataException"/> when a message is missing or the first is not
    /// the full state: the watch must begin again.
    /// </summary>
    public static PeerCatalog Apply(PeerCatalog? current, CatalogUpdate update, long now)
    {
        if (!update.Full && (current is null || update.Sequence != current.Sequence + 1))
        {
            throw new InvalidDataException(
                $"catalog update {update.Sequence} does not follow {current?.Sequence ?? 0}: the state must be sent whole again");
        }

        var services = update.Full || current is null ? ImmutableDictionary<string, ExportedService>.Empty : current.Services;
        services = services.RemoveRange(update.Removed)
            .SetItems(update.Services.Select(s => KeyValuePair.Create(s.Service, s)));
        return services.Count > MaxServices
            ? throw new InvalidDataException($"a catalog holds at most {MaxServices} services, this one {services.Count}")
            : new PeerCatalog(services, update.TopologyRevision, update.Draining, update.Sequence, now) { Load = (int)Math.Min(update.Load, int.MaxValue) };
    }
}
