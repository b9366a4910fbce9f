using System.Collections.Concurrent;
using Fabric.Gateway.Telemetry;
using Fabric.Protocol.Grpc;
using Fabric.Protocol.Proto;
using Microsoft.Extensions.Logging;

namespace Fabric.Gateway.Catalog;

/// <summary>What other gateways say of their exports and neighbours.</summary>
internal interface ICatalogs
{
    /// <inheritdoc cref="CatalogWatcher.Of"/>
    PeerCatalog? Of(string peer);

    /// <inheritdoc cref="CatalogWatcher.Reconcile"/>
    void Reconcile(IReadOnlySet<string> peers);
}

/// <summary>
/// Watches the catalogs of other gateways, each over a stream of its own session. What was heard stays until
/// something newer comes; its age says whether it may still be used.
/// </summary>
/// <param name="gateway">This gateway's name.</param>
/// <param name="connect">A gRPC channel over the session with a peer.</param>
/// <param name="changed">Called, from any thread, when what a peer says has changed, with its name.</param>
internal sealed class CatalogWatcher(
    string gateway, Func<string, HttpMessageInvoker> connect, Action<string> changed, TimeProvider time, ILogger log) : ICatalogs, IAsyncDisposable
{
    public static readonly TimeSpan Backoff = TimeSpan.FromMilliseconds(200);
    public static readonly TimeSpan MaxBackoff = TimeSpan.FromSeconds(3);

    /// <summary>Five heartbeats: a dead watch, even where the connection under it seems alive.</summary>
    public static readonly TimeSpan Silence = CatalogPublisher.Heartbeat * 5;

    /// <summary>A peer's catalog broke a rule, and the watch of it begins again: its name, and the rule.</summary>
    public Action<string, string> Refused { get; init; } = (_, _) => { };

    private readonly ConcurrentDictionary<string, Watch> _watches = new(StringComparer.Ordinal);

    /// <summary>Each message of a peer, for whoever reads something else in it.</summary>
    public Action<string, CatalogUpdate> Heard { get; init; } = (_, _) => { };

    /// <summary>What the peer said last; null when nothing was heard since it was planned.</summary>
    public PeerCatalog? Of(string peer) => _watches.TryGetValue(peer, out var watch) ? watch.Catalog : null;

    /// <summary>Watches exactly those gateways.</summary>
    public void Reconcile(IReadOnlySet<string> peers)
    {
        foreach (var (peer, watch) in _watches)
        {
            if (!peers.Contains(peer) && _watches.TryRemove(peer, out _))
            {
                watch.Stop.Cancel();
            }
        }

        foreach (var peer in peers)
        {
            if (!_watches.ContainsKey(peer))
            {
                var watch = new Watch();
                _watches[peer] = watch;
                watch.Running = Task.Run(() => RunAsync(peer, watch));
            }
        }
    }

    /// <summary>A session with the peer came up: watch it now, not at the end of a backoff.</summary>
    public void Retry(string peer)
    {
        if (_watches.TryGetValue(peer, out var watch))
        {
            watch.Wake();
        }
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var watch in _watches.Values)
        {
            await watch.Stop.CancelAsync();
        }

        await Task.WhenAll(_watches.Values.Select(w => w.Running));
    }

    private async Task RunAsync(string peer, Watch watch)
    {
        var stop = watch.Stop.Token;
        var wait = Backoff;
        while (!stop.IsCancellationRequested)
        {
            try
            {
                using var channel = connect(peer);
                var client = new GrpcClient(channel, new Uri($"http://{peer}"), time);
                PeerCatalog? catalog = null;
                using var silence = new CancellationTokenSource(Silence, time);
                using var either = CancellationTokenSource.CreateLinkedTokenSource(stop, silence.Token);
                await foreach (var update in client.ServerStreamingAsync(CatalogMethods.Watch,
                    new CatalogWatchRequest { Gateway = gateway }, cancellationToken: either.Token))
                {
                    silence.CancelAfter(Silence);
                    var drained = catalog?.Draining ?? false;
                    catalog = PeerCatalog.Apply(catalog, update, time.GetTimestamp());
                    watch.Catalog = catalog;
                    Heard(peer, update);
                    wait = Backoff;
                    if (update.Full || update.Services.Count > 0 || update.Removed.Count > 0 || update.Draining != drained
                        || update.Neighbours is not null)
                    {
                        changed(peer);
                    }
                }
            }
            catch (Exception e) when (e is GrpcException or InvalidDataException or IOException or OperationCanceledException)
            {
                if (!stop.IsCancellationRequested)
                {
                    Log.CatalogLost(log, peer, e.Message);
                    if (e is InvalidDataException)
                    {
                        Refused(peer, e.Message);
                    }
                }
            }

            await watch.SleepAsync(wait, time);
            wait = wait * 2 < MaxBackoff ? wait * 2 : MaxBackoff;
        }
    }

    private sealed class Watch
    {
        private TaskCompletionSource _wake = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public CancellationTokenSource Stop { get; } = new();
        public Task Running { get; set; } = Task.CompletedTask;
        public PeerCatalog? Catalog { get; set; }

        public void Wake() => _wake.TrySetResult();

        public async Task SleepAsync(TimeSpan limit, TimeProvider time)
        {
            using var done = CancellationTokenSource.CreateLinkedTokenSource(Stop.Token);
            await Task.WhenAny(_wake.Task, Task.Delay(limit, time, done.Token));
            await done.CancelAsync();
            _wake = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        }
    }
}
