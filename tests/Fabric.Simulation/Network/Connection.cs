using Fabric.Simulation.Gateways;

namespace Fabric.Simulation.Network;

/// <summary>
/// A TCP connection with TLS between two gateways over one link: what is lost comes later, a cut is silence, and its end is told by a
/// close, by a reset, or not at all.
/// </summary>
internal sealed class Connection
{
    private readonly World _world;
    private readonly SimLink _link;
    private readonly Pipe[] _pipes;
    private readonly SimGateway[] _gateways;
    private readonly SimLane?[] _lanes = new SimLane?[2];

    /// <param name="end">End of the link that dialled; sides of the connection are numbered as ends of the link.</param>
    public Connection(World world, SimLink link, int end, SimGateway dialler, SimGateway other)
    {
        (_world, _link) = (world, link);
        _gateways = end == 0 ? [dialler, other] : [other, dialler];
        _pipes = [new Pipe(this, 0), new Pipe(this, 1)];
    }

    public SimLink Link => _link;

    /// <summary>A firewall has forgotten it: nothing passes, and nobody is told.</summary>
    public bool IsLost { get; set; }

    public void Bind(int side, SimLane lane) => _lanes[side] = lane;

    public SimLane? LaneAt(int side) => _lanes[side];

    public bool MaySend(int from) => _pipes[from].MaySend;

    public void Send(int from, byte[] bytes) => _pipes[from].Send(bytes, Mark.Data);

    /// <summary>That side lets go of it. What it has sent and the network has not yet carried may be lost.</summary>
    public void Close(int from)
    {
        if (_lanes[from] is not null)
        {
            _lanes[from] = null;
            _pipes[from].End(_world.OneIn(2) ? Mark.Reset : Mark.Close);
            if (_lanes[1 - from] is null)
            {
                _link.Connections.Remove(this);
            }
        }
    }

    /// <summary>The process at that side is gone; with its machine, in silence.</summary>
    public void Die(int side, bool silent)
    {
        if (silent)
        {
            _lanes[side] = null;
            _pipes[side].Silence();
        }
        else
        {
            Close(side);
        }
    }

    private enum Mark
    {
        Data,
        Close,
        Reset,
    }

    /// <summary>One direction.</summary>
    private sealed class Pipe(Connection connection, int from)
    {
        /// <summary>What the sender's kernel takes before it says that it is full.</summary>
        private const int Buffer = 256 * 1024;

        private readonly World _world = connection._world;
        private readonly Way _way = connection._link.From(from);
        private readonly Way _back = connection._link.From(1 - from);
        private readonly Queue<(byte[] Bytes, Mark Mark)> _underWay = new();
        private TimeSpan _lastArrival;
        private int _arrived;
        private int _unacknowledged;
        private bool _waits;
        private bool _ended;

        public bool MaySend => !_ended && _unacknowledged < Buffer;

        public void Send(byte[] bytes, Mark mark)
        {
            if (_ended)
            {
                return;
            }

            _unacknowledged += bytes.Length;
            _underWay.Enqueue((bytes, mark));
            var arrival = _world.Now + _way.Delay();
            if (_world.Random.NextDouble() < _way.Loss)
            {
                arrival += _world.Ms(30, 300);
            }

            _lastArrival = arrival > _lastArrival ? arrival : _lastArrival;
            _world.After(_lastArrival - _world.Now, () =>
            {
                _arrived++;
                Deliver();
            });
        }

        public void End(Mark mark)
        {
            if (mark == Mark.Reset && _world.OneIn(2))
            {
                // What the receiver has not read is lost with the connection.
                Drop();
            }

            Send([], mark);
            _ended = true;
        }

        public void Silence()
        {
            Drop();
            _ended = true;
        }

        private void Drop()
        {
            _arrived -= _underWay.Count;
            _underWay.Clear();
        }

        private void Deliver()
        {
            while (_arrived > 0 && _underWay.Count > 0 && !connection.IsLost)
            {
                if (_way.IsCut)
                {
                    if (!_waits)
                    {
                        _waits = true;
                        _way.WhenWhole(() =>
                        {
                            _waits = false;
                            Deliver();
                        });
                    }

                    return;
                }

                _arrived--;
                var (bytes, mark) = _underWay.Dequeue();
                Acknowledge(bytes.Length);
                Arrived(bytes, mark);
            }
        }

        private void Acknowledge(int count)
        {
            if (_back.IsCut)
            {
                _back.WhenWhole(() => Acknowledged(count));
            }
            else
            {
                Acknowledged(count);
            }
        }

        private void Acknowledged(int count)
        {
            _unacknowledged -= count;
            connection._lanes[from]?.OutputReady();
        }

        private void Arrived(byte[] bytes, Mark mark)
        {
            var gateway = connection._gateways[1 - from];
            if (connection._lanes[1 - from] is { } lane)
            {
                gateway.Do(() =>
                {
                    if (mark == Mark.Data)
                    {
                        lane.Arrived(bytes);
                    }
                    else
                    {
                        lane.Failed(mark == Mark.Reset ? "connection reset by peer" : "the peer closed the connection");
                    }
                });
            }
            else if (mark == Mark.Data && _world.Gateway(gateway.Name).IsMachineUp)
            {
                // The kernel there knows of no such connection.
                connection._pipes[1 - from].Refuse();
            }
        }

        private void Refuse()
        {
            if (!_refused)
            {
                _refused = true;
                _ended = false;
                Send([], Mark.Reset);
                _ended = true;
            }
        }

        private bool _refused;
    }
}
