using System.Collections.Immutable;
using System.Net;
using Fabric.Gateway.Probing;
using Fabric.Simulation.Network;

namespace Fabric.Simulation.Gateways;

/// <summary>The probe engine with datagrams of the simulated network; its thread is sometimes late, as threads are.</summary>
internal sealed class SimProber : IProber, IProbeWire
{
    private readonly World _world;
    private readonly SimGateway _gateway;
    private readonly ProbeEngine _engine;
    private TimeSpan _armed = TimeSpan.MaxValue;

    public SimProber(World world, SimGateway gateway)
    {
        (_world, _gateway) = (world, gateway);
        _engine = new ProbeEngine(
            new ProberOptions
            {
                Gateway = gateway.Name,
                Listen = [],
                Settings = world.Figures.Probes,
                Health = world.Figures.Health,
                Carried = gateway.Tunnel.Carried,
                Heard = gateway.Tunnel.Heard,
                Seed = world.Random.Next(),
            },
            this, SimTime.Epoch);
    }

    public void Reconcile(ImmutableArray<ProbeTarget> targets) => Do(() => _engine.Reconcile(targets, _world.Now));

    public void SetActive(string peer, string link, bool active) => Do(() => _engine.SetActive(peer, link, active, _world.Now));

    public void SetKeys(string peer, ImmutableArray<byte> toPeer, ImmutableArray<byte> fromPeer) =>
        Do(() => _engine.SetKeys(peer, toPeer.AsSpan(), fromPeer.AsSpan(), _world.Now));

    public ImmutableArray<LinkHealthSnapshot> Snapshot() => _engine.Snapshot(_world.Now);

    public void Received(byte[] packet, SimLink link, int from) =>
        Do(() => _engine.Received(packet, link.Index, link.AddressOf(from), _world.Now));

    private void Do(Action action)
    {
        action();
        Rearm();
    }

    private void Rearm()
    {
        if (_engine.NextDue is not { } due || due >= _armed)
        {
            return;
        }

        _armed = due;
        var late = _world.OneIn(200) ? _world.Ms(0, 40) : _world.Ms(0, 1);
        _gateway.After((due > _world.Now ? due - _world.Now : TimeSpan.Zero) + late, () =>
        {
            if (_armed == due)
            {
                _armed = TimeSpan.MaxValue;
                Run();
            }
        });
    }

    private void Run()
    {
        _engine.Run(_world.Now);
        foreach (var change in _engine.TakeChanges(_world.Now))
        {
            _world.Note("link", _gateway.Name, (int)change.State, change.Link.Length);
            _gateway.Signal();
        }

        Rearm();
    }

    // ---- the wire: a socket is a link

    int IProbeWire.Route(IPAddress? local, IPEndPoint remote, out SocketAddress address)
    {
        address = remote.Serialize();
        return Array.FindIndex(_world.Links, l => Equals(l.Plan.A.Address, remote.Address) || Equals(l.Plan.B.Address, remote.Address));
    }

    ProbeSend IProbeWire.Send(int socket, SocketAddress to, ReadOnlySpan<byte> packet, out string? error)
    {
        error = null;
        var link = _world.Links[socket];
        link.SendDatagram(link.EndOf(_gateway.Name), packet);
        return ProbeSend.Sent;
    }
}
