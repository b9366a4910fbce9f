using System.Collections.Immutable;
using System.Security.Cryptography;
using Fabric.Identity;
using Fabric.Protocol.Tunnel;
using Fabric.Tunnel.Core;

namespace Fabric.Tunnel.Drivers;

/// <summary>The session with one peer: the lock and the timer around its <see cref="PeerCore"/>.</summary>
internal sealed partial class PeerSession : ISessionDriver
{
    private readonly GatewayTunnel _tunnel;
    private readonly ITimer _timer;
    private readonly PeerCore _core;
    private PeerPenalty _penalty;
    private readonly HashSet<IStreamEvents> _opening = [];
    private TimeSpan _armed = TimeSpan.MaxValue;

    public PeerSession(GatewayTunnel tunnel, string peer)
    {
        _tunnel = tunnel;
        Peer = peer;
        _core = new PeerCore(tunnel.Options.Identity.Id.Gateway, peer, tunnel.ProcessId,
            [.. RandomNumberGenerator.GetBytes(HelloFrame.ProbeKeySize)], this, tunnel.Options.Limits, tunnel.Pool)
        {
            Datagrams = tunnel.Datagrams,
        };
        _timer = tunnel.Driver.CreateTimer(Tick);
    }

    public string Peer { get; }

    /// <summary>Whose it is: the driver knows it again by this.</summary>
    public ITimer Timer => _timer;

    /// <summary>Held for every call of the core.</summary>
    public Lock Gate { get; } = new();

    public TimeProvider Time => _tunnel.Options.Time;

    public TimeSpan Now => _tunnel.Now;

    // ---- lanes

    /// <summary>Why the peer may not have a lane now; empty when it may.</summary>
    public string Penalty
    {
        get
        {
            lock (Gate)
            {
                return _penalty.Refusal(Now);
            }
        }
    }

    /// <summary>The peer broke the protocol on a lane, which is then ended.</summary>
    public void Broke(string reason)
    {
        lock (Gate)
        {
            _penalty.Broke(reason, Now);
        }
    }

    /// <inheritdoc cref="PeerCore.NewHello"/>
    public HelloFrame NewHello(string link, int channel)
    {
        lock (Gate)
        {
            return _core.NewHello(link, channel, Now);
        }
    }

    /// <inheritdoc cref="PeerCore.Join"/>
    public HelloFrame? Join(Lane lane, GatewayId peer, HelloFrame remote, HelloFrame? sent, out string reason)
    {
        HelloFrame? hello;
        lock (Gate)
        {
            // Asked in the lock: a plan that drops the link ends its lanes in it after that, and a lane that joined later would stay.
            // The same goes for a review of whom the mesh trusts.
            reason = !_tunnel.IsPlanned(Peer, remote.Link) ? $"no lane over {remote.Link} is planned any more"
                : _tunnel.Options.Identity.Refuses(peer, lane.PeerRoot)?.Reason
                ?? (_tunnel.SiteOf(Peer) is { } site && site != peer.Site ? $"{Peer} is of site {site} now, and its certificate says {peer.Site}"
                    : _penalty.Refusal(Now));
            if (reason.Length > 0)
            {
                return null;
            }

            lane.Peer = peer;
            _core.Drain(_tunnel.IsDraining);
            hello = _core.Join(lane, peer.Site, remote, sent, Now, out var core, out reason);
            if (hello is not null)
            {
                lane.Attach(_core.Session!, core!);
            }

            Rearm();
        }

        _tunnel.RaiseChanged(Peer);
        return hello;
    }

    /// <summary>The lane's connection is gone, or must go.</summary>
    public void EndLane(Lane lane, string reason)
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

    /// <inheritdoc cref="PeerCore.EndUnplanned"/>
    public void EndUnplanned(Func<string, bool> isPlanned, string? site)
    {
        lock (Gate)
        {
            _core.EndUnplanned(isPlanned, site, Now);
            Rearm();
        }
    }

    /// <inheritdoc cref="PeerCore.Carried"/>
    public TimeSpan? Carried(string link, bool bulk)
    {
        lock (Gate)
        {
            return _core.Carried(link, bulk);
        }
    }

    /// <inheritdoc cref="PeerCore.Heard"/>
    public TimeSpan? Heard(string link)
    {
        lock (Gate)
        {
            return _core.Heard(link);
        }
    }

    public bool HasLane(string link, int channel)
    {
        lock (Gate)
        {
            return _core.HasLane(link, channel);
        }
    }

    /// <summary>Whether the last lane is gone and the session is kept.</summary>
    public bool IsAlone
    {
        get
        {
            lock (Gate)
            {
                return _core.Session?.Alone is not null;
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
                case true: _core.Loss.Accepted(link, Now); break;
                case false: _core.Loss.Refused(link, Now); break;
                default: _core.Loss.Silent(link); break;
            }

            Rearm();
        }
    }

    public void SetPaths(LinkPaths paths)
    {
        lock (Gate)
        {
            _core.SetPaths(paths, Now);
            Rearm();
        }
    }

    // ---- streams

    /// <param name="open">What is asked for.</param>
    /// <param name="waits">Whether to wait for a lane to come back when the last one ends meanwhile, rather than fail.</param>
    /// <param name="cancellationToken">Gives up.</param>
    public Task<TunnelStream> OpenAsync(StreamOpen open, bool waits, CancellationToken cancellationToken) =>
        OpenAsync(new TunnelStream(this), open, waits, cancellationToken);

    public Task<TunnelFlow> OpenFlowAsync(StreamOpen open, CancellationToken cancellationToken) =>
        OpenAsync(new TunnelFlow(this), open, waits: false, cancellationToken);

    private async Task<T> OpenAsync<T>(T stream, StreamOpen open, bool waits, CancellationToken cancellationToken)
        where T : IStreamOwner
    {
        lock (Gate)
        {
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

    /// <summary>
    /// Opens a stream whose owner is told how that went; then it says <see cref="OpeningIsOver"/>. Throws as
    /// <see cref="PeerCore.Open"/> does.
    /// </summary>
    public StreamCore Open(StreamOpen open, IStreamEvents owner, bool waits)
    {
        lock (Gate)
        {
            var stream = _core.Open(open, owner, Now);
            if (!waits)
            {
                _opening.Add(owner);
            }

            Rearm();
            return stream;
        }
    }

    /// <summary>In the session's lock.</summary>
    public void OpeningIsOver(IStreamEvents owner) => _opening.Remove(owner);

    /// <inheritdoc cref="PeerCore.OpensRefused"/>
    public long OpensRefused
    {
        get
        {
            lock (Gate)
            {
                return _core.OpensRefused;
            }
        }
    }

    /// <summary>Memory was freed since a session found none.</summary>
    public void MemoryFreed()
    {
        lock (Gate)
        {
            _core.Session?.MemoryFreed();
        }
    }

    public void Drain(bool draining)
    {
        lock (Gate)
        {
            _core.Drain(draining);
        }
    }

    public int Cut(StreamCode code, string reason)
    {
        lock (Gate)
        {
            return _core.Session?.Cut(code, reason, Now) ?? 0;
        }
    }

    /// <summary>Resets the peer's streams that egress refuses now, and ours that ingress refuses. Locked for the list, and for each reset by itself.</summary>
    public int Review(IIngress ingress, IEgress egress)
    {
        StreamCore[] streams;
        lock (Gate)
        {
            streams = [.. (_core.Session?.Streams ?? []).Where(s => !s.Request.IsReserved && !s.IsReset)];
        }

        var count = 0;
        foreach (var stream in streams)
        {
            if ((stream.IsOurs ? ingress.Review(stream.Request) : egress.Review(Peer, stream.Request)) is { } refusal)
            {
                lock (Gate)
                {
                    count += stream.IsReset ? 0 : 1;
                    stream.Reset(refusal.Code, refusal.Reason, Now);
                }
            }
        }

        return count;
    }

    // ---- time

    /// <summary>Arms the timer when something falls due before it fires. In the lock.</summary>
    public void Rearm()
    {
        if (_core.NextDue is { } due && due < _armed)
        {
            _armed = due;
            // Asked once: between two looks at the clock the due time may pass.
            var wait = due - Now;
            _timer.Change(wait > TimeSpan.Zero ? wait : TimeSpan.Zero, Timeout.InfiniteTimeSpan);
        }
    }

    private void Tick()
    {
        bool lost;
        lock (Gate)
        {
            _armed = TimeSpan.MaxValue;
            lost = _core.Advance(Now);
            Rearm();
        }

        if (lost)
        {
            _tunnel.RaiseChanged(Peer);
        }
    }

    // ---- what the core tells; in the lock

    void ISessionDriver.OutputReady(LaneCore lane) => ((Lane)lane.Owner!).OutputReady();

    void ISessionDriver.LaneEnded(LaneCore lane, string reason)
    {
        ((Lane)lane.Owner!).Ended(reason);
        _tunnel.LaneEnded(Peer, lane.Link, lane.Channel, reason);
        if (_core.Session?.Active is null)
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
        if (stream.Request.Datagrams)
        {
            var flow = new TunnelFlow(this);
            flow.Bind(stream);
            _tunnel.Serve(flow);
            return;
        }

        if (stream.Request.IsReserved)
        {
            _tunnel.Serve(TunnelStream.Of(this, stream));
        }
        else
        {
            _tunnel.Driver.Serve(this, stream);
        }
    }

    void ISessionDriver.Opened(StreamCore stream) => ((IStreamEvents)stream.Owner!).OnOpened();

    void ISessionDriver.Readable(StreamCore stream) => ((IStreamEvents)stream.Owner!).OnReadable();

    void ISessionDriver.Writable(StreamCore stream) => ((IStreamEvents?)stream.Owner)?.OnWritable();

    void ISessionDriver.Ended(StreamCore stream) => ((IStreamEvents?)stream.Owner)?.OnEnded();

    public int StreamCount
    {
        get
        {
            lock (Gate)
            {
                return _core.ServiceStreams;
            }
        }
    }

    public SessionStatus Status(ImmutableArray<LaneStatus> planned)
    {
        lock (Gate)
        {
            return _core.Status(planned, static lane => ((Lane)lane.Owner!).Remote);
        }
    }

    public IEnumerable<StreamGroup> Groups()
    {
        lock (Gate)
        {
            return _core.Groups;
        }
    }

    /// <summary>The gateway stops: the peer is told on every lane, so that it keeps nothing for a resumption that will not come.</summary>
    public Task StopAsync()
    {
        Lane[] lanes;
        lock (Gate)
        {
            lanes = [.. (_core.Session?.Lanes ?? []).Select(l => (Lane)l.Owner!)];
            foreach (var lane in lanes)
            {
                lane.SayGoodbye(StreamCode.Draining, "the gateway stopped");
            }

            _core.Stop(Now);
        }

        _timer.Dispose();
        return Task.WhenAll(lanes.Select(l => l.Closed));
    }
}
