using System.Collections.Concurrent;
using System.Collections.Immutable;
using System.Net;
using System.Runtime.CompilerServices;
using Fabric.Gateway.Snapshot;
using Fabric.Gateway.Telemetry.Metrics;
using Fabric.Gateway.Telemetry.Traces;
using Fabric.Identity;
using Fabric.Routing.Sites;
using Fabric.Topology.Model;
using Fabric.Tunnel;

namespace Fabric.Gateway.Ingress;

/// <summary>
/// Step two of a byte's journey: which site and gateway a new connection or flow on a service address goes to. Consults one snapshot,
/// and waits for nobody while there is a site; while there has just been one, for the next, up to <see cref="Patience"/> after the loss.
/// </summary>
/// <remarks>
/// Where no site is left at all, it is most often for a moment: every link was judged down at once, or all endpoints restart. A connection
/// that is held then is served a little late; one that is reset is an error of somebody's. What lasts longer is refused at once, as a
/// closed port would be. Those that are held are connections as others, and bounded with them.
/// </remarks>
/// <param name="snapshot">The newest.</param>
/// <param name="random">Chooses between gateways that are equally good, and draws what is traced.</param>
internal sealed class IngressRouter(Func<FabricSnapshot?> snapshot, Random random) : ICertifiedIngress
{
    private readonly Lock _randomLock = new();

    /// <summary>Connections under way by the gateway that was chosen first: now, and not as of the last snapshot. As many as gateways.</summary>
    private readonly ConcurrentDictionary<string, StrongBox<int>> _load = new(StringComparer.Ordinal);
    private long _refused;
    private long _accepted;
    private int _held;
    private TaskCompletionSource _changed = NewChange();

    /// <summary>How long after the loss of a service's last site new connections wait for one. Zero, the default: they are refused at once.</summary>
    public TimeSpan Patience { get; init; }

    /// <summary>The instant, as the snapshot counts.</summary>
    public Func<TimeSpan> Now { get; init; } = () => TimeSpan.Zero;

    /// <summary>Counts <see cref="Patience"/>.</summary>
    public TimeProvider Time { get; init; } = TimeProvider.System;

    /// <summary>Why this gateway carries nothing for anybody, since it was evicted from the mesh; empty while it was not.</summary>
    public Func<string> Evicted { get; init; } = () => "";

    /// <summary>Connections and flows that wait for a site now.</summary>
    public int Held => Volatile.Read(ref _held);

    /// <summary>Streams that a gateway carries for others than this one, as it says itself.</summary>
    public Func<string, int> LoadElsewhere { get; init; } = _ => 0;

    /// <summary>Connections that were routed and ended in order or by the application.</summary>
    public long Accepted => Interlocked.Read(ref _accepted);

    /// <summary>Connections that no site could serve, or that the serving site refused.</summary>
    public long Refused => Interlocked.Read(ref _refused);

    /// <summary>Finds processes of this machine; null: there are none to be found.</summary>
    public LocalCallers? Locals { get; init; }

    /// <summary>Counts what becomes of connections; null: nobody does.</summary>
    public Traffic? Traffic { get; init; }

    /// <summary>Of the connections, how many are traced where somebody listens, from 0 to 1. Default: 1.</summary>
    public double TraceShare { get; init; } = 1;

    /// <summary>A connection without an identity is refused: address of the client, what for, and why.</summary>
    public Action<IPEndPoint, ServiceListener, string> Unidentified { get; init; } = (_, _, _) => { };

    public ValueTask<IngressPlan> PlanAsync(ServiceListener listener, IPEndPoint client, CancellationToken cancellationToken) =>
        Locals is not null && !listener.Datagrams && snapshot() is { Callers.Local: { IsEmpty: false } workloads }
            ? new(PlanLocallyAsync(Locals, workloads, listener, client, cancellationToken))
            : RouteAsync(listener, client, default, cancellationToken);

    public ValueTask<IngressPlan> PlanAsync(ServiceListener listener, IPEndPoint client, SpiffeId caller, CancellationToken cancellationToken) =>
        RouteAsync(listener, client, new Caller(caller.ToString(), CallerProof.Certificate), cancellationToken);

    public EgressVerdict.Refuse? Review(StreamOpen open) =>
        Evicted() is { Length: > 0 } evicted ? new EgressVerdict.Refuse(StreamCode.PolicyDenied, evicted) : null;

    public void Unproven(ServiceListener listener, IPEndPoint client, CertificateRefusedException refusal) =>
        Unidentified(client, listener, refusal.Message);

    private ValueTask<IngressPlan> RouteAsync(ServiceListener listener, IPEndPoint client, Caller caller, CancellationToken cancellationToken) =>
        Look(listener, client, caller, out _) is { } plan ? new(plan) : new(HoldAsync(listener, client, caller, cancellationToken));

    /// <summary>A process of this machine, if it is one that a workload means, or else whoever has that address.</summary>
    private async Task<IngressPlan> PlanLocallyAsync(LocalCallers locals, ImmutableArray<(Workload, string)> workloads,
        ServiceListener listener, IPEndPoint client, CancellationToken cancellationToken)
    {
        var (id, failure) = await locals.FindAsync(workloads, client, listener.Address, cancellationToken);
        if (failure is null)
        {
            return await RouteAsync(listener, client, new Caller(id, id is null ? CallerProof.Address : CallerProof.Process), cancellationToken);
        }

        Unidentified(client, listener, failure);
        return new IngressPlan([], failure);
    }

    /// <summary>There is another snapshot: those that wait look again.</summary>
    public void Changed()
    {
        if (Held > 0)
        {
            Interlocked.Exchange(ref _changed, NewChange()).SetResult();
        }
    }

    private static TaskCompletionSource NewChange() => new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>How long a connection may wait for the service to have a site again.</summary>
    private TimeSpan Left(SiteChoice choice) => choice.LostAt is { } lost && Patience > TimeSpan.Zero ? lost + Patience - Now() : TimeSpan.Zero;

    private async Task<IngressPlan> HoldAsync(ServiceListener listener, IPEndPoint client, Caller caller, CancellationToken cancellationToken)
    {
        Interlocked.Increment(ref _held);
        try
        {
            while (true)
            {
                // Before the look: a change that comes after it is not missed.
                var changed = Volatile.Read(ref _changed).Task;
                if (Look(listener, client, caller, out var left, held: true) is { } plan)
                {
                    return plan;
                }

                await changed.WaitAsync(left, Time, cancellationToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
                if (cancellationToken.IsCancellationRequested)
                {
                    return new IngressPlan([], "the gateway is stopping");
                }
            }
        }
        finally
        {
            Interlocked.Decrement(ref _held);
        }
    }

    /// <summary>What the newest snapshot says; null: no site is left, and one may be back within <paramref name="left"/>.</summary>
    private IngressPlan? Look(ServiceListener listener, IPEndPoint client, Caller caller, out TimeSpan left, bool held = false)
    {
        left = TimeSpan.Zero;
        if (snapshot() is not { } now)
        {
            return new IngressPlan([], "the gateway is starting");
        }

        if (Evicted() is { Length: > 0 } evicted)
        {
            return new IngressPlan([], evicted);
        }

        if (!now.Choices.TryGetValue((listener.Place, listener.Port), out var choice))
        {
            return new IngressPlan([], $"no service {listener.Place}:{listener.Port} is declared");
        }

        if (choice.Chosen is not null)
        {
            return Plan(now, choice, listener, client, caller.Id is null ? new Caller(now.Callers.Resolve(client.Address), CallerProof.Address) : caller);
        }

        left = Left(choice);
        return left > TimeSpan.Zero ? null
            : new IngressPlan([], held ? $"{choice.Reason}; waited for {Patience.TotalSeconds:0.#} s from when it was lost" : choice.Reason);
    }

    private IngressPlan Plan(FabricSnapshot now, SiteChoice choice, ServiceListener listener, IPEndPoint client, Caller caller)
    {
        ImmutableArray<SiteRoute> routes;
        string untraced;
        lock (_randomLock)
        {
            (routes, untraced) = (choice.Routes(Load, random), Spans.Untraced(TraceShare, random));
        }

        var open = new StreamOpen(listener.Service, listener.Port, caller.Id!, untraced)
        {
            Established = caller.Proof,
            Host = listener.Host,
            Mirrored = now.Mirrored.Contains(listener.Service),
            Datagrams = listener.Datagrams,
        };
        open = untraced.Length > 0 ? open : Spans.Ingress(open, client, now.Self.Site, isTunnelled: routes is [{ Gateway: not null }, ..]);
        var plan = new IngressPlan([.. routes.Select(r => new IngressRoute(r.Gateway, open))]);
        Count(plan, 1);
        return plan;
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

        if (plan.Routes is [{ Open: var open }, ..])
        {
            Spans.IngressEnded(open, summary);
        }
        else if (snapshot() is { } now && Draws())
        {
            Spans.IngressRefused(summary, now.Self.Site);
        }

        Tell(plan, summary);
    }

    private void Tell(IngressPlan plan, StreamSummary summary)
    {
        if (Traffic is { } traffic && snapshot() is { } now)
        {
            var destination = summary.Peer is null && plan.Routes.IsEmpty ? Traffic.Unknown
                : summary.Peer is null ? now.Self.Site : now.Topology.FindGateway(summary.Peer)?.Site ?? Traffic.Unknown;
            traffic.StreamEnded(summary.Service, now.Self.Site, destination, "out", summary);
        }
    }

    private bool Draws()
    {
        lock (_randomLock)
        {
            return Spans.Draws(TraceShare, random);
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

    /// <param name="Id">SPIFFE ID; null: it is looked up by the source address.</param>
    /// <param name="Proof">How that is known.</param>
    private readonly record struct Caller(string? Id, CallerProof Proof);
}
