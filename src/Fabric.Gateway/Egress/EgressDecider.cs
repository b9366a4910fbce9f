using System.Collections.Concurrent;
using System.Collections.Immutable;
using System.Net;
using Fabric.Gateway.Catalog;
using Fabric.Gateway.Egress.Http;
using Fabric.Gateway.Snapshot;
using Fabric.Gateway.Telemetry;
using Fabric.Gateway.Telemetry.Metrics;
using Fabric.Gateway.Telemetry.Traces;
using Fabric.Tunnel;
using Microsoft.Extensions.Logging;

namespace Fabric.Gateway.Egress;

/// <summary>
/// The exporting side of a byte's journey: may this caller, and to which endpoint. The gateway that owns the service decides;
/// what a peer says of its caller is believed only for the peer's own site.
/// </summary>
internal sealed class EgressDecider(
    Func<FabricSnapshot?> snapshot,
    IEndpointHealth health,
    Action<AuditEntry> audit,
    Func<string, Func<Stream, string, Task>?> reserved,
    TimeProvider time,
    ILogger log) : IEgress
{
    /// <summary>An endpoint that has not accepted by then is passed over. Within one site it is a matter of milliseconds.</summary>
    private static readonly TimeSpan _connectTimeout = TimeSpan.FromSeconds(2);

    /// <summary>One for each exported port that was ever called: those of a service are not taken by another.</summary>
    private readonly ConcurrentDictionary<(string Service, int Port), uint> _turns = new();

    private readonly LineLimit _lines = new(time);
    private long _refused;
    private long _accepted;

    public long Refused => Interlocked.Read(ref _refused);
    public long Accepted => Interlocked.Read(ref _accepted);

    /// <summary>Hears of callers that a peer may not vouch for.</summary>
    public PeerClaims? Claims { get; init; }

    /// <summary>Why this gateway serves nobody, since it was evicted from the mesh; empty while it was not.</summary>
    public Func<string> Evicted { get; init; } = () => "";

    /// <summary>What shadow policies would have changed.</summary>
    public ShadowTally Shadow { get; } = new(time);

    /// <summary>Counts what becomes of streams and requests; null: nobody does.</summary>
    public Traffic? Traffic { get; init; }

    public ValueTask<EgressVerdict> DecideAsync(string? peer, StreamOpen open, CancellationToken cancellationToken)
    {
        if (snapshot() is { } now && (!open.IsReserved || RelayNames.TargetOf(open) is not null))
        {
            Spans.Egress(peer, open, now.Self.Site);
        }

        using var span = Spans.Enter(open.Served);
        var verdict = Decide(peer, open);
        Spans.Decided(open, verdict);
        return new(verdict);
    }

    private EgressVerdict Decide(string? peer, StreamOpen open)
    {
        while (true)
        {
            if (snapshot() is not { } now)
            {
                return new EgressVerdict.Refuse(StreamCode.Draining, "the gateway is starting");
            }

            // A review that came before it was noted how its bytes are carried has passed it over; one that comes later sees what was noted.
            var verdict = DecideBy(now, peer, open);
            Interlocked.MemoryBarrier();
            if (verdict is not EgressVerdict.Dial { Carrier: null } || ReferenceEquals(now.Policies, snapshot()?.Policies))
            {
                return verdict;
            }
        }
    }

    private EgressVerdict DecideBy(FabricSnapshot now, string? peer, StreamOpen open)
    {
        // The catalog is still told: the evicted has to hear when it is taken back.
        if (Evicted() is { Length: > 0 } evicted && (!open.IsReserved || RelayNames.TargetOf(open) is not null))
        {
            return Refuse(peer, open, StreamCode.PolicyDenied, null, evicted);
        }

        if (peer is not null && RelayNames.TargetOf(open) is { } target)
        {
            return Carry(now, peer, open, target);
        }

        if (open.IsReserved)
        {
            return peer is not null && reserved(open.Service) is { } handler
                ? new EgressVerdict.Handle(stream => handler(stream, peer))
                : Refuse(peer, open, StreamCode.NoService, null, $"{Printable.Of(open.Service)} is not served here");
        }

        return Decide(now, peer, open);
    }

    /// <summary>By the snapshot of this moment and no other; what it refuses is audited as what is refused at its beginning.</summary>
    public EgressVerdict.Refuse? Review(string? peer, StreamOpen open)
    {
        if (open.IsReserved || snapshot() is not { } now)
        {
            return null;
        }

        if (Evicted() is { Length: > 0 } evicted)
        {
            audit(Entry(peer, open, "deny", null, evicted));
            return new EgressVerdict.Refuse(StreamCode.PolicyDenied, evicted);
        }

        var denied = Denied(now, peer, open, out var rule);
        if (denied is not null || open.Decision is not StreamDecision decision)
        {
            return denied;
        }

        decision.Rule = rule;
        return Review(now, peer, open, decision.Gate);
    }

    /// <summary>Also what is in it: requests that are not allowed any more, and bytes that nobody reads where requests are decided on now.</summary>
    private EgressVerdict.Refuse? Review(FabricSnapshot now, string? peer, StreamOpen open, RequestGate? gate)
    {
        if (gate is null && !open.Datagrams && now.Policies.DecidesRequests(open.Service, open.Port))
        {
            const string unread = "policies decide on its requests now, and this connection is not read";
            audit(Entry(peer, open, "deny", null, unread));
            return new EgressVerdict.Refuse(StreamCode.PolicyDenied, unread);
        }

        return gate?.Review(now) == true ? new EgressVerdict.Refuse(StreamCode.PolicyDenied, "a request is not allowed any more") : null;
    }

    public void DialFailed(StreamOpen open, IPEndPoint endpoint, string reason) =>
        health.DialFailed(open.Service, endpoint, reason, open.Datagrams);

    public void Ended(string? peer, StreamOpen open, StreamSummary summary)
    {
        Spans.EgressEnded(open, summary);
        Tell(peer, open, summary);
        // A refusal was written when it was decided; what no endpoint took was never a session. What a review ended was one.
        if ((open.IsReserved && RelayNames.TargetOf(open) is null)
            || summary.Code is StreamCode.NoService or StreamCode.NoEndpoint
            || (summary.Code is StreamCode.PolicyDenied && summary.Endpoint is null))
        {
            return;
        }

        var decision = open.Decision as StreamDecision;
        audit(Entry(peer, open, "allow", decision?.Rule, summary.Reason.Length > 0 ? summary.Reason : summary.Code.ToString()) with
        {
            IsDenial = summary.Code == StreamCode.PolicyDenied,
            Endpoint = summary.Endpoint?.ToString(),
            Requests = decision?.Gate?.Allowed,
            RequestsDenied = decision?.Gate?.Denied,
            BytesToEndpoint = summary.BytesToEndpoint,
            BytesToClient = summary.BytesToClient,
            DurationMs = Math.Round(summary.Duration.TotalMilliseconds, 1),
        });
    }

    private void Tell(string? peer, StreamOpen open, StreamSummary summary)
    {
        if (Traffic is { } traffic && !open.IsReserved && snapshot() is { } now)
        {
            traffic.StreamEnded(ServiceOf(now, open), SiteOf(now, peer) ?? Traffic.Unknown, now.Self.Site, "in", summary);
        }
    }

    /// <summary>Its name, if it has that of a service: what peers make up must not become an attribute.</summary>
    private static string ServiceOf(FabricSnapshot now, StreamOpen open) =>
        now.Choices.ContainsKey((open.Service, open.Port)) ? open.Service : Traffic.Unknown;

    /// <summary>A lane of others: whether the own site carries it. Whom it may reach there, its own ends decide, stream by stream.</summary>
    private EgressVerdict Carry(FabricSnapshot now, string peer, StreamOpen open, string target)
    {
        var refusal = now.Topology.Sites.FirstOrDefault(s => s.Name == now.Self.Site) is not { Relay: true }
                ? (StreamCode.PolicyDenied, $"site {now.Self.Site} does not relay")
            : now.Topology.FindGateway(target) is null || target == peer || target == now.Self.Name
                ? (StreamCode.NoService, $"{target} is no gateway that {peer} could be relayed to")
            : now.Draining ? (StreamCode.Draining, $"{now.Self.Name} is draining")
            : default((StreamCode Code, string Reason)?);
        return refusal is { } no ? Refuse(peer, open, no.Code, null, no.Reason) : new EgressVerdict.Relay(target);
    }

    private EgressVerdict Decide(FabricSnapshot now, string? peer, StreamOpen open)
    {
        if (Denied(now, peer, open, out var rule) is { } denied)
        {
            return Counted(peer, open, denied);
        }

        var endpoints = health.Of(open.Service, open.Port);
        if (open.Host is not null)
        {
            endpoints = [.. endpoints.Where(e => e.Endpoint.Host == open.Host)];
        }

        if (endpoints.IsEmpty)
        {
            return Refuse(peer, open, StreamCode.NoService, rule, $"{now.Self.Site} does not export {Printable.Of(open.WireService)}:{open.Port}");
        }

        var service = now.Topology.Services.FirstOrDefault(s => s.FullName == open.Service);
        if (service?.Ports.Any(p => p.Port == open.Port && (open.Datagrams ? p.CarriesDatagrams : p.CarriesStreams)) != true)
        {
            return Refuse(peer, open, StreamCode.NoService, rule,
                $"{open.Service}:{open.Port} carries no {(open.Datagrams ? "datagrams" : "connections")}");
        }

        var healthy = endpoints.Where(e => e.Healthy).Select(e => new IPEndPoint(e.Endpoint.Address, e.Endpoint.Port)).ToImmutableArray();
        if (healthy.IsEmpty)
        {
            Interlocked.Increment(ref _refused);
            return new EgressVerdict.Refuse(StreamCode.NoEndpoint, string.Join("; ", endpoints.Select(e => $"{e.Endpoint.Address}:{e.Endpoint.Port} {e.Reason}")));
        }

        Interlocked.Increment(ref _accepted);
        var first = (int)(_turns.AddOrUpdate((open.Service, open.Port), 0, (_, turn) => unchecked(turn + 1)) % (uint)healthy.Length);
        var gate = now.Policies.DecidesRequests(open.Service, open.Port) ? Gate(peer, open) : null;
        open.Decision = new StreamDecision(gate) { Rule = rule };
        return new EgressVerdict.Dial([.. healthy.Skip(first), .. healthy.Take(first)], _connectTimeout)
        {
            FlowIdle = service.FlowIdle,
            Carrier = gate is null ? null : (caller, endpoint, stopping) => HttpCarrier.RunAsync(caller, endpoint, gate, time, stopping),
        };
    }

    private RequestGate Gate(string? peer, StreamOpen open) => new(
        snapshot, now => SiteOf(now, peer), open, (verdict, rule, reason) => Entry(peer, open, verdict, rule, reason), audit,
        (name, now) => Shadow.Count(name, now.Topology))
    {
        Traffic = Traffic,
        Time = time,
    };

    /// <summary>Null when the policies of that snapshot allow it; else the refusal, which is written.</summary>
    /// <param name="rule">The policy that decided; null when none did.</param>
    private EgressVerdict.Refuse? Denied(FabricSnapshot now, string? peer, StreamOpen open, out string? rule)
    {
        rule = null;
        if (SiteOf(now, peer) is not { } site)
        {
            var unknown = new EgressVerdict.Refuse(StreamCode.PolicyDenied, $"gateway {peer} is not in the topology");
            audit(Entry(peer, open, "deny", null, unknown.Reason));
            return unknown;
        }

        var verdict = now.Policies.Evaluate(site, open.Caller, open.Service, open.Port);
        rule = verdict.RuleName;
        if (open.Decision is null)
        {
            // Reviews decide again what was counted.
            Traffic?.Verdict(ServiceOf(now, open), site, "stream", verdict.Allowed);
        }

        var tell = verdict.Shadow is { } shadow && Shadow.Count(shadow, now.Topology);
        if (verdict.Allowed)
        {
            if (tell)
            {
                audit(Entry(peer, open, "allow", rule, $"shadow policy {verdict.Shadow} would deny it") with { Shadow = verdict.Shadow });
            }

            return null;
        }

        if (peer is not null && verdict.IsObjection)
        {
            Claims?.Refuse(peer, PeerClaim.Caller, verdict.Reason);
        }

        var refusal = new EgressVerdict.Refuse(StreamCode.PolicyDenied, verdict.Reason);
        audit(Entry(peer, open, "deny", rule, refusal.Reason) with { Shadow = verdict.Shadow });
        return refusal;
    }

    private static string? SiteOf(FabricSnapshot now, string? peer) => peer is null ? now.Self.Site : now.Topology.FindGateway(peer)?.Site;

    private EgressVerdict.Refuse Refuse(string? peer, StreamOpen open, StreamCode code, string? rule, string reason)
    {
        audit(Entry(peer, open, "deny", rule, reason));
        return Counted(peer, open, new EgressVerdict.Refuse(code, reason));
    }

    private EgressVerdict.Refuse Counted(string? peer, StreamOpen open, EgressVerdict.Refuse refusal)
    {
        Interlocked.Increment(ref _refused);
        if (_lines.Of(peer ?? "", refusal.Reason) is { } line)
        {
            Log.StreamRefused(log, Printable.Of(open.Caller), Printable.Of(Target(open)), refusal.Code.ToString(), line);
        }

        return refusal;
    }

    private static string Target(StreamOpen open) => open.IsReserved ? open.Service : $"{open.Service}:{open.Port}{(open.Datagrams ? "/udp" : "")}";

    private AuditEntry Entry(string? peer, StreamOpen open, string verdict, string? rule, string reason) => new()
    {
        Time = time.GetUtcNow(),
        Verdict = verdict,
        IsDenial = verdict == "deny",
        Draw = AuditSieve.DrawOf(open),
        Caller = open.Caller,
        AssertedBy = peer ?? "self",
        Established = peer is null ? open.Established.ToString().ToLowerInvariant() : "gateway",
        Service = Target(open),
        Host = open.Host is null ? null : Printable.Of(open.Host),
        Rule = rule,
        Reason = reason,
        Trace = open.TraceParent.Length > 0 ? open.TraceParent : null,
    };

    /// <summary>What is kept of the decision on a stream, as long as it lives: see <see cref="StreamOpen.Decision"/>.</summary>
    /// <param name="gate">Decides on its requests; null where they are not read.</param>
    private sealed class StreamDecision(RequestGate? gate) : IRequestSpans
    {
        private volatile string? _rule;

        bool IRequestSpans.Any => gate is IRequestSpans { Any: true };

        void IRequestSpans.Add(System.Diagnostics.ActivityEvent befallen) => (gate as IRequestSpans)?.Add(befallen);

        public RequestGate? Gate => gate;

        /// <summary>The policy that allowed it, at its beginning or at the last review that it passed.</summary>
        public string? Rule
        {
            get => _rule;
            set => _rule = value;
        }
    }
}
