using System.Collections.Immutable;
using System.Net;
using Fabric.Protocol.Dns;

namespace Fabric.Gateway.Dns.Forwarding;

/// <summary>Limits of a forwarder, for its whole life.</summary>
public sealed record DnsForwarderOptions
{
    /// <summary>Questions that other servers are being asked, at once; one more is answered with what is stale, else SERVFAIL. Each takes a
    /// socket, and some seconds later up to <see cref="DnsUpstreamRace.MaxAttempts"/>. Default 1,000.</summary>
    public int Questions { get; init; } = 1000;

    /// <summary>Clients' queries that wait for those, at once; one more is answered likewise. Default 10,000.</summary>
    public int Waiting { get; init; } = 10_000;

    /// <summary>Entries of the cache; the one not asked for longest goes first. Default 50,000.</summary>
    public int CacheEntries { get; init; } = 50_000;

    /// <summary>Bytes of the cache, bookkeeping included; likewise. Default 16 MiB.</summary>
    public long CacheBytes { get; init; } = 16 << 20;

    /// <summary>What a TTL counts at most. Default 1 day.</summary>
    public TimeSpan MaxTtl { get; init; } = TimeSpan.FromDays(1);

    /// <summary>How long NXDOMAIN and NODATA are kept at most (RFC 2308 §5 advises 1 to 3 hours). Default 1 h.</summary>
    public TimeSpan MaxNegativeTtl { get; init; } = TimeSpan.FromHours(1);

    /// <summary>How long after its end an answer may be served when no newer one is to be had (RFC 8767 §5 advises 1 to 3 days). Default
    /// 1 day; 0: never.</summary>
    public TimeSpan StaleFor { get; init; } = TimeSpan.FromDays(1);

    /// <summary>How long a client waits before it gets a stale answer (RFC 8767 §5). Default 1.8 s.</summary>
    public TimeSpan StaleAfter { get; init; } = TimeSpan.FromSeconds(1.8);

    /// <summary>How long a question that could not be answered is not asked again; its clients get the stale answer or SERVFAIL at once
    /// (RFC 9520 §3.2, RFC 8767 §5). Default 2 s.</summary>
    public TimeSpan FailureTtl { get; init; } = TimeSpan.FromSeconds(2);

    /// <summary>How long other servers are waited for. Default 5 s.</summary>
    public TimeSpan Deadline { get; init; } = TimeSpan.FromSeconds(5);

    /// <summary>Told of each query that was not answered from the cache: how long it took, and <c>answered</c>, <c>stale</c> or <c>failed</c>.</summary>
    public Action<TimeSpan, string> Answered { get; init; } = static (_, _) => { };
}

/// <summary>Whose names are looked up where. Replaced as a whole when the topology changes.</summary>
public sealed record DnsForwardRules
{
    /// <summary>For whom: all others are REFUSED, as if there were no forwarder. Default: loopback.</summary>
    public ImmutableArray<IPNetwork> Clients { get; init; } = [IPNetwork.Parse("127.0.0.0/8"), IPNetwork.Parse("::1/128")];

    /// <summary>Servers by zone; the longest zone that a name is in decides. The root stands for all other names.</summary>
    public ImmutableArray<DnsForwardZone> Zones { get; init; } = [];

    /// <summary>A file of <c>nameserver</c> lines (resolv.conf(5)) for the names in none of <see cref="Zones"/>; read again when it changes.
    /// Null: such names are REFUSED.</summary>
    public string? ResolvConf { get; init; }

    /// <summary>Where this server itself listens: never asked.</summary>
    public ImmutableArray<IPEndPoint> Own { get; init; } = [];

    public bool Equals(DnsForwardRules? other) => other is not null && Clients.SequenceEqual(other.Clients)
        && Zones.SequenceEqual(other.Zones) && ResolvConf == other.ResolvConf && Own.SequenceEqual(other.Own);

    public override int GetHashCode() => HashCode.Combine(Clients.Length, Zones.Length, ResolvConf);
}

/// <param name="Zone">It and the names below it.</param>
/// <param name="Servers">Any of these; the quickest healthy one is asked first.</param>
public sealed record DnsForwardZone(DnsName Zone, ImmutableArray<IPEndPoint> Servers)
{
    public bool Equals(DnsForwardZone? other) => other is not null && Zone.Equals(other.Zone) && Servers.SequenceEqual(other.Servers);

    public override int GetHashCode() => Zone.GetHashCode();
}
