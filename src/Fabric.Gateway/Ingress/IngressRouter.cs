using System.Collections.Immutable;
using System.Net;
using Fabric.Gateway.Snapshot;
using Fabric.Tunnel;

namespace Fabric.Gateway.Ingress;

/// <summary>
/// Step two of a byte's journey: which site and gateway a new connection or flow on a service address goes to. Consults one snapshot,
/// and waits for nobody.
/// </summary>
/// <param name="random">Seed of the choice between gateways that are equally good.</param>
internal sealed class IngressRouter(Func<FabricSnapshot?> snapshot, Random random) : IIngress
{
    private readonly Lock _randomLock = new();
    private long _refused;
    private long _accepted;

    /// <summary>Connections that were routed and ended in order or by the application.</summary>
    public long Accepted => Interlocked.Read(ref _accepted);

    /// <summary>Connections that no site could serve, or that the serving site refused.</summary>
    public long Refused => Interlocked.Read(ref _refused);

    public ValueTask<IngressPlan> PlanAsync(ServiceListener listener, IPEndPoint client, CancellationToken cancellationToken)
    {
        if (snapshot() is not { } now)
        {
            return new(new IngressPlan([], "the gateway is starting"));
        }

        if (!now.Choices.TryGetValue((listener.Service, listener.Port), out var choice))
        {
            return new(new IngressPlan([], $"no service {listener.Service}:{listener.Port} is declared"));
        }

        if (choice.Chosen is null)
        {
            return new(new IngressPlan([], choice.Reason));
        }

        var open = new StreamOpen(listener.Service, listener.Port, now.Callers.Resolve(client.Address))
        {
            Mirrored = now.Mirrored.Contains(listener.Service),
            Datagrams = listener.Datagrams,
        };
        var load = now.Tunnel.Sessions.ToDictionary(s => s.Peer, s => s.Streams, StringComparer.Ordinal);
        lock (_randomLock)
        {
            return new(new IngressPlan(
            [
                .. choice.Routes(g => load.GetValueOrDefault(g), random).Select(r => new IngressRoute(r.Gateway, open)),
            ]));
        }
    }

    public void Ended(IngressPlan plan, StreamSummary summary)
    {
        if (summary.Code is not (StreamCode.Ok or StreamCode.ApplicationReset))
        {
            Interlocked.Increment(ref _refused);
        }
        else
        {
            Interlocked.Increment(ref _accepted);
        }
    }
}
