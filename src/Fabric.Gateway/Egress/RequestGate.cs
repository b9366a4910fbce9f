using System.Collections.Concurrent;
using Fabric.Gateway.Egress.Http;
using Fabric.Gateway.Snapshot;
using Fabric.Gateway.Telemetry;
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
    Action<AuditEntry> audit, Func<string, FabricSnapshot, bool> shadow) : IRequestJudge
{
    /// <summary>Of a path, in the audit log.</summary>
    private const int LongestPath = 256;

    private readonly ConcurrentDictionary<Live, byte> _live = new();
    private long _allowed;
    private long _denied;

    public long Allowed => Interlocked.Read(ref _allowed);

    public long Denied => Interlocked.Read(ref _denied);

    public void Refused(string? method, string reason)
    {
        Interlocked.Increment(ref _denied);
        audit(entry("deny", null, reason) with { Method = method });
    }

    public IDisposable? Begin(string method, string path)
    {
        // Listed before it is decided, and decided again when the policies changed meanwhile: no review misses it.
        var live = new Live(this, method, path);
        _live[live] = 0;
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

        live.Dispose();
        return null;
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

    private sealed class Live(RequestGate gate, string method, string path) : IDisposable
    {
        private volatile bool _isDecided;

        /// <summary>Whether it was allowed; until then, whoever decides on it looks at the newest policies by itself.</summary>
        public bool IsDecided
        {
            get => _isDecided;
            set => _isDecided = value;
        }

        public string Method => method;

        public string Path => path;

        public void Dispose() => gate._live.TryRemove(this, out _);
    }
}
