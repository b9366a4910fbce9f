using System.Net;
using Fabric.Topology.Model;

namespace Fabric.Topology.Asked;

/// <summary>
/// The file format, declared once: the reader, its check for unknown keys and the JSON Schema all come from these tables.
/// Order is the order of the schema.
/// </summary>
internal static class AskedShapes
{
    /// <summary>Ends of one link: 4,950 pairs.</summary>
    public const int MaxEnds = 100;

    /// <summary>DNS servers of one zone.</summary>
    private const int MaxServers = 16;

    /// <summary>Interfaces of one gateway with multicast DNS.</summary>
    private const int MaxInterfaces = 16;

    private const int MaxPerObject = 1_000;

    private static MapShape<AskedProbes> Probes { get; } = new MapShape<AskedProbes>("probes", "How links are probed.")
        .With("active", Scalars.Duration(10, 10_000), (p, v) => p.Active = v, "Interval on links that carry streams.",
            @default: "50ms")
        .With("idle", Scalars.Duration(10, 60_000), (p, v) => p.Idle = v, "Interval on idle links; not less than `active`.",
            @default: "1s, or `active` when that is more")
        .With("misses", Scalars.Number(2, 20), (p, v) => p.Misses = v, "Probes missed in a row until a link is down.",
            @default: "3")
        .With("holdDown", Scalars.Duration(0, 600_000), (p, v) => p.HoldDown = v,
            "How long a link that was down must answer every probe until it is used again.", @default: "2s");

    private static MapShape<AskedForwardingZone> ForwardingZone { get; } = new MapShape<AskedForwardingZone>(
        "zone", "A zone that is not the fabric's, and who knows it.")
        .With("zone", Scalars.Domain, (z, v) => z.Zone = v, "It and the names below it; the longest one that a name is in decides.",
            required: true)
        .With("servers", new ListShape<IPEndPoint>(Scalars.Endpoint, 1, MaxServers), (z, v) => z.Servers = v,
            "The quickest healthy one is asked first.", required: true);

    private static MapShape<AskedForwarding> Forwarding { get; } = new MapShape<AskedForwarding>(
        "forward", "Where gateways look up names that are not the fabric's, and for whom.")
        .With("servers", new ListShape<IPEndPoint>(Scalars.Endpoint, 0, MaxServers), (f, v) => f.Servers = v,
            "For all names outside of `zones`. Empty: they are REFUSED.", @default: "those of /etc/resolv.conf")
        .With("clients", new ListShape<IPNetwork>(Scalars.Range, 0, MaxPerObject), (f, v) => f.Clients = v,
            "Ranges that may ask; all others are REFUSED.", @default: "loopback, and the addresses of the site's workloads")
        .With("zones", new ListShape<AskedForwardingZone>(ForwardingZone, 0, MaxPerObject), (f, v) => f.Zones = v.Value,
            "Zones with servers of their own.");

    private static MapShape<AskedDns> Dns { get; } = new MapShape<AskedDns>("dns", "How names are answered, in every site.")
        .With("absent", Scalars.Choice(("nodata", AbsentAnswer.NoData), ("nxdomain", AbsentAnswer.NxDomain),
            ("servfail", AbsentAnswer.ServFail)), (d, v) => d.Absent = v, "What the names of a service answer that no site can serve "
                + "now: the name without data, no such name, or a failure; each with the reason as an Extended DNS Error.",
            @default: "nodata, and nxdomain of headless services and their hosts")
        .With("responsesPerSecond", Scalars.Number(0, 50_000), (d, v) => d.ResponsesPerSecond = v,
            "The same answer over UDP to the same /24 or /56. Above, clients are asked to come over TCP or with a cookie; loopback is "
                + "not limited. 0: no limit. Read at the start.", @default: "1000")
        .With("forward", Forwarding, (d, v) => d.Forward = v, "Where names of others are looked up, in sites that do not say otherwise.");

    private static MapShape<AskedDrills> Drills { get; } = new MapShape<AskedDrills>(
        "drills", "Who may have faults applied at gateways whose daemon runs with `--allow-faults`.")
        .With("from", new ListShape<string>(Scalars.SiteOrGateway, 0, MaxPerObject), (d, v) => d.From = v.Value,
            "Gateways whose word the others take, as `site`, which means all of it, or `site/gateway`. A gateway's own admin socket needs none of it.",
            @default: "none");

    private static MapShape<AskedLan> Lan { get; } = new MapShape<AskedLan>(
        "lan", "What a gateway does by multicast DNS on its local networks.")
        .With("interfaces", new ListShape<string>(Scalars.Interface, 1, MaxInterfaces), (l, v) => l.Interfaces = v.Value,
            "Where: names of interfaces, such as `eth0`.", required: true)
        .With("announce", Scalars.Flag, (l, v) => l.Announce = v,
            "Whether it tells of itself there, as `NAME._fabric._tcp.local` with site and trust domain.", @default: "true");

    private static MapShape<AskedGateway> Gateway { get; } = new MapShape<AskedGateway>(
        "gateway", "One running fabricd of a site. Its name is unique in the mesh.")
        .With("name", Scalars.Label, (g, v) => g.Name = v, "RFC 1123 label, unique among all gateways.", required: true)
        .With("listen", new ListShape<IPAddress>(Scalars.ListenAddress, 1, 64), (g, v) => g.Listen = v,
            "Addresses that lanes and probes are accepted on.", @default: "[\"::\"], which is all")
        .With("port", Scalars.Port, (g, v) => g.Port = v, "Lanes and joining over TCP, probes over UDP.", @default: "7443")
        .With("dns", Scalars.Listener, (g, v) => g.Dns = v, "Where DNS is answered, over UDP and TCP.", @default: "127.0.0.1:53")
        .With("dnsTls", Scalars.ListenerOrOff, (g, v) => g.DnsTls = v, "Where DNS is answered over TLS, or `off`.", @default: "off")
        .With("metrics", Scalars.Listener, (g, v) => g.Metrics = v, "Where metrics and health are served.",
            @default: "127.0.0.1:9440")
        .With("dashboard", Scalars.ListenerOrOff, (g, v) => g.Dashboard = v, "Where the dashboard is served, or `off`.",
            @default: "127.0.0.1:8700")
        .With("wireguardKey", Scalars.WireGuardKey, (g, v) => g.WireGuardKey = v,
            "Pinned WireGuard public key, base64. Without it, keys are introduced over mutual TLS.")
        .With("lan", Lan, (g, v) => g.Lan = v, "Multicast DNS on local networks.", @default: "none");

    private static MapShape<AskedSite> Site { get; } = new MapShape<AskedSite>(
        "site", "One environment: a cluster, a VPC, a data centre, an edge.")
        .With("name", Scalars.Label, (s, v) => s.Name = v, "RFC 1123 label, unique among sites.", required: true)
        .With("serviceAddresses", Scalars.ServiceRange, (s, v) => s.ServiceAddresses = v,
            "Range that this site's service addresses come from. Local to the site: others may use the same.",
            @default: "a /16 in 127.64.0.0/10 derived from the name")
        .With("relay", Scalars.Flag, (s, v) => s.Relay = v,
            "Whether its gateways carry lanes between others that have no link to each other left. They see ciphertext.", @default: "true")
        .With("forward", Forwarding, (s, v) => s.Forward = v, "Where names of others are looked up in this site, instead of what `dns` says.")
        .With("gateways", new ListShape<AskedGateway>(Gateway, 1, MaxPerObject), (s, v) => s.Gateways = v.Value,
            "The gateways at the site's edge.", required: true);

    private static MapShape<AskedEnd> End { get; } = new MapShape<AskedEnd>("end", "One end of a link.")
        .With("gateway", Scalars.Label, (e, v) => e.Gateway = v, "Name of a gateway.", required: true)
        .With("address", Scalars.EndAddress, (e, v) => e.Address = v,
            "How the other ends reach it. Left out when nobody can (behind NAT): then this end dials. One end may leave it out.")
        .With("wireguardPort", Scalars.Port, (e, v) => e.WireGuardPort = v, "WireGuard's UDP port at this end (vpn links).",
            @default: "51820");

    private static MapShape<AskedLink> Link { get; } = new MapShape<AskedLink>(
        "link", "A way between gateways. With more than two ends, every pair of them is a link.")
        .With("name", Scalars.Label, (l, v) => l.Name = v, "RFC 1123 label, unique among links.", required: true)
        .With("type", Scalars.Choice(("interconnect", LinkKind.Interconnect), ("vpn", LinkKind.Vpn)), (l, v) => l.Type = v,
            "`interconnect`: IP reachability that exists already. `vpn`: a WireGuard tunnel that Fabric builds.", required: true)
        .With("cost", Scalars.Number(0, 10_000), (l, v) => l.Cost = v,
            "Handicap in milliseconds, added to the measured latency when paths are compared.", @default: "0")
        .With("capacity", Scalars.Capacity, (l, v) => l.Capacity = v, "Bit rate, such as 10Gbit or 2.5Gbit.")
        .With("mtu", Scalars.Number(1280, 9216), (l, v) => l.Mtu = v, "MTU of the network under the link, in bytes.",
            @default: "1500")
        .With("ends", new ListShape<AskedEnd>(End, 2, MaxEnds), (l, v) => l.Ends = v.Value, "Two ends or more.", required: true);

    private static MapShape<AskedPort> ServicePort { get; } = new MapShape<AskedPort>("port", "A port of a service.")
        .With("name", Scalars.Label, (p, v) => p.Name = v, "RFC 1123 label; required when a service has several ports.")
        .With("port", Scalars.Port, (p, v) => p.Port = v, "1 to 65535.", required: true)
        .With("protocol", Scalars.Choice(("tcp", ServiceProtocol.Tcp), ("http", ServiceProtocol.Http),
            ("udp", ServiceProtocol.Udp), ("tcp+udp", ServiceProtocol.TcpAndUdp)), (p, v) => p.Protocol = v,
            "What is spoken on it. `tcp+udp`: both, to the same endpoints; a number stands once in a service.", @default: "tcp")
        .With("alpn", new ListShape<string>(Scalars.Choice(TlsProtocols.All.Select(a => (a, a)).ToArray()), 1, 4), (p, v) => p.Alpn = v,
            "Protocols that the endpoints negotiate by TLS. DNS tells those of HTTP in HTTPS records, and all of them in an SVCB record at the port's `name`, which is taken for "
                + "the scheme: `grpc`, `mqtt`, `postgresql`, and `dns` for `dot`. Not with `udp`; with `http` only those of HTTP, and only beside `tls: svid`, where the gateway negotiates them.",
            @default: "none")
        .With("tls", Scalars.Choice(("off", PortTls.Off), ("svid", PortTls.Svid)), (p, v) => p.Tls = v,
            "`svid`: the importing gateway ends mutual TLS, and a caller is who its certificate names; the endpoint gets what was inside. Only with `tcp` or `http`.",
            @default: "off");

    private static MapShape<AskedHealth> Health { get; } = new MapShape<AskedHealth>(
        "health", "How the exporting gateway checks each endpoint.")
        .With("type", Scalars.Choice(
            ("tcp", HealthCheckKind.Tcp), ("http", HealthCheckKind.Http), ("none", HealthCheckKind.None)), (h, v) => h.Type = v,
            "`tcp`: a connection opens. `http`: GET answers 200 to 399. `none`: always up. `udp` ports are checked only with `port`.",
            @default: "tcp, or none when all ports are udp")
        .With("port", Scalars.Port, (h, v) => h.Port = v, "Port to ask at the endpoint's address.", @default: "the endpoint's own")
        .With("path", Scalars.HttpPath, (h, v) => h.Path = v, "Path of an HTTP check.", @default: "/")
        .With("interval", Scalars.Duration(100, 3_600_000), (h, v) => h.Interval = v, "Between two checks.", @default: "1s")
        .With("timeout", Scalars.Duration(10, 3_600_000), (h, v) => h.Timeout = v, "Of one check; not more than the interval.",
            @default: "500ms, or the interval when that is less")
        .With("failures", Scalars.Number(1, 100), (h, v) => h.Failures = v, "Failures in a row until down.", @default: "2")
        .With("successes", Scalars.Number(1, 100), (h, v) => h.Successes = v, "Successes in a row until up again.",
            @default: "1");

    private static MapShape<AskedEndpoint> Endpoint { get; } = new MapShape<AskedEndpoint>(
        "endpoint", "Address and port behind a service.")
        .With("address", Scalars.Endpoint, (e, v) => e.Address = v, "`address:port`.", required: true)
        .With("port", Scalars.Port, (e, v) => e.Port = v, "The service's port that it stands behind.",
            @default: "the service's only port")
        .With("host", Scalars.Label, (e, v) => e.Host = v, "Its name in the site, where the service is headless; with several ports, "
            + "one endpoint for each may have it.", @default: "the address with `-` between its numbers");

    private static MapShape<AskedLanExport> LanExport { get; } = new MapShape<AskedLanExport>(
        "lanExport", "Services that tell of themselves on the site's local networks, by DNS-SD.")
        .With("type", Scalars.ServiceType, (l, v) => l.Type = v, "Such as `_http._tcp`.", required: true)
        .With("port", Scalars.Port, (l, v) => l.Port = v, "The service's port that they stand behind.", @default: "the service's only port");

    private static MapShape<AskedExport> Export { get; } = new MapShape<AskedExport>(
        "export", "A site that offers the service, and the endpoints there.")
        .With("site", Scalars.Label, (e, v) => e.Site = v, "Name of a site.", required: true)
        .With("endpoints", new ListShape<AskedEndpoint>(
            new ShortOrLong<IPEndPoint, AskedEndpoint>(Scalars.Endpoint, a => new AskedEndpoint { Address = a }, Endpoint),
            1, MaxPerObject), (e, v) => (e.Endpoints, e.HasEndpoints) = (v.Value, true), "`address:port`, or a map with `address`, `port` and `host`. Required without `lan`.")
        .With("lan", new ShortOrLong<string, AskedLanExport>(Scalars.ServiceType, t => new AskedLanExport { Type = t }, LanExport), (e, v) => e.Lan = v,
            "A service type such as `_http._tcp`, or a map with `type` and `port`: whoever tells of one on the networks of the site's gateways "
                + "(`lan` there) is an endpoint, and checked as any other.");

    private static MapShape<AskedService> Service { get; } = new MapShape<AskedService>(
        "service", "A name that sites export: `<name>.<namespace>.<domain>`.")
        .With("name", Scalars.Label, (s, v) => s.Name = v, "RFC 1123 label, unique in its namespace.", required: true)
        .With("namespace", Scalars.Label, (s, v) => s.Namespace = v, "RFC 1123 label.", required: true)
        .With("address", Scalars.UnicastAddress, (s, v) => s.Address = v,
            "Fixed service address. Without it, each site derives one from the name.")
        .With("ports", new ListShape<AskedPort>(ServicePort, 1, Model.ServicePlace.MaxPorts), (s, v) => s.Ports = v.Value, "Its ports.", required: true)
        .With("delivery", Scalars.Choice(("normal", ServiceDelivery.Normal), ("mirrored", ServiceDelivery.Mirrored)),
            (s, v) => s.Delivery = v, "`mirrored`: its bytes take the two best links at once, so that a silent cut costs no more than "
                + "the difference of the two; at twice the bandwidth.", @default: "normal")
        .With("health", Health, (s, v) => s.Health = v, "How endpoints are checked.")
        .With("flowIdle", Scalars.Duration(1_000, 3_600_000), (s, v) => s.FlowIdle = v,
            "A UDP flow that carried nothing for this long, either way, is over.", @default: "60s")
        .With("headless", Scalars.Flag, (s, v) => s.Headless = v, "Each endpoint has a name and a service address of its own, "
            + "`<host>.<site>.<name>.<namespace>.<domain>`, and the service's name answers all that are healthy, those of the nearest site first.",
            @default: "false")
        .With("siteNames", Scalars.Flag, (s, v) => s.SiteNames = v, "Each exporting site has a name and a service address of its own as well, "
            + "`<name>.<namespace>.<site>.site.<domain>`, which goes to that site and no other. Headless services have such names anyway.",
            @default: "false")
        .With("exports", new ListShape<AskedExport>(Export, 1, MaxPerObject), (s, v) => s.Exports = v.Value,
            "Sites that offer it, in order of preference when all else is equal.", required: true);

    private static MapShape<AskedWorkload> Workload { get; } = new MapShape<AskedWorkload>(
        "workload", "Who calls within one site: by source address, or a process on a gateway's own machine by its user and cgroup.")
        .With("name", Scalars.Label, (w, v) => w.Name = v, "RFC 1123 label, unique in its site.", required: true)
        .With("site", Scalars.Label, (w, v) => w.Site = v, "Name of a site.", required: true)
        .With("addresses", new ListShape<IPNetwork>(Scalars.Range, 1, MaxPerObject), (w, v) => (w.Addresses, w.HasAddresses) = (v.Value, true),
            "Ranges that it calls from. Required without `unixUser` and `cgroup`.")
        .With("unixUser", Scalars.UnixUser, (w, v) => w.UnixUser = v,
            "User, by name or number, whose processes on a gateway's machine it is.")
        .With("cgroup", Scalars.Cgroup, (w, v) => w.Cgroup = v,
            "Path of a cgroup (version 2), such as `/system.slice/shop.service`: processes in it and below. With `unixUser`, both hold.");

    private static MapShape<AskedRequests> Requests { get; } = new MapShape<AskedRequests>(
        "http", "Requests by method and path; at least one of the two. Only on ports with `protocol: http`.")
        .With("methods", new ListShape<string>(Scalars.HttpMethod, 1, 20), (h, v) => h.Methods = v.Value,
            "In capitals, such as `GET`; gRPC uses `POST`.", @default: "all")
        .With("paths", new ListShape<string>(Scalars.RequestPath, 1, MaxPerObject), (h, v) => h.Paths = v.Value,
            "Exact (`/healthz`), or with `/*` at the end for a path and all below it (`/api/*`); of gRPC `/package.Service/Method`.",
            @default: "all");

    private static MapShape<AskedPolicy> Policy { get; } = new MapShape<AskedPolicy>(
        "policy", "Who may call what. Nothing is allowed that no policy allows; deny wins.")
        .With("name", Scalars.Label, (p, v) => p.Name = v, "RFC 1123 label, unique among policies.", required: true)
        .With("action", Scalars.Choice(("allow", PolicyAction.Allow), ("deny", PolicyAction.Deny)), (p, v) => p.Action = v,
            "What happens to a call that matches.", required: true)
        .With("mode", Scalars.Choice(("enforce", PolicyMode.Enforce), ("shadow", PolicyMode.Shadow)), (p, v) => p.Mode = v,
            "`shadow`: it changes no verdict; what it would have changed is told in the audit log and the metrics.", @default: "enforce")
        .With("from", new ListShape<string>(Scalars.PolicyPath, 1, MaxPerObject), (p, v) => p.From = v.Value,
            "SPIFFE paths below the trust domain; `/*` at the end covers all below.", required: true)
        .With("to", new ListShape<string>(Scalars.PolicyService, 1, MaxPerObject), (p, v) => p.To = v.Value,
            "`name.namespace` or `*.namespace`.", required: true)
        .With("ports", new ListShape<int>(Scalars.Port, 0, 100), (p, v) => p.Ports = v.Value,
            "Service ports that it covers.", @default: "all")
        .With("http", Requests, (p, v) => p.Http = v, "HTTP requests that it covers, each of which is decided on its own.",
            @default: "whole connections");

    /// <summary>One file.</summary>
    public static MapShape<AskedFile> File { get; } = new MapShape<AskedFile>("topology", "What a fabric should be.")
        .With("fabric", Scalars.FormatVersion, (_, _) => { }, "Version of this format.", required: true)
        .With("trustDomain", Scalars.TrustDomain, (f, v) => f.TrustDomain = v,
            "SPIFFE trust domain. Required in one of the files.")
        .With("domain", Scalars.Domain, (f, v) => f.Domain = v, "DNS domain of services. Given in one of the files.",
            @default: "svc.clusterset.local")
        .With("probes", Probes, (f, v) => f.Probes = v, "How links are probed. Given in one of the files.")
        .With("dns", Dns, (f, v) => f.Dns = v, "How names are answered. Given in one of the files.")
        .With("drills", Drills, (f, v) => f.Drills = v, "Who may run failover drills. Given in one of the files.")
        .With("sites", new ListShape<AskedSite>(Site), (f, v) => f.Sites = v.Value, "The sites and their gateways.")
        .With("links", new ListShape<AskedLink>(Link), (f, v) => f.Links = v.Value, "The ways between gateways.")
        .With("services", new ListShape<AskedService>(Service), (f, v) => f.Services = v.Value, "What sites export.")
        .With("workloads", new ListShape<AskedWorkload>(Workload), (f, v) => f.Workloads = v.Value, "Who calls.")
        .With("policies", new ListShape<AskedPolicy>(Policy), (f, v) => f.Policies = v.Value, "Who may call what.");
}
