using Fabric.Protocol.Tunnel;
using Fabric.Simulation.Network;
using Fabric.Tunnel;
using Fabric.Tunnel.Core;

namespace Fabric.Simulation.Gateways;

/// <summary>What carries the bytes of a lane at one end.</summary>
internal interface IWire
{
    /// <summary>Name of the lane's link.</summary>
    string Link { get; }

    /// <summary>The gateway at the other end of the lane.</summary>
    string Peer { get; }

    /// <summary>The gateway in between; null on a link.</summary>
    string? Relay { get; }

    /// <summary>Nothing can pass on it any more, and nobody has noticed yet.</summary>
    bool IsLost { get; }

    bool MaySend { get; }

    void Bind(SimLane lane);

    void Send(byte[] bytes);

    void Close();
}

/// <summary>One side of a connection over a link.</summary>
internal sealed class LinkWire(Connection connection, int side) : IWire
{
    public string Link => connection.Link.Plan.Name;

    public string Peer => connection.Link.GatewayAt(1 - side);

    public string? Relay => null;

    public bool IsLost => connection.IsLost;

    public bool MaySend => connection.MaySend(side);

    public void Bind(SimLane lane) => connection.Bind(side, lane);

    public void Send(byte[] bytes) => connection.Send(side, bytes);

    public void Close() => connection.Close(side);
}

/// <summary>A stream of the session with a relay, at either end of a relayed lane.</summary>
internal sealed class RelayWire(World world, SimGateway gateway, SimSession session, string peer) : IWire, IStreamEnd
{
    private readonly Queue<byte[]> _out = new();
    private int _sent;
    private SimLane? _lane;
    private bool _awake;
    private bool _closed;

    public StreamCore Stream { get; set; } = null!;

    /// <summary>The relay took it, and so did the other end.</summary>
    public Action? Accepted { get; init; }

    /// <summary>It ended before there was a lane on it.</summary>
    public Action<string>? Failed { get; init; }

    public string Link => RelayNames.Link(session.Peer);

    public string Peer => peer;

    public string? Relay => session.Peer;

    public bool IsLost => false;

    public bool MaySend => !_closed && _out.Count == 0;

    public void Bind(SimLane lane)
    {
        _lane = lane;
        Wake();
    }

    public void Send(byte[] bytes)
    {
        _out.Enqueue(bytes);
        Wake();
    }

    public void Close()
    {
        if (!_closed)
        {
            _closed = true;
            Stream.Reset(StreamCode.ApplicationReset, "the lane is over", world.Now);
            session.Rearm();
        }
    }

    public void Opened() => gateway.AfterMs(0, 0.1, () => Accepted?.Invoke());

    public void Wake()
    {
        if (!_awake && _lane is not null)
        {
            _awake = true;
            gateway.AfterMs(0, 0.5, Act);
        }
    }

    public void Ended() => gateway.AfterMs(0, 0.1, () =>
    {
        if (_lane is not { } lane)
        {
            Failed?.Invoke(Stream.Reason);
        }
        else if (!_closed)
        {
            lane.Failed($"the relay's stream ended: {Stream.Reason}");
        }
    });

    private void Act()
    {
        _awake = false;
        while (Stream.Receive.ReadySegments > 0 && !_closed && !Stream.IsReset)
        {
            var head = Stream.Receive.Ready(0);
            var bytes = head.Span.ToArray();
            Stream.Consume(bytes.Length, world.Now);
            _lane!.Arrived(bytes);
        }

        var sent = false;
        while (_out.TryPeek(out var next) && Stream is { IsReset: false, IsGone: false } && !_closed)
        {
            var take = (int)Math.Min(Stream.Room, Math.Min(next.Length - _sent, FrameHeader.MaxData));
            if (take == 0)
            {
                break;
            }

            Stream.WriteCopy(next.AsSpan(_sent, take), world.Now);
            sent = true;
            _sent += take;
            if (_sent == next.Length)
            {
                _out.Dequeue();
                _sent = 0;
            }
        }

        session.Rearm();
        if (sent && _out.Count == 0)
        {
            _lane!.OutputReady();
        }
    }
}

/// <summary>A relay joins what it was asked with what it opened: bytes and resets pass, and nothing is looked at.</summary>
internal sealed class RelayJoin(World world, SimGateway gateway)
{
    private readonly Half[] _halves = new Half[2];

    /// <summary>The relay's side of an ask for that target.</summary>
    public static void Carry(World world, SimGateway gateway, SimSession asking, StreamCore asked, string target)
    {
        var join = new RelayJoin(world, gateway);
        join._halves[0] = new Half(join, 0, asking) { Stream = asked };
        asked.Owner = join._halves[0];
        try
        {
            var session = gateway.Tunnel.Session(target) ?? throw new StreamRefusedException(StreamCode.NoLane, "no session");
            join._halves[1] = new Half(join, 1, session);
            join._halves[1].Stream = session.Open(new StreamOpen(RelayNames.Hand(asking.Peer), 0, asked.Request.Caller), join._halves[1]);
        }
        catch (StreamRefusedException refused)
        {
            asked.Reset(refused.Code, refused.Reason, world.Now);
        }

        asking.Rearm();
    }

    private sealed class Half(RelayJoin join, int index, SimSession session) : IStreamEnd
    {
        private bool _awake;

        public StreamCore Stream { get; set; } = null!;

        private Half? Other => join._halves[1 - index];

        /// <summary>The target took it: so does the relay.</summary>
        public void Opened() => join.Later(() =>
        {
            if (!Other!.Stream.IsReset)
            {
                Other.Stream.Accept(join.Now);
                Other.Rearm();
            }
        });

        public void Wake()
        {
            if (!_awake)
            {
                _awake = true;
                join.Later(() =>
                {
                    _awake = false;
                    Copy();
                    Other?.Copy();
                });
            }
        }

        public void Ended() => join.Later(() =>
        {
            if (Stream.IsReset && Other is { Stream: { IsReset: false } other })
            {
                other.Reset(Stream.Code, Stream.Reason, join.Now);
                Other.Rearm();
            }
        });

        private void Rearm() => session.Rearm();

        /// <summary>What is ready here leaves by the other half, as far as its window goes: so windows push back from end to end.</summary>
        private void Copy()
        {
            while (Other is { Stream: { IsReset: false, IsGone: false } to } && !Stream.IsReset && Stream.Receive.ReadySegments > 0)
            {
                var head = Stream.Receive.Ready(0);
                var take = (int)Math.Min(to.Room, Math.Min(head.Length, FrameHeader.MaxData));
                if (take == 0)
                {
                    break;
                }

                to.Write(head.Slice(0, take), join.Now);
                Stream.Consume(take, join.Now);
            }

            Rearm();
            Other?.Rearm();
        }
    }

    private TimeSpan Now => world.Now;

    private void Later(Action action) => gateway.AfterMs(0, 0.5, action);
}
