using System.Diagnostics;
using System.Net;
using Fabric.Tunnel;

namespace Fabric.Gateway.Telemetry.Traces;

/// <summary>
/// The spans of this gateway. None is made while nobody listens, nor for a connection that is not drawn: of twenty, nineteen are not, and cost next to nothing. A stream's trace
/// begins at the importing gateway and travels in OPEN: <c>ingress</c> (the connection) → <c>tunnel</c> (the stream to the peer) → <c>egress</c> (at the exporting gateway) →
/// <c>request</c>, one for each HTTP request that is read there.
/// </summary>
internal static class Spans
{
    public const string SourceName = "Fabric.Gateway";

    /// <summary>The span of a client's connection. Where one begins a trace, it was drawn already: <see cref="Untraced"/>.</summary>
    public const string Connection = "ingress";

    /// <summary>How the traceparent of what is not sampled ends (W3C trace-context §3.2.2.5).</summary>
    private const string NotSampled = "-00";

    private static readonly ActivitySource _source = new(SourceName);

    /// <summary>
    /// The traceparent of a connection that is not to be traced, which tells the other gateways so, and joins its lines in their audit logs; empty when it may be traced, or nobody
    /// listens. Asked before anything else: a span costs more than all that is measured of a connection.
    /// </summary>
    /// <param name="share">Of connections that are traced, from 0 to 1; 1: whoever listens decides.</param>
    /// <param name="random">Of numbers, which need not be secret.</param>
    public static string Untraced(double share, Random random)
    {
        if (!_source.HasListeners() || Draws(share, random))
        {
            return "";
        }

        // As long as version 00 is (§3.2.1), with a trace ID and a span ID.
        Span<byte> ids = stackalloc byte[24];
        random.NextBytes(ids);
        Span<char> text = stackalloc char[55];
        "00-".CopyTo(text);
        Convert.TryToHexStringLower(ids[..16], text[3..], out _);
        text[35] = '-';
        Convert.TryToHexStringLower(ids[16..], text[36..], out _);
        NotSampled.CopyTo(text[52..]);
        return new string(text);
    }

    public static bool Draws(double share, Random random) => share >= 1 || random.NextDouble() < share;

    /// <summary>The request with the context that travels with it; the same one when nobody listens.</summary>
    /// <param name="open">What is asked of the peers.</param>
    /// <param name="client">Who connected.</param>
    /// <param name="site">This gateway's site.</param>
    /// <param name="isTunnelled">Whether the first that is tried is another gateway.</param>
    public static StreamOpen Ingress(StreamOpen open, IPEndPoint client, string site, bool isTunnelled)
    {
        if (!_source.HasListeners() || Start(Connection, ActivityKind.Server, default) is not { } ingress)
        {
            return open;
        }

        if (!ingress.IsAllDataRequested)
        {
            // It is sampled nowhere then: the others are told so, and nothing is kept.
            ingress.Stop();
            return open with { TraceParent = ingress.Id ?? "", TraceState = Bounded(ingress.TraceStateString) };
        }

        Service(ingress, open, site).SetTag("client.address", client.Address.ToString()).SetTag("fabric.caller", open.Caller);
        var last = isTunnelled ? Start("tunnel", ActivityKind.Client, ingress.Context) ?? ingress : ingress;
        if (last != ingress)
        {
            Service(last, open, site);
            last.SetCustomProperty(Outer, ingress);
        }

        return open with { TraceParent = last.Id ?? "", TraceState = Bounded(last.TraceStateString), Span = last };
    }

    public static void IngressEnded(StreamOpen open, StreamSummary summary)
    {
        if (open.Span is not { } span)
        {
            return;
        }

        // Where no endpoint took it, nobody else ends it.
        End(open.Served, summary);
        span.SetTag("fabric.peer", summary.Peer ?? "self");
        End(span, summary);
        End(span.GetCustomProperty(Outer) as Activity, summary);
    }

    /// <summary>A connection that nobody was asked about: no site can serve it, or it is not known who calls.</summary>
    public static void IngressRefused(StreamSummary summary, string site)
    {
        if (_source.HasListeners() && Start(Connection, ActivityKind.Server, default) is { } span)
        {
            span.SetStartTime(span.StartTimeUtc - summary.Duration).SetTag("fabric.service", summary.Service).SetTag("fabric.site", site);
            End(span, summary);
        }
    }

    /// <summary>At the exporting gateway, when it is asked: the span is the stream's from then on.</summary>
    public static void Egress(string? peer, StreamOpen open, string site)
    {
        // What was not sampled where it began is sampled nowhere: nothing is made to find that out again.
        if (open.Served is not null || !_source.HasListeners() || IsUntraced(open))
        {
            return;
        }

        var isRelay = open.IsReserved;
        if (Start(isRelay ? "relay" : "egress", ActivityKind.Server, Parse(open.TraceParent, open.TraceState)) is not { IsAllDataRequested: true } span)
        {
            return;
        }

        Service(span, open, site).SetTag("fabric.peer", peer ?? "self").SetTag("fabric.caller", open.Caller);
        open.Served = span;
    }

    /// <summary>What was decided; a refusal is the end of it.</summary>
    public static void Decided(StreamOpen open, EgressVerdict verdict)
    {
        if (open.Served is not { } span)
        {
            return;
        }

        span.AddEvent(new ActivityEvent("policy", tags: new() { { "fabric.verdict", verdict is EgressVerdict.Refuse ? "refuse" : "accept" } }));
        if (verdict is EgressVerdict.Refuse refuse)
        {
            Fail(span, refuse.Code.ToString(), refuse.Reason);
            span.Stop();
        }
    }

    public static void EgressEnded(StreamOpen open, StreamSummary summary) => End(open.Served, summary);

    /// <summary>
    /// An HTTP request that was read: a child of the caller's span where the request names one, with a link to the stream that it came on; else a child of the
    /// stream's. What is not sampled where it began is not traced here either.
    /// </summary>
    public static Activity? Request(StreamOpen open, string site, string method, string path, in RequestTrace trace)
    {
        if (!_source.HasListeners())
        {
            return null;
        }

        var caller = Parse(trace.Parent ?? "", trace.State ?? "");
        if (caller == default ? IsUntraced(open) : !caller.TraceFlags.HasFlag(ActivityTraceFlags.Recorded))
        {
            return null;
        }

        var stream = open.Served?.Context ?? Parse(open.TraceParent, open.TraceState);
        var isJoined = caller != default && caller.TraceId != stream.TraceId;
        var span = Start(method, ActivityKind.Server, caller != default ? caller : stream, links: isJoined && stream != default ? [new ActivityLink(stream)] : null);
        if (span is not { IsAllDataRequested: true })
        {
            span?.Stop();
            return null;
        }

        return Service(span, open, site).SetTag("http.request.method", method).SetTag("url.path", path).SetTag("network.protocol.version", trace.Version);
    }

    /// <param name="status">0: no answer was read.</param>
    public static void RequestEnded(Activity? span, int status, string error)
    {
        if (span is null)
        {
            return;
        }

        if (status > 0)
        {
            span.SetTag("http.response.status_code", status);
        }

        if (error.Length > 0 || status >= 500)
        {
            span.SetTag("error.type", error.Length > 0 ? error : $"{status}").SetStatus(ActivityStatusCode.Error);
        }

        span.Stop();
    }

    /// <summary>A failover of all streams to a peer: a trace of its own, as long as the pause.</summary>
    public static void FailedOver(LaneMove move, string site)
    {
        if (_source.HasListeners() && Start("failover", ActivityKind.Internal, default) is { } span)
        {
            span.SetStartTime(span.StartTimeUtc - move.Pause).SetTag("fabric.site", site).SetTag("fabric.peer", move.Peer).SetTag("fabric.from", move.From).SetTag("fabric.to", move.To)
                .SetTag("fabric.cause", move.Cause).SetTag("fabric.streams", move.Streams).SetTag("fabric.pause_ms", move.Pause.TotalMilliseconds);
            span.Stop();
        }
    }

    /// <summary>A lane that a relay is asked for; whoever gets it ends it.</summary>
    public static Activity? Lane(string relay, string target, string site) => _source.HasListeners()
        ? Start("lane", ActivityKind.Client, default)?.SetTag("fabric.site", site).SetTag("fabric.peer", target).SetTag("fabric.relay", relay) : null;

    /// <summary>Lines that are logged until it is disposed belong to the span.</summary>
    public static Scope Enter(Activity? span) => new(span);

    internal readonly ref struct Scope
    {
        private readonly Activity? _before;
        private readonly bool _set;

        public Scope(Activity? span)
        {
            if (span is { IsStopped: false })
            {
                (_before, _set) = (Activity.Current, true);
                Activity.Current = span;
            }
        }

        public void Dispose()
        {
            if (_set)
            {
                Activity.Current = _before;
            }
        }
    }

    private const string Outer = "outer";

    /// <summary>Started, and not the current one of whatever thread this is: streams live on many.</summary>
    private static Activity? Start(string name, ActivityKind kind, ActivityContext parent, IEnumerable<ActivityLink>? links = null)
    {
        var before = Activity.Current;
        Activity.Current = null;
        var span = _source.StartActivity(name, kind, parent, tags: null, links);
        Activity.Current = before;
        return span;
    }

    private static Activity Service(Activity span, StreamOpen open, string site)
    {
        // Reserved names and what peers made up are no services; they may be long, and are cut.
        span.SetTag("fabric.site", site).SetTag("fabric.service", Printable.Of(open.Service));
        return open.Port > 0 ? span.SetTag("fabric.port", open.Port) : span;
    }

    private static void End(Activity? span, StreamSummary summary)
    {
        if (span is null or { IsStopped: true })
        {
            return;
        }

        span.SetTag("fabric.code", summary.Code.ToString()).SetTag("fabric.bytes.to_endpoint", summary.BytesToEndpoint)
            .SetTag("fabric.bytes.to_client", summary.BytesToClient);
        if (summary.Code is not (StreamCode.Ok or StreamCode.ApplicationReset))
        {
            Fail(span, summary.Code.ToString(), summary.Reason);
        }

        var before = Activity.Current;
        span.Stop();
        Activity.Current = before;
    }

    private static void Fail(Activity span, string type, string reason) => span.SetTag("error.type", type).SetStatus(ActivityStatusCode.Error, Printable.Of(reason));

    private static bool IsUntraced(StreamOpen open) => open.Served is null && open.TraceParent.EndsWith(NotSampled, StringComparison.Ordinal);

    private static ActivityContext Parse(string parent, string state) =>
        parent.Length > 0 && ActivityContext.TryParse(parent, Bounded(state) is { Length: > 0 } kept ? kept : null, isRemote: true, out var context) ? context : default;

    private static string Bounded(string? state) => state is { Length: <= Protocol.Tunnel.OpenFrame.MaxTraceState } ? state : "";
}

/// <summary>What a request says of the trace that it belongs to.</summary>
/// <param name="Parent">Its traceparent, as it is; null when it has none.</param>
/// <param name="State">Its tracestate.</param>
/// <param name="Version">Of HTTP: <c>1.1</c> or <c>2</c>.</param>
internal readonly record struct RequestTrace(string? Parent, string? State, string Version);
