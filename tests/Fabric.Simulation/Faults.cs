using Fabric.Simulation.Gateways;
using Fabric.Simulation.Network;

namespace Fabric.Simulation;

/// <summary>What goes wrong, until all of it is mended at one moment.</summary>
internal sealed class Faults(World world)
{
    private readonly TimeSpan _heal = TimeSpan.FromSeconds(1.5 + world.Random.NextDouble() * 4);
    private readonly List<SimGateway> _down = [];

    public bool IsHealed { get; private set; }

    public void Begin()
    {
        world.After(world.Ms(200, 1200), Next);
        world.After(_heal, Heal);
    }

    private void Next()
    {
        if (IsHealed)
        {
            return;
        }

        Play();
        world.After(world.Ms(20, 700), Next);
    }

    private void Play()
    {
        var random = world.Random;
        var kind = random.Next(26);
        var link = world.Links[random.Next(world.Links.Length)];
        world.Note("fault", link.Name, kind);
        switch (kind)
        {
            case < 7:
                Cut(link, 1 + random.Next(3), world.Ms(20, world.OneIn(4) ? 4000 : 1000));
                break;
            case < 9:
                // One way only, for long: the other way still works.
                Cut(link, 1 + random.Next(2), world.Ms(500, 3000));
                break;
            case 9:
                Isolate(world.Gateways[random.Next(world.Gateways.Length)], world.Ms(100, 4000));
                break;
            case < 13:
                Break(link);
                break;
            case < 15:
                // A firewall forgot the connections: nothing passes, nobody is told.
                foreach (var connection in link.Connections)
                {
                    connection.IsLost = true;
                }

                break;
            case < 18:
                Change(link);
                break;
            case < 20:
                Kill(world.Gateways[random.Next(world.Gateways.Length)]);
                break;
            case 20:
                Drain(world.Gateways[random.Next(world.Gateways.Length)]);
                break;
            case 21 or 22:
                Reload(world.Gateways[random.Next(world.Gateways.Length)]);
                break;
            default:
                var service = world.Topology.Services[random.Next(world.Topology.Services.Length)];
                var endpoints = service.Exports.SelectMany(e => e.Endpoints).ToArray();
                world.Endpoints.Set(service, endpoints[random.Next(endpoints.Length)], alive: world.OneIn(2));
                break;
        }
    }

    /// <param name="ways">1: one way, 2: the other, 3: both.</param>
    private void Cut(SimLink link, int ways, TimeSpan duration)
    {
        world.Counters.Cuts++;
        for (var end = 0; end < 2; end++)
        {
            if ((ways >> end & 1) != 0)
            {
                link.From(end).Cut(duration);
            }
        }
    }

    /// <summary>All links of a gateway at once.</summary>
    private void Isolate(SimGateway gateway, TimeSpan duration)
    {
        foreach (var link in world.Links.Where(l => l.Plan.Touches(gateway.Name)))
        {
            Cut(link, 3, duration);
        }
    }

    /// <summary>A connection breaks, and one end notices.</summary>
    private void Break(SimLink link)
    {
        if (link.Connections.Count == 0)
        {
            return;
        }

        var connection = link.Connections[world.Random.Next(link.Connections.Count)];
        var side = world.Random.Next(2);
        connection.IsLost |= world.OneIn(2);
        var gateway = world.Gateway(link.GatewayAt(side));
        gateway.Do(() => connection.LaneAt(side)?.Failed("connection reset"));
    }

    private void Change(SimLink link)
    {
        foreach (var way in link.Ways)
        {
            way.Latency = world.Ms(1, 100);
            way.Loss = world.OneIn(3) ? world.Random.NextDouble() * 0.3 : 0;
        }
    }

    private void Kill(SimGateway gateway)
    {
        if (gateway.IsRunning)
        {
            gateway.Kill(silent: world.OneIn(2));
            _down.Add(gateway);
            world.After(world.Ms(50, 3000), () => Restart(gateway));
        }
    }

    private void Drain(SimGateway gateway)
    {
        if (gateway is { IsRunning: true, IsDraining: false })
        {
            gateway.Do(gateway.Drain);
            world.After(world.Ms(100, 2000), () =>
            {
                if (!IsHealed)
                {
                    Kill(world.Gateway(gateway.Name));
                }
            });
        }
    }

    /// <summary>That gateway, and only that one, gets a topology without one of the links; the others still have it.</summary>
    private void Reload(SimGateway gateway)
    {
        var links = world.Topology.Links;
        world.Counters.Reloads++;
        gateway.Do(() => gateway.Accept(world.Topology with { Links = links.RemoveAt(world.Random.Next(links.Length)), Revision = "other" }));
    }

    private void Restart(SimGateway gateway)
    {
        if (_down.Remove(gateway))
        {
            var next = new SimGateway(world, gateway.Plan);
            world.Gateways[Array.IndexOf(world.Gateways, gateway)] = next;
            next.Start();
        }
    }

    private void Heal()
    {
        world.Note("heal", "");
        IsHealed = true;
        foreach (var way in world.Links.SelectMany(l => l.Ways))
        {
            way.Heal();
        }

        foreach (var gateway in world.Gateways.Where(g => g.IsDraining && g.IsRunning).ToArray())
        {
            gateway.Kill(silent: false);
            _down.Add(gateway);
        }

        foreach (var gateway in world.Gateways)
        {
            gateway.Do(() => gateway.Accept(world.Topology));
        }

        foreach (var gateway in _down.ToArray())
        {
            Restart(gateway);
        }
    }
}
