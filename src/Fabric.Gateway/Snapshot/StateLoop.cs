using System.Collections.Immutable;
using System.Net;
using Fabric.Gateway.Catalog;
using Fabric.Gateway.Dns;
using Fabric.Gateway.Egress;
using Fabric.Gateway.Hosting;
using Fabric.Gateway.Links;
using Fabric.Gateway.Probing;
using Fabric.Gateway.Telemetry;
using Fabric.Routing.Health;
using Fabric.Routing.Paths;
using Fabric.Routing.Policies;
using Fabric.Routing.Sites;
using Fabric.Topology.Model;
using Fabric.Tunnel;
using Microsoft.Extensions.Logging;

namespace Fabric.Gateway.Snapshot;

/// <summary>
/// The one writer of the snapshot, on a thread of its own. Whoever learns something (a probe's verdict, a session, a catalog, an
/// endpoint, a topology) says so by <see cref="Signal"/>; the loop then looks at all of them and makes everything follow.
/// Level-triggered: signals may coalesce and none can be lost, so there is no queue to bound.
/// </summary>
/// <remarks>
/// One turn, in order: (1) an accepted topology is compiled and told to overlay, tunnel, prober, checks and catalogs; (2) probe keys
/// follow the sessions; (3) paths are chosen from the links' verdicts and told to the tunnel; (4) what the own site exports is told
/// to the peers, and sites are ranked; (5) the DNS zone follows; (6) the reference is swapped.
/// </remarks>
internal sealed class StateLoop : IDisposable
{
    private static readonly TimeSpan _idleTurn = TimeSpan.FromMilliseconds(250);

    private readonly StateParts _parts;
    private readonly TimeProvider _time;
    private readonly ILogger _log;
    private readonly long _start;
    private readonly AutoResetEvent _signal = new(false);
    private readonly ManualResetEventSlim _firstTurn = new();
    private readonly Thread _thread;
    // In order, so that the same happenings have the same consequences in every process.
    private readonly SortedDictionary<string, PathChoice> _choices = new(StringComparer.Ordinal);
    private readonly Dictionary<string, PathDecision> _told = new(StringComparer.Ordinal);
    private readonly Dictionary<string, LinkPaths> _paths = new(StringComparer.Ordinal);
    private readonly RelayPaths _relays;
    private readonly ZoneFollower _zone;
    private FabricTopology? _next;
    private FabricSnapshot? _current;
    private string _topologyError = "";
    private ImmutableHashSet<(string Peer, string Link)> _drained = [];
    private volatile bool _draining;
    private volatile bool _stopped;

    public StateLoop(StateParts parts, TimeProvider time, ILogger log)
    {
        (_parts, _time, _log) = (parts, time, log);
        _relays = new RelayPaths(parts.Gateway, parts.Catalogs, time, log);
        _zone = new ZoneFollower(time, parts.Withdrawn);
        _start = time.GetTimestamp();
        // Not the thread pool: when it is busy, a failover would wait for it.
        _thread = new Thread(Run) { Name = "fabric-state", IsBackground = true };
    }

    /// <summary>What readers consult; null until the first topology was applied.</summary>
    public FabricSnapshot? Current => Volatile.Read(ref _current);

    /// <summary>Time since the daemon's start: the instants of all decisions.</summary>
    public TimeSpan Now => _time.GetElapsedTime(_start);

    public bool Draining
    {
        get => _draining;
        set
        {
            _draining = value;
            Signal();
        }
    }

    /// <summary>Takes a link to a peer out of use as long as another works, or back into use. Forgotten at a restart.</summary>
    public void DrainLink(string peer, string link, bool drained)
    {
        ImmutableInterlocked.Update(ref _drained, set => drained ? set.Add((peer, link)) : set.Remove((peer, link)));
        Signal();
    }

    /// <summary>Something changed: look again. Any thread; never blocks.</summary>
    public void Signal() => _signal.Set();

    /// <summary>An accepted topology; the loop makes everything follow.</summary>
    public void Accept(FabricTopology topology)
    {
        Volatile.Write(ref _topologyError, "");
        Volatile.Write(ref _next, topology);
        Signal();
    }

    /// <summary>Waits until everything follows what was accepted; false when that took longer than the limit.</summary>
    public async Task<bool> FollowedAsync(TimeSpan limit, CancellationToken cancellationToken)
    {
        for (var since = _time.GetTimestamp(); Volatile.Read(ref _next) is not null; await Task.Delay(TimeSpan.FromMilliseconds(5), _time, cancellationToken))
        {
            if (_time.GetElapsedTime(since) > limit)
            {
                return false;
            }
        }

        return true;
    }

    /// <summary>The newest topology was refused; the running one stays.</summary>
    public void Refuse(string reason)
    {
        Volatile.Write(ref _topologyError, reason);
        Signal();
    }

    public void Start() => _thread.Start();

    /// <summary>Waits for the first snapshot; false when it took longer than the limit.</summary>
    public bool WaitForFirst(TimeSpan limit) => _firstTurn.Wait(limit);

    public void Dispose()
    {
        _stopped = true;
        _signal.Set();
        if (_thread.IsAlive)
        {
            _thread.Join();
        }

        // Not the signal: checks, probes and sessions that stop after the loop may still say that something changed.
        _firstTurn.Dispose();
    }

    private void Run()
    {
        // It moves streams off a dead link, and shares a lock with the probe thread, which must not wait for one that waits for a core.
        ThreadNice.Set(ThreadNice.Judges);
        _parts.Turning();
        while (!_stopped)
        {
            try
            {
                Turn();
                _parts.Turned();
            }
            catch (Exception e)
            {
                // The loop outlives what it meets: the next turn looks at the same things again.
                Log.Failed(_log, "A turn of the state loop", e.ToString());
            }

            _signal.WaitOne(_idleTurn);
        }
    }

    /// <summary>One turn, without the thread: whoever has no thread of the loop calls it.</summary>
    internal void Turn()
    {
        var topology = Volatile.Read(ref _next);
        var before = Current;
        if (topology is null && before is null)
        {
            return;
        }

        var now = topology is null ? before! : Compile(topology, before);
        if (topology is not null)
        {
            Reconcile(now);
        }

        var tunnel = _parts.Tunnel.Status;
        now = now with { DrainedLinks = _drained };
        FollowSessions(tunnel);
        var links = _parts.Prober.Snapshot();
        var paths = ChoosePaths(now, links, tunnel);
        _parts.Publisher.Refresh(now.Topology, now.Self.Site, _draining, _relays.Offered(now, _draining));
        var choices = RankSites(now, paths);
        if (_draining && before is { Draining: false })
        {
            _parts.Happened(new Protocol.Proto.GatewayEvent { Kind = "draining" });
        }

        SiteMoves.Tell(before?.Choices, choices, _parts.Happened);
        Volatile.Write(ref _current, now with
        {
            Links = links,
            Paths = paths,
            Relays = _relays.View(tunnel),
            Choices = choices,
            Zone = _zone.Follow(now, choices),
            HostOrder = _zone.HostOrder,
            Tunnel = tunnel,
            Draining = _draining,
            TopologyError = Volatile.Read(ref _topologyError),
        });
        if (topology is not null)
        {
            _parts.Accepted();
        }

        // Taken only now: a turn that failed half-way does all of it again.
        Interlocked.CompareExchange(ref _next, null, topology);
        _firstTurn.Set();
    }

    /// <summary>1. A topology becomes what readers need of it.</summary>
    private FabricSnapshot Compile(FabricTopology topology, FabricSnapshot? before)
    {
        var self = topology.FindGateway(_parts.Gateway)!;
        var (addresses, problems) = _parts.Addresses(topology, self);
        foreach (var problem in problems)
        {
            Log.NoServiceAddress(_log, problem, "see status");
        }

        return new FabricSnapshot
        {
            Topology = topology,
            Self = self,
            Policies = new PolicyEvaluator(topology),
            Callers = new CallerIdentity(topology, self.Site),
            Addresses = addresses,
            AddressProblems = problems,
            Mirrored = [.. topology.Services.Where(s => s.Delivery == ServiceDelivery.Mirrored).Select(s => s.FullName)],
            Zone = before?.Zone ?? DnsZone.Empty,
            Tunnel = before?.Tunnel ?? _parts.Tunnel.Status,
        };
    }

    private void Reconcile(FabricSnapshot now)
    {
        var plan = new GatewayPlan(now.Topology, now.Self, now.Addresses);
        // Before the tunnel: it listens on service addresses, which have to be local by then.
        _parts.ServiceRange(now.ServiceRange);
        _parts.Overlay?.Reconcile(now.Topology);
        _relays.Reconcile(plan);
        _parts.Tunnel.Reconcile(_relays.Tunnel);
        _parts.Prober.Reconcile(plan.Probes);
        _parts.Health.Reconcile(now.Topology, now.Self.Site);
        _parts.Catalogs.Reconcile(plan.Peers);
        foreach (var gone in _choices.Keys.Where(p => !plan.Peers.Contains(p)).ToList())
        {
            _choices.Remove(gone);
            _told.Remove(gone);
            _paths.Remove(gone);
        }

        foreach (var peer in plan.Peers)
        {
            _choices.TryAdd(peer, new PathChoice());
        }
    }

    /// <summary>2. Probes are signed with keys that the sessions exchanged.</summary>
    private void FollowSessions(TunnelStatus tunnel)
    {
        foreach (var session in tunnel.Sessions.Where(s => !s.ProbeKeyToPeer.IsDefaultOrEmpty))
        {
            _parts.Prober.SetKeys(session.Peer, session.ProbeKeyToPeer, session.ProbeKeyFromPeer);
        }
    }

    /// <summary>3. Links to each peer, best first; the tunnel hears of it when it differs from what it was told.</summary>
    private ImmutableDictionary<string, PathDecision> ChoosePaths(
        FabricSnapshot now, ImmutableArray<LinkHealthSnapshot> links, TunnelStatus tunnel)
    {
        var paths = ImmutableDictionary.CreateBuilder<string, PathDecision>(StringComparer.Ordinal);
        var asked = new Dictionary<string, List<PathCandidate>>(StringComparer.Ordinal);
        ImmutableArray<LaneStatus> LanesTo(string peer) => tunnel.Sessions.FirstOrDefault(s => s.Peer == peer)?.Lanes ?? [];
        var direct = _choices.Keys.ToDictionary(
            p => p, p => links.Where(l => l.Peer == p).Select(l => Candidate(now, l, LanesTo(p))).ToList(), StringComparer.Ordinal);
        if (_relays.Decide(direct, tunnel, Now))
        {
            _parts.Tunnel.Reconcile(_relays.Tunnel);
        }

        foreach (var (peer, choice) in _choices)
        {
            var candidates = direct[peer].Concat(_relays.Links(peer, LanesTo(peer))).ToList();
            var decision = choice.Decide(candidates, Now);
            paths[peer] = decision.Active is null ? decision with { Reason = decision.Reason + _relays.WhyNot(peer) } : decision;
            asked[peer] = candidates;
        }

        var reached = paths.Where(p => p.Value.Active is not null).ToLookup(p => now.Topology.FindGateway(p.Key)?.Site, p => p.Key);
        foreach (var peer in _choices.Keys)
        {
            var decision = paths[peer];
            Tell(peer, decision, asked[peer], now.DrainedLinks, reached[now.Topology.FindGateway(peer)?.Site].Any(g => g != peer));
        }

        return paths.ToImmutable();
    }

    private PathCandidate Candidate(FabricSnapshot now, LinkHealthSnapshot link, ImmutableArray<LaneStatus> lanes)
    {
        var declared = now.Topology.Links.First(l => l.Name == link.Link && l.Touches(_parts.Gateway) && l.Touches(link.Peer));
        return PathCandidate.From(link.Link, link.Health) with
        {
            Cost = declared.Cost,
            Capacity = declared.Capacity,
            Drained = now.Drained(link.Peer, link.Link, lanes),
            HasLane = lanes.Any(l => l.Link == link.Link && l.Channel == 0 && l.State == LaneState.Up),
        };
    }

    private void Tell(
        string peer, PathDecision decision, List<PathCandidate> candidates, ImmutableHashSet<(string Peer, string Link)> drained, bool siteReachable)
    {
        var told = _told.GetValueOrDefault(peer);
        _told[peer] = decision;
        var paths = new LinkPaths(
            decision.Preferred, [.. candidates.Where(c => c.State == LinkState.Suspect).Select(c => c.Link)], decision.Down)
        {
            Drained = [.. candidates.Where(c => drained.Contains((peer, c.Link))).Select(c => c.Link)],
            SiteReachable = siteReachable,
        };
        if (!_paths.TryGetValue(peer, out var before) || !paths.SameAs(before))
        {
            _parts.Tunnel.SetPaths(peer, paths);
            _paths[peer] = paths;
        }

        if (told?.Active != decision.Active)
        {
            Log.PathChanged(_log, peer, decision.Active ?? "no link", decision.Reason);
            _parts.Happened(new Protocol.Proto.GatewayEvent { Kind = "path-moved", Peer = peer, Link = decision.Active ?? "", Text = decision.Reason });
            TellRelay(peer, told?.Active, decision);
            foreach (var link in candidates)
            {
                _parts.Prober.SetActive(peer, link.Link, link.Link == decision.Active);
            }
        }
    }

    private void TellRelay(string peer, string? before, PathDecision decision)
    {
        if (before is not null && RelayNames.RelayOf(before) is { } left)
        {
            Log.RelayLeft(_log, peer, left, decision.Reason);
        }

        if (decision.Active is not null && RelayNames.RelayOf(decision.Active) is { } taken)
        {
            Log.RelayTaken(_log, peer, taken, decision.Reason);
        }
    }

    /// <summary>4. Which sites can serve each port of each service, and in which order.</summary>
    private ImmutableDictionary<(string Service, int Port), SiteChoice> RankSites(
        FabricSnapshot now, ImmutableDictionary<string, PathDecision> paths)
    {
        var choices = ImmutableDictionary.CreateBuilder<(string, int), SiteChoice>();
        var peers = now.Topology.Sites.Where(s => s.Name != now.Self.Site).SelectMany(s => s.Gateways).ToList();
        foreach (var service in now.Topology.Services)
        {
            var exports = service.Exports.Select(e => e.Site).ToImmutableArray();
            foreach (var port in service.Ports)
            {
                var local = _parts.Health.Of(service.FullName, port.Port);
                var question = new SiteQuestion(service.FullName, port.Port, now.Self.Site)
                {
                    Exports = exports,
                    Local = local.IsEmpty ? null : new PortHealth(local.Length, local.Count(e => e.Healthy)),
                    Gateways = [.. peers.Where(g => exports.Contains(g.Site)).Select(g => View(g, service.FullName, port.Port, paths))],
                    Before = Current?.Choices.GetValueOrDefault((service.FullName, port.Port)),
                    Now = Now,
                };
                choices[(service.FullName, port.Port)] = SiteChoice.Rank(question);
                PlaceRanking.Add(choices, service, question, local, _parts.Catalogs, Current);
            }
        }

        return choices.ToImmutable();
    }

    private GatewayView View(SiteGateway gateway, string service, int port, ImmutableDictionary<string, PathDecision> paths)
    {
        var path = paths.GetValueOrDefault(gateway.Name);
        var catalog = _parts.Catalogs.Of(gateway.Name);
        var exported = catalog?.Services.GetValueOrDefault(service)?.Ports.FirstOrDefault(p => p.Port == port);
        return new GatewayView(gateway.Name, gateway.Site)
        {
            Reachable = path?.Active is not null,
            PathScore = path?.Score,
            PathReason = path?.Reason ?? $"no link to {gateway.Name} is declared",
            CatalogAge = catalog is null ? null : _time.GetElapsedTime(catalog.Heard),
            Draining = catalog?.Draining ?? false,
            Health = exported is null ? null : new PortHealth((int)exported.Endpoints, (int)exported.Healthy),
        };
    }
}
