using System.Collections.Immutable;
using System.Net;

namespace Fabric.Gateway.Dns;

/// <summary>
/// A service as DNS sees it.
/// </summary>
/// <param name="Name">First label of its name, e.g. <c>web</c>.</param>
/// <param name="Namespace">Second label, e.g. <c>shop</c>.</param>
/// <param name="ServiceAddress">What its name resolves to: A or AAAA by the family.</param>
/// <param name="Ports">Those with a name get SRV records.</param>
/// <param name="Ready">Whether any site can serve it now. If not, its names exist and hold no data.</param>
public sealed record DnsService(
    string Name, string Namespace, IPAddress ServiceAddress, ImmutableArray<DnsPort> Ports, bool Ready);

/// <param name="Name">As in <c>_http._tcp</c>, without the underscore; null: no SRV record.</param>
/// <param name="Port">1 to 65,535.</param>
/// <param name="Tcp">Whether the protocol label is <c>_tcp</c>; else <c>_udp</c>.</param>
public sealed record DnsPort(string? Name, int Port, bool Tcp);

public sealed record DnsZoneOptions
{
    /// <summary>Seconds that a positive answer may be kept. Default 5. An answer never goes stale (the address is stable),
    /// so this only bounds how long a removed service lingers.</summary>
    public uint Ttl { get; init; } = 5;

    /// <summary>Seconds that a negative answer may be kept. Default 1: unlike a positive answer this one does go stale, at the
    /// moment at which a service becomes ready.</summary>
    public uint NegativeTtl { get; init; } = 1;

    /// <summary>Addresses of this server, answered for its NS name <c>ns.&lt;zone&gt;</c>. Default none.</summary>
    public ImmutableArray<IPAddress> ServerAddresses { get; init; } = [];

    /// <summary>Ranges of which the reverse names are answered with authority, so that an unused address there is NXDOMAIN and
    /// not REFUSED: the site's range of service addresses. A range between two label boundaries is several zones, at most
    /// 128. A service address outside of every range is a zone of its own. Default none.</summary>
    public ImmutableArray<IPNetwork> ReverseRanges { get; init; } = [];
}
