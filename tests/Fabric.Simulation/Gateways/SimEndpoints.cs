using System.Collections.Immutable;
using System.Net;
using Fabric.Gateway.Egress;
using Fabric.Topology.Model;

namespace Fabric.Simulation.Gateways;

/// <summary>Which endpoints live: the truth, that gateways learn late.</summary>
internal sealed class Endpoints(World world)
{
    private readonly HashSet<IPAddress> _dead = [];

    public bool IsAlive(IPAddress endpoint) => !_dead.Contains(endpoint);

    /// <summary>Endpoints of a service in a site that live, and all of them.</summary>
    public (int Alive, int All) Count(Service service, string site)
    {
        var all = service.Exports.Where(e => e.Site == site).SelectMany(e => e.Endpoints).ToArray();
        return (all.Count(e => IsAlive(e.Address)), all.Length);
    }

    public void Set(Service service, ServiceEndpoint endpoint, bool alive)
    {
        if (alive ? _dead.Remove(endpoint.Address) : _dead.Add(endpoint.Address))
        {
            world.Note("endpoint", service.Name, endpoint.Address.GetAddressBytes()[3], alive ? 1 : 0);
            foreach (var gateway in world.Gateways)
            {
                gateway.AfterMs(5, 1500, gateway.Health.Check);
            }
        }
    }
}

/// <summary>What one gateway has found out about the endpoints of its site.</summary>
internal sealed class SimEndpoints(World world, SimGateway gateway) : IEndpointHealth
{
    private readonly Dictionary<IPAddress, bool> _healthy = [];
    private FabricTopology? _topology;

    private IEnumerable<(Service Service, ServiceEndpoint Endpoint)> Exported => _topology is null ? [] : _topology.Services.SelectMany(
        s => s.Exports.Where(e => e.Site == gateway.Plan.Site).SelectMany(e => e.Endpoints).Select(e => (s, e)));

    public void Reconcile(FabricTopology topology, string site)
    {
        _topology = topology;
        gateway.AfterMs(1, 200, Check);
    }

    public ImmutableArray<EndpointState> Of(string service, int port) =>
    [
        .. Exported.Where(e => e.Service.FullName == service && e.Endpoint.ServicePort == port)
            .Select(e => new EndpointState(e.Endpoint, _healthy.GetValueOrDefault(e.Endpoint.Address), "checked")),
    ];

    public void DialFailed(string service, IPEndPoint endpoint, string reason, bool datagrams = false)
    {
        _healthy[endpoint.Address] = false;
        gateway.AfterMs(500, 1000, Check);
        gateway.Signal();
    }

    public void Check()
    {
        foreach (var (_, endpoint) in Exported)
        {
            var alive = world.Endpoints.IsAlive(endpoint.Address);
            if (!_healthy.TryGetValue(endpoint.Address, out var healthy) || healthy != alive)
            {
                _healthy[endpoint.Address] = alive;
                gateway.Signal();
            }
        }
    }
}
