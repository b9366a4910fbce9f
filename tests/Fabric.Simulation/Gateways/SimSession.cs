using System.Collections.Immutable;
using Fabric.Tunnel;
using Fabric.Tunnel.Core;

namespace Fabric.Simulation.Gateways;

/// <summary>Whoever has a stream; told by its session, and never in a call of its own.</summary>
internal interface IStreamEnd
{
    void Opened();

    /// <summary>There is something to read, or room to write.</summary>
    void Wake();

    void Ended();
}

/// <summary>The session with one peer: its core, a timer, and what must hold of it at every moment.</summary>
internal sealed class SimSession : ISessionDriver
{
    private readonly World _world;
    private readonly SimGateway _gateway;
    private TimeSpan _armed = TimeSpan.MaxValue;

    public SimSession(World world, SimGateway gateway, string peer, Guid process)
    {
        (_world, _gateway, Peer) = (world, gateway, peer);
        var key = new byte[32];
        world.Random.NextBytes(key);
        Core = new PeerCore(gateway.Name, peer, process, ImmutableArray.Create(key), this, world.Figures.Limits, gateway.Pool)
        {
            Planted = world.Mistake,
        };
    }

    public string Peer { get; }

    public PeerCore Core { get; }

    public IEnumerable<StreamCore> Streams => Core.Session?.Streams ?? [];

    // ---- time

    public void Rearm()
    {
        if (Core.NextDue is not { } due || due >= _armed)
        {
            return;
        }

        _armed = due;
        _gateway.After(due > _world.Now ? due - _world.Now : TimeSpan.Zero, () =>
        {
            if (_armed == due)
            {
                _armed = TimeSpan.MaxValue;
                Tick();
            }
        });
    }

    private void Tick()
    {
        if (Core.Advance(_world.Now))
        {
            _world.Note("lost", _gateway.Name);
            _world.Counters.SessionsLost++;
            _gateway.Tunnel.RaiseChanged(Peer);
        }

        Rearm();
    }

    // ---- streams

    /// <summary>Opens a stream. Throws <see cref="StreamRefusedException"/>.</summary>
    public StreamCore Open(StreamOpen open, IStreamEnd owner)
    {
        var stream = Core.Open(open, owner, _world.Now);
        _world.Note("open", _gateway.Name, stream.Id);
        Rearm();
        return stream;
    }

    void ISessionDriver.OutputReady(LaneCore lane) => ((SimLane)lane.Owner!).OutputReady();

    void ISessionDriver.LaneEnded(LaneCore lane, string reason)
    {
        _world.Note("lane-end", _gateway.Name, lane.Epoch);
        ((SimLane)lane.Owner!).Ended(reason);
        _gateway.Tunnel.RaiseChanged(Peer);
    }

    void ISessionDriver.OpenRequested(StreamCore stream) => _gateway.AfterMs(0, 5, () =>
    {
        stream.Decided();
        _world.Calls.Serve(_gateway, this, stream);
    });

    void ISessionDriver.Opened(StreamCore stream) => (stream.Owner as IStreamEnd)?.Opened();

    void ISessionDriver.Readable(StreamCore stream) => (stream.Owner as IStreamEnd)?.Wake();

    void ISessionDriver.Writable(StreamCore stream) => (stream.Owner as IStreamEnd)?.Wake();

    void ISessionDriver.Ended(StreamCore stream)
    {
        _world.Note("ended", _gateway.Name, stream.Id, stream.IsReset ? (int)stream.Code + 1 : 0);
        (stream.Owner as IStreamEnd)?.Ended();
    }

    // ---- the end

    public void Died() => Count();

    public void Stop()
    {
        Count();
        Core.Stop(_world.Now);
    }

    private void Count()
    {
        var (all, sums) = (Core.Counters, _world.Counters);
        sums.Sent += all.Sent;
        sums.Resent += all.Resent;
        sums.Copied += all.Copied;
        sums.Mirrored += all.Mirrored;
        sums.Moves += all.Moves;
        sums.Suspicions += all.Suspicions;
        sums.Discarded += Core.Session?.Discarded ?? 0;
    }

    // ---- invariants

    public void CheckLimits()
    {
        if (Core.Session is not { } session)
        {
            return;
        }

        var most = _world.Figures.Limits.MaxWindow;
        long retained = 0, promised = 0;
        foreach (var stream in session.Streams)
        {
            retained += stream.Send.Retained;
            promised += stream.IsReset ? 0 : Math.Max(0, Math.Min(stream.CreditGiven, stream.Receive.Fin ?? long.MaxValue) - stream.Receive.Delivered);
            var held = stream.Receive.ReadyBytes + stream.Receive.StashedBytes;
            var ahead = stream.IsReset ? 0 : stream.CreditGiven - stream.Receive.Delivered;
            if (stream.Send.Retained > most || held > most || ahead > most || (stream.Send.End > stream.Send.Limit && !stream.IsReset))
            {
                _world.Fail($"{_gateway.Name}: stream {stream.Id} is past its window of {most}: retains {stream.Send.Retained}, holds {held}, "
                    + $"allows {ahead}, wrote {stream.Send.End} of {stream.Send.Limit} allowed");
            }
        }

        if (session.Active is { IsRelayed: true } && session.Streams.Any(s => s.Request.IsRelay && !s.IsReset))
        {
            _world.Fail($"{_gateway.Name}: a relay runs through a relay to {Peer}");
        }

        // Streams that are over count in what is promised until their applications have read the rest.
        if (session.Retained != retained || session.Promised < promised)
        {
            _world.Fail($"{_gateway.Name}: the session counts {session.Retained} bytes retained and {session.Promised} promised, "
                + $"its streams {retained} and {promised}");
        }
    }

    public static string Describe(StreamCore s) =>
        $"{s.Id} of {s.Request.Service} accepted={s.IsAccepted} reset={s.IsReset} send={s.Send.Base}/{s.Send.Next}/{s.Send.End}/{s.Send.Limit} "
        + $"received={s.Receive.Received} delivered={s.Receive.Delivered} credit={s.CreditGiven} fin={s.Receive.Fin} stash={s.Receive.StashedBytes}";
}
