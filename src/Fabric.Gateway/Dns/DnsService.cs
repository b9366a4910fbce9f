using System.Collections.Immutable;
using System.Net;
using Fabric.Topology.Model;

namespace Fabric.Gateway.Dns;

/// <summary>
/// What answers as a service does: a service, one at one site, or one host of a headless one.
/// </summary>
/// <param name="Name">Name of the service, e.g. <c>web</c>.</param>
/// <param name="Namespace">Its namespace, e.g. <c>shop</c>.</param>
/// <param name="ServiceAddress">What its name resolves to: A or AAAA by the family. Null: what <see cref="Hosts"/> say.</param>
/// <param name="Ports">Those with a name get SRV records, those that speak HTTP over TLS get HTTPS records, those with a name and ALPN get SVCB records.</param>
/// <param name="Ready">Whether any site can serve it now. If not, its names answer as <see cref="DnsZoneOptions.Absent"/> says.</param>
public sealed record DnsService(
    string Name, string Namespace, IPAddress? ServiceAddress, ImmutableArray<DnsPort> Ports, bool Ready)
{
    /// <summary>The site that it is of: its name is <c>web.shop.paris.site</c>, or, with <see cref="Host"/>, <c>db-0.paris.db.shop</c>. Null: <c>web.shop</c>.</summary>
    public string? Site { get; init; }

    /// <summary>The one host that it is, in that site.</summary>
    public string? Host { get; init; }

    /// <summary>Of a headless service: the hosts that can be reached, in the order of the answer. At most <see cref="ServicePlace.MaxHosts"/>.</summary>
    public ImmutableArray<DnsHost> Hosts { get; init; } = [];

    /// <summary>Whether it is a headless service, as a whole or at a site, or a host of one.</summary>
    internal bool IsOfHosts => ServiceAddress is null || Host is not null;

    /// <summary>Names above its own that exist for its sake and hold no data, joined by dots.</summary>
    internal IEnumerable<string> Above => Site is null ? [Namespace]
        : Host is null ? [$"{Namespace}.{Site}.{ServicePlace.SiteLabel}", $"{Site}.{ServicePlace.SiteLabel}", ServicePlace.SiteLabel]
        : [$"{Site}.{Name}.{Namespace}", Namespace];

    internal string FullName => Site is null ? $"{Name}.{Namespace}"
        : Host is null ? $"{Name}.{Namespace}.{Site}.{ServicePlace.SiteLabel}" : $"{Host}.{Site}.{Name}.{Namespace}";

    /// <summary>Why it is not ready: told as an Extended DNS Error, cut at 200 bytes. Default: nothing is told.</summary>
    public string Why { get; init; } = "";

    public bool Equals(DnsService? other) => ReferenceEquals(this, other) || other is not null && Name == other.Name
        && Namespace == other.Namespace && Equals(ServiceAddress, other.ServiceAddress) && Ready == other.Ready
        && Why == other.Why && Ports.SequenceEqual(other.Ports) && Site == other.Site && Host == other.Host && Hosts.SequenceEqual(other.Hosts);

    public override int GetHashCode() => HashCode.Combine(Name, Namespace);
}

/// <summary>A host that a headless service has, somewhere.</summary>
/// <param name="Host">First label of its name.</param>
/// <param name="Site">Second label.</param>
/// <param name="Address">Its service address.</param>
/// <param name="Rank">0 for those of the nearest site, 1 for the next: the priority of SRV records.</param>
/// <param name="Ports">Ports of the service that it can be reached on.</param>
public sealed record DnsHost(string Host, string Site, IPAddress Address, ushort Rank, ImmutableArray<int> Ports)
{
    public bool Equals(DnsHost? other) => other is not null && Host == other.Host && Site == other.Site && Address.Equals(other.Address)
        && Rank == other.Rank && Ports.SequenceEqual(other.Ports);

    public override int GetHashCode() => HashCode.Combine(Host, Site);
}

/// <param name="Name">As in <c>_http._tcp</c>, without the underscore; null: no SRV record.</param>
/// <param name="Port">1 to 65,535.</param>
/// <param name="Tcp">Whether the protocol label is <c>_tcp</c>; else <c>_udp</c>.</param>
public sealed record DnsPort(string? Name, int Port, bool Tcp)
{
    /// <summary>What is negotiated by TLS on it, by ALPN names. With one of HTTP's the port gets an HTTPS record, with a name an SVCB record. Default none.</summary>
    public ImmutableArray<string> Alpn { get; init; } = [];

    public bool Equals(DnsPort? other) => other is not null && Name == other.Name && Port == other.Port && Tcp == other.Tcp
        && Alpn.SequenceEqual(other.Alpn);

    public override int GetHashCode() => Port;
}

public sealed record DnsZoneOptions
{
    /// <summary>Seconds that a positive answer may be kept. Default 5. An answer never goes stale (the address is stable),
    /// so this only bounds how long a removed service lingers.</summary>
    public uint Ttl { get; init; } = 5;

    /// <summary>Seconds that a positive answer may be kept for the name of one site, of a headless service or of a host. Default 1: unlike a
    /// service's address it goes stale, at the moment at which that site or host is gone.</summary>
    public uint PlaceTtl { get; init; } = 1;

    /// <summary>Seconds that a negative answer may be kept. Default 1: unlike a positive answer this one does go stale, at the
    /// moment at which a service becomes ready.</summary>
    public uint NegativeTtl { get; init; } = 1;

    /// <summary>What the names of a service answer that is not ready. Default: as <see cref="DnsSettings.Absent"/> says.</summary>
    public AbsentAnswer? Absent { get; init; }

    /// <summary>Addresses of this server, answered for its NS name <c>ns.&lt;zone&gt;</c>. Default none.</summary>
    public ImmutableArray<IPAddress> ServerAddresses { get; init; } = [];

    /// <summary>Ranges of which the reverse names are answered with authority, so that an unused address there is NXDOMAIN and
    /// not REFUSED: the site's range of service addresses. A range between two label boundaries is several zones, at most
    /// 128. A service address outside of every range is a zone of its own. Default none.</summary>
    public ImmutableArray<IPNetwork> ReverseRanges { get; init; } = [];
}
