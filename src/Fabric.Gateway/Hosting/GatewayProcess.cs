using System.Net;
using System.Reflection;
using Fabric.Gateway.Catalog;
using Fabric.Gateway.Control;
using Fabric.Gateway.Control.Transport;
using Fabric.Gateway.Dns;
using Fabric.Gateway.Dns.Forwarding;
using Fabric.Gateway.Egress;
using Fabric.Gateway.Faults;
using Fabric.Gateway.Ingress;
using Fabric.Gateway.Links;
using Fabric.Gateway.Probing;
using Fabric.Gateway.Snapshot;
using Fabric.Gateway.Telemetry;
using Fabric.Gateway.Telemetry.Traces;
using Fabric.Gateway.Trust;
using Fabric.Identity;
using Fabric.Identity.Authority;
using Fabric.Identity.Joining;
using Fabric.Identity.Trust;
using Fabric.Overlay;
using Fabric.Topology;
using Fabric.Topology.Model;
using Fabric.Tunnel;
using Fabric.Tunnel.Drivers;
using Microsoft.Extensions.Logging;

namespace Fabric.Gateway.Hosting;

/// <summary>
/// One gateway, put together: the only place that knows all the rooms. Made by <see cref="StartAsync"/>; disposed in the
/// reverse order of its making.
/// </summary>
internal sealed partial class GatewayProcess : IAsyncDisposable
{
    /// <summary>Reserved service name of the control stream between gateways.</summary>
    public const string ControlService = "fabric.control";

    private static readonly TimeSpan _loopLimit = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan _startLimit = TimeSpan.FromSeconds(20);
    private static readonly TimeSpan _introductionLimit = TimeSpan.FromSeconds(5);

    private readonly DaemonOptions _options;
    private readonly TimeProvider _time;
    private readonly ILogger _log;
    private readonly Stack<IAsyncDisposable> _owned = new();
    private readonly CancellationTokenSource _stop = new();
    private readonly LinkFaults _faults = new();
    private readonly StreamEndPoint _controlStreams = new("control");
    private readonly Lock _reloadLock = new();
    private readonly long _started;
    private readonly StateFolder _state;
    private readonly TopologySource _source;
    private CertificateRenewal _renewal = null!;
    private TrustKeeper _trust = null!;
    private FabricTopology _topology = null!;
    private string? _fallback;
    private string _seen = "";
    private StateLoop _loop = null!;
    private StatusBuilder _status = null!;
    private ITunnel _tunnel = null!;
    private DnsServer _dns = null!;
    private DnsForwarder _forwarder = null!;
    private Prober _prober = null!;
    private AuditLog _audit = null!;
    private EgressDecider _egress = null!;
    private IngressRouter _ingress = null!;
    private OverlayLinks? _overlay;
    private string _overlayDriver = "off";
    private string _rangeProblem = "";
    private SiteGateway _startedAs = null!;
    private ProbeSettings _startedWith = null!;
    private long _lastTurn;

    private GatewayProcess(DaemonOptions options, StateFolder state, TimeProvider time, ILoggerFactory logs)
    {
        (_options, _time, _log) = (options, time, logs.CreateLogger("Fabric.Gateway"));
        _started = _lastTurn = time.GetTimestamp();
        _state = state;
        _owned.Push(_state);
        _seam = new FaultSeam(time);
        _leases = new LeaseFolder(_state.Of(LeasesFolder), _log);
        _kernel = new KernelMeans(new KernelNames(_state.Path), () => _loop?.Current, time, _log);
        _source = new TopologySource(options.Topology, _state.Of(Daemon.LastGoodFolder)) { Gone = () => _seam.SourceGone };
    }

    /// <summary>Whether the state loop turned lately: the watchdog's question.</summary>
    public bool Alive => _time.GetElapsedTime(Interlocked.Read(ref _lastTurn)) < _loopLimit;

    public string Revision => _topology.Revision;

    private GatewayIdentity Identity => _renewal.Identity;

    private static string Version =>
        typeof(GatewayProcess).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()?.InformationalVersion.Split('+')[0] ?? "0";

    /// <summary>Loads and starts everything. Throws, with the reason, when something without which there is no gateway is missing.</summary>
    /// <param name="staysDead">Told again and again while a drill keeps the gateway dead, with how long it does yet.</param>
    public static async Task<GatewayProcess> StartAsync(
        DaemonOptions options, TimeProvider time, ILoggerFactory logs, CancellationToken cancellationToken, Action<TimeSpan>? staysDead = null)
    {
        var gateway = new GatewayProcess(options, new StateFolder(options.State), time, logs);
        try
        {
            await gateway.RevertLeftAsync(staysDead ?? (static _ => { }), cancellationToken);
            await gateway.LoadAsync(cancellationToken);
            await gateway.ComposeAsync(logs, cancellationToken);
            return gateway;
        }
        catch
        {
            await gateway.DisposeAsync();
            throw;
        }
    }

    /// <summary>One line for systemd's status.</summary>
    public string Summary() => Status() is { } status
        ? $"{status.Gateway} of {status.Site} {status.State}, {status.Streams} streams, topology {status.TopologyRevision}" +
            (status.Problems.Count > 0 ? $"; {status.Problems[0]}" : "")
        : "starting";

    /// <summary>
    /// Reads the topology when its content is new, or when <paramref name="force"/>. Throws <see cref="TopologyRefusedException"/>
    /// and keeps the running one when it is bad.
    /// </summary>
    public (string Revision, bool Changed) Reload(bool force)
    {
        lock (_reloadLock)
        {
            try
            {
                var files = _source.Read();
                if (!force && _source.Fingerprint == _seen)
                {
                    return (_topology.Revision, false);
                }

                _seen = _source.Fingerprint;
                var next = TopologyReader.Accept(files, Identity.Id);
                var changes = TopologyDiff.Between(_topology, next);
                _source.Keep(files);
                _topology = next;
                Follow(next);
                _forwarder.Follow(Forwarding(next));
                Log.TopologyAccepted(_log, next.Revision, changes.Length);
                return (next.Revision, !changes.IsEmpty);
            }
            catch (TopologyRefusedException e)
            {
                _loop.Refuse(e.Message);
                throw;
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                // Whatever is there next is new: also what ran before.
                _seen = "";
                _loop.Refuse(e.Message);
                return !force ? (_topology.Revision, false) : throw new TopologyRefusedException(e.Message);
            }
        }
    }

    /// <summary>No new streams; waits for those that live. Returns how many were left.</summary>
    public async Task<int> DrainAsync(TimeSpan limit, CancellationToken cancellationToken)
    {
        _loop.Draining = true;
        return await _tunnel.DrainAsync(limit, cancellationToken);
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        while (_owned.TryPop(out var owned))
        {
            await owned.DisposeAsync();
        }

        _stop.Dispose();
    }

    /// <summary>Who this gateway is, and the topology, which has to know it.</summary>
    private async Task LoadAsync(CancellationToken cancellationToken)
    {
        _renewal = Own(await CertificateRenewal.OpenAsync(_options, _seam, _time, _log, cancellationToken));
        _trust = new TrustKeeper(Identity, new TrustFile(_state.Of(Daemon.IdentityFolder)), _time, _log);
        (_topology, var files, _fallback) = TopologyReader.Start(_source, Identity.Id);
        _seen = _source.Fingerprint;
        if (_fallback is null)
        {
            _source.Keep(files);
        }
        else
        {
            Log.TopologyFromLastGood(_log, _options.Topology, _fallback);
        }
    }

    private async Task ComposeAsync(ILoggerFactory logs, CancellationToken cancellationToken)
    {
        var self = _topology.FindGateway(Identity.Id.Gateway)!;
        (_startedAs, _startedWith) = (self, _topology.Probes);
        Log.Starting(_log, Version, self.Name, self.Site, _topology.Revision);

        Observe(self, logs);
        _audit = Own(new AuditLog(_state.Of("audit.log")));
        Guard();
        _events = new GatewayEvents(self.Name, _time);
        var health = Own(new EndpointHealth(_time, Signal) { HeldDown = _seam.IsDown });
        CatalogWatcher catalogs = null!;
        var ingress = _ingress = new IngressRouter(() => _loop.Current, new Random(Environment.ProcessId))
        {
            LoadElsewhere = peer => catalogs.Of(peer)?.Load ?? 0,
            Patience = _options.Patience,
            Traffic = _meter.Traffic,
            TraceShare = _options.Otel.TraceShare,
            Now = () => _loop.Now,
            Time = _time,
            Locals = OperatingSystem.IsLinux() ? Own(new LocalCallers(_time)) : null,
            Unidentified = (client, listener, reason) => Audit(new AuditEntry
            {
                Time = _time.GetUtcNow(),
                Verdict = "deny",
                IsDenial = true,
                Caller = client.ToString(),
                AssertedBy = "nobody",
                Established = "none",
                Service = $"{listener.Service}:{listener.Port}",
                Host = listener.Host,
                Reason = reason,
            }),
        };
        var egress = _egress = new EgressDecider(() => _loop.Current, health, Audit, Reserved, _time, _log) { Claims = _claims, Traffic = _meter.Traffic };
        var overlayOptions = new OverlayOptions { Owner = self.Name, InterfacePrefix = _options.InterfacePrefix };

        // Goes after the tunnel, whose goodbyes leave over its links.
        GatewayTunnel tunnel = null!;
        _overlay = OpenOverlay(self, () => tunnel, overlayOptions);
        tunnel = Own(new GatewayTunnel(new TunnelOptions
        {
            Identity = Identity,
            Ingress = ingress,
            Egress = egress,
            Time = _time,
            Random = new Random(Environment.ProcessId),
            Driver = _options.TunnelDriver,
            ThreadStarted = static () => ThreadNice.Set(ThreadNice.Carries),
            Faults = _faults,
            Protocols = Protocols(),
            Moved = Moved,
            TraceLane = (relay, target) => Spans.Lane(relay, target, self.Site),
            Log = problem => Log.Tunnel(_log, problem),
        }));
        _tunnel = tunnel;
        var review = new StreamReview(tunnel.Review, () => _loop.Current?.Topology.Revision ?? "", _log);
        Own(new AsyncDisposal(new IdleCollector(_time, () => tunnel.Status.Sessions.Sum(s => s.Counters.Sent + s.Counters.Received), tunnel.Trim)));
        var prober = new Prober(
            new ProberOptions
            {
                Gateway = self.Name,
                Listen = [.. self.Listen.Select(a => new IPEndPoint(a, self.Port))],
                Settings = _topology.Probes,
                Fault = (peer, link) => new ProbeFault(
                    _faults.Current(peer, link).HasFlag(LinkFault.CutIn), _faults.Current(peer, link).HasFlag(LinkFault.CutOut),
                    _faults.Current(peer, link).HasFlag(LinkFault.Closed)),
                Carried = tunnel.Carried,
                Heard = tunnel.Heard,
                Answered = _meter.Traffic.Probed,
            },
            _time);
        Own(new AsyncDisposal(prober));
        _prober = prober;
        var publisher = new CatalogPublisher(health, _time) { LoadWithout = LoadWithout, Trust = _trust.NewFeed };
        catalogs = Own(new CatalogWatcher(self.Name, OverSession, CatalogChanged, _time, _log)
        {
            Heard = _trust.Heard,
            Refused = (peer, reason) => _claims.Refuse(peer, PeerClaim.Catalog, reason),
        });
        _review = new CatalogReview(() => _loop?.Current?.Topology, catalogs, _claims, _time);

        _loop = new StateLoop(
            new StateParts
            {
                Gateway = self.Name,
                Tunnel = tunnel,
                Prober = prober,
                Health = health,
                Publisher = publisher,
                Catalogs = catalogs,
                Addresses = new ServiceAddressBook(_state).Assign,
                Overlay = _overlay,
                Withdrawn = _seam.IsWithdrawn,
                Happened = _events.Add,
                ServiceRange = range => ServiceRange(overlayOptions, range),
                Accepted = () =>
                {
                    review.Signal();
                    // Not here: the loop judges links, and there may be thousands of services.
                    _ = Task.Run(_review.LookAtAll);
                },
                Turning = _options.Turning,
                Turned = () =>
                {
                    Interlocked.Exchange(ref _lastTurn, _time.GetTimestamp());
                    ingress.Changed();
                    _options.Turned();
                },
            },
            _time, _log);
        Own(new AsyncDisposal(_loop));
        OpenLan();
        FollowTrust(tunnel);
        tunnel.SessionChanged += peer =>
        {
            catalogs.Retry(peer);
            Signal();
        };
        prober.Changed += LinkChanged;
        prober.Changed += link => HurryOver(link, tunnel);

        FeedEvents(tunnel, prober);

        _forwarder = Own(new DnsForwarder(new DnsForwarderOptions { Answered = _meter.Traffic.Forwarded }, _time));
        _forwarder.Follow(Forwarding(_topology));
        _dns = Own(new DnsServer(DnsOptions(self), Zone, _time));
        OpenFaults(self.Name, tunnel);
        _status = new StatusBuilder(Sources(ingress, egress, catalogs), _time);
        var control = Own(new ControlHost(
            new ControlEndpoints(Path.GetFullPath(_options.Socket), _controlStreams, self.Metrics, self.Dashboard)
            {
                SocketGroup = _options.SocketGroup,
            },
            Services(publisher), _time, logs));

        Follow(_topology);
        if (_fallback is not null)
        {
            _loop.Refuse(_fallback);
        }

        _loop.Start();
        _overlay?.Start();
        if (!_loop.WaitForFirst(_startLimit))
        {
            throw new IOException($"the topology was not applied within {_startLimit.TotalSeconds:0} s");
        }

        // Its address may be a service address, which the first turn has made local.
        _dns.Start();
        await control.StartAsync(cancellationToken);
        _renewal.Start();
        _events.Add(new Protocol.Proto.GatewayEvent { Kind = "started", Text = $"fabricd {Version}, topology {_topology.Revision}" });
    }

    private void Signal() => _loop?.Signal();


    private T Own<T>(T part)
        where T : IAsyncDisposable
    {
        _owned.Push(part);
        return part;
    }

    /// <summary>Streams with a reserved name, by name; null for others.</summary>
    private Func<Stream, string, Task>? Reserved(string service) => service == ControlService ? _controlStreams.ServeAsync : null;

    /// <summary>gRPC to a peer, over a stream of the session with it.</summary>
    private HttpMessageInvoker OverSession(string peer) => Fabric.Protocol.Grpc.GrpcHandler.OverStreams(
        cancellationToken => _tunnel.OpenAsync(peer, new StreamOpen(ControlService, 0, Identity.Id.ToString()), cancellationToken));

    /// <summary>What else is served on the gateway port.</summary>
    private Dictionary<string, Func<ProtocolConnection, Task>> Protocols()
    {
        var protocols = new Dictionary<string, Func<ProtocolConnection, Task>>(StringComparer.Ordinal)
        {
            [IntroductionExchange.Alpn] = async connection =>
            {
                if (_overlay is { } overlay && connection.Peer is { } peer)
                {
                    using var limit = new CancellationTokenSource(_introductionLimit, _time);
                    using var either = CancellationTokenSource.CreateLinkedTokenSource(limit.Token, _stop.Token);
                    await IntroductionExchange.AnswerAsync(connection.Stream, theirs => overlay.Answer(peer.Gateway, theirs), either.Token);
                }
            },
        };
        if (_options.Ca is { } folder)
        {
            var authority = new JoinServer(MeshCa.Open(folder, _time), TopologyFiles, _time,
                id => _topology.Sites.Any(s => s.Name == id.Site && s.Gateways.Any(g => g.Name == id.Gateway)));
            protocols[JoinServer.Protocol] = connection => JoinAsync(authority, connection);
        }

        return protocols;
    }

    private IReadOnlyList<(string Name, string Text)> TopologyFiles() =>
        [.. _source.ReadLastGood().Select(f => (Path.GetFileName(f.Path), f.Text))];

    private OverlayLinks? OpenOverlay(SiteGateway self, Func<GatewayTunnel> tunnel, OverlayOptions options)
    {
        if (_options.WireGuard == "off" || !_topology.Links.Any(l => l.Kind == LinkKind.Vpn && l.Touches(self.Name)))
        {
            return null;
        }

        var driver = WireGuardDrivers.Choose(_options.WireGuard, options, _time, out var why);
        Log.OverlayDriver(_log, driver.Name, why);
        _overlayDriver = driver.Name;
        return Own(new OverlayLinks(self.Name, _state, driver, options, _time, _log)
        {
            Dial = (remote, peer, cancellationToken) => tunnel().DialAsync(remote, IntroductionExchange.Alpn, peer, cancellationToken),
            KeyRefused = (peer, reason) => _claims.Refuse(peer, PeerClaim.Key, reason),
            Renewed = (peer, link) => tunnel().Hurry(peer, link, anew: true),
            IsUp = (peer, link) => _loop.Current?.Links.Any(l => l.Peer == peer && l.Link == link
                && l.State is Routing.Health.LinkState.Up or Routing.Health.LinkState.Suspect) == true,
        });
    }

    /// <summary>Service addresses are local to this machine: by nature in 127.0.0.0/8, else by a local route, which needs privilege.</summary>
    private void ServiceRange(OverlayOptions options, IPNetwork range)
    {
        try
        {
            if (!IPAddress.IsLoopback(range.BaseAddress))
            {
                new LocalRoutes(options).AddLocalRangeAsync(range).GetAwaiter().GetResult();
            }

            _rangeProblem = "";
        }
        catch (OverlayException e)
        {
            _rangeProblem = $"service addresses {range} are not local: {e.Message}";
        }
    }

    private sealed class AsyncDisposal(IDisposable part) : IAsyncDisposable
    {
        public ValueTask DisposeAsync()
        {
            part.Dispose();
            return ValueTask.CompletedTask;
        }
    }
}
