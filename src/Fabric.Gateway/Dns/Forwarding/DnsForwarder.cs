using System.Collections.Immutable;
using System.Net;
using Fabric.Protocol.Dns;

namespace Fabric.Gateway.Dns.Forwarding;

/// <summary>
/// Answers for names of others: out of the cache, else by asking servers. Order of a query: <see cref="TryAnswer"/> → <see cref="DnsForwardCache"/>
/// → <see cref="AskAsync"/> → <see cref="DnsFlights"/>, where the same questions become one → <see cref="DnsUpstreamRace"/>. Only what was
/// asked is kept, under what was asked: no record of an answer ever answers another question.
/// </summary>
public sealed class DnsForwarder : IDnsForwarder, IAsyncDisposable
{
    /// <summary>Of a stale answer's records (RFC 8767 §5).</summary>
    private const uint StaleTtl = 30;

    /// <summary>What is worth to be renewed before its end: popular, and with a TTL of at least that.</summary>
    private const uint PrefetchTtl = 10;
    private const int PrefetchHits = 2;
    private const int PrefetchPart = 10;

    private readonly DnsForwarderOptions _options;
    private readonly TimeProvider _time;
    private readonly DnsForwardCache _cache;
    private readonly DnsForwardCounters _counters = new();
    private readonly DnsFlights _flights;
    private readonly DnsUpstreamWatch _watch;

    public DnsForwarder(DnsForwarderOptions options, TimeProvider time)
    {
        (_options, _time) = (options, time);
        _cache = new DnsForwardCache(options.CacheEntries, options.CacheBytes);
        _flights = new DnsFlights(options, _cache, _counters, time);
        _watch = new DnsUpstreamWatch(time, plan =>
        {
            // Other servers may say otherwise.
            _flights.Plan = plan;
            _cache.Clear();
        });
    }

    public DnsForwardStatistics Statistics => _counters.Read(_flights.Count, _cache);

    /// <summary>The servers that may be asked, and how they do.</summary>
    public ImmutableArray<(string Zone, DnsUpstreamStatus Upstream)> Upstreams =>
        [.. _flights.Plan.Routes.SelectMany(r => r.Upstreams.Select(u => (r.Zone.ToString(), u.Status)))];

    /// <summary>Follows these rules from now on. Questions under way end by the old ones; the cache is emptied when servers changed.</summary>
    public void Follow(DnsForwardRules rules) => _watch.Follow(rules);

    public async ValueTask DisposeAsync()
    {
        await _watch.DisposeAsync();
        await _flights.DisposeAsync();
    }

    public bool Serves(ReadOnlySpan<byte> address) => _flights.Plan.Serves(address);

    public int TryAnswer(ReadOnlySpan<byte> query, Span<byte> response, in DnsAsker asker)
    {
        var read = DnsQuery.Read(query);
        var plan = _flights.Plan;
        if (DnsLoopProbe.Is(read.Name) && TookBack(plan, read.Name))
        {
            return DnsForwardReply.Fail(read, asker, response, DnsRcode.Refused, DnsExtendedError.Other, "this question came from here");
        }

        if (plan.Find(read.Name) is null)
        {
            return DnsForwardReply.Fail(
                read, asker, response, DnsRcode.Refused, DnsExtendedError.NotAuthoritative, "no server is known for that name");
        }

        Span<byte> key = stackalloc byte[DnsForwardCache.MaxKey];
        key = key[..DnsForwardCache.WriteKey(key, read)];
        if (_cache.Find(key) is not { } entry)
        {
            return 0;
        }

        var age = Age(entry);
        if (age < entry.Ttl)
        {
            if (entry.Failure is null)
            {
                DnsForwardCounters.Count(ref _counters.Hits);
            }

            entry.Hits++;
            if (entry.Ttl >= PrefetchTtl && entry.Hits >= PrefetchHits && (entry.Ttl - age) * PrefetchPart <= entry.Ttl
                && _flights.TryRenew(key, read))
            {
                DnsForwardCounters.Count(ref _counters.Prefetches);
            }

            return Write(read, asker, response, entry, age, stale: false);
        }

        return _time.GetTimestamp() < Volatile.Read(ref entry.RetryAt) && IsServable(entry, age)
            ? Write(read, asker, response, entry, age, stale: true)
            : 0;
    }

    public async ValueTask<DnsAnswerWriter> AskAsync(DnsForwardedQuery query)
    {
        var began = _time.GetTimestamp();
        var key = KeyOf(query.Message.Span);
        var stale = _cache.Find(key) is { Failure: null } kept && IsServable(kept, Age(kept)) ? kept : null;
        using var place = _flights.Ask(key, query.Message.Span, query.Asker.Address, out var flight);
        if (stale is not null && !flight.IsCompleted)
        {
            await Task.WhenAny(flight, Task.Delay(_options.StaleAfter, _time));
        }

        var outcome = stale is not null && !flight.IsCompleted ? null : await flight;
        var found = outcome is { Failure: null } ? outcome : stale ?? outcome!;
        _options.Answered(_time.GetElapsedTime(began), found.Failure is not null ? "failed" : ReferenceEquals(found, stale) ? "stale" : "answered");
        return response => Write(
            DnsQuery.Read(query.Message.Span), query.Asker, response, found, found.Failure is null ? Age(found) : 0, ReferenceEquals(found, stale));
    }

    /// <summary>As a client would be answered, with where it comes from.</summary>
    public async Task<DnsForwardExplanation> ExplainAsync(ReadOnlyMemory<byte> query)
    {
        var key = KeyOf(query.Span);
        var zone = _flights.Plan.Find(DnsQuery.Read(query.Span).Name)?.Zone.ToString();
        var cached = _cache.Find(key) is { } kept && Age(kept) < kept.Ttl;
        var response = new byte[DnsLimits.Tcp];
        var length = TryAnswer(query.Span, response, new DnsAsker(DnsTransport.Tcp));
        if (length == 0)
        {
            length = (await AskAsync(new DnsForwardedQuery(query, DnsTransport.Tcp, default, null)))(response);
        }

        var entry = _cache.Find(key) is { Failure: null } found ? found : null;
        return new DnsForwardExplanation(
            response.AsMemory(0, length), zone, cached, entry?.Server, entry?.RoundTrip, entry is null ? null : Age(entry))
        {
            Remaining = entry is null ? null : entry.Ttl - Math.Min(entry.Ttl, Age(entry)),
        };
    }

    private static bool TookBack(DnsForwardPlan plan, ReadOnlySpan<byte> name)
    {
        foreach (var upstream in plan.Upstreams)
        {
            if (upstream.TookBack(name))
            {
                return true;
            }
        }

        return false;
    }

    private static byte[] KeyOf(ReadOnlySpan<byte> query)
    {
        Span<byte> key = stackalloc byte[DnsForwardCache.MaxKey];
        return key[..DnsForwardCache.WriteKey(key, DnsQuery.Read(query))].ToArray();
    }

    private int Write(in DnsQuery query, in DnsAsker asker, Span<byte> response, DnsCacheEntry entry, uint age, bool stale)
    {
        if (entry.Failure is { } why)
        {
            DnsForwardCounters.Count(ref _counters.Failed);
            return DnsForwardReply.Fail(query, asker, response, DnsRcode.ServFail, entry.FailureCode, why);
        }

        if (stale)
        {
            DnsForwardCounters.Count(ref _counters.Stale);
        }

        var maxTtl = entry.Response.IsNegative ? entry.Ttl : (uint)_options.MaxTtl.TotalSeconds;
        return DnsForwardReply.Write(query, asker, response, entry.Response, age, maxTtl, stale ? StaleTtl : null);
    }

    private bool IsServable(DnsCacheEntry entry, uint age) =>
        entry.Failure is null && age - Math.Min(age, entry.Ttl) < _options.StaleFor.TotalSeconds;

    private uint Age(DnsCacheEntry entry) => (uint)_time.GetElapsedTime(entry.Arrived).TotalSeconds;
}

/// <summary>Where a forwarded answer comes from.</summary>
/// <param name="Response">As a client would get it over TCP.</param>
/// <param name="Zone">The zone whose servers are asked; null: none is.</param>
/// <param name="Cached">Whether it was in the cache.</param>
/// <param name="Server">Who gave it; null: nobody, or it was not to be kept.</param>
/// <param name="RoundTrip">How long that took.</param>
/// <param name="Age">Seconds since.</param>
public sealed record DnsForwardExplanation(
    ReadOnlyMemory<byte> Response, string? Zone, bool Cached, IPEndPoint? Server, TimeSpan? RoundTrip, uint? Age)
{
    /// <summary>Seconds that it counts as new; 0: it is stale.</summary>
    public uint? Remaining { get; init; }

    public bool Stale => Remaining == 0 && Server is not null;
}
