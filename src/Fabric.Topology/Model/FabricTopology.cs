using System.Collections.Immutable;
using System.Net;

namespace Fabric.Topology.Model;

/// <summary>
/// An accepted topology: every reference resolves, every value is within its limits. What was asked (YAML) is a
/// different type; nothing builds one of these but <c>TopologyLoader</c>, and nothing changes it afterwards.
/// </summary>
public sealed record FabricTopology
{
    public const string DefaultDomain = "svc.clusterset.local";

    /// <summary>SPIFFE trust domain, e.g. <c>acme.example</c>: lowercase, at most 255 bytes.</summary>
    public required string TrustDomain { get; init; }

    /// <summary>DNS domain under which services are answered. Default <c>svc.clusterset.local</c>.</summary>
    public string Domain { get; init; } = DefaultDomain;

    /// <summary>Sites in file order; their gateways are inside.</summary>
    public ImmutableArray<Site> Sites { get; init; } = [];

    /// <summary>Links, each between exactly two gateways. One declared with n ends became n·(n−1)/2 of them.</summary>
    public ImmutableArray<Link> Links { get; init; } = [];

    public ImmutableArray<Service> Services { get; init; } = [];
    public ImmutableArray<Workload> Workloads { get; init; } = [];
    public ImmutableArray<Policy> Policies { get; init; } = [];
    public ProbeSettings Probes { get; init; } = new();
    public DnsSettings Dns { get; init; } = new();
    public DrillSettings Drills { get; init; } = new();

    /// <summary>SHA-256 (hex, first 12 digits) over the canonical text of all files: the same files, the same revision.</summary>
    public required string Revision { get; init; }

    /// <summary>The gateway of that name, in whatever site; null when there is none.</summary>
    public SiteGateway? FindGateway(string name)
    {
        // Asked for each stream: it allocates nothing.
        foreach (Site site in Sites)
        {
            foreach (SiteGateway gateway in site.Gateways)
            {
                if (gateway.Name == name)
                {
                    return gateway;
                }
            }
        }

        return null;
    }
}

/// <summary>One environment: a cluster, a VPC, a data centre, an edge.</summary>
public sealed record Site
{
    public required string Name { get; init; }

    /// <summary>The range that service addresses of this (importing) site come from. Default: a /16 in 127.64.0.0/10
    /// derived from the site's name. Local to the site: two sites may use the same range.</summary>
    public required IPNetwork ServiceAddresses { get; init; }

    /// <summary>Whether its gateways carry lanes between gateways that have no link to each other. They see ciphertext. Default true.</summary>
    public bool Relay { get; init; } = true;

    /// <summary>Where names of others are looked up in this site; null: as <see cref="DnsSettings.Forward"/> says.</summary>
    public DnsForwarding? Forward { get; init; }

    public ImmutableArray<SiteGateway> Gateways { get; init; } = [];
}

/// <summary>One running fabricd of a site.</summary>
public sealed record SiteGateway
{
    public required string Name { get; init; }
    public required string Site { get; init; }

    /// <summary>Addresses that lanes and probes are accepted on. Default <c>[::]</c> (all).</summary>
    public ImmutableArray<IPAddress> Listen { get; init; } = [IPAddress.IPv6Any];

    /// <summary>Lanes and joining over TCP, probes over UDP. Default 7443.</summary>
    public int Port { get; init; } = 7443;

    /// <summary>Where the DNS server listens, UDP and TCP. Default 127.0.0.1:53.</summary>
    public IPEndPoint Dns { get; init; } = new(IPAddress.Loopback, 53);

    /// <summary>Where it listens for DNS over TLS; null when it does not. Default null.</summary>
    public IPEndPoint? DnsTls { get; init; }

    /// <summary>Where metrics and health are served. Default 127.0.0.1:9440.</summary>
    public IPEndPoint Metrics { get; init; } = new(IPAddress.Loopback, 9440);

    /// <summary>Where the dashboard is served; null when it is off. Default 127.0.0.1:8700.</summary>
    public IPEndPoint? Dashboard { get; init; } = new(IPAddress.Loopback, 8700);

    /// <summary>Pinned WireGuard public key (32 bytes), or null: then keys are introduced over mutual TLS.</summary>
    public ImmutableArray<byte>? WireGuardKey { get; init; }

    /// <summary>Multicast DNS on its local networks; null: none of it. Default null.</summary>
    public LanSettings? Lan { get; init; }
}

public enum LinkKind
{
    /// <summary>IP reachability that exists already: Direct Connect, MPLS, an existing VPN, a LAN.</summary>
    Interconnect,

    /// <summary>A WireGuard tunnel that Fabric builds.</summary>
    Vpn,
}

/// <summary>A way between two gateways. <see cref="A"/> is the end whose gateway name sorts first (ordinal).</summary>
public sealed record Link
{
    /// <summary>The declared name, shared by all pairs of a link with n ends. With both gateway names it is unique.</summary>
    public required string Name { get; init; }
    public required LinkKind Kind { get; init; }
    public required LinkEnd A { get; init; }
    public required LinkEnd B { get; init; }

    /// <summary>Handicap in milliseconds, added to the measured latency to compare paths. 0 to 10,000. Default 0.</summary>
    public int Cost { get; init; }

    /// <summary>Bits per second, or null when unknown.</summary>
    public long? Capacity { get; init; }

    /// <summary>MTU of the network under the link in bytes, 1,280 to 9,216. Default 1,500.</summary>
    public int Mtu { get; init; } = 1500;

    /// <summary>The end of that gateway. Throws when the gateway is at neither end.</summary>
    public LinkEnd EndOf(string gateway) => A.Gateway == gateway ? A : B.Gateway == gateway ? B
        : throw new ArgumentException(
            $"gateway {gateway} is at neither end of link {Name} ({A.Gateway}, {B.Gateway})", nameof(gateway));

    /// <summary>The other end, seen from that gateway.</summary>
    public LinkEnd PeerOf(string gateway) => EndOf(gateway) == A ? B : A;

    /// <summary>Whether that gateway is at one of the ends.</summary>
    public bool Touches(string gateway) => A.Gateway == gateway || B.Gateway == gateway;
}

/// <summary>
/// One end of a link. <see cref="Address"/> is how the other end reaches this gateway on the network under the link; null when
/// it cannot be dialled (behind NAT): then this end dials out. At most one end of a link has none.
/// </summary>
public sealed record LinkEnd(string Gateway, IPAddress? Address)
{
    /// <summary>WireGuard's UDP port at this end (vpn links). Default 51820.</summary>
    public int WireGuardPort { get; init; } = 51820;
}

public enum ServiceProtocol
{
    Tcp,
    Http,

    /// <summary>Datagrams, in flows.</summary>
    Udp,

    /// <summary>Connections and datagrams on one number, to the same endpoints: DNS is the classic.</summary>
    TcpAndUdp,
}

public enum ServiceDelivery
{
    /// <summary>Over the best link; on suspicion, what interactive streams have outstanding takes the second as well.</summary>
    Normal,

    /// <summary>Over the two best links at once, always.</summary>
    Mirrored,
}

/// <summary>A name that sites export: <c>&lt;name&gt;.&lt;namespace&gt;.&lt;domain&gt;</c>.</summary>
public sealed record Service
{
    public required string Name { get; init; }
    public required string Namespace { get; init; }
    public ImmutableArray<ServicePort> Ports { get; init; } = [];

    /// <summary>Sites that export it, in order of preference when all else is equal.</summary>
    public ImmutableArray<ServiceExport> Exports { get; init; } = [];

    public HealthCheck Health { get; init; } = new();

    /// <summary>Over how many links its bytes go at once. Default: one.</summary>
    public ServiceDelivery Delivery { get; init; }

    /// <summary>A fixed service address for every importing site, or null: picked by name in the site's range.</summary>
    public IPAddress? Address { get; init; }

    /// <summary>Each endpoint has a name and an address of its own, and the service's name answers those. Default: one address stands for all.</summary>
    public bool Headless { get; init; }

    /// <summary>Each exporting site has a name and an address of its own, beside those of the service. Default: none. Headless services need none.</summary>
    public bool SiteNames { get; init; }

    /// <summary>A flow (UDP) that carried nothing for this long, either way, is over. Default 60 s; 1 s to 1 h.</summary>
    public TimeSpan FlowIdle { get; init; } = TimeSpan.FromSeconds(60);

    /// <summary><c>name.namespace</c>, the key used everywhere else.</summary>
    public string FullName => $"{Name}.{Namespace}";

    /// <summary>
    /// How endpoints behind that port are checked. Nothing asks a UDP port that it does not know how to ask: without a port of its
    /// own, the check leaves it out.
    /// </summary>
    public HealthCheck HealthOf(int port) =>
        Health.Port is null && Ports.Any(p => p.Port == port && !p.CarriesStreams) ? Health with { Kind = HealthCheckKind.None } : Health;
}

/// <summary>A number stands once in a service. Name is null when the service has one unnamed port.</summary>
public sealed record ServicePort(string? Name, int Port, ServiceProtocol Protocol)
{
    /// <summary>What the endpoints, or the gateway before them (<see cref="Tls"/>), negotiate by TLS, by ALPN names: DNS tells it in HTTPS and SVCB records. Default none.</summary>
    public ImmutableArray<string> Alpn { get; init; } = [];

    /// <summary>What the importing gateway asks of clients. Default off.</summary>
    public PortTls Tls { get; init; }

    public bool CarriesStreams => Protocol != ServiceProtocol.Udp;

    public bool CarriesDatagrams => Protocol is ServiceProtocol.Udp or ServiceProtocol.TcpAndUdp;
}

/// <summary>Whether the importing gateway ends TLS on a service's port.</summary>
public enum PortTls
{
    /// <summary>Bytes go through as they are, and a caller is known by where it is.</summary>
    Off,

    /// <summary>Mutual TLS: a caller is known by its X.509-SVID, and who shows none is refused. The endpoint gets what was inside.</summary>
    Svid,
}

public sealed record ServiceExport(string Site, ImmutableArray<ServiceEndpoint> Endpoints)
{
    /// <summary>What is found on the site's local networks becomes endpoints as well; null: only those above.</summary>
    public LanExport? Lan { get; init; }
}

/// <summary>Address and port behind a service in a site. <see cref="ServicePort"/>: the service's port that it is behind.</summary>
public sealed record ServiceEndpoint(IPAddress Address, int Port, int ServicePort)
{
    /// <summary>The name that it has in its site, where the service is headless; a host has at most one endpoint for each port of the service. Else null.</summary>
    public string? Host { get; init; }
}

public enum HealthCheckKind
{
    /// <summary>Up when a TCP connection opens.</summary>
    Tcp,

    /// <summary>Up when GET answers with a status from 200 to 399.</summary>
    Http,

    /// <summary>Never checked: up, but for a UDP endpoint whose host says that nothing is there, until the next interval.</summary>
    None,
}

public sealed record HealthCheck
{
    public HealthCheckKind Kind { get; init; } = HealthCheckKind.Tcp;

    /// <summary>Port to ask at the endpoint's address; null: the endpoint's own.</summary>
    public int? Port { get; init; }

    /// <summary>Path of an HTTP check. Default <c>/</c>.</summary>
    public string Path { get; init; } = "/";

    /// <summary>Default 1 s; 100 ms to 1 h.</summary>
    public TimeSpan Interval { get; init; } = TimeSpan.FromSeconds(1);

    /// <summary>Must not exceed the interval. Default 500 ms.</summary>
    public TimeSpan Timeout { get; init; } = TimeSpan.FromMilliseconds(500);

    /// <summary>Failures in a row until down. Default 2.</summary>
    public int Failures { get; init; } = 2;

    /// <summary>Successes in a row until up again. Default 1.</summary>
    public int Successes { get; init; } = 1;
}

/// <summary>
/// Who calls, within one site: <c>spiffe://&lt;trust domain&gt;/site/&lt;site&gt;/workload/&lt;name&gt;</c>. By source address, or, for processes on a
/// gateway's own machine, by what the kernel says of them.
/// </summary>
public sealed record Workload(string Name, string Site, ImmutableArray<IPNetwork> Addresses)
{
    /// <summary>Name or number of the user whose processes it is; null: any.</summary>
    public string? UnixUser { get; init; }

    /// <summary>Path of the cgroup (version 2) whose processes it is, and of those below; null: any.</summary>
    public string? Cgroup { get; init; }

    /// <summary>Whether it is processes of a gateway's own machine. It has no addresses then.</summary>
    public bool IsLocal => UnixUser is not null || Cgroup is not null;
}

public enum PolicyAction
{
    Allow,
    Deny,
}

public enum PolicyMode
{
    /// <summary>It decides.</summary>
    Enforce,

    /// <summary>It changes no verdict: what it would have changed is told in the audit log and the metrics.</summary>
    Shadow,
}

/// <summary>
/// Who may call what. Nothing is allowed that no policy allows; deny wins. <see cref="From"/> holds SPIFFE paths below the
/// trust domain: exact (<c>site/paris/workload/shop</c>) or, ending in <c>/*</c>, all below a segment (<c>site/paris/*</c>).
/// <see cref="To"/> holds <c>name.namespace</c> or <c>*.namespace</c>.
/// </summary>
public sealed record Policy(string Name, PolicyAction Action, ImmutableArray<string> From, ImmutableArray<string> To)
{
    /// <summary>Ports of the service that it covers; empty: all.</summary>
    public ImmutableArray<int> Ports { get; init; } = [];

    /// <summary>Whether it is in force. Default: it is.</summary>
    public PolicyMode Mode { get; init; }

    /// <summary>Requests that it covers, on ports that speak HTTP; null: connections, and so all that is in them.</summary>
    public HttpRequests? Http { get; init; }
}

/// <summary>
/// HTTP requests by method and path; an empty list stands for all. A path is spelled as <see cref="RequestPath"/> does, and with <c>/*</c>
/// at the end covers what stands before it as well as all segments below: <c>/api/*</c> holds <c>/api</c>, <c>/api/</c> and <c>/api/v1</c>.
/// </summary>
public sealed record HttpRequests(ImmutableArray<string> Methods, ImmutableArray<string> Paths);

/// <summary>How links are probed. The defaults are design figures: see <c>src/Fabric.Routing/README.md</c>.</summary>
public sealed record ProbeSettings
{
    /// <summary>On links that carry streams. Default 50 ms; 10 ms to 10 s.</summary>
    public TimeSpan Active { get; init; } = TimeSpan.FromMilliseconds(50);

    /// <summary>On idle links. Default 1 s; not less than <see cref="Active"/>.</summary>
    public TimeSpan Idle { get; init; } = TimeSpan.FromSeconds(1);

    /// <summary>Probes missed in a row until down. Default 3; 2 to 20.</summary>
    public int Misses { get; init; } = 3;

    /// <summary>How long a link that was down must answer every probe until it is used again. Default 2 s.</summary>
    public TimeSpan HoldDown { get; init; } = TimeSpan.FromSeconds(2);
}
