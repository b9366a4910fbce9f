namespace Fabric.Gateway.Dns.Forwarding;

/// <summary>Totals since the forwarder was made.</summary>
/// <param name="Questions">Asked of other servers, those to renew the cache among them.</param>
/// <param name="Joined">Queries that waited for a question that was under way already.</param>
/// <param name="Hits">Queries answered from the cache.</param>
/// <param name="Stale">Queries answered with what was stale.</param>
/// <param name="Prefetches">Questions asked to renew what is popular before its end.</param>
/// <param name="Failed">Queries answered SERVFAIL.</param>
/// <param name="Limited">Queries that met a limit.</param>
/// <param name="UnderWay">Questions asked now.</param>
/// <param name="Entries">Answers kept now.</param>
/// <param name="Bytes">Bytes of these.</param>
/// <param name="Evicted">Answers that had to go before their time.</param>
public readonly record struct DnsForwardStatistics(
    long Questions, long Joined, long Hits, long Stale, long Prefetches, long Failed, long Limited, int UnderWay, int Entries, long Bytes,
    long Evicted);

/// <summary>The same, while it is being counted.</summary>
internal sealed class DnsForwardCounters
{
    public long Questions;
    public long Joined;
    public long Hits;
    public long Stale;
    public long Prefetches;
    public long Failed;
    public long Limited;

    public static void Count(ref long counter) => Interlocked.Increment(ref counter);

    public DnsForwardStatistics Read(int underWay, DnsForwardCache cache) => new(
        Volatile.Read(ref Questions), Volatile.Read(ref Joined), Volatile.Read(ref Hits), Volatile.Read(ref Stale),
        Volatile.Read(ref Prefetches), Volatile.Read(ref Failed), Volatile.Read(ref Limited), underWay, cache.Count, cache.Bytes,
        cache.Evicted);
}
