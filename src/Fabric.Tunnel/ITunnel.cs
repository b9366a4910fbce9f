using System.Collections.Immutable;
using System.Diagnostics;
using System.Net;

namespace Fabric.Tunnel;

/// <summary>
/// The data path of one gateway: lanes to peers, streams over them, listeners on service addresses, connections to
/// endpoints. A driver implements it and owns every socket of it; <see cref="IIngress"/> and <see cref="IEgress"/> decide
/// and never move a byte. All members are safe to call from any thread.
/// </summary>
public interface ITunnel : IAsyncDisposable
{
    /// <summary>
    /// Makes the running state equal to the plan: opens and closes listeners, dials new lanes, lets go of lanes no longer
    /// planned (their streams move first). What the plan leaves as it is, is not touched. Idempotent. A listener that cannot
    /// be opened is reported in <see cref="Status"/> and tried again at the next call and every second.
    /// </summary>
    void Reconcile(TunnelPlan plan);

    /// <summary>
    /// What routing knows of the links to a peer. Streams move to the first preferred link that has a live lane,
    /// make-before-break. While the lane that carries them is over a suspect link, unacknowledged bytes of interactive streams go
    /// out on the second-best lane as well. Lanes over links that are down are fenced and closed at once, and their streams
    /// resume elsewhere from the acknowledged offset; a new lane is dialled there until it opens.
    /// </summary>
    void SetPaths(string peer, LinkPaths paths);

    /// <summary>
    /// How long ago bytes left on a lane over the link of which it is known by now that they arrived; null when it is not known. Under
    /// load probes are late and lost before anything else: a link that carries bytes is not down.
    /// </summary>
    /// <param name="peer">The gateway at the other end.</param>
    /// <param name="link">The link.</param>
    /// <param name="bulk">Count only bulk, whose packets are of full size.</param>
    TimeSpan? Carried(string peer, string link, bool bulk);

    /// <summary>How long ago anything came on a lane over the link; null when there is no lane.</summary>
    TimeSpan? Heard(string peer, string link);

    /// <summary>
    /// Opens a stream to a peer. Completes when the peer has accepted it.
    /// Throws <see cref="StreamRefusedException"/> with the peer's code and reason, or with
    /// <see cref="StreamCode.NoLane"/> when no lane is up.
    /// </summary>
    Task<Stream> OpenAsync(string peer, StreamOpen open, CancellationToken cancellationToken);

    /// <summary>What is observed now; a copy.</summary>
    TunnelStatus Status { get; }

    /// <summary>What memory is used now, and what was turned away so far; a copy.</summary>
    TunnelUsage Usage { get; }

    /// <summary>
    /// Accepts no new connections nor streams, tells the peers, and waits until those that live have ended, at most
    /// <paramref name="limit"/>. Returns how many were left. It stays so until <see cref="Undrain"/>.
    /// </summary>
    Task<int> DrainAsync(TimeSpan limit, CancellationToken cancellationToken);

    /// <summary>Accepts connections and streams again, and tells the peers. Idempotent.</summary>
    void Undrain();

    /// <summary>Streams and connections of services that live now, by service, peer and direction.</summary>
    ImmutableArray<StreamGroup> Streams { get; }

    /// <summary>Resets every stream and connection of a service. Returns how many.</summary>
    int CutStreams(string reason);

    /// <summary>
    /// Asks <see cref="IEgress.Review"/> about every stream, flow and local connection of a service that this gateway's egress serves, and
    /// <see cref="IIngress.Review"/> about every one that it opened to a peer, and resets those that they refuse. Returns how many. What egress serves is known here before
    /// <see cref="IEgress.DecideAsync"/> is asked about it: whoever changes what egress goes by, and then calls this, leaves none behind that was
    /// decided by what was before. One that is on its way from <see cref="IIngress.PlanAsync"/> to its session is known when it is there: the next
    /// review finds it.
    /// </summary>
    int Review();

    /// <summary>A session or a lane came or went; the argument is the peer. Raised outside all locks, never concurrently.</summary>
    event Action<string>? SessionChanged;
}

/// <summary>The links to one peer, as routing sees them.</summary>
/// <param name="Preferred">Usable links, best first.</param>
/// <param name="Suspect">Those of them that owe an answer.</param>
/// <param name="Down">Links that are known to carry nothing.</param>
public sealed record LinkPaths(ImmutableArray<string> Preferred, ImmutableArray<string> Suspect, ImmutableArray<string> Down)
{
    public static LinkPaths None { get; } = new([], [], []);

    /// <summary>Links that this gateway drains: used only when nothing else is left, and the peer is asked to do likewise.</summary>
    public ImmutableArray<string> Drained { get; init; } = [];

    /// <summary>Whether another gateway of the peer's site is reached: then a lost peer is given up sooner.</summary>
    public bool SiteReachable { get; init; }

    public bool SameAs(LinkPaths other) => Preferred.SequenceEqual(other.Preferred) && Suspect.SequenceEqual(other.Suspect)
        && Down.SequenceEqual(other.Down) && Drained.SequenceEqual(other.Drained) && SiteReachable == other.SiteReachable;
}

/// <summary>What the tunnel should be.</summary>
public sealed record TunnelPlan
{
    /// <summary>Where lanes (and other ALPN protocols of the gateway port) are accepted.</summary>
    public ImmutableArray<IPEndPoint> Listen { get; init; } = [];
    public ImmutableArray<LanePlan> Lanes { get; init; } = [];
    public ImmutableArray<ServiceListener> Services { get; init; } = [];

    /// <summary>Gateways through which a peer may dial a lane to this one, by peer. What comes through another is refused.</summary>
    public ImmutableDictionary<string, ImmutableHashSet<string>> Relays { get; init; } =
        ImmutableDictionary<string, ImmutableHashSet<string>>.Empty;

    /// <summary>
    /// The site of each gateway. A certificate that gives one of them another site is refused, whoever dials and whatever for. Gateways
    /// that are not here are believed what their certificates say; they have no lane, but may speak the other protocols of the port.
    /// </summary>
    public ImmutableDictionary<string, string> Sites { get; init; } = ImmutableDictionary<string, string>.Empty;
}

/// <summary>
/// One lane to keep up. <see cref="Remote"/> is where to dial; null when the peer dials, or when it is dialled through
/// <see cref="Relay"/>.
/// A lane whose link and peer are not planned is refused.
/// </summary>
public sealed record LanePlan(string Peer, string Link, IPEndPoint? Remote)
{
    /// <summary>Largest TCP segment to use on it, or 0 for the kernel's own choice.</summary>
    public int MaxSegment { get; init; }

    /// <summary>
    /// The peer's gateway port, where the peer dials: while no lane is left, a connection there tells a dead process, which
    /// refuses it, from a dead network. Null when it cannot be reached.
    /// </summary>
    public IPEndPoint? Knock { get; init; }

    /// <summary>
    /// The gateway to dial through, whose session carries the lane as a stream; null for a lane of its own. The link is then
    /// <see cref="RelayNames.Link"/> of it.
    /// </summary>
    public string? Relay { get; init; }

    /// <summary>Whether this end dials.</summary>
    public bool Dials => Remote is not null || Relay is not null;
}

/// <summary>How a stream introduces itself; carried in the OPEN frame.</summary>
/// <param name="Service"><c>name.namespace</c>, or a reserved name that begins with <c>fabric.</c></param>
/// <param name="Port">Port of the service; 0 for reserved names.</param>
/// <param name="Caller">SPIFFE ID of the calling workload, as asserted by the importing gateway.</param>
/// <param name="TraceParent">W3C traceparent, or empty.</param>
public sealed record StreamOpen(string Service, int Port, string Caller, string TraceParent = "")
{
    /// <summary>Names of links that run as a stream through a third gateway begin with it; the gateway's name follows.</summary>
    public const string RelayLinkPrefix = "via:";

    /// <summary>
    /// It carries a lane of others. It only ever travels over lanes that are not relayed themselves, and is reset when there is
    /// none: so a relay is one gateway deep, and nothing can go round in a circle.
    /// </summary>
    public bool IsRelay => IsReserved && Service.StartsWith("fabric.relay", StringComparison.Ordinal);

    /// <summary>The only endpoint of the service that is meant, by the name that it has in its site; null: any. On the wire it stands before the service.</summary>
    public string? Host { get; init; }

    /// <summary>What the OPEN frame says: <c>name.namespace</c>, or <c>host.name.namespace</c>, which a gateway that knows no hosts does not export.</summary>
    public string WireService => Host is null ? Service : $"{Host}.{Service}";

    /// <summary>Service and host of what an OPEN frame says. Whatever else is there stays one name, which nobody exports.</summary>
    public static (string Service, string? Host) Split(string wireService, int port)
    {
        // Nearly all name no host: each new connection comes here, and nothing is allocated for it.
        if (port == 0 || wireService.AsSpan().Count('.') != 2)
        {
            return (wireService, null);
        }

        return wireService.Split('.') is [{ Length: > 0 } host, { Length: > 0 } name, { Length: > 0 } space] ? ($"{name}.{space}", host) : (wireService, null);
    }

    /// <summary>Its frames go out on the two best lanes at once, both ways: a silent cut costs the difference of the two.</summary>
    public bool Mirrored { get; init; }

    /// <inheritdoc cref="CallerProof"/>
    public CallerProof Established { get; init; }

    /// <summary>W3C tracestate, or empty.</summary>
    public string TraceState { get; init; } = "";

    /// <summary>Its span at the importing gateway, which the tunnel adds events to; null when it is not traced. Not on the wire.</summary>
    public Activity? Span { get; init; }

    /// <summary>Its span at the exporting gateway, likewise; from the decision on.</summary>
    public Activity? Served { get; set; }

    /// <summary>It carries the datagrams of one flow (UDP): unordered, unacknowledged, dropped rather than late.</summary>
    public bool Datagrams { get; init; }

    /// <summary>
    /// Between the gateways themselves: not counted among streams, and no drain waits for it. A declared service may be called
    /// fabric as well, but has a port.
    /// </summary>
    public bool IsReserved => Port == 0 && Service.StartsWith("fabric.", StringComparison.Ordinal);

    /// <summary>What the exporting side's decider keeps of its decision, as long as the stream lives: null until there is one. Nobody else looks.</summary>
    public object? Decision { get; set; }
}

/// <summary>Decides, for the importing side, where a new connection goes.</summary>
public interface IIngress
{
    /// <summary>
    /// Routes in the order in which to try them; the next is tried when one refuses before any byte was sent. An empty list refuses.
    /// Asked once per connection, or per flow.
    /// </summary>
    ValueTask<IngressPlan> PlanAsync(ServiceListener listener, IPEndPoint client, CancellationToken cancellationToken);

    /// <summary>
    /// Decides again, by what holds now: null when a stream or flow that was opened to a peer for a client here may go on; else why it is reset.
    /// Asked by <see cref="ITunnel.Review"/>, outside all locks.
    /// </summary>
    EgressVerdict.Refuse? Review(StreamOpen open) => null;

    /// <summary>The connection ended, or never got anywhere.</summary>
    void Ended(IngressPlan plan, StreamSummary summary);
}

public sealed record IngressPlan(ImmutableArray<IngressRoute> Routes, string? Refusal = null);

/// <summary>One way to serve a connection. <see cref="Peer"/> is the gateway to go through; null: this gateway's own egress.</summary>
public sealed record IngressRoute(string? Peer, StreamOpen Open);

/// <summary>Decides, for the exporting side, whether a stream is allowed and what it is connected to.</summary>
public interface IEgress
{
    /// <param name="peer">Name of the gateway that opened the stream, from its certificate; null when it is this gateway itself.</param>
    ValueTask<EgressVerdict> DecideAsync(string? peer, StreamOpen open, CancellationToken cancellationToken);

    /// <summary>
    /// Decides again, by what holds now: null when the stream may go on, or is to be decided yet; else why it is reset. Asked by
    /// <see cref="ITunnel.Review"/>, outside all locks; arguments as above.
    /// </summary>
    EgressVerdict.Refuse? Review(string? peer, StreamOpen open);

    /// <summary>A dial to an endpoint failed: the next is tried. Or an endpoint's host said that nobody takes the flow's datagrams.</summary>
    void DialFailed(StreamOpen open, IPEndPoint endpoint, string reason);

    /// <summary>The stream ended.</summary>
    void Ended(string? peer, StreamOpen open, StreamSummary summary);
}

/// <summary>A closed set: dial, hand over, or refuse.</summary>
public abstract record EgressVerdict
{
    /// <summary>Endpoints in the order in which to dial them.</summary>
    public sealed record Dial(ImmutableArray<IPEndPoint> Endpoints, TimeSpan ConnectTimeout) : EgressVerdict
    {
        /// <summary>A flow that carried nothing for this long is over. Default 60 s.</summary>
        public TimeSpan FlowIdle { get; init; } = TimeSpan.FromSeconds(60);

        /// <summary>Carries the bytes in the driver's place, because it has to read them; null, as nearly always: the driver does.</summary>
        public StreamCarrier? Carrier { get; init; }
    }

    /// <summary>For reserved names: the handler owns the stream until its task ends.</summary>
    public sealed record Handle(Func<Stream, Task> Handler) : EgressVerdict;

    /// <summary>For <see cref="RelayNames.Ask"/>: the stream is joined to one to that gateway, over direct lanes; its bytes stay sealed.</summary>
    public sealed record Relay(string Target) : EgressVerdict;

    public sealed record Refuse(StreamCode Code, string Reason) : EgressVerdict;
}

/// <summary>How a stream ended, for the audit log and telemetry.</summary>
public sealed record StreamSummary(
    string Service,
    string? Peer,
    IPEndPoint? Endpoint,
    StreamCode Code,
    string Reason,
    long BytesToEndpoint,
    long BytesToClient,
    TimeSpan Duration);

/// <summary>Why a stream was refused or reset. The numbers are on the wire: see <c>src/Fabric.Protocol/README.md</c>.</summary>
public enum StreamCode : byte
{
    /// <summary>Ended by FIN both ways.</summary>
    Ok = 0,

    /// <summary>The application reset its connection.</summary>
    ApplicationReset = 1,

    /// <summary>No policy allows the caller, or one denies it.</summary>
    PolicyDenied = 2,

    /// <summary>The site does not export that service or port.</summary>
    NoService = 3,

    /// <summary>No endpoint is healthy, or every dial failed. Safe to try elsewhere: no byte was delivered.</summary>
    NoEndpoint = 4,

    /// <summary>No lane to the peer is up. Safe to try elsewhere.</summary>
    NoLane = 5,

    /// <summary>A limit was reached: streams, memory, handshakes.</summary>
    LimitReached = 6,

    /// <summary>The gateway is draining or stopping.</summary>
    Draining = 7,

    /// <summary>The peer broke the protocol.</summary>
    ProtocolError = 8,

    /// <summary>The session ended and could not be resumed in time.</summary>
    SessionLost = 9,

    /// <summary>The other side did not answer in time.</summary>
    TimedOut = 10,
}

public sealed class StreamRefusedException(StreamCode code, string reason)
    : IOException($"stream refused ({code}): {reason}")
{
    public StreamCode Code { get; } = code;
    public string Reason { get; } = reason;
}
