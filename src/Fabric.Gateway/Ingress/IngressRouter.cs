using System.Collections.Concurrent;
using System.Net;
using System.Runtime.CompilerServices;
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

    /// <summary>Connections under way by the gateway that was chosen first: now, and not as of the last snapshot. As many as gateways.</summary>
    private readonly ConcurrentDictionary<string, StrongBox<int>> _load = new(StringComparer.Ordinal);
    private long _refused;
    private long _accepted;

    /// <summary>Streams that a gateway carries for others than this one, as it says itself.</summary>
    public Func<string, int> LoadElsewhere { get; init; } = _ => 0;

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
        IngressPlan plan;
        lock (_randomLock)
        {
            plan = new IngressPlan([.. choice.Routes(Load, random).Select(r => new IngressRoute(r.Gateway, open))]);
        }

        Count(plan, 1);
        return new(plan);
    }

    public void Ended(IngressPlan plan, StreamSummary summary)
    {
        Count(plan, -1);
        if (summary.Code is not (StreamCode.Ok or StreamCode.ApplicationReset))
        {
            Interlocked.Increment(ref _refused);
        }
        else
        {
            Interlocked.Increment(ref _accepted);
        }
    }

    private int Load(string gateway) => (_load.TryGetValue(gateway, out var own) ? Volatile.Read(ref own.Value) : 0) + LoadElsewhere(gateway);

    private void Count(IngressPlan plan, int connections)
    {
        if (plan.Routes is [{ Peer: { } first }, ..])
        {
            Interlocked.Add(ref _load.GetOrAdd(first, static _ => new StrongBox<int>()).Value, connections);
        }
    }
}
