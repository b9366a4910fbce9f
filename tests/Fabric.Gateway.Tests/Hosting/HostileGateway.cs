using System.Net;
using Fabric.Gateway.Control;
using Fabric.Gateway.Control.Transport;
using Fabric.Gateway.Hosting;
using Fabric.Gateway.Telemetry;
using Fabric.Identity;
using Fabric.Protocol.Grpc;
using Fabric.Protocol.Proto;
using Fabric.Testing;
using Fabric.Tunnel;
using Fabric.Tunnel.Drivers;
using Microsoft.Extensions.Logging.Abstractions;

namespace Fabric.Gateway.Tests.Hosting;

/// <summary>
/// In factory's place: a gateway with the good certificate of its own site, real lanes to paris and virginia, and nothing else of a daemon. It opens what
/// the test tells it to, and its catalog says what the test likes.
/// </summary>
internal sealed class HostileGateway : IIngress, IEgress, IAsyncDisposable
{
    private readonly TemporaryFolder _folder = new();
    private readonly StreamEndPoint _streams = new("hostile");
    private readonly ControlHost _host;

    private HostileGateway(LoopbackFabric fabric, string identity, CatalogUpdate says, string[] dials)
    {
        _host = new ControlHost(new ControlEndpoints(_folder["s"], _streams, new IPEndPoint(IPAddress.Loopback, FreePorts.Take(1)[0]), null),
            new ControlServices
            {
                Status = () => null,
                Catalog = (_, cancellationToken) => SayAsync(says, cancellationToken),
                Reload = () => ("", false),
                SetFault = null,
                Drain = (_, _, _) => Task.FromResult(new DrainReply()),
                Health = new HealthChecks(() => [], () => [], () => []),
            }, TimeProvider.System, NullLoggerFactory.Instance);
        Tunnel = new GatewayTunnel(new TunnelOptions
        {
            Identity = GatewayIdentity.Load(new GatewayKeyStore(identity), TimeProvider.System),
            Ingress = this,
            Egress = this,
            Time = TimeProvider.System,
            Random = new Random(1),
        });
        Tunnel.Reconcile(new TunnelPlan { Lanes = [.. dials.Select(d => new LanePlan(d, "internet", fabric.PortOf(d)))] });
    }

    public GatewayTunnel Tunnel { get; }

    /// <param name="fabric">With factory not started.</param>
    /// <param name="identity">Folder of its key and certificate.</param>
    /// <param name="says">What its catalog says first; heartbeats follow. Null: nothing.</param>
    /// <param name="dials">Gateways that it has a lane to, all by <c>internet</c>.</param>
    public static async Task<HostileGateway> StartAsync(LoopbackFabric fabric, string identity, CatalogUpdate? says, params string[] dials)
    {
        var hostile = new HostileGateway(fabric, identity, says ?? new CatalogUpdate(), dials);
        await hostile._host.StartAsync(default);
        return hostile;
    }

    /// <summary>Opens it when the lane is up; what it was told.</summary>
    public async Task<StreamRefusedException> RefusedAsync(string peer, StreamOpen open)
    {
        await Wait.UntilAsync(() => Tunnel.Status.Sessions.Any(s => s.Peer == peer && s.Lanes.Any(l => l.State == LaneState.Up)), () => $"a lane to {peer} is up");
        return await Assert.ThrowsAsync<StreamRefusedException>(() => Tunnel.OpenAsync(peer, open, default));
    }

    /// <summary>A client of the peer's control stream.</summary>
    public GrpcClient ControlOf(string peer) => new(
        GrpcHandler.OverStreams(cancellationToken => ((ITunnel)Tunnel).OpenAsync(peer, new StreamOpen(GatewayProcess.ControlService, 0, ""), cancellationToken)),
        GrpcHandler.StreamAuthority, TimeProvider.System);

    ValueTask<IngressPlan> IIngress.PlanAsync(ServiceListener listener, IPEndPoint client, CancellationToken cancellationToken) => new(new IngressPlan([], "no"));

    void IIngress.Ended(IngressPlan plan, StreamSummary summary)
    {
    }

    ValueTask<EgressVerdict> IEgress.DecideAsync(string? peer, StreamOpen open, CancellationToken cancellationToken) =>
        new(open.Service == GatewayProcess.ControlService ? new EgressVerdict.Handle(stream => _streams.ServeAsync(stream, peer!))
            : new EgressVerdict.Refuse(StreamCode.NoService, "no"));

    EgressVerdict.Refuse? IEgress.Review(string? peer, StreamOpen open) => null;

    void IEgress.DialFailed(StreamOpen open, IPEndPoint endpoint, string reason)
    {
    }

    void IEgress.Ended(string? peer, StreamOpen open, StreamSummary summary)
    {
    }

    public async ValueTask DisposeAsync()
    {
        await Tunnel.DisposeAsync();
        await _host.DisposeAsync();
        _folder.Dispose();
    }

    private static async IAsyncEnumerable<CatalogUpdate> SayAsync(
        CatalogUpdate says, [System.Runtime.CompilerServices.EnumeratorCancellation] CancellationToken cancellationToken)
    {
        var said = says.Clone();
        for (said.Sequence = 1; ; said = new CatalogUpdate { Sequence = said.Sequence + 1, TopologyRevision = said.TopologyRevision })
        {
            said.Full = said.Sequence == 1;
            yield return said;
            await Task.Delay(TimeSpan.FromSeconds(1), cancellationToken);
        }
    }
}
