using Fabric.Protocol.Tunnel;
using Fabric.Tunnel;
using Fabric.Tunnel.Core;

namespace Fabric.Simulation.Gateways;

/// <summary>One end of a lane: HELLO, then frames in and out, on a connection of the simulated network or through a relay.</summary>
internal sealed class SimLane
{
    private readonly World _world;
    private readonly SimGateway _gateway;
    private readonly IWire _wire;
    private readonly SimKeeper? _keeper;
    private readonly FrameReader _reader = new();
    private SimSession? _session;
    private HelloFrame? _sent;
    private SessionCore? _core;
    private LaneCore? _lane;
    private bool _greeted;
    private bool _pumping;
    private bool _closed;

    /// <param name="keeper">Of the end that dialled; null at the other.</param>
    public SimLane(World world, SimGateway gateway, IWire wire, SimKeeper? keeper)
    {
        (_world, _gateway, _wire, _keeper) = (world, gateway, wire, keeper);
        wire.Bind(this);
        if (keeper is null)
        {
            gateway.After(world.Figures.Limits.HandshakeTimeout, () =>
            {
                if (_lane is null)
                {
                    Close();
                }
            });
        }
    }

    /// <summary>Nothing can pass on it any more, and nobody has noticed yet.</summary>
    public bool IsLost => _wire.IsLost;

    private string Peer => _wire.Peer;

    // ---- HELLO

    /// <summary>The end that dialled says who it is.</summary>
    public void Greet(SimSession session)
    {
        _session = session;
        _sent = session.Core.NewHello(_wire.Link, _keeper!.Channel, _world.Now);
        Send(FrameType.Hello, _sent.ToPayload());
    }

    private void Send(FrameType type, byte[] payload)
    {
        var bytes = new byte[FrameHeader.Size + payload.Length];
        new FrameHeader(type, payload.Length, 0, 0).Write(bytes);
        payload.CopyTo(bytes, FrameHeader.Size);
        _wire.Send(bytes);
    }

    private void OnHello(in Frame frame)
    {
        if (frame.Header.Type == FrameType.Close && _keeper is not null)
        {
            Over($"refused by the peer: {ReasonFrame.Parse(frame.Payload).Reason}");
            return;
        }

        _world.Check(frame.Header.Type == FrameType.Hello, $"{_gateway.Name}: {frame.Header.Type} before HELLO");
        var hello = HelloFrame.Parse(frame.Payload);
        _world.Check(_sent is null || (hello.Link, hello.Epoch, hello.Channel) == (_sent.Link, _sent.Epoch, _sent.Channel), $"{_gateway.Name}: another lane was answered");
        _world.Check(RelayNames.RelayOf(hello.Link) == _wire.Relay, $"{_gateway.Name}: a lane over {hello.Link} came through {_wire.Relay}");
        _session ??= _gateway.Tunnel.IsPlanned(Peer, hello.Link) ? _gateway.Tunnel.Session(Peer) : null;
        var reason = "not planned here";
        var site = _world.Topology.FindGateway(Peer)!.Site;
        if (_session?.Core.Join(this, site, hello, _sent, _world.Now, out _lane, out reason) is not { } answer)
        {
            if (_keeper is null)
            {
                Send(FrameType.Close, new ReasonFrame((byte)StreamCode.SessionLost, reason).ToPayload());
            }

            Over(reason);
            return;
        }

        _core = _session.Core.Session!;
        _world.Note("lane", _gateway.Name, hello.Epoch);
        if (_keeper is null)
        {
            Send(FrameType.Hello, answer.ToPayload());
        }

        _keeper?.CameUp();
        _greeted = true;
        _gateway.Tunnel.RaiseChanged(Peer);
        _session.Rearm();
        OutputReady();
    }

    // ---- in

    public void Arrived(byte[] bytes)
    {
        var slab = _gateway.Pool.Rent(SlabPool.LargeSize);
        for (var start = 0; start < bytes.Length && !_closed;)
        {
            // However TLS records and reads cut them.
            var take = Math.Min(bytes.Length - start, 1 + _world.Random.Next(slab.Size));
            if (!slab.IsExclusive)
            {
                slab.Release();
                slab = _gateway.Pool.Rent(SlabPool.LargeSize);
            }

            bytes.AsSpan(start, take).CopyTo(slab.Bytes);
            start += take;
            Parse(slab, take);
        }

        slab.Release();
        _session?.Rearm();
    }

    private void Parse(Slab slab, int filled)
    {
        var at = 0;
        try
        {
            while (_reader.TryRead(slab.Bytes.AsSpan(at, filled - at), out var consumed, out var frame))
            {
                var piece = frame.PayloadStart < 0 ? default : new Segment(slab, at + frame.PayloadStart, frame.Payload.Length);
                at += consumed;
                if (_lane is not null)
                {
                    Receive(_lane, frame, piece);
                }
                else if (!_closed)
                {
                    OnHello(frame);
                }
            }
        }
        catch (FrameException error)
        {
            _world.Fail($"{_gateway.Name}: {Peer} broke the protocol: {error.Message}");
        }
    }

    private void Receive(LaneCore lane, in Frame frame, Segment piece)
    {
        var wasLive = lane.IsLive;
        var before = wasLive ? 0 : _core!.StateDigest();
        _core!.Receive(lane, frame, piece, _world.Now);
        _world.Check(wasLive || before == _core.StateDigest(),
            $"{_gateway.Name}: {frame.Header.Type} of stream {frame.Header.Stream} on fenced lane {lane.Epoch} was heard");
    }

    // ---- out

    public void OutputReady()
    {
        if (!_pumping && !_closed)
        {
            _pumping = true;
            _gateway.AfterMs(0, 0.5, Pump);
        }
    }

    private void Pump()
    {
        _pumping = false;
        if (!_greeted || _closed || _lane is not { IsLive: true } lane || !_wire.MaySend)
        {
            return;
        }

        var (batch, budget) = (_world.Batch, 1 << (9 + _world.Random.Next(9)));
        _core!.Produce(lane, batch, budget, _world.Now);
        _session!.Rearm();
        _world.Check(batch.Bytes <= budget + FrameBatch.Slack, $"{_gateway.Name}: a turn of {batch.Bytes} bytes, the budget was {budget}");
        if (batch.Count == 0)
        {
            return;
        }

        var bytes = new byte[batch.Bytes];
        batch.CopyTo(bytes);
        for (var i = 0; i < batch.Count; i++)
        {
            var header = batch.Header(i);
            _world.Note(_names[(int)header.Type], _gateway.Name, header.Stream, header.Offset);
        }

        batch.Clear();
        _wire.Send(bytes);
        OutputReady();
    }

    private static readonly string[] _names = [.. Enumerable.Range(0, 256).Select(t => ((FrameType)t).ToString())];

    // ---- the end

    /// <summary>The connection broke.</summary>
    public void Failed(string reason)
    {
        if (_lane is { IsLive: true } lane)
        {
            _core!.EndLane(lane, reason, _world.Now);
            _session!.Rearm();
        }
        else
        {
            Over(reason);
        }
    }

    /// <summary>The session let go of it. What its reader had in hand is still read.</summary>
    public void Ended(string reason) => _gateway.AfterMs(0, _world.OneIn(2) ? 1 : 300, () => Over(reason));

    public void Close()
    {
        if (!_closed)
        {
            _closed = true;
            _wire.Close();
        }
    }

    private void Over(string reason)
    {
        if (!_closed)
        {
            Close();
            _keeper?.LaneEnded(this, reason);
        }
    }
}
