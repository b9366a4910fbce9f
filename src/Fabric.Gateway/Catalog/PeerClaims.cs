using System.Collections.Concurrent;
using System.Text.Json;
using Fabric.Gateway.Telemetry;
using Microsoft.Extensions.Logging;

namespace Fabric.Gateway.Catalog;

/// <summary>What a gateway may say of things that are not its own. Closed: labels of metrics are made of it.</summary>
internal enum PeerClaim
{
    /// <summary>A caller that is not of its site, or none at all.</summary>
    Caller,

    /// <summary>A catalog that names what its site does not export, or that breaks the catalog's bounds.</summary>
    Catalog,

    /// <summary>The name of another gateway.</summary>
    Name,

    /// <summary>The WireGuard key of another gateway.</summary>
    Key,

    /// <summary>A report of whom a gateway trusts that this gateway has not signed.</summary>
    Report,
}

/// <summary>One gateway's false claims of one kind.</summary>
internal sealed record RefusedClaims(string Peer, PeerClaim Claim, long Count, string Last)
{
    /// <summary>As metrics and status show it: <c>caller</c> …</summary>
    public string Kind => JsonNamingPolicy.SnakeCaseLower.ConvertName(Claim.ToString());
}

/// <summary>
/// What peers claimed and nobody believed. A gateway with a good certificate is believed for its own site alone; all else that it says is refused
/// where it is said, and told here: to the log at once and then every 10 s at most, to status for 5 minutes, to metrics for good. One entry for
/// each gateway and kind; those that the topology does not name share one, so there are as many as the topology has gateways, and no more.
/// </summary>
/// <param name="isDeclared">Whether the topology has a gateway of that name.</param>
/// <param name="time">The clock.</param>
/// <param name="log">Hears of it.</param>
internal sealed class PeerClaims(Func<string, bool> isDeclared, TimeProvider time, ILogger log)
{
    public const string Undeclared = "(not in the topology)";

    private static readonly TimeSpan _quiet = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan _shown = TimeSpan.FromMinutes(5);

    private readonly ConcurrentDictionary<(string Peer, PeerClaim Claim), Entry> _entries = new();

    public IReadOnlyList<RefusedClaims> Counts =>
        [.. _entries.OrderBy(e => e.Key.Peer, StringComparer.Ordinal).ThenBy(e => e.Key.Claim).Select(e => e.Value.Read(e.Key.Peer, e.Key.Claim))];

    /// <summary>One sentence for each gateway and kind that was refused lately.</summary>
    public IEnumerable<string> Problems => _entries.Where(e => time.GetElapsedTime(e.Value.At) < _shown).OrderBy(e => e.Key)
        .Select(e => e.Value.Read(e.Key.Peer, e.Key.Claim))
        .Select(c => $"gateway {c.Peer} was not believed ({c.Kind}, {c.Count} {(c.Count == 1 ? "time" : "times")}): {c.Last}");

    /// <summary>It was said, and had no effect.</summary>
    /// <param name="peer">The gateway, from its certificate.</param>
    /// <param name="claim">The kind.</param>
    /// <param name="reason">One sentence; what the peer wrote in it is bounded and printable already.</param>
    public void Refuse(string peer, PeerClaim claim, string reason)
    {
        var name = isDeclared(peer) ? peer : Undeclared;
        if (_entries.GetOrAdd((name, claim), static _ => new Entry()).Add(reason, time, out var omitted))
        {
            Log.NotBelieved(log, peer, claim.ToString(), omitted == 0 ? reason : $"{reason} (and {omitted} like it since it was logged last)");
        }
    }

    private sealed class Entry
    {
        private readonly Lock _lock = new();
        private long _count;
        private long _omitted;
        private long? _logged;
        private string _last = "";

        public long At { get; private set; }

        /// <summary>Whether it is to be logged.</summary>
        public bool Add(string reason, TimeProvider time, out long omitted)
        {
            lock (_lock)
            {
                (_count, _last, At) = (_count + 1, reason, time.GetTimestamp());
                omitted = _omitted;
                if (_logged is { } logged && time.GetElapsedTime(logged) < _quiet)
                {
                    _omitted++;
                    return false;
                }

                (_logged, _omitted) = (At, 0);
                return true;
            }
        }

        public RefusedClaims Read(string peer, PeerClaim claim)
        {
            lock (_lock)
            {
                return new RefusedClaims(peer, claim, _count, _last);
            }
        }
    }
}
