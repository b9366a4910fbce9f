using System.Buffers;
using System.Collections.Immutable;
using Fabric.Protocol.Proto;
using Fabric.Topology.Model;
using Neighbour = Fabric.Routing.Paths.Neighbour;

namespace Fabric.Gateway.Catalog;

/// <summary>
/// What one gateway of another site says of its exports, and when it last said anything. Immutable: an update makes the next.
/// Whether it may say so is <see cref="CatalogReview"/>'s to find; here it is whole, printable and bounded, whoever says it.
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

    /// <summary>… of at most this many bytes together, as messages: the ports that a service may announce are bounded by it.</summary>
    public const int MaxBytes = 4 << 20;

    /// <summary>… and reaches at most this many gateways.</summary>
    public const int MaxNeighbours = 10_000;

    /// <summary>Endpoints of one port: more than anyone has, and few enough to add up.</summary>
    public const int MaxEndpoints = 1_000_000;

    private const int LongestName = 253;
    private static readonly SearchValues<char> _label = SearchValues.Create("abcdefghijklmnopqrstuvwxyz0123456789-");
    private static readonly SearchValues<char> _printable = SearchValues.Create([.. Enumerable.Range('!', '~' - '!' + 1).Select(c => (char)c)]);

    /// <summary>Gateways that it carries lanes to, by name.</summary>
    public ImmutableDictionary<string, Neighbour> Neighbours { get; init; } = ImmutableDictionary<string, Neighbour>.Empty;

    /// <summary>Size of <see cref="Services"/>.</summary>
    private long Bytes { get; init; }

    /// <summary>
    /// The view after one more message. Throws <see cref="InvalidDataException"/> when a message is missing or the first is not
    /// the full state, or when it breaks a bound: the watch must begin again.
    /// </summary>
    public static PeerCatalog Apply(PeerCatalog? current, CatalogUpdate update, long now)
    {
        if (!update.Full && (current is null || update.Sequence != current.Sequence + 1))
        {
            throw new InvalidDataException(
                $"catalog update {update.Sequence} does not follow {current?.Sequence ?? 0}: the state must be sent whole again");
        }

        var services = update.Full || current is null ? ImmutableDictionary<string, ExportedService>.Empty : current.Services;
        var bytes = services.IsEmpty ? 0 : current!.Bytes;
        foreach (var removed in update.Removed)
        {
            bytes -= services.TryGetValue(removed, out var gone) ? gone.CalculateSize() : 0;
            services = services.Remove(removed);
        }

        foreach (var service in update.Services)
        {
            Check(service);
            bytes += service.CalculateSize() - (services.TryGetValue(service.Service, out var before) ? before.CalculateSize() : 0);
            services = services.SetItem(service.Service, service);
        }

        if (services.Count > MaxServices || bytes > MaxBytes)
        {
            throw new InvalidDataException(
                $"a catalog holds at most {MaxServices} services of {MaxBytes} bytes, this one {services.Count} of {bytes}");
        }

        return new PeerCatalog(services, Printable(update.TopologyRevision, "the revision"), update.Draining, update.Sequence, now)
        {
            Load = (int)Math.Min(update.Load, int.MaxValue),
            Bytes = bytes,
            Neighbours = update.Neighbours is { } told ? Read(told)
                : update.Full || current is null ? ImmutableDictionary<string, Neighbour>.Empty : current.Neighbours,
        };
    }

    private static void Check(ExportedService service)
    {
        var name = Printable(service.Service, "the name of a service");
        if (service.Ports.FirstOrDefault(p => p.Port > ushort.MaxValue || p.Endpoints > MaxEndpoints || p.Healthy > p.Endpoints) is { } bad)
        {
            throw new InvalidDataException($"{name} is said to have {bad.Healthy} of {bad.Endpoints} endpoints healthy on port {bad.Port}: "
                + $"at most all of {MaxEndpoints} are, on a port up to {ushort.MaxValue}");
        }

        if (service.Hosts.Count > ServicePlace.MaxHosts)
        {
            throw new InvalidDataException($"{name} is said to have {service.Hosts.Count} hosts: it may have at most {ServicePlace.MaxHosts}");
        }

        var hosts = new HashSet<string>(StringComparer.Ordinal);
        foreach (var host in service.Hosts)
        {
            // They become labels of DNS names.
            if (host.Host.Length is 0 or > 63 || host.Host.StartsWith('-') || host.Host.EndsWith('-')
                || host.Host.AsSpan().ContainsAnyExcept(_label) || !hosts.Add(host.Host))
            {
                throw new InvalidDataException($"{name} is said to have a host whose name is no label of a-z, 0-9 and '-', or is there twice");
            }

            if (host.Ports.Concat(host.Healthy).Any(p => p is 0 or > ushort.MaxValue) || host.Ports.Count > ServicePlace.MaxPorts
                || host.Healthy.Except(host.Ports).Any())
            {
                throw new InvalidDataException($"{name} is said to have a host {host.Host} with ports that it cannot have: at most {ServicePlace.MaxPorts} up to "
                    + $"{ushort.MaxValue}, and none is healthy that it does not have");
            }
        }
    }

    /// <summary>It goes to logs and status as it is.</summary>
    private static string Printable(string text, string what) => text.Length <= LongestName && !text.AsSpan().ContainsAnyExcept(_printable) ? text
        : throw new InvalidDataException($"{what} has {text.Length} characters: at most {LongestName} are allowed, none of them a space or a control");

    private static ImmutableDictionary<string, Neighbour> Read(Neighbours told) => told.Gateways.Count > MaxNeighbours
        ? throw new InvalidDataException($"a catalog names at most {MaxNeighbours} neighbours, this one {told.Gateways.Count}")
        : ImmutableDictionary<string, Neighbour>.Empty.SetItems(told.Gateways.Select(n => KeyValuePair.Create(
            Printable(n.Gateway, "the name of a gateway"), new Neighbour(
                n.Gateway, n.RttUs > 0 ? TimeSpan.FromMicroseconds(n.RttUs) : null, n.ScoreUs > 0 ? n.ScoreUs / 1000.0 : null))));
}
