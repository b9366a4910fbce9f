using System.Collections.Immutable;
using System.Security.Cryptography;
using Fabric.Identity;
using Fabric.Protocol.Tunnel;
using Fabric.Routing.Peers;
using Fabric.Tunnel.Core;

namespace Fabric.Tunnel.Portable;

/// <summary>
/// The session with one peer, through all incarnations of both processes: the lock around its <see cref="SessionCore"/>, its
/// timer, and the agreement in HELLO on which session it is.
/// </summary>
internal sealed class PeerSession : ISessionDriver
{
    private readonly PortableTunnel _tunnel;
    private readonly ITimer _timer;
    private readonly ImmutableArray<byte> _keyFromPeer = RandomNumberGenerator.GetBytes(HelloFrame.ProbeKeySize).ToImmutableArray();
    private ImmutableArray<byte> _keyToPeer = [];
    private readonly HashSet<TunnelStream> _opening = [];
    private readonly PeerLoss _loss;
    private LinkPaths _paths = LinkPaths.None;
    private TimeSpan _armed = TimeSpan.MaxValue;
    private Guid _remote;
    private uint _generation = 1;
    private uint _lastEpoch;
    private SessionCore? _core;
    private SessionCounters _before;
    private string _site = "";
    private bool _disposed;

    public PeerSession(PortableTunnel tunnel, string peer)
    {
        _tunnel = tunnel;
        Peer = peer;
        var limits = tunnel.Options.Limits;
        _loss = new PeerLoss(new PeerLossOptions { Grace = limits.Grace, GraceWithSiblings = limits.GraceWithSiblings });
        _timer = tunnel.Options.Time.CreateTimer(static s => ((PeerSession)s!).Tick(), this, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
    }

    public string Peer { get; }

    /// <summary>Held for every call of the core.</summary>
    public Lock Gate { get; } = new();

    public TimeProvider Time => _tunnel.Options.Time;

    public TimeSpan Now => _tunnel.Now;

    private bool IsOdd => string.CompareOrdinal(_tunnel.Options.Identity.Id.Gateway, Peer) < 0;

    /// <summary>Who this side is, in the session as it is now.</summary>
    private Guid Local => SessionIds.Of(_tunnel.ProcessId, _generation);

    // ---- lanes

    /// <summary>The HELLO with which to dial: its epoch is greater than any before.</summary>
    public HelloFrame NewHello(string link, int channel)
    {
        lock (Gate)
        {
            _lastEpoch = Math.Max(_lastEpoch, _core?.LastEpoch ?? 0);
            _lastEpoch += (_lastEpoch & 1) == (IsOdd ? 1u : 0u) ? 2u : 1u;
            return Hello(_lastEpoch, link, channel);
        }
    }

    private HelloFrame Hello(uint epoch, string link, int channel) =>
        new(Local, epoch, link, _keyFromPeer, _tunnel.Options.Limits.MaxStreams, (byte)channel);

    /// <summary>
    /// HELLO went both ways: the lane joins the session. When the peer is another process than before, or gave the session up,
    /// the old session's streams are reset first. Returns this side's HELLO (for the acceptor to answer with), or null with the
    /// reason.
    /// </summary>
    /// <param name="lane">The connection.</param>
    /// <param name="peer">Who the peer's certificate says it is.</param>
    /// <param name="remote">The peer's HELLO.</param>
    /// <param name="sent">The HELLO that this side sent before; null when it has sent none.</param>
    /// <param name="reason">Why not.</param>
    public HelloFrame? Join(PortableLane lane, GatewayId peer, HelloFrame remote, HelloFrame? sent, out string reason)
    {
        HelloFrame? hello = null;
        lock (Gate)
        {
            reason = Refusal(remote, sent);
            if (reason.Length > 0)
            {
                return null;
            }

            if (_core is null || remote.Session != _remote)
            {
                Forget(StreamCode.SessionLost, "the peer began a new session");
                _remote = remote.Session;
                _core = new SessionCore(IsOdd, this, _tunnel.Options.Limits, _tunnel.Pool, remote.MaxStreams);
                _core.SetPaths(_paths, Now);
                if (_tunnel.IsDraining)
                {
                    _core.Drain(true);
                }
            }

            _loss.Reached(remote.Link);
            _site = peer.Site;
            _keyToPeer = remote.ProbeKey;
            hello = Hello(remote.Epoch, remote.Link, remote.Channel);
            var core = _core.AttachLane(remote.Epoch, remote.Link, remote.Channel, lane, Now, out reason);
            if (core is null)
            {
                return null;
            }

            lane.Attach(_core, core);
            Rearm();
        }

        _tunnel.RaiseChanged(Peer);
        return hello;
    }

    private string Refusal(HelloFrame remote, HelloFrame? sent)
    {
        if (_disposed)
        {
            return "the gateway is stopping";
        }

        if (sent is not null && sent.Session != Local)
        {
            return "this side gave the session up while the lane was dialled";
        }

        return _core is not null && SessionIds.SameProcess(remote.Session, _remote) && SessionIds.Generation(remote.Session) < SessionIds.Generation(_remote)
            ? "the lane belongs to a session that the peer gave up" : "";
    }

    /// <summary>The lane's connection is gone, or must go.</summary>
    public void EndLane(PortableLane lane, string reason)
    {
        lock (Gate)
        {
            if (lane.Core is { } core)
            {
                lane.Session!.EndLane(core, reason, Now);
                Rearm();
            }
        }
    }

    /// <summary>Ends the lanes over links that are no longer planned.</summary>
    public void EndUnplanned(Func<string, bool> isPlanned)
    {
        lock (Gate)
        {
            foreach (var lane in _core?.Lanes.Where(l => !isPlanned(l.Link)).ToArray() ?? [])
            {
                _core!.EndLane(lane, "no longer planned", Now);
            }

            Rearm();
        }
    }

    public bool HasLane(string link, int channel)
    {
        lock (Gate)
        {
            return _core?.Lanes.Any(l => l.Link == link && l.Channel == channel) == true;
        }
    }

    /// <summary>Whether the last lane is gone and the session is kept.</summary>
    public bool IsAlone
    {
        get
        {
            lock (Gate)
            {
                return _core?.Alone is not null;
            }
        }
    }

    /// <summary>How a connection to the peer's port over the link went: it was accepted, refused, or nothing came back.</summary>
    public void Dialled(string link, bool? accepted)
    {
        lock (Gate)
        {
            switch (accepted)
            {
                case true: _loss.Accepted(link, Now); break;
                case false: _loss.Refused(link, Now); break;
                default: _loss.Silent(link); break;
            }

            Rearm();
        }
    }

    public void SetPaths(LinkPaths paths)
    {
        lock (Gate)
        {
            _paths = paths;
            _loss.SiteReachable = paths.SiteReachable;
            _core?.SetPaths(paths, Now);
            Rearm();
        }
    }

    // ---- streams

    /// <param name="waits">Whether to wait for a lane to come back when the last one ends meanwhile, rather than fail.</param>
    public async Task<TunnelStream> OpenAsync(StreamOpen open, bool waits, CancellationToken cancellationToken)
    {
        var stream = new TunnelStream(this);
        lock (Gate)
        {
            if (_core is null)
            {
                throw new StreamRefusedException(StreamCode.NoLane, $"no lane to {Peer} is up");
            }

            stream.Bind(_core.Open(open, stream, Now));
            if (!waits)
            {
                _opening.Add(stream);
            }
        }

        try
        {
            await stream.Opened.WaitAsync(_tunnel.Options.Limits.OpenTimeout, Time, cancellationToken).ConfigureAwait(false);
            return stream;
        }
        catch (Exception error)
        {
            var timedOut = error is TimeoutException;
            stream.Reset(timedOut ? StreamCode.TimedOut : StreamCode.ApplicationReset, timedOut ? "no answer to OPEN" : "given up");
            await stream.DisposeAsync().ConfigureAwait(false);
            throw timedOut ? new StreamRefusedException(StreamCode.TimedOut, $"{Peer} did not answer in time") : error;
        }
        finally
        {
            lock (Gate)
            {
                _opening.Remove(stream);
            }
        }
    }

    public void Drain(bool draining)
    {
        lock (Gate)
        {
            _core?.Drain(draining);
        }
    }

    public int Cut(StreamCode code, string reason)
    {
        lock (Gate)
        {
            return _core?.Cut(code, reason, Now) ?? 0;
        }
    }

    // ---- time

    /// <summary>Arms the timer when something falls due before it fires. In the lock.</summary>
    public void Rearm()
    {
        if (_core?.Alone is { } alone)
        {
            _loss.SaidGoodbye |= _core.PeerStopped;
            _core.Grace = _loss.Decide(alone).Keep;
        }

        if (_core?.NextDue is { } due && due < _armed && !_disposed)
        {
            _armed = due;
            _timer.Change(due > Now ? due - Now : TimeSpan.Zero, Timeout.InfiniteTimeSpan);
        }
    }

    private void Tick()
    {
        var lost = false;
        lock (Gate)
        {
            _armed = TimeSpan.MaxValue;
            if (_core is { } core && !core.Advance(Now))
            {
                lost = true;
                _generation++;
                Forget(StreamCode.SessionLost, _loss.Decide(core.Alone ?? Now).Reason);
            }

            Rearm();
        }

        if (lost)
        {
            _tunnel.RaiseChanged(Peer);
        }
    }

    private void Forget(StreamCode code, string reason)
    {
        if (_core is not { } core)
        {
            return;
        }

        core.Abort(code, reason, Now);
        _before += core.Counters;
        _lastEpoch = Math.Max(_lastEpoch, core.LastEpoch);
        _core = null;
    }

    // ---- what the core tells; in the lock

    void ISessionDriver.OutputReady(LaneCore lane) => ((PortableLane)lane.Owner!).OutputReady();

    void ISessionDriver.LaneEnded(LaneCore lane, string reason)
    {
        ((PortableLane)lane.Owner!).Ended(reason);
        _tunnel.LaneEnded(Peer, lane.Link, lane.Channel, reason);
        if (_core?.Active is null)
        {
            // Nothing of theirs was delivered: another gateway can serve them now, and need not wait for this one.
            foreach (var stream in _opening)
            {
                stream.OnOpenFailed(StreamCode.NoLane, $"the last lane to {Peer} ended: {reason}");
            }
        }
    }

    void ISessionDriver.PeerWishes() => _tunnel.RaiseChanged(Peer);

    void ISessionDriver.OpenRequested(StreamCore stream)
    {
        var tunnelStream = new TunnelStream(this);
        tunnelStream.Bind(stream);
        _tunnel.Serve(tunnelStream);
    }

    void ISessionDriver.Opened(StreamCore stream) => ((TunnelStream)stream.Owner!).OnOpened();

    void ISessionDriver.Readable(StreamCore stream) => ((TunnelStream)stream.Owner!).OnReadable();

    void ISessionDriver.Writable(StreamCore stream) => ((TunnelStream?)stream.Owner)?.OnWritable();

    void ISessionDriver.Ended(StreamCore stream) => ((TunnelStream?)stream.Owner)?.OnEnded();

    public int StreamCount
    {
        get
        {
            lock (Gate)
            {
                return _core?.ServiceStreams ?? 0;
            }
        }
    }

    public SessionStatus Status(ImmutableArray<LaneStatus> planned)
    {
        lock (Gate)
        {
            var core = _core;
            var lanes = planned.Select(p => core?.Lanes.FirstOrDefault(l => l.Link == p.Link && l.Channel == p.Channel) is { } lane
                ? p with
                {
                    State = LaneState.Up,
                    Epoch = lane.Epoch,
                    Remote = ((PortableLane)lane.Owner!).Remote,
                    LastError = null,
                    Streams = lane == core.Active ? core.ServiceStreams : 0,
                    RoundTrip = lane.Timing.Smoothed,
                    PeerDrains = lane.PeerSaid.HasFlag(GoAway.LinkDrained),
                    PeerIsQuiet = lane.PeerSaid.HasFlag(GoAway.Quiet),
                }
                : p);
            return new SessionStatus(
                Peer, _site, _core is null ? Guid.Empty : SessionIds.Common(Local, _remote), [.. lanes], core?.Active?.Link, core?.ServiceStreams ?? 0,
                core is null ? _before : _before + core.Counters, _keyToPeer, _keyFromPeer)
            {
                CopiesTo = core is { IsSuspecting: true } ? core.Second?.Link : null,
            };
        }
    }

    public IEnumerable<StreamGroup> Groups()
    {
        lock (Gate)
        {
            return [.. (_core?.Streams ?? []).Where(s => !s.Request.IsReserved && !s.IsReset)
                .GroupBy(s => (s.Request.Service, s.IsOurs))
                .Select(g => new StreamGroup(g.Key.Service, Peer, g.Key.IsOurs, _core!.Active?.Link, g.Count()))];
        }
    }

    /// <summary>The gateway stops: the peer is told on every lane, so that it keeps nothing for a resumption that will not come.</summary>
    public Task StopAsync()
    {
        PortableLane[] lanes;
        lock (Gate)
        {
            _disposed = true;
            lanes = [.. (_core?.Lanes ?? []).Select(l => (PortableLane)l.Owner!)];
            foreach (var lane in lanes)
            {
                lane.SayGoodbye(StreamCode.Draining, "the gateway stopped");
            }

            Forget(StreamCode.Draining, "the gateway stopped");
        }

        _timer.Dispose();
        return Task.WhenAll(lanes.Select(l => l.Closed));
    }
}
