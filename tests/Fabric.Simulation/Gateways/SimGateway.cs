using Fabric.Gateway.Catalog;
using Fabric.Gateway.Egress;
using Fabric.Gateway.Ingress;
using Fabric.Gateway.Snapshot;
using Fabric.Simulation.Network;
using Fabric.Topology;
using Fabric.Topology.Model;
using Fabric.Tunnel.Core;
using Microsoft.Extensions.Logging.Abstractions;

namespace Fabric.Simulation.Gateways;

/// <summary>
/// One process of a gateway: the daemon's own state loop, deciders, probe engine, publisher and session cores, and events in place of
/// its threads and sockets. It runs once, until it is killed; a restart is a new one.
/// </summary>
internal sealed class SimGateway
{
    private static readonly TimeSpan _idleTurn = TimeSpan.FromMilliseconds(250);

    private readonly World _world;
    private bool _turnDue;
    private long _turn;

    public SimGateway(World world, SiteGateway plan)
    {
        (_world, Plan) = (world, plan);
        Site = Array.FindIndex([.. world.Topology.Sites], s => s.Name == plan.Site);
        Pool = new SlabPool(world.Figures.Limits.Memory, keep: 4);
        Health = new SimEndpoints(world, this);
        Tunnel = new SimTunnel(world, this);
        Prober = new SimProber(world, this);
        Publisher = new CatalogPublisher(Health, world.Time);
        Catalogs = new SimCatalogs(world, this);
        Loop = new StateLoop(
            new StateParts
            {
                Gateway = plan.Name,
                Tunnel = Tunnel,
                Prober = Prober,
                Health = Health,
                Publisher = Publisher,
                Catalogs = Catalogs,
                Addresses = (topology, self) => (ServiceAddresses.Assign(topology, self, new Dictionary<string, System.Net.IPAddress>(), out var problems), problems),
                ServiceRange = _ => { },
                Turned = () => { },
            },
            world.Time, NullLogger.Instance);
        Ingress = new IngressRouter(() => Loop.Current, new Random(world.Random.Next()));
        Egress = new EgressDecider(() => Loop.Current, Health, _ => { }, _ => null, world.Time, NullLogger.Instance);
    }

    public SiteGateway Plan { get; }

    public string Name => Plan.Name;

    /// <summary>Index of its site.</summary>
    public int Site { get; }

    public SlabPool Pool { get; }

    public SimTunnel Tunnel { get; }

    public SimProber Prober { get; }

    public SimEndpoints Health { get; }

    public CatalogPublisher Publisher { get; }

    public SimCatalogs Catalogs { get; }

    public StateLoop Loop { get; }

    public IngressRouter Ingress { get; }

    public EgressDecider Egress { get; }

    public bool IsRunning { get; private set; }

    /// <summary>Its machine answers, with resets where no process listens.</summary>
    public bool IsMachineUp { get; private set; } = true;

    public bool IsDraining { get; private set; }

    // ---- its life

    public void Start()
    {
        _world.Note("start", Name);
        IsRunning = IsMachineUp = true;
        Loop.Accept(_world.Topology);
        Turn();
    }

    public void Accept(FabricTopology topology)
    {
        Loop.Accept(topology);
        Signal();
    }

    /// <summary>The process ends without a word of its own; with its machine, without one of the kernel's.</summary>
    public void Kill(bool silent)
    {
        _world.Note("kill", Name, silent ? 1 : 0);
        _world.Counters.Kills++;
        IsRunning = false;
        IsMachineUp = !silent;
        _world.Calls.ProcessDied(this);
        Tunnel.Die(silent);
        Loop.Dispose();
    }

    public void Drain()
    {
        _world.Note("drain", Name);
        _world.Counters.Drains++;
        IsDraining = true;
        Loop.Draining = true;
        Tunnel.Drain();
        Signal();
    }

    /// <summary>An orderly end, after which nothing may be held.</summary>
    public void Stop()
    {
        Tunnel.Stop();
        _world.Check(Pool.Budget.Promised == 0, $"{Name}: {Pool.Budget.Promised} bytes are promised to nobody");
        _world.Check(Pool.Rented == 0, $"{Name}: {Pool.Rented} bytes of slabs leaked");
        IsRunning = false;
        Loop.Dispose();
    }

    // ---- events of this process

    /// <summary>Something happens in this process now, and what must hold after it is checked.</summary>
    public void Do(Action action)
    {
        if (IsRunning)
        {
            action();
            Tunnel.CheckLimits();
        }
    }

    public void After(TimeSpan delay, Action action) => _world.After(delay, () => Do(action));

    public void AfterMs(double least, double most, Action action) => After(_world.Ms(least, most), action);

    // ---- the state loop

    /// <summary>Something changed: the loop looks, as soon as its thread is scheduled.</summary>
    public void Signal()
    {
        if (!_turnDue)
        {
            _turnDue = true;
            AfterMs(0, 3, Turn);
        }
    }

    private void Turn()
    {
        _turnDue = false;
        Loop.Turn();
        Catalogs.PublisherMayHaveNews();
        var turn = ++_turn;
        After(_idleTurn, () =>
        {
            if (turn == _turn)
            {
                Turn();
            }
        });
    }
}
