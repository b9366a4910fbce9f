using System.Collections.Immutable;
using System.Runtime.CompilerServices;
using Fabric.Gateway.Egress;
using Fabric.Protocol.Proto;
using Fabric.Routing.Paths;
using Fabric.Topology.Model;

namespace Fabric.Gateway.Catalog;

/// <summary>
/// What this site exports and how healthy it is, told to the peers that watch: the whole once, changes as they happen, a
/// heartbeat every second in between, so that a watcher knows how old its view is.
/// </summary>
internal sealed class CatalogPublisher(IEndpointHealth health, TimeProvider time)
{
    public static readonly TimeSpan Heartbeat = TimeSpan.FromSeconds(1);

    private TaskCompletionSource _changed = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly NeighbourReport _neighbours = new();
    private Exports _current = new("", [], Draining: false, []);

    /// <summary>
    /// Computes the exports anew from the topology and the checks; wakes the watchers when they differ, or when a neighbour came or
    /// went. Figures of neighbours that have moved wait for the next heartbeat: they make no message of their own. One caller at a time.
    /// </summary>
    /// <param name="topology">The running one.</param>
    /// <param name="site">The own site.</param>
    /// <param name="draining">No new streams are accepted.</param>
    /// <param name="neighbours">Gateways that lanes can be carried to.</param>
    public void Refresh(FabricTopology topology, string site, bool draining, IEnumerable<Routing.Paths.Neighbour>? neighbours = null)
    {
        var urgent = _neighbours.Update(neighbours ?? []);
        var next = new Exports(topology.Revision, Exported(topology, site), draining, _neighbours.Told);
        var current = Volatile.Read(ref _current);
        var same = next.Revision == current.Revision && next.Draining == current.Draining && next.Services.SequenceEqual(current.Services);
        if (same && next.Neighbours == current.Neighbours)
        {
            return;
        }

        Volatile.Write(ref _current, next);
        if (same && !urgent)
        {
            return;
        }

        Interlocked.Exchange(ref _changed, new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously)).TrySetResult();
    }

    /// <summary>Streams that this gateway carries, those with one peer left out.</summary>
    public Func<string, int> LoadWithout { get; init; } = _ => 0;

    /// <summary>What goes along about trust, for one more watcher; null: nothing.</summary>
    public Func<Trust.TrustKeeper.Feed>? Trust { get; init; }

    /// <summary>The messages of one watch.</summary>
    public async IAsyncEnumerable<CatalogUpdate> WatchAsync(string watcher, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        var feed = NewFeed();
        var trust = Trust?.Invoke();
        while (true)
        {
            // The signal is taken before the state is read: a change in between wakes the next round.
            var changed = Volatile.Read(ref _changed).Task;
            var update = feed.Next();
            update.Load = (uint)Math.Max(0, LoadWithout(watcher));
            trust?.Tell(update);
            yield return update;
            await Task.WhenAny(changed, Task.Delay(Heartbeat, time, cancellationToken));
            cancellationToken.ThrowIfCancellationRequested();
        }
    }

    /// <summary>For one more watcher.</summary>
    public Feed NewFeed() => new(this);

    /// <summary>What one watcher has been told, and so what is to be told next.</summary>
    public sealed class Feed(CatalogPublisher publisher)
    {
        private Exports? _sent;
        private ulong _sequence;

        /// <summary>Whether <see cref="Next"/> says more than that the publisher lives.</summary>
        public bool HasNews => !ReferenceEquals(_sent, Volatile.Read(ref publisher._current));

        public CatalogUpdate Next()
        {
            var now = Volatile.Read(ref publisher._current);
            var update = Update(_sent, now, ++_sequence);
            _sent = now;
            return update;
        }
    }

    private static CatalogUpdate Update(Exports? sent, Exports now, ulong sequence)
    {
        var update = new CatalogUpdate
        {
            Sequence = sequence,
            Full = sent is null,
            TopologyRevision = now.Revision,
            Draining = now.Draining,
        };
        if (ReferenceEquals(sent, now))
        {
            return update;
        }

        if (sent is null || sent.Neighbours != now.Neighbours)
        {
            update.Neighbours = new Neighbours();
            update.Neighbours.Gateways.Add(now.Neighbours.Select(n => new Protocol.Proto.Neighbour
            {
                Gateway = n.Gateway,
                RttUs = (uint)Math.Clamp(n.Rtt?.TotalMicroseconds ?? 0, 0, uint.MaxValue),
                ScoreUs = (uint)Math.Clamp((n.Score ?? 0) * 1000, 0, uint.MaxValue),
            }));
        }

        var known = sent?.Services.ToHashSet() ?? [];
        update.Services.Add(now.Services.Where(s => !known.Contains(s)));
        if (sent is not null)
        {
            var names = now.Services.Select(s => s.Service).ToHashSet(StringComparer.Ordinal);
            update.Removed.Add(sent.Services.Select(s => s.Service).Where(s => !names.Contains(s)));
        }

        return update;
    }

    private ImmutableArray<ExportedService> Exported(FabricTopology topology, string site)
    {
        var services = ImmutableArray.CreateBuilder<ExportedService>();
        foreach (var service in topology.Services.Where(s => s.Exports.Any(e => e.Site == site)))
        {
            var exported = new ExportedService { Service = service.FullName };
            var hosts = new SortedDictionary<string, ExportedHost>(StringComparer.Ordinal);
            foreach (var port in service.Ports)
            {
                var endpoints = health.Of(service.FullName, port.Port);
                exported.Ports.Add(new ExportedPort
                {
                    Port = (uint)port.Port,
                    Endpoints = (uint)endpoints.Length,
                    Healthy = (uint)endpoints.Count(e => e.Healthy),
                });
                foreach (var endpoint in endpoints.Where(e => e.Endpoint.Host is not null))
                {
                    var host = hosts.GetValueOrDefault(endpoint.Endpoint.Host!) ?? (hosts[endpoint.Endpoint.Host!] = new ExportedHost { Host = endpoint.Endpoint.Host });
                    host.Ports.Add((uint)port.Port);
                    if (endpoint.Healthy)
                    {
                        host.Healthy.Add((uint)port.Port);
                    }
                }
            }

            exported.Hosts.Add(hosts.Values);

            services.Add(exported);
        }

        return services.ToImmutable();
    }

    private sealed record Exports(string Revision, ImmutableArray<ExportedService> Services, bool Draining, ImmutableArray<Routing.Paths.Neighbour> Neighbours);
}
