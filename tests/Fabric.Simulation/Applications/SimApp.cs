using Fabric.Protocol.Tunnel;
using Fabric.Simulation.Gateways;
using Fabric.Tunnel;
using Fabric.Tunnel.Core;

namespace Fabric.Simulation.Applications;

/// <summary>The application at one end of a call's stream: writes what is planned, and checks every byte that it reads.</summary>
internal sealed class SimApp : IStreamEnd
{
    private readonly World _world;
    private readonly SimGateway _gateway;
    private readonly SimSession _session;
    private readonly Call _call;
    private readonly bool _isClient;
    private readonly SidePlan _mine;
    private readonly SidePlan _other;
    private int _written;
    private int _read;
    private bool _sawEnd;
    private bool _awake;
    private bool _started;

    public SimApp(World world, SimGateway gateway, SimSession session, Call call, bool isClient)
    {
        (_world, _gateway, _session, _call, _isClient) = (world, gateway, session, call, isClient);
        (_mine, _other) = isClient ? (call.Client, call.Server) : (call.Server, call.Client);
    }

    public StreamCore? Stream { get; set; }

    public SimGateway Gateway => _gateway;

    public Outcome Outcome { get; private set; }

    /// <summary>Told how it ended; for a client before it was opened, that a route refused.</summary>
    public Action<SimApp>? Over { get; init; }

    public bool WasOpened { get; private set; }

    public override string ToString() =>
        $"{(_isClient ? "client" : "server")} at {_gateway.Name} {Outcome} wrote {_written}/{_mine.Bytes} read {_read}/{_other.Bytes} end={_sawEnd} "
        + (Stream is null ? "" : SimSession.Describe(Stream));

    public void Opened()
    {
        WasOpened = true;
        _gateway.AfterMs(0, 0.1, Start);
    }

    /// <summary>The stream is accepted: bytes may go.</summary>
    public void Start()
    {
        _started = true;
        Wake();
    }

    public void Reset(StreamCode code, string reason)
    {
        Stream!.Reset(code, reason, _world.Now);
        _session.Rearm();
    }

    public void Died() => Finish(Outcome.Died);

    public void Ended()
    {
        if (Stream!.IsReset)
        {
            // Not in a call of the session: what follows calls it.
            _gateway.AfterMs(0, 0.1, () => Finish(Outcome.Reset));
        }

        Wake();
    }

    private void Finish(Outcome outcome)
    {
        if (Outcome == Outcome.Open)
        {
            Outcome = outcome;
            _world.Note(outcome.ToString(), _gateway.Name, _call.Id, _isClient ? 1 : 0);
            Over?.Invoke(this);
        }
    }

    public void Wake()
    {
        if (!_awake && _started)
        {
            _awake = true;
            // Once all is healed, applications no longer dawdle: only the fabric can be late.
            var pause = _world.IsHealed ? 0 : _mine.PauseMs;
            _gateway.AfterMs(pause, pause + 0.5, Act);
        }
    }

    private void Act()
    {
        _awake = false;
        if (Stream is { IsReset: false } && Outcome == Outcome.Open)
        {
            Read();
            Write();
            if (_sawEnd && Stream.IsGone && !Stream.IsReset)
            {
                Finish(Outcome.Orderly);
            }
        }

        _session.Rearm();
    }

    private void Write()
    {
        while (Stream is { IsReset: false, IsGone: false, WritesCompleted: false } stream)
        {
            if (_mine.ResetAt >= 0 && _written >= _mine.ResetAt)
            {
                Reset(StreamCode.ApplicationReset, "as planned");
                return;
            }

            if (_written == _mine.Bytes)
            {
                stream.CompleteWrites(_world.Now);
                return;
            }

            var piece = _world.IsHealed ? FrameHeader.MaxData : _mine.Piece;
            var take = (int)Math.Min(Math.Min(stream.Room, piece), Math.Min(_mine.Bytes - _written, FrameHeader.MaxData));
            if (take <= 0)
            {
                return;
            }

            var slab = _gateway.Pool.Rent(SlabPool.LargeSize);
            Content.Fill(slab.Bytes.AsSpan(0, take), _call, _isClient, _written);
            stream.Write(new Segment(slab, 0, take), _world.Now);
            slab.Release();
            _written += take;
            if (!_world.IsHealed && (_mine.PauseMs > 0 || _world.OneIn(8)))
            {
                Wake();
                return;
            }
        }
    }

    private void Read()
    {
        var stream = Stream!;
        var budget = _world.IsHealed ? int.MaxValue : _mine.ReadPiece;
        while (budget > 0 && stream.Receive.ReadySegments > 0)
        {
            var head = stream.Receive.Ready(0);
            var take = Math.Min(head.Length, budget);
            if (!Content.Matches(head.Span[..take], _call, !_isClient, _read))
            {
                _world.Fail($"the bytes at {_read} to {_read + take} of call {_call.Id} are not those that were sent: {this}");
            }

            _read += take;
            budget -= take;
            _world.Counters.BytesChecked += take;
            Own();
            stream.Consume(take, _world.Now);
        }

        if (stream.AtEnd && !_sawEnd)
        {
            _sawEnd = true;
            Own();
            _world.Check(_read == _other.Bytes, $"call {_call.Id} ended after {_read} of {_other.Bytes} bytes, cut off in silence: {this}");
        }
        else if (stream.Receive.ReadyBytes > 0)
        {
            Wake();
        }
    }

    /// <summary>What a caller says is heard by one server, whatever routes were tried.</summary>
    private void Own()
    {
        if (!_isClient)
        {
            _call.Owner ??= this;
            _world.Check(_call.Owner == this, $"two owners of one stream: {_call}");
        }
    }
}
