using Fabric.Protocol.Tunnel;
using Fabric.Tunnel.Core;

namespace Fabric.Simulation;

/// <summary>A lane's connection: two directions that keep order, delay, stall, and lose.</summary>
internal sealed class SimLane
{
    private readonly World _world;
    private readonly Direction _toA;
    private readonly Direction _toB;

    public SimLane(World world, uint epoch, string link, int channel)
    {
        _world = world;
        Epoch = epoch;
        Link = link;
        Channel = channel;
        var latency = TimeSpan.FromMilliseconds(1 + world.Random.Next(40));
        _toA = new Direction(this, world.B, world.A, latency);
        _toB = new Direction(this, world.A, world.B, latency);
    }

    public uint Epoch { get; }

    public string Link { get; }

    public int Channel { get; }

    /// <summary>HELLO there and back: B has the lane before A has.</summary>
    public void Connect() => _world.After(_toB.Latency, () =>
    {
        if (!_world.B.Attach(this))
        {
            _world.Redial(Link, Channel);
            return;
        }

        _toA.IsOpen = false;
        _world.After(_toA.Latency, () =>
        {
            if (_world.A.Attach(this))
            {
                _toA.IsOpen = true;
                _toA.Deliver();
            }
            else
            {
                Closed(_world.A);
                _world.Redial(Link, Channel);
            }
        });
    });

    /// <summary>An end has something to send.</summary>
    public void OutputReady(SimEnd from) => From(from).OutputReady();

    /// <summary>An end closed the connection: the other hears of it after what is under way, unless that is lost.</summary>
    public void Closed(SimEnd by)
    {
        From(by).Close();
        if (by == _world.A)
        {
            _world.Redial(Link, Channel);
        }
    }

    public void Stall(int ways)
    {
        _toA.IsStalled |= (ways & 1) != 0;
        _toB.IsStalled |= (ways & 2) != 0;
    }

    public void Resume()
    {
        _toA.IsStalled = _toB.IsStalled = false;
        _toA.Deliver();
        _toB.Deliver();
    }

    public void Lose()
    {
        _toA.IsLost = _toB.IsLost = true;
    }

    /// <summary>The connection breaks, and that end notices at once.</summary>
    public void Break(SimEnd end)
    {
        if (_world.Random.Next(2) == 0)
        {
            Lose();
        }

        end.ConnectionFailed(this);
    }

    private Direction From(SimEnd end) => end == _world.A ? _toB : _toA;

    private sealed class Direction(SimLane lane, SimEnd from, SimEnd to, TimeSpan latency)
    {
        private const int Buffer = 256 * 1024;

        private readonly World _world = lane._world;
        private readonly Queue<byte[]> _underWay = new();
        private readonly FrameReader _reader = new();
        private readonly FrameBatch _batch = new();
        private TimeSpan _lastArrival;
        private int _buffered;
        private int _arrived;
        private bool _pumping;
        private bool _closed;

        public TimeSpan Latency { get; } = latency;

        public bool IsOpen { get; set; } = true;

        public bool IsStalled { get; set; }

        public bool IsLost { get; set; }

        public void OutputReady()
        {
            if (_pumping || _closed)
            {
                return;
            }

            _pumping = true;
            _world.AfterMs(0, 1, Pump);
        }

        private void Pump()
        {
            _pumping = false;
            if (from.LaneOf(lane) is not { IsLive: true } core || _buffered > Buffer || _closed)
            {
                return;
            }

            var budget = 1 << (8 + _world.Random.Next(10));
            from.Core.Produce(core, _batch, budget, _world.Now);
            _world.Check(_batch.Bytes <= budget + FrameBatch.Slack, $"{from.Name}: a turn of {_batch.Bytes} bytes, the budget was {budget}");
            if (_batch.Count == 0)
            {
                return;
            }

            var bytes = new byte[_batch.Bytes];
            _batch.CopyTo(bytes);
            for (var i = 0; i < _batch.Count; i++)
            {
                var header = _batch.Header(i);
                _world.Note((long)header.Type, header.Stream, header.Offset);
            }

            _batch.Clear();
            Send(bytes);
            OutputReady();
        }

        public void Close()
        {
            if (!_closed)
            {
                Send([]);
                _closed = true;
            }
        }

        private void Send(byte[] bytes)
        {
            if (IsLost)
            {
                return;
            }

            _buffered += bytes.Length;
            _underWay.Enqueue(bytes);
            var arrival = _world.Now + Latency + TimeSpan.FromMilliseconds(_world.Random.NextDouble() * 5);
            _lastArrival = arrival > _lastArrival ? arrival : _lastArrival;
            _world.After(_lastArrival - _world.Now, () =>
            {
                _arrived++;
                Deliver();
            });
        }

        public void Deliver()
        {
            while (_arrived > 0 && !IsStalled && !IsLost && IsOpen)
            {
                _arrived--;
                var bytes = _underWay.Dequeue();
                _buffered -= bytes.Length;
                if (bytes.Length == 0)
                {
                    to.ConnectionFailed(lane);
                    return;
                }

                to.Arrived(lane, _reader, bytes);
                OutputReady();
            }
        }
    }
}
