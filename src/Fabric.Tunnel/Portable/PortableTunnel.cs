using System.Collections.Concurrent;
using System.Collections.Immutable;
using System.Net;
using System.Net.Security;
using System.Threading.Channels;
using Fabric.Identity;
using Fabric.Tunnel.Core;

namespace Fabric.Tunnel.Portable;

/// <summary>The driver that runs anywhere: <see cref="SslStream"/> and sockets on the thread pool.</summary>
public sealed partial class PortableTunnel : ITunnel
{
    private static readonly TimeSpan _listenRetry = TimeSpan.FromSeconds(1);

    private readonly long _began;
    private readonly Lock _reconciling = new();
    private readonly ConcurrentDictionary<string, PeerSession> _sessions = new();
    private readonly Dictionary<(string Peer, string Link, int Channel), LaneKeeper> _keepers = [];
    private readonly Dictionary<IPEndPoint, Acceptor> _ports = [];
    private readonly Dictionary<ServiceListener, IListener> _services = [];
    private readonly ConcurrentDictionary<Task, byte> _closing = new();
    private readonly CancellationTokenSource _stopping = new();
    private readonly Channel<string> _changes = Channel.CreateUnbounded<string>(new UnboundedChannelOptions { SingleReader = true });
    private readonly ConcurrentDictionary<string, byte> _changesQueued = new();
    private readonly Task _changeLoop;
    private readonly ITimer _retry;
    private readonly GatewayPort _port;
    private readonly EgressDialer _egress;
    private readonly ServiceServer _ingress;
    private ImmutableHashSet<(string Peer, string Link)> _planned = [];
    private int _disposed;

    public PortableTunnel(TunnelOptions options)
    {
        Options = options;
        _began = options.Time.GetTimestamp();
        Pool = new SlabPool(options.Limits.Memory);
        DialSlots = new SemaphoreSlim(options.Limits.MaxHandshakes);
        Handshakes = new HandshakeGate(options.Limits);
        Log = new QuietLog(options.Log, options.Time);
        Pool.Budget.Freed = () => ThreadPool.UnsafeQueueUserWorkItem(static t => t.MemoryFreed(), this, preferLocal: false);
        _port = new GatewayPort(this);
        _egress = new EgressDialer(this);
        _ingress = new ServiceServer(this, _egress);
        _clientFlows = new FlowTable(this);
        _endpointFlows = new EndpointFlows(this);
        _changeLoop = Task.Run(TellChangesAsync);
        _retry = options.Time.CreateTimer(static s => ((PortableTunnel)s!).OpenListeners(), this, _listenRetry, _listenRetry);
    }

    internal TunnelOptions Options { get; }

    internal SlabPool Pool { get; }

    internal SemaphoreSlim DialSlots { get; }

    internal HandshakeGate Handshakes { get; }

    internal RefusalCounts Refusals { get; } = new();

    /// <summary>For lines that a peer or a stranger can cause.</summary>
    internal QuietLog Log { get; }

    internal Guid ProcessId { get; } = Guid.NewGuid();

    internal TimeSpan Now => Options.Time.GetElapsedTime(_began);

    internal CancellationToken Stopping => _stopping.Token;

    internal bool IsDraining { get; private set; }

    public event Action<string>? SessionChanged;

    // ---- the plan

    public void Reconcile(TunnelPlan plan)
    {
        var changed = new HashSet<string>();
        lock (_reconciling)
        {
            if (_disposed != 0)
            {
                return;
            }

            var lanes = plan.Lanes.SelectMany(l => Channels(l).Select(c => (Lane: l, Channel: c)))
                .ToDictionary(l => (l.Lane.Peer, l.Lane.Link, l.Channel), l => l.Lane);
            _planned = [.. plan.Lanes.Select(l => (l.Peer, l.Link))];
            Handshakes.Plan(plan.Lanes.Select(l => l.From ?? l.Remote?.Address).OfType<IPAddress>());
            foreach (var (key, keeper) in _keepers.ToArray())
            {
                if (!lanes.TryGetValue(key, out var wanted) || wanted != keeper.Plan)
                {
                    _keepers.Remove(key);
                    InBackground(keeper.StopAsync());
                    changed.Add(key.Peer);
                }
            }

            foreach (var (key, lane) in lanes)
            {
                if (!_keepers.ContainsKey(key))
                {
                    _keepers[key] = new LaneKeeper(this, _sessions.GetOrAdd(lane.Peer, peer => new PeerSession(this, peer)), lane, key.Channel);
                    changed.Add(key.Peer);
                }
            }

            Match(_ports, plan.Listen, address => new Acceptor(address, "gateway port", _port.ServeAsync, Log, Options.Time));
            Match(_services, plan.Services, Listener);
        }

        OpenListeners();
        foreach (var peer in changed)
        {
            Session(peer)?.EndUnplanned(link => IsPlanned(peer, link));
            RaiseChanged(peer);
        }
    }

    /// <summary>The lanes of one link: one that all streams share, and those for bulk.</summary>
    private IEnumerable<int> Channels(LanePlan lane) => Enumerable.Range(0, 1 + Options.Limits.BulkLanes);

    private void Match<TKey, TListener>(
        Dictionary<TKey, TListener> open, ImmutableArray<TKey> wanted, Func<TKey, TListener> create)
        where TKey : notnull
        where TListener : IListener
    {
        foreach (var key in open.Keys.Except(wanted).ToArray())
        {
            InBackground(open[key].CloseAsync());
            open.Remove(key);
        }

        foreach (var key in wanted)
        {
            if (!open.ContainsKey(key))
            {
                open[key] = create(key);
            }
        }
    }

    private void OpenListeners()
    {
        lock (_reconciling)
        {
            if (_disposed != 0 || IsDraining)
            {
                return;
            }

            foreach (var acceptor in _ports.Values.Concat<IListener>(_services.Values))
            {
                acceptor.TryOpen();
            }
        }
    }

    public void SetPaths(string peer, LinkPaths paths) =>
        _sessions.GetOrAdd(peer, name => new PeerSession(this, name)).SetPaths(paths);

    internal bool IsPlanned(string peer, string link) => _planned.Contains((peer, link));

    internal PeerSession? Session(string peer) => _sessions.GetValueOrDefault(peer);

    /// <summary>A lane ended; in the session's lock.</summary>
    internal void LaneEnded(string peer, string link, int channel, string reason) => ThreadPool.UnsafeQueueUserWorkItem(
        static s => s.Tunnel.WakeKeeper(s.peer, s.link, s.channel, s.reason), (Tunnel: this, peer, link, channel, reason), false);

    private void WakeKeeper(string peer, string link, int channel, string reason)
    {
        lock (_reconciling)
        {
            _keepers.GetValueOrDefault((peer, link, channel))?.LaneEnded(reason);
        }

        RaiseChanged(peer);
    }

    // ---- streams

    async Task<Stream> ITunnel.OpenAsync(string peer, StreamOpen open, CancellationToken cancellationToken) =>
        await OpenAsync(peer, open, cancellationToken).ConfigureAwait(false);

    /// <inheritdoc cref="ITunnel.OpenAsync"/>
    public Task<TunnelStream> OpenAsync(string peer, StreamOpen open, CancellationToken cancellationToken) =>
        SessionFor(peer).OpenAsync(open, cancellationToken);

    private PeerSession SessionFor(string peer) =>
        IsDraining || _disposed != 0 ? throw new StreamRefusedException(StreamCode.Draining, "this gateway is draining")
        : Session(peer) ?? throw new StreamRefusedException(StreamCode.NoLane, $"no lane to {peer} is planned");

    /// <summary>A peer opened a stream; in the session's lock.</summary>
    internal void Serve(TunnelStream stream) => _ = Task.Run(() => _egress.ServeAsync(stream));

    /// <summary>
    /// Connects to the gateway port of a peer for a protocol other than lanes, as this gateway. Throws
    /// <see cref="System.Security.Authentication.AuthenticationException"/> with the reason when a certificate is refused.
    /// </summary>
    public async Task<Stream> DialAsync(IPEndPoint remote, string protocol, string? expectedGateway, CancellationToken cancellationToken) =>
        (await MutualTls.DialAsync(remote, Options.Identity, protocol, expectedGateway, cancellationToken).ConfigureAwait(false)).Stream;

    // ---- what is told

    /// <summary>Calls what the gateway gave; its failures are its own.</summary>
    internal void Told(Action tell)
    {
        try
        {
            tell();
        }
        catch (Exception error)
        {
            Options.Log($"a listener of the tunnel failed: {error}");
        }
    }

    internal void RaiseChanged(string peer)
    {
        if (_changesQueued.TryAdd(peer, 0))
        {
            _changes.Writer.TryWrite(peer);
        }
    }

    private async Task TellChangesAsync()
    {
        await foreach (var peer in _changes.Reader.ReadAllAsync().ConfigureAwait(false))
        {
            _changesQueued.TryRemove(peer, out _);
            Told(() => SessionChanged?.Invoke(peer));
        }
    }

    internal double Jitter()
    {
        lock (Options.Random)
        {
            return Options.Random.NextDouble();
        }
    }

    public TunnelStatus Status
    {
        get
        {
            ILookup<string, LaneStatus> lanes;
            ImmutableArray<ListenerStatus> listeners;
            lock (_reconciling)
            {
                lanes = _keepers.Values.OrderBy(k => k.Channel).ToLookup(k => k.Plan.Peer, k => k.Status);
                listeners = [.. _ports.Values.Concat<IListener>(_services.Values).Select(a => a.Status)];
            }

            var sessions = _sessions.Values.OrderBy(s => s.Peer, StringComparer.Ordinal).Select(s => s.Status([.. lanes[s.Peer]])).ToImmutableArray();
            return new TunnelStatus(sessions, listeners, sessions.Sum(s => s.Streams), Pool.Rented) { Datagrams = DatagramStatus };
        }
    }

    /// <inheritdoc/>
    public TunnelUsage Usage => new(
        Pool.Budget.Limit, Pool.Budget.Rented, Pool.Budget.Retained, Pool.Budget.Promised, Handshakes.Count,
        Refusals.All(kind => kind switch
        {
            Refusal.OpenLimit => _sessions.Values.Sum(s => s.OpensRefused),
            Refusal.Memory => Pool.Budget.Overflows,
            _ => 0,
        }));

    private void MemoryFreed()
    {
        foreach (var session in _sessions.Values)
        {
            session.MemoryFreed();
        }
    }

    // ---- the end

    public async Task<int> DrainAsync(TimeSpan limit, CancellationToken cancellationToken)
    {
        var until = Now + limit;
        lock (_reconciling)
        {
            IsDraining = true;
            foreach (var acceptor in _services.Values.Where(s => s is not DatagramListener))
            {
                // Flows that live share their listener's socket: it stays, and takes no new ones.
                InBackground(acceptor.CloseAsync());
            }
        }

        foreach (var session in _sessions.Values)
        {
            session.Drain();
        }

        while (Left() > 0 && Now < until)
        {
            await Task.Delay(TimeSpan.FromMilliseconds(20), Options.Time, cancellationToken).ConfigureAwait(false);
        }

        return Left();
    }

    private int Left() => Math.Max(_sessions.Values.Sum(s => s.StreamCount), _ingress.Connections + _clientFlows.Count);

    private void InBackground(Task task)
    {
        _closing.TryAdd(task, 0);
        _ = task.ContinueWith(t => _closing.TryRemove(t, out _), TaskScheduler.Default);
    }

    public async ValueTask DisposeAsync()
    {
        List<Task> ends;
        lock (_reconciling)
        {
            if (Interlocked.Exchange(ref _disposed, 1) != 0)
            {
                return;
            }

            ends = [.. _ports.Values.Concat<IListener>(_services.Values).Select(a => a.CloseAsync()), .. _keepers.Values.Select(k => k.StopAsync())];
        }

        await _retry.DisposeAsync().ConfigureAwait(false);
        await _stopping.CancelAsync().ConfigureAwait(false);
        _clientFlows.Dispose();
        _endpointFlows.Dispose();
        foreach (var session in _sessions.Values)
        {
            session.Dispose();
        }

        await Task.WhenAll(ends.Concat(_closing.Keys)).ConfigureAwait(false);
        _changes.Writer.TryComplete();
        await _changeLoop.ConfigureAwait(false);
    }
}
