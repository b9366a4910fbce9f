using System.Collections.Immutable;
using Fabric.Simulation.Network;
using Fabric.Tunnel;
using Fabric.Tunnel.Core;

namespace Fabric.Simulation.Gateways;

/// <summary>The third driver: session cores, events in place of sockets.</summary>
internal sealed class SimTunnel(World world, SimGateway gateway) : ITunnel
{
    private readonly SortedDictionary<string, SimSession> _sessions = new(StringComparer.Ordinal);
    private readonly List<SimKeeper> _keepers = [];
    private ImmutableDictionary<string, ImmutableHashSet<string>> _relays = ImmutableDictionary<string, ImmutableHashSet<string>>.Empty;
    private readonly Guid _process = NewProcess(world.Random);

    public event Action<string>? SessionChanged;

    public IEnumerable<SimSession> Sessions => _sessions.Values;

    public SimSession? Session(string peer) => _sessions.GetValueOrDefault(peer);

    /// <summary>A relay hands over a lane of that origin.</summary>
    public void TakeOver(SimSession from, StreamCore stream, string origin)
    {
        if (!IsPlanned(origin, RelayNames.Link(from.Peer)))
        {
            stream.Reset(StreamCode.PolicyDenied, "no such lane is planned here", world.Now);
        }
        else
        {
            SessionOf(origin);
            var wire = new RelayWire(world, gateway, from, origin) { Stream = stream };
            stream.Owner = wire;
            stream.Accept(world.Now);
            _ = new SimLane(world, gateway, wire, null);
        }

        from.Rearm();
    }

    public bool IsPlanned(string peer, string link) => _keepers.Exists(k => k.Plan.Peer == peer && k.Plan.Link == link)
        || (RelayNames.RelayOf(link) is { } relay && _relays.GetValueOrDefault(peer)?.Contains(relay) == true);

    public void Reconcile(TunnelPlan plan)
    {
        _relays = plan.Relays;
        foreach (var keeper in _keepers.Where(k => !plan.Lanes.Contains(k.Plan)).ToArray())
        {
            keeper.Stop();
            _keepers.Remove(keeper);
        }

        foreach (var lane in plan.Lanes.Where(l => !_keepers.Exists(k => k.Plan == l)).ToArray())
        {
            for (var channel = 0; channel <= (lane.Relay is null ? world.Figures.Limits.BulkLanes : 0); channel++)
            {
                var keeper = new SimKeeper(world, gateway, SessionOf(lane.Peer), lane, channel);
                _keepers.Add(keeper);
                keeper.Start();
            }
        }

        foreach (var (peer, session) in _sessions)
        {
            session.Core.EndUnplanned(link => IsPlanned(peer, link), null, world.Now);
            session.Rearm();
        }
    }

    public void SetPaths(string peer, LinkPaths paths)
    {
        world.Note("paths", gateway.Name, paths.Preferred.Length, (paths.Suspect.Length << 8) + paths.Down.Length);
        var session = SessionOf(peer);
        session.Core.SetPaths(paths, world.Now);
        session.Rearm();
    }

    public TunnelStatus Status
    {
        get
        {
            var sessions = _sessions.Values.Select(s => s.Core.Status(
                [.. _keepers.Where(k => k.Plan.Peer == s.Peer).OrderBy(k => k.Channel).Select(k => k.Status)], _ => null)).ToImmutableArray();
            return new TunnelStatus(sessions, [], sessions.Sum(s => s.Streams), gateway.Pool.Rented);
        }
    }

    public TimeSpan? Heard(string peer, string link) => world.Now - Session(peer)?.Core.Heard(link);

    public TimeSpan? Carried(string peer, string link, bool bulk) => world.Now - Session(peer)?.Core.Carried(link, bulk);

    public TunnelUsage Usage => TunnelUsage.None;

    /// <summary>Streams are opened by <see cref="SimSession"/>: nothing here waits.</summary>
    public Task<Stream> OpenAsync(string peer, StreamOpen open, CancellationToken cancellationToken) => throw new NotSupportedException();

    public Task<int> DrainAsync(TimeSpan limit, CancellationToken cancellationToken) => throw new NotSupportedException();

    public void Undrain() => throw new NotSupportedException();

    public ImmutableArray<StreamGroup> Streams => [];

    public int CutStreams(string reason) => throw new NotSupportedException();

    /// <summary>Policies stay as they are in a run.</summary>
    public int Review() => throw new NotSupportedException();

    public ValueTask DisposeAsync() => ValueTask.CompletedTask;

    private SimSession SessionOf(string peer)
    {
        if (!_sessions.TryGetValue(peer, out var session))
        {
            _sessions[peer] = session = new SimSession(world, gateway, peer, _process);
        }

        return session;
    }

    private static Guid NewProcess(Random random)
    {
        Span<byte> bytes = stackalloc byte[16];
        random.NextBytes(bytes);
        return new Guid(bytes);
    }

    public void RaiseChanged(string peer) => gateway.AfterMs(0, 1, () =>
    {
        SessionChanged?.Invoke(peer);
        gateway.Catalogs.Retry(peer);
        gateway.Signal();
    });

    public void Drain()
    {
        foreach (var session in _sessions.Values)
        {
            session.Core.Drain(true);
        }
    }

    public void Die(bool silent)
    {
        foreach (var session in _sessions.Values)
        {
            session.Died();
        }

        foreach (var link in world.Links.Where(l => l.Plan.Touches(gateway.Name)))
        {
            foreach (var connection in link.Connections.ToArray())
            {
                connection.Die(link.EndOf(gateway.Name), silent);
            }
        }
    }

    /// <summary>Ends all sessions in order; what they held is given back.</summary>
    public void Stop()
    {
        foreach (var keeper in _keepers)
        {
            keeper.Stop();
        }

        foreach (var session in _sessions.Values)
        {
            session.Stop();
        }
    }

    public void CheckLimits()
    {
        // Applications are not read past the limit; what peers may still send by the credit they have comes on top.
        var most = world.Figures.Limits.Memory * 2;
        if (gateway.Pool.Rented > most)
        {
            world.Fail($"{gateway.Name}: {gateway.Pool.Rented} bytes of slabs are rented, more than {most}");
        }

        foreach (var session in _sessions.Values)
        {
            session.CheckLimits();
        }
    }
}

/// <summary>Keeps one planned lane up: the waits are those of every driver, the dialling is an event.</summary>
internal sealed class SimKeeper(World world, SimGateway gateway, SimSession session, LanePlan plan, int channel)
{
    private readonly RedialPace _pace = new(world.Figures.Limits);
    private LaneState _state = plan.Dials ? LaneState.Dialling : LaneState.Down;
    private string? _error;
    private SimLane? _lane;
    private int _attempt;
    private bool _stopped;

    public LanePlan Plan => plan;

    public int Channel => channel;

    public LaneStatus Status => new(plan.Link, _state, 0, plan.Remote, _error, 0) { Channel = channel };

    public void Start()
    {
        if (plan.Dials)
        {
            Dial();
        }
    }

    public void Stop() => _stopped = true;

    private void Dial()
    {
        if (_stopped)
        {
            return;
        }

        var attempt = ++_attempt;
        _state = LaneState.Dialling;
        gateway.After(world.Figures.Limits.HandshakeTimeout, () => Over(attempt, "no lane in time of dialling"));
        if (plan.Relay is { } relay)
        {
            DialThrough(relay, attempt);
            return;
        }

        var link = Array.Find(world.Links, l => l.Plan.Name == plan.Link && l.Plan.Touches(gateway.Name) && l.Plan.Touches(plan.Peer))!;
        link.Dial(gateway,
            connection => gateway.Do(() =>
            {
                if (attempt == _attempt && !_stopped)
                {
                    _lane = new SimLane(world, gateway, new LinkWire(connection, link.EndOf(gateway.Name)), this);
                    var answering = world.Gateway(plan.Peer);
                    _ = new SimLane(world, answering, new LinkWire(connection, link.EndOf(plan.Peer)), null);
                    _lane.Greet(session);
                }
            }),
            reason => gateway.Do(() => Over(attempt, reason)));
    }

    private void DialThrough(string relay, int attempt)
    {
        RelayWire wire = null!;
        wire = new RelayWire(world, gateway, gateway.Tunnel.Session(relay)!, plan.Peer)
        {
            Accepted = () =>
            {
                if (attempt == _attempt && !_stopped)
                {
                    _lane = new SimLane(world, gateway, wire, this);
                    _lane.Greet(session);
                }
                else
                {
                    wire.Close();
                }
            },
            Failed = reason => Over(attempt, reason),
        };
        try
        {
            wire.Stream = gateway.Tunnel.Session(relay)!.Open(new StreamOpen(RelayNames.Ask(plan.Peer), 0, ""), wire);
        }
        catch (StreamRefusedException refused)
        {
            Over(attempt, refused.Reason);
        }
    }

    public void CameUp()
    {
        _pace.CameUp();
        _state = LaneState.Up;
        _error = null;
    }

    /// <summary>The connection of a lane that this side dialled is over.</summary>
    public void LaneEnded(SimLane lane, string reason)
    {
        if (lane == _lane)
        {
            _lane = null;
            Again(reason);
        }
    }

    private void Over(int attempt, string reason)
    {
        if (attempt == _attempt && _state == LaneState.Dialling)
        {
            if (_lane is { } lane)
            {
                _lane = null;
                lane.Close();
            }

            Again(reason);
        }
    }

    private void Again(string reason)
    {
        _attempt++;
        _error = reason;
        _state = LaneState.Down;
        gateway.After(_pace.Wait(world.Random.NextDouble()), Dial);
    }
}
