using System.Collections.Immutable;
using Fabric.Protocol.Proto;
using Neighbour = Fabric.Routing.Paths.Neighbour;

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

    /// <summary>… and reaches at most this many gateways.</summary>
    public const int MaxNeighbours = 10_000;

    /// <summary>Gateways that it carries lanes to, by name.</summary>
    public ImmutableDictionary<string, Neighbour> Neighbours { get; init; } = ImmutableDictionary<string, Neighbour>.Empty;

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
        var neighbours = update.Neighbours is { } told ? Read(told)
            : update.Full || current is null ? ImmutableDictionary<string, Neighbour>.Empty : current.Neighbours;
        return services.Count > MaxServices
            ? throw new InvalidDataException($"a catalog holds at most {MaxServices} services, this one {services.Count}")
            : new PeerCatalog(services, update.TopologyRevision, update.Draining, update.Sequence, now)
            {
                Load = (int)Math.Min(update.Load, int.MaxValue),
                Neighbours = neighbours,
            };
    }

    private static ImmutableDictionary<string, Neighbour> Read(Neighbours told) => told.Gateways.Count > MaxNeighbours
        ? throw new InvalidDataException($"a catalog names at most {MaxNeighbours} neighbours, this one {told.Gateways.Count}")
        : ImmutableDictionary<string, Neighbour>.Empty.SetItems(told.Gateways.Select(n => KeyValuePair.Create(n.Gateway, new Neighbour(
            n.Gateway, n.RttUs > 0 ? TimeSpan.FromMicroseconds(n.RttUs) : null, n.ScoreUs > 0 ? n.ScoreUs / 1000.0 : null))));
}
