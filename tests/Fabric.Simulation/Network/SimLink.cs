using System.Net;
using Fabric.Simulation.Gateways;
using Fabric.Topology.Model;

namespace Fabric.Simulation.Network;

/// <summary>One way of a link: what it does to packets.</summary>
internal sealed class Way(World world)
{
    private readonly List<Action> _waiting = [];

    public TimeSpan Latency { get; set; }

    /// <summary>Milliseconds on top of the latency, at most.</summary>
    public double Jitter { get; set; }

    /// <summary>Share of packets that are lost, and of datagrams that come twice.</summary>
    public double Loss { get; set; }

    public double Twice { get; set; }

    private TimeSpan CutUntil { get; set; }

    public bool IsCut => world.Now < CutUntil;

    public TimeSpan Delay() => Latency + world.Ms(0, Jitter);

    public void Cut(TimeSpan duration)
    {
        CutUntil = CutUntil > world.Now + duration ? CutUntil : world.Now + duration;
        world.After(duration, Kick);
    }

    public void Heal()
    {
        CutUntil = world.Now;
        Loss = 0;
        Kick();
    }

    /// <summary>Called once when the cut is over, by when a sender would have tried again.</summary>
    public void WhenWhole(Action action) => _waiting.Add(action);

    private void Kick()
    {
        if (!IsCut)
        {
            foreach (var action in _waiting)
            {
                world.After(world.Ms(0, 250), action);
            }

            _waiting.Clear();
        }
    }
}

/// <summary>A link of the topology as a network: two ways that delay, lose, repeat, reorder and fall silent, each on its own.</summary>
internal sealed class SimLink
{
    private readonly World _world;
    private readonly Way[] _ways;
    private readonly SocketAddress[] _addresses;

    public SimLink(World world, Link plan, int index)
    {
        (_world, Plan, Index) = (world, plan, index);
        var latency = world.Ms(1, world.OneIn(4) ? 80 : 25);
        _ways = [NewWay(latency), NewWay(latency)];
        _addresses = [.. new[] { 0, 1 }.Select(end => new IPEndPoint(DrawnTopology.Address(index, end), 7443).Serialize())];
    }

    public Link Plan { get; }

    public int Index { get; }

    /// <summary>Connections that were made over it and are not forgotten.</summary>
    public List<Connection> Connections { get; } = [];

    public string Name => $"{Plan.Name}:{Plan.A.Gateway}:{Plan.B.Gateway}";

    public string GatewayAt(int end) => end == 0 ? Plan.A.Gateway : Plan.B.Gateway;

    public int EndOf(string gateway) => Plan.A.Gateway == gateway ? 0 : 1;

    public SocketAddress AddressOf(int end) => _addresses[end];

    /// <summary>The way that begins at that end.</summary>
    public Way From(int end) => _ways[end];

    public IEnumerable<Way> Ways => _ways;

    private Way NewWay(TimeSpan latency) => new(_world)
    {
        Latency = latency,
        Jitter = _world.OneIn(3) ? 8 : 1,
        Loss = _world.OneIn(6) ? 0.02 : 0,
        Twice = _world.OneIn(6) ? 0.02 : 0,
    };

    /// <summary>A datagram: lost, delayed, or twice, and in no order.</summary>
    public void SendDatagram(int from, ReadOnlySpan<byte> packet)
    {
        var way = _ways[from];
        if (way.IsCut || _world.Random.NextDouble() < way.Loss)
        {
            return;
        }

        var bytes = packet.ToArray();
        for (var copies = _world.Random.NextDouble() < way.Twice ? 2 : 1; copies > 0; copies--)
        {
            _world.After(way.Delay(), () =>
            {
                // What is under way when a way is cut is lost with it.
                if (!way.IsCut && _world.Gateway(GatewayAt(1 - from)) is { IsRunning: true } gateway)
                {
                    gateway.Do(() => gateway.Prober.Received(bytes, this, from));
                }
            });
        }
    }

    /// <summary>
    /// Connects and makes TLS: two round trips. Nothing is called back when the way is cut, or nobody answers: the dialler has its limit.
    /// </summary>
    public void Dial(SimGateway dialler, Action<Connection> connected, Action<string> refused)
    {
        var end = EndOf(dialler.Name);
        var trip = _ways[0].Delay() + _ways[1].Delay();
        _world.After(trip * 2, () =>
        {
            if (_ways[0].IsCut || _ways[1].IsCut)
            {
                return;
            }

            var other = _world.Gateway(GatewayAt(1 - end));
            if (other.IsRunning)
            {
                var connection = new Connection(_world, this, end, dialler, other);
                Connections.Add(connection);
                connected(connection);
            }
            else if (other.IsMachineUp)
            {
                refused("connection refused");
            }
        });
    }
}
