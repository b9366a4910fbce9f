using System.Collections.Concurrent;
using System.Collections.Immutable;
using System.Net;
using System.Net.Sockets;
using Fabric.Topology.Model;

namespace Fabric.Gateway.Egress;

/// <summary>What is known of one endpoint. <see cref="Reason"/> says why, in words.</summary>
internal sealed record EndpointState(ServiceEndpoint Endpoint, bool Healthy, string Reason);

/// <summary>What this gateway knows of the endpoints of its own site.</summary>
internal interface IEndpointHealth
{
    /// <inheritdoc cref="EndpointHealth.Reconcile"/>
    void Reconcile(FabricTopology topology, string site);

    /// <inheritdoc cref="EndpointHealth.Of"/>
    ImmutableArray<EndpointState> Of(string service, int port);

    /// <inheritdoc cref="EndpointHealth.DialFailed"/>
    void DialFailed(string service, IPEndPoint endpoint, string reason, bool datagrams = false);
}

/// <summary>
/// Checks the endpoints that this site exports, as its own gateway sees them, each at its own interval. A failed dial of a real
/// stream counts as a failed check, at once: no caller should have to find the same dead endpoint twice.
/// At most 64 checks run at a time; the others wait their turn.
/// </summary>
internal sealed class EndpointHealth : IEndpointHealth, IAsyncDisposable
{
    private const int ConcurrentChecks = 64;

    private readonly TimeProvider _time;
    private readonly Action _changed;
    private readonly SemaphoreSlim _checks = new(ConcurrentChecks);
    private readonly ConcurrentDictionary<EndpointKey, Watch> _watches = new();
    private readonly HttpClient _http = new(new SocketsHttpHandler
    {
        // A check that rides an old connection does not show that a new one opens.
        PooledConnectionLifetime = TimeSpan.Zero,
        AllowAutoRedirect = false,
        UseProxy = false,
        UseCookies = false,
    })
    { Timeout = Timeout.InfiniteTimeSpan };

    /// <param name="changed">Called, from any thread, when an endpoint went up or down.</param>
    public EndpointHealth(TimeProvider time, Action changed)
    {
        _time = time;
        _changed = changed;
    }

    /// <summary>Checks exactly the endpoints that the site exports; those that stay keep what is known of them.</summary>
    public void Reconcile(FabricTopology topology, string site)
    {
        var wanted = new Dictionary<EndpointKey, HealthCheck>();
        foreach (var service in topology.Services)
        {
            foreach (var endpoint in service.Exports.Where(e => e.Site == site).SelectMany(e => e.Endpoints))
            {
                wanted[new EndpointKey(service.FullName, endpoint)] = service.HealthOf(endpoint.ServicePort);
            }
        }

        foreach (var (key, watch) in _watches)
        {
            if ((!wanted.TryGetValue(key, out var check) || check != watch.Check) && _watches.TryRemove(key, out _))
            {
                watch.Stop();
            }
        }

        foreach (var (key, check) in wanted)
        {
            if (!_watches.ContainsKey(key))
            {
                var watch = new Watch(key, check);
                _watches[key] = watch;
                watch.Running = Task.Run(() => RunAsync(watch));
            }
        }
    }

    /// <summary>Services whose endpoints count as down, whatever a check says: a drill's word. Default: none.</summary>
    public Func<string, bool> HeldDown { get; init; } = static _ => false;

    /// <summary>Endpoints of one service and port in this site, with what is known of each.</summary>
    public ImmutableArray<EndpointState> Of(string service, int port)
    {
        var held = HeldDown(service);
        return
        [
            .. _watches.Values
                .Where(w => w.Key.Service == service && w.Key.Endpoint.ServicePort == port)
                .Select(w => held ? new EndpointState(w.Key.Endpoint, false, "a drill holds it down") : new EndpointState(w.Key.Endpoint, w.Healthy, w.Reason)),
        ];
    }

    /// <summary>
    /// A stream could not be connected to it, or its host said that nobody takes a flow's datagrams. The latter counts even where
    /// nothing is checked, until the next interval: nothing else tells of a dead UDP endpoint.
    /// </summary>
    public void DialFailed(string service, IPEndPoint endpoint, string reason, bool datagrams = false)
    {
        foreach (var watch in _watches.Values.Where(w => w.Key.Service == service && Matches(w.Key.Endpoint, endpoint)))
        {
            var what = datagrams ? "nobody takes datagrams" : "a stream could not connect";
            if ((datagrams || watch.Check.Kind != HealthCheckKind.None) && watch.Fail($"{what}: {reason}", atOnce: true))
            {
                _changed();
            }
        }
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var watch in _watches.Values)
        {
            watch.Stop();
        }

        await Task.WhenAll(_watches.Values.Select(w => w.Running));
        _http.Dispose();
    }

    private static bool Matches(ServiceEndpoint endpoint, IPEndPoint address) =>
        endpoint.Port == address.Port && endpoint.Address.Equals(address.Address);

    private async Task RunAsync(Watch watch)
    {
        var stopped = watch.Stopped;
        try
        {
            while (!stopped.IsCancellationRequested)
            {
                if (await CheckAsync(watch, stopped))
                {
                    _changed();
                }

                await Task.Delay(watch.Check.Interval, _time, stopped);
            }
        }
        catch (OperationCanceledException) when (stopped.IsCancellationRequested)
        {
            // No longer exported.
        }
    }

    /// <summary>Returns whether the state changed.</summary>
    private async Task<bool> CheckAsync(Watch watch, CancellationToken stopped)
    {
        if (watch.Check.Kind == HealthCheckKind.None)
        {
            return watch.Succeed("never checked, as declared");
        }

        await _checks.WaitAsync(stopped);
        using var limit = new CancellationTokenSource(watch.Check.Timeout, _time);
        using var both = CancellationTokenSource.CreateLinkedTokenSource(limit.Token, stopped);
        try
        {
            var endpoint = new IPEndPoint(watch.Key.Endpoint.Address, watch.Check.Port ?? watch.Key.Endpoint.Port);
            if (watch.Check.Kind == HealthCheckKind.Tcp)
            {
                using var socket = new Socket(endpoint.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
                await socket.ConnectAsync(endpoint, both.Token);
                return watch.Succeed("accepts connections");
            }

            using var reply = await _http.GetAsync(new Uri($"http://{endpoint}{watch.Check.Path}"),
                HttpCompletionOption.ResponseHeadersRead, both.Token);
            var status = (int)reply.StatusCode;
            return status is >= 200 and < 400
                ? watch.Succeed($"GET {watch.Check.Path} answered {status}")
                : watch.Fail($"GET {watch.Check.Path} answered {status}");
        }
        catch (OperationCanceledException) when (!stopped.IsCancellationRequested)
        {
            return watch.Fail($"no answer within {watch.Check.Timeout.TotalMilliseconds:0} ms");
        }
        catch (Exception e) when (e is SocketException or HttpRequestException)
        {
            return watch.Fail(e.InnerException?.Message ?? e.Message);
        }
        finally
        {
            _checks.Release();
        }
    }

    private readonly record struct EndpointKey(string Service, ServiceEndpoint Endpoint);

    private sealed class Watch(EndpointKey key, HealthCheck check)
    {
        private readonly Lock _lock = new();
        private readonly CancellationTokenSource _stop = new();
        private int _failures;
        private int _successes;
        private bool _seen;

        public EndpointKey Key => key;
        public HealthCheck Check => check;
        public CancellationToken Stopped => _stop.Token;
        public Task Running { get; set; } = Task.CompletedTask;
        public bool Healthy { get; private set; }
        public string Reason { get; private set; } = "not checked yet";

        public void Stop() => _stop.Cancel();

        public bool Succeed(string reason)
        {
            lock (_lock)
            {
                _failures = 0;
                _successes++;
                return Set(Healthy || !_seen || _successes >= check.Successes, reason);
            }
        }

        public bool Fail(string reason, bool atOnce = false)
        {
            lock (_lock)
            {
                _successes = 0;
                _failures++;
                return Set(Healthy && !atOnce && _failures < check.Failures, reason);
            }
        }

        private bool Set(bool healthy, string reason)
        {
            var changed = healthy != Healthy || !_seen;
            _seen = true;
            Healthy = healthy;
            Reason = reason;
            return changed;
        }
    }
}
