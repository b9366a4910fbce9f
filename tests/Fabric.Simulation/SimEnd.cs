using System.Collections.Immutable;
using Fabric.Protocol.Tunnel;
using Fabric.Tunnel;
using Fabric.Tunnel.Core;

namespace Fabric.Simulation;

/// <summary>One gateway: drives its session's core, and holds it to the invariants.</summary>
internal sealed class SimEnd : ISessionDriver
{
    private readonly World _world;
    private readonly SlabPool _pool;
    private readonly Dictionary<SimLane, LaneCore> _lanes = [];
    private readonly List<SimApp> _apps = [];
    private readonly HashSet<string> _down = [];
    private List<string> _preferred = [.. World.Links];
    private string? _suspect;
    private TimeSpan _armed = TimeSpan.MaxValue;

    public SimEnd(World world, string name, bool odd, Mistake mistake)
    {
        _world = world;
        Name = name;
        _pool = new SlabPool(world.Limits.Memory, keep: 4);
        Core = new SessionCore(odd, this, world.Limits, _pool, world.Limits.MaxStreams) { Planted = mistake };
    }

    public string Name { get; }

    public SessionCore Core { get; }

    public SlabPool Pool => _pool;

    public SimEnd Peer { get; set; } = null!;

    public bool IsLost { get; private set; }

    public bool IsQuiet => Core.StreamCount == 0 && _apps.All(a => a.IsOver);

    public LaneCore? Lane(string link, int channel) => Core.Lanes.FirstOrDefault(l => l.Link == link && l.Channel == channel);

    public LaneCore? LaneOf(SimLane lane) => _lanes.GetValueOrDefault(lane);

    // ---- lanes

    public bool Attach(SimLane lane)
    {
        if (IsLost || Core.AttachLane(lane.Epoch, lane.Link, lane.Channel, lane, _world.Now, out _) is not { } core)
        {
            return false;
        }

        _world.Note(1, Name[0], lane.Epoch);
        _lanes[lane] = core;
        lane.OutputReady(this);
        Rearm();
        return true;
    }

    public void ConnectionFailed(SimLane lane)
    {
        if (LaneOf(lane) is { } core)
        {
            Core.EndLane(core, "the connection failed", _world.Now);
            Rearm();
        }
    }

    public void Prefer(string link)
    {
        _preferred = [link, .. _preferred.Where(l => l != link)];
        Tell();
    }

    /// <summary>The link owes an answer, for a while.</summary>
    public void Suspect(string link)
    {
        _suspect = link;
        Tell();
        _world.AfterMs(10, 500, () =>
        {
            _suspect = null;
            Tell();
        });
    }

    private void Tell()
    {
        Core.SetPaths(
            new LinkPaths([.. _preferred.Where(l => !_down.Contains(l))], _suspect is null ? [] : [_suspect], [.. _down]), _world.Now);
        Rearm();
    }

    public void Declare(string link, bool down)
    {
        if (down ? _down.Add(link) : _down.Remove(link))
        {
            _world.Note(2, Name[0], down ? 1 : 0);
            Tell();
        }
    }

    public void Arrived(SimLane lane, FrameReader reader, byte[] bytes)
    {
        if (LaneOf(lane) is not { } core)
        {
            return;
        }

        var slab = _pool.Rent(SlabPool.LargeSize);
        for (var start = 0; start < bytes.Length;)
        {
            var take = Math.Min(bytes.Length - start, 1 + _world.Random.Next(slab.Size));
            if (!slab.IsExclusive)
            {
                slab.Release();
                slab = _pool.Rent(SlabPool.LargeSize);
            }

            bytes.AsSpan(start, take).CopyTo(slab.Bytes);
            start += take;
            Parse(core, reader, slab, take);
        }

        slab.Release();
        Rearm();
    }

    private void Parse(LaneCore core, FrameReader reader, Slab slab, int filled)
    {
        var at = 0;
        try
        {
            while (reader.TryRead(slab.Bytes.AsSpan(at, filled - at), out var consumed, out var frame))
            {
                var piece = frame.PayloadStart < 0 ? default : new Segment(slab, at + frame.PayloadStart, frame.Payload.Length);
                at += consumed;
                var wasLive = core.IsLive;
                var before = wasLive ? 0 : Core.StateDigest();
                Core.Receive(core, frame, piece, _world.Now);
                _world.Check(wasLive || before == Core.StateDigest(),
                    $"{Name}: {frame.Header.Type} of stream {frame.Header.Stream} on fenced lane {core.Epoch} was heard");
            }
        }
        catch (FrameException error)
        {
            _world.Check(false, $"{Name}: the peer broke the protocol: {error.Message}");
        }
    }

    // ---- time

    public void Rearm()
    {
        if (Core.NextDue is not { } due || IsLost || due >= _armed)
        {
            return;
        }

        _armed = due;
        _world.After(due > _world.Now ? due - _world.Now : TimeSpan.Zero, () =>
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
        if (!IsLost && !Core.Advance(_world.Now))
        {
            Lose();

            // The peer hears of it with the next HELLO, or by its own grace.
            _world.AfterMs(1, 5000, Peer.Lose);
        }

        Rearm();
    }

    private void Lose()
    {
        if (!IsLost)
        {
            _world.Check(_world.LosesSession, $"{Name}: the session was lost though lanes came back");
            IsLost = true;
            Core.Abort(StreamCode.SessionLost, "no lane", _world.Now);
        }
    }

    // ---- applications

    public void OpenStream()
    {
        if (Core.Active is null)
        {
            return;
        }

        var plan = StreamPlan.Draw(_world.Random);
        var stream = Core.Open(new StreamOpen($"s{_world.Random.Next()}", 80, "", plan.ToText()) { Mirrored = _world.Random.Next(4) == 0 }, null, _world.Now);
        _world.Note(3, Name[0], stream.Id);
        var app = new SimApp(_world, this, stream, plan.Ours, plan.Theirs);
        _apps.Add(app);
        if (plan.GivesUp)
        {
            _world.AfterMs(0, 200, () => app.Reset());
        }

        Rearm();
    }

    void ISessionDriver.OpenRequested(StreamCore stream)
    {
        var plan = StreamPlan.Parse(stream.Request.TraceParent);
        var app = new SimApp(_world, this, stream, plan.Theirs, plan.Ours);
        _apps.Add(app);
        _world.AfterMs(0, 50, () => app.Answer(plan.IsRefused));
    }

    void ISessionDriver.Opened(StreamCore stream) => ((SimApp)stream.Owner!).Start();

    void ISessionDriver.Readable(StreamCore stream) => ((SimApp?)stream.Owner)?.Wake();

    void ISessionDriver.Writable(StreamCore stream) => ((SimApp?)stream.Owner)?.Wake();

    void ISessionDriver.Ended(StreamCore stream) => ((SimApp?)stream.Owner)?.Ended();

    void ISessionDriver.OutputReady(LaneCore lane) => ((SimLane)lane.Owner!).OutputReady(this);

    void ISessionDriver.LaneEnded(LaneCore lane, string reason)
    {
        _world.Note(4, Name[0], lane.Epoch);
        ((SimLane)lane.Owner!).Closed(this);
    }

    // ---- invariants

    public void CheckLimits()
    {
        foreach (var stream in Core.Streams)
        {
            var most = _world.Limits.MaxWindow;
            _world.Check(stream.Send.Retained <= most, $"{Name}: stream {stream.Id} retains {stream.Send.Retained} bytes");
            var held = stream.Receive.ReadyBytes + stream.Receive.StashedBytes;
            _world.Check(held <= most, $"{Name}: stream {stream.Id} holds {held} bytes");
            _world.Check(stream.Send.End <= stream.Send.Limit || stream.IsReset, $"{Name}: stream {stream.Id} went past its credit");
        }
    }

    public void CheckEnd()
    {
        _world.Check(Core.StreamCount == 0, $"{Name}: {Core.StreamCount} streams never ended: {string.Join("; ", Core.Streams.Select(Describe))}");
        foreach (var app in _apps)
        {
            _world.Check(app.IsOver, $"{Name}: the application of stream {app.Stream.Id} never ended: {app} {Describe(app.Stream)}");
        }

        _world.Check(Core.Retained == 0, $"{Name}: {Core.Retained} bytes are retained for nobody");
        _world.Check(Core.Promised == 0, $"{Name}: {Core.Promised} bytes are promised to nobody");
        _world.Check(_pool.Rented == 0, $"{Name}: {_pool.Rented} bytes of slabs leaked");
    }

    private static string Describe(StreamCore s) =>
        $"{s.Id} accepted={s.IsAccepted} reset={s.IsReset} send={s.Send.Base}/{s.Send.Next}/{s.Send.End}/{s.Send.Limit} "
        + $"received={s.Receive.Received} delivered={s.Receive.Delivered} credit={s.CreditGiven} fin={s.Receive.Fin} stash={s.Receive.StashedBytes}";
}
