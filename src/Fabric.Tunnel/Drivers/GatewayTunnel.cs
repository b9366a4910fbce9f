using System.Collections.Concurrent;
using System.Collections.Immutable;
using System.Net;
using System.Threading.Channels;
using Fabric.Identity;
using Fabric.Tunnel.Core;
using Fabric.Tunnel.Linux;
using Fabric.Tunnel.Portable;

namespace Fabric.Tunnel.Drivers;

/// <summary>
/// The tunnel of a gateway: reconciles lanes, listeners and sessions to the plan. What moves bytes is its driver, chosen by
/// <see cref="TunnelOptions.Driver"/>.
/// </summary>
public sealed partial class GatewayTunnel : ITunnel
{
    private static readonly TimeSpan _listenRetry = TimeSpan.FromSeconds(1);

    private readonly long _began;
    private readonly Lock _reconciling = new();
    private readonly ConcurrentDictionary<string, PeerSession> _sessions = new();
    private readonly Dictionary<(string Peer, string Link, int Channel), LaneKeeper> _keepers = [];
    private readonly Dictionary<IPEndPoint, IListener> _ports = [];
    private readonly Dictionary<ServiceListener, IListener> _services = [];
    private readonly ConcurrentDictionary<Task, byte> _closing = new();
    private readonly CancellationTokenSource _stopping = new();
    private readonly Channel<string> _changes = Channel.CreateUnbounded<string>(new UnboundedChannelOptions { SingleReader = true });
    private readonly ConcurrentDictionary<string, byte> _changesQueued = new();
    private readonly Task _changeLoop;
    private readonly ITimer _retry;
    private readonly GatewayPort _port;
    private readonly EgressDialer _egress;
    private readonly RelayDesk _relays;
    private ImmutableHashSet<(string Peer, string Link)> _planned = [];
    private TunnelPlan _plan = new();
    private ImmutableDictionary<string, ImmutableHashSet<string>> _plannedRelays = ImmutableDictionary<string, ImmutableHashSet<string>>.Empty;
    private int _disposed;

    public GatewayTunnel(TunnelOptions options)
    {
        Options = options with { Identity = new PlannedIdentity(options.Identity, () => Volatile.Read(ref _plan).Sites) };
        _began = options.Time.GetTimestamp();
        Pool = new SlabPool(options.Limits.Memory);
        DialSlots = new SemaphoreSlim(options.Limits.MaxHandshakes);
        Handshakes = new HandshakeGate(options.Limits);
        Log = new QuietLog(options.Log, options.Time);
        Pool.Budget.Freed = () => ThreadPool.UnsafeQueueUserWorkItem(static t => t.MemoryFreed(), this, preferLocal: false);
        _port = new GatewayPort(this);
        _relays = new RelayDesk(this, _port);
        _egress = new EgressDialer(this, _relays);
        Ingress = new ServiceServer(this, _egress);
        _certified = new CertifiedServer(this);
        Driver = CreateDriver();
        _clientFlows = new FlowTable(this);
        _endpointFlows = new EndpointFlows(this);
        _changeLoop = Task.Run(TellChangesAsync);
        _retry = options.Time.CreateTimer(static s => ((GatewayTunnel)s!).LookAround(), this, _listenRetry, _listenRetry);
    }

    internal TunnelOptions Options { get; }

    internal IDriver Driver { get; }

    internal ServiceServer Ingress { get; }

    private IDriver CreateDriver()
    {
        var reason = "";
        return Options.Driver != TunnelDriver.Portable && LinuxDriver.IsAvailable(out reason) ? new LinuxDriver(this)
            : Options.Driver != TunnelDriver.Linux ? new PortableDriver(this)
            : throw new PlatformNotSupportedException($"the tunnel's driver \"linux\" cannot run here: {reason}");
    }

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

            changed.UnionWith(_plan.Sites.Where(s => plan.Sites.TryGetValue(s.Key, out var site) && site != s.Value).Select(s => s.Key));
            Volatile.Write(ref _plan, plan);
            var lanes = plan.Lanes.SelectMany(l => Channels(l).Select(c => (Lane: l, Channel: c)))
                .ToDictionary(l => (l.Lane.Peer, l.Lane.Link, l.Channel), l => l.Lane);
            _planned = [.. plan.Lanes.Select(l => (l.Peer, l.Link))];
            Handshakes.Plan(plan.Lanes.Select(l => (l.Remote ?? l.Knock)?.Address).OfType<IPAddress>());
            changed.UnionWith(_plannedRelays.Where(r => plan.Relays.GetValueOrDefault(r.Key)?.IsSupersetOf(r.Value) != true).Select(r => r.Key));
            _plannedRelays = plan.Relays;
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
                    _keepers[key] = new LaneKeeper(this, SessionWith(lane.Peer), lane, key.Channel);
                    changed.Add(key.Peer);
                }
            }

            Match(_ports, plan.Listen, address => Driver.Listen(address, _port.ServeAsync));
            Match(_services, IsDraining ? [.. plan.Services.Where(s => s.Datagrams)] : plan.Services, Listener);
        }

        OpenListeners();
        foreach (var peer in changed)
        {
            Session(peer)?.EndUnplanned(link => IsPlanned(peer, link), plan.Sites.GetValueOrDefault(peer));
            RaiseChanged(peer);
        }
    }

    /// <summary>The lanes of one link: one that all streams share, and those for bulk; through a relay they would share a stream's fate and window.</summary>
    private IEnumerable<int> Channels(LanePlan lane) => Enumerable.Range(0, lane.Relay is null ? 1 + Options.Limits.BulkLanes : 1);

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

    private void LookAround()
    {
        OpenListeners();
        Driver.AskForLife();
    }

    private void OpenListeners()
    {
        lock (_reconciling)
        {
            if (_disposed != 0)
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
        SessionWith(peer).SetPaths(paths);

    /// <summary>
    /// There is reason to think that a peer is reached over a link: lanes over it that are not up are dialled now, and not when their wait is over.
    /// Returns at once.
    /// </summary>
    /// <param name="anew">What was sent to it and is not answered is known to be lost: a connect is begun again.</param>
    public void Hurry(string peer, string link, bool anew = false) => ThreadPool.UnsafeQueueUserWorkItem(static s =>
    {
        lock (s.Tunnel._reconciling)
        {
            foreach (var keeper in s.Tunnel._keepers.Values.Where(k => k.Plan.Peer == s.peer && k.Plan.Link == s.link))
            {
                keeper.Hurry(s.anew);
            }
        }
    }, (Tunnel: this, peer, link, anew), false);

    public TimeSpan? Carried(string peer, string link, bool bulk) => Now - Session(peer)?.Carried(link, bulk);

    public TimeSpan? Heard(string peer, string link) => Now - Session(peer)?.Heard(link);

    internal bool IsPlanned(string peer, string link) => _planned.Contains((peer, link))
        || (RelayNames.RelayOf(link) is { } relay && _plannedRelays.GetValueOrDefault(peer)?.Contains(relay) == true);

    /// <summary>The peer's site by the plan in force; null where the plan does not say.</summary>
    internal string? SiteOf(string peer) => Volatile.Read(ref _plan).Sites.GetValueOrDefault(peer);

    /// <summary>The session with a peer that is planned; begins with its first lane.</summary>
    internal PeerSession SessionWith(string peer) => _sessions.GetOrAdd(peer, name => new PeerSession(this, name));

    internal PeerSession? Session(string peer) => _sessions.GetValueOrDefault(peer);

    /// <summary>A lane ended; in the session's lock.</summary>
    internal void LaneEnded(string peer, string link, int channel, string reason) => ThreadPool.UnsafeQueueUserWorkItem(
        static s => s.Tunnel.WakeKeeper(s.peer, s.link, s.channel, s.reason), (Tunnel: this, peer, link, channel, reason), false);

    private void WakeKeeper(string peer, string link, int channel, string reason)
    {
        lock (_reconciling)
        {
            _keepers.GetValueOrDefault((peer, link, channel))?.LaneEnded(reason);
            foreach (var keeper in _keepers.Values.Where(k => k.Plan.Peer == peer))
            {
                keeper.Wake();
            }
        }

        RaiseChanged(peer);
    }

    // ---- streams

    async Task<Stream> ITunnel.OpenAsync(string peer, StreamOpen open, CancellationToken cancellationToken) =>
        await OpenAsync(peer, open, cancellationToken).ConfigureAwait(false);

    /// <inheritdoc cref="ITunnel.OpenAsync"/>
    public Task<TunnelStream> OpenAsync(string peer, StreamOpen open, CancellationToken cancellationToken) =>
        OpenAsync(peer, open, true, cancellationToken);

    internal Task<TunnelStream> OpenAsync(string peer, StreamOpen open, bool waits, CancellationToken cancellationToken) =>
        SessionFor(peer, open).OpenAsync(open, waits, cancellationToken);

    internal PeerSession SessionFor(string peer, StreamOpen open) =>
        (IsDraining && !open.IsReserved) || _disposed != 0 ? throw new StreamRefusedException(StreamCode.Draining, "this gateway is draining")
        : Session(peer) ?? throw new StreamRefusedException(StreamCode.NoLane, $"no lane to {peer} is planned");

    /// <summary>A peer opened a stream; in the session's lock.</summary>
    internal void Serve(TunnelStream stream, EgressVerdict? decided = null) => _ = Task.Run(() => _egress.ServeAsync(stream, decided));

    /// <summary>
    /// Connects to the gateway port of a peer for a protocol other than lanes, as this gateway. Throws
    /// <see cref="System.Security.Authentication.AuthenticationException"/> with the reason when a certificate is refused.
    /// </summary>
    public async Task<Stream> DialAsync(IPEndPoint remote, string protocol, string? expectedGateway, CancellationToken cancellationToken)
    {
        try
        {
            return (await MutualTls.DialAsync(remote, Options.Identity, protocol, expectedGateway, cancellationToken).ConfigureAwait(false)).Stream;
        }
        catch (CertificateRefusedException error)
        {
            Refusals.AddCertificate(error);
            throw;
        }
    }

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

    /// <summary>Lets go of the buffers that are kept for reuse: for when nothing is carried.</summary>
    public void Trim() => Pool.Trim();

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
            return new TunnelStatus(sessions, listeners, sessions.Sum(s => s.Streams), Pool.Rented)
            {
                Relayed = _relays.Status,
                Datagrams = DatagramStatus,
            };
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
        }))
    {
        Certificates = Refusals.Certificates,
        DriverName = Driver.Name,
        Driver = Driver.Usage,
    };

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
            foreach (var (key, acceptor) in _services.Where(s => s.Value is not DatagramListener).ToArray())
            {
                // Flows that live share their listener's socket: that stays, and takes no new ones.
                InBackground(acceptor.CloseAsync());
                _services.Remove(key);
            }
        }

        foreach (var session in _sessions.Values)
        {
            session.Drain(true);
        }

        while (Left() > 0 && Now < until)
        {
            await Task.Delay(TimeSpan.FromMilliseconds(20), Options.Time, cancellationToken).ConfigureAwait(false);
        }

        return Left();
    }

    public void Undrain()
    {
        lock (_reconciling)
        {
            IsDraining = false;
            Reconcile(_plan);
        }

        foreach (var session in _sessions.Values)
        {
            session.Drain(false);
        }
    }

    private int Left() => Math.Max(_sessions.Values.Sum(s => s.StreamCount), Ingress.Connections + _clientFlows.Count);

    public ImmutableArray<StreamGroup> Streams =>
        [.. _sessions.Values.OrderBy(s => s.Peer, StringComparer.Ordinal).SelectMany(s => s.Groups()), .. Ingress.Local()];

    public int CutStreams(string reason) => _sessions.Values.Sum(s => s.Cut(StreamCode.Draining, reason)) + Ingress.CutLocal(reason);

    public int Review() => _sessions.Values.Sum(s => s.Review(Options.Ingress, Options.Egress)) + Ingress.ReviewLocal()
        + _clientFlows.Review(Options.Egress);

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
        var goodbyes = _sessions.Values.Select(s => s.StopAsync()).ToArray();
        await Task.WhenAll(ends.Concat(goodbyes).Concat(_closing.Keys)).ConfigureAwait(false);
        await Driver.DisposeAsync().ConfigureAwait(false);
        _changes.Writer.TryComplete();
        await _changeLoop.ConfigureAwait(false);
    }
}
