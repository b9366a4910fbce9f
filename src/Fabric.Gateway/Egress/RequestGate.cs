using System.Collections.Concurrent;
using System.Diagnostics;
using Fabric.Gateway.Egress.Http;
using Fabric.Gateway.Snapshot;
using Fabric.Gateway.Telemetry;
using Fabric.Gateway.Telemetry.Metrics;
using Fabric.Gateway.Telemetry.Traces;
using Fabric.Tunnel;

namespace Fabric.Gateway.Egress;

/// <summary>Decides on the requests of one connection, each by the one snapshot that is the newest then, and keeps those that are under way.</summary>
/// <param name="snapshot">The newest.</param>
/// <param name="site">The site whose gateway vouches for the caller, by a snapshot; null when it is of none.</param>
/// <param name="open">The connection.</param>
/// <param name="entry">A line of the audit log about it: verdict, rule, reason.</param>
/// <param name="audit">Writes it.</param>
/// <param name="shadow">Counts what a shadow policy would have changed; whether to write it.</param>
internal sealed class RequestGate(
    Func<FabricSnapshot?> snapshot, Func<FabricSnapshot, string?> site, StreamOpen open, Func<string, string?, string, AuditEntry> entry,
    Action<AuditEntry> audit, Func<string, FabricSnapshot, bool> shadow) : IRequestJudge, IRequestSpans
{
    /// <summary>Of a path, in the audit log.</summary>
    private const int LongestPath = 256;

    /// <summary>Status of what policies do not allow.</summary>
    private const int Denial = 403;

    private readonly ConcurrentDictionary<Live, byte> _live = new();
    private long _allowed;
    private long _denied;
    private int _traced;
    private RequestSeries? _told;

    public long Allowed => Interlocked.Read(ref _allowed);

    public long Denied => Interlocked.Read(ref _denied);

    public void Refused(string? method, string reason)
    {
        Interlocked.Increment(ref _denied);
        audit(entry("deny", null, reason) with { Method = method });
    }

    /// <summary>Counts requests; null: nobody does.</summary>
    public Traffic? Traffic { get; init; }

    public TimeProvider Time { get; init; } = TimeProvider.System;

    public ILiveRequest? Begin(string method, string path, in RequestTrace trace)
    {
        // Listed before it is decided, and decided again when the policies changed meanwhile: no review misses it.
        var live = new Live(this, method, path, trace.Version, Spans.Request(open, snapshot()?.Self.Site ?? "", method, path, trace));
        _live[live] = 0;
        Interlocked.Add(ref _traced, live.Span is null ? 0 : 1);
        FabricSnapshot? now;
        var allowed = false;
        do
        {
            now = snapshot();
            allowed = now is not null && Allows(now, method, path, isNew: true);
            live.IsDecided = allowed;
        }
        while (allowed && !ReferenceEquals(now!.Policies, snapshot()?.Policies));
        if (allowed)
        {
            return live;
        }

        live.Answered(Denial);
        live.Dispose();
        return null;
    }

    bool IRequestSpans.Any => Volatile.Read(ref _traced) > 0;

    void IRequestSpans.Add(ActivityEvent befallen)
    {
        foreach (var (live, _) in _live)
        {
            live.Span?.AddEvent(befallen);
        }
    }

    private void Tell(Live live, int status)
    {
        if (Traffic is { } traffic && snapshot() is { } now)
        {
            // Requests are read of services that are exported here, and of no others.
            var (source, told) = (site(now) ?? Traffic.Unknown, _told);
            _told = told = told?.Source == source ? told : traffic.Requests(open.Service, source);
            traffic.RequestEnded(told, live.Method, status, live.Version, Time.GetElapsedTime(live.Began));
        }
    }

    /// <summary>Whether a request is under way that is not allowed any more.</summary>
    public bool Review(FabricSnapshot now)
    {
        var any = false;
        foreach (var live in _live.Keys)
        {
            any |= live.IsDecided && !Allows(now, live.Method, live.Path, isNew: false);
        }

        return any;
    }

    private bool Allows(FabricSnapshot now, string method, string path, bool isNew)
    {
        if (site(now) is not { } home)
        {
            return false;
        }

        var verdict = now.Policies.Evaluate(home, open.Caller, open.Service, open.Port, method, path);
        if (isNew)
        {
            Traffic?.Verdict(open.Service, home, "request", verdict.Allowed);
            Interlocked.Increment(ref (verdict.Allowed ? ref _allowed : ref _denied));
        }

        var tell = verdict.Shadow is { } name && isNew && shadow(name, now);
        if (!verdict.Allowed || tell)
        {
            var reason = verdict.Allowed ? $"shadow policy {verdict.Shadow} would deny it" : verdict.Reason;
            audit(entry(verdict.Allowed ? "allow" : "deny", verdict.RuleName, reason) with
            {
                Method = method,
                Path = path.Length > LongestPath ? path[..LongestPath] + "…" : path,
                Shadow = verdict.Shadow,
            });
        }

        return verdict.Allowed;
    }

    private sealed class Live(RequestGate gate, string method, string path, string version, Activity? span) : ILiveRequest
    {
        private volatile bool _isDecided;
        private volatile int _status;
        private int _isOver;

        public long Began { get; } = gate.Time.GetTimestamp();

        public string Version => version;

        public Activity? Span => span;

        public string? TraceParent => span?.Id;

        public void Answered(int status) => _status = status;

        /// <summary>Whether it was allowed; until then, whoever decides on it looks at the newest policies by itself.</summary>
        public bool IsDecided
        {
            get => _isDecided;
            set => _isDecided = value;
        }

        public string Method => method;

        public string Path => path;

        public void Dispose()
        {
            if (Interlocked.Exchange(ref _isOver, 1) == 0)
            {
                gate._live.TryRemove(this, out _);
                Interlocked.Add(ref gate._traced, span is null ? 0 : -1);
                var error = _status == 0 ? "unanswered" : "";
                Spans.RequestEnded(span, _status, error);
                gate.Tell(this, _status);
            }
        }
    }
}
