using System.Collections.Immutable;
using System.Net;
using Fabric.Topology.Asked;
using Fabric.Topology.Model;

namespace Fabric.Topology.Checks;

/// <summary>From asked to accepted, after everything was checked: what is required is there, references resolve.</summary>
internal static class Acceptance
{
    public static FabricTopology Accept(AskedMesh mesh, string revision) => new()
    {
        TrustDomain = mesh.TrustDomain!.Value.Value,
        Domain = mesh.Domain?.Value ?? FabricTopology.DefaultDomain,
        Revision = revision,
        Probes = Accept(mesh.Probes?.Value ?? new AskedProbes()),
        Dns = Accept(mesh.Dns?.Value ?? new AskedDns()),
        Drills = mesh.Drills is { } drills ? new DrillSettings { From = Values(drills.Value.From) } : new DrillSettings(),
        Sites = [.. mesh.Sites.Select(s => Accept(s.Value))],
        Links = [.. mesh.Links.SelectMany(l => Accept(l.Value))],
        Services = [.. mesh.Services.Select(s => Accept(s.Value))],
        Workloads = [.. mesh.Workloads.Select(w => new Workload(
            w.Value.Name!.Value.Value, w.Value.Site!.Value.Value, Values(w.Value.Addresses))
        {
            UnixUser = w.Value.UnixUser?.Value,
            Cgroup = w.Value.Cgroup?.Value,
        })],
        Policies = [.. mesh.Policies.Select(p => new Policy(
            p.Value.Name!.Value.Value, p.Value.Action!.Value.Value, Values(p.Value.From), Values(p.Value.To))
        {
            Ports = Values(p.Value.Ports),
            Mode = p.Value.Mode?.Value ?? PolicyMode.Enforce,
            Http = p.Value.Http is { } http ? new HttpRequests(Values(http.Value.Methods), Values(http.Value.Paths)) : null,
        })],
    };

    private static ProbeSettings Accept(AskedProbes asked)
    {
        var defaults = new ProbeSettings();
        TimeSpan active = asked.Active?.Value ?? defaults.Active;
        return new ProbeSettings
        {
            Active = active,
            Idle = asked.Idle?.Value ?? (active > defaults.Idle ? active : defaults.Idle),
            Misses = asked.Misses?.Value ?? defaults.Misses,
            HoldDown = asked.HoldDown?.Value ?? defaults.HoldDown,
        };
    }

    private static DnsSettings Accept(AskedDns asked)
    {
        var defaults = new DnsSettings();
        return new DnsSettings
        {
            Absent = asked.Absent?.Value ?? defaults.Absent,
            ResponsesPerSecond = asked.ResponsesPerSecond?.Value ?? defaults.ResponsesPerSecond,
            Forward = asked.Forward is { } forward ? Accept(forward.Value) : defaults.Forward,
        };
    }

    private static DnsForwarding Accept(AskedForwarding asked) => new()
    {
        Servers = asked.Servers is { } servers ? Values(servers.Value) : null,
        Clients = asked.Clients is { } clients ? Values(clients.Value) : null,
        Zones = [.. asked.Zones.Select(z => new DnsForwardingZone(z.Value.Zone!.Value.Value, Values(z.Value.Servers!.Value.Value)))],
    };

    private static Site Accept(AskedSite asked)
    {
        string name = asked.Name!.Value.Value;
        return new Site
        {
            Name = name,
            ServiceAddresses = asked.ServiceAddresses?.Value ?? ServiceAddresses.DefaultRange(name),
            Relay = asked.Relay?.Value ?? true,
            Forward = asked.Forward is { } forward ? Accept(forward.Value) : null,
            Gateways = [.. asked.Gateways.Select(g => Accept(name, g.Value))],
        };
    }

    private static SiteGateway Accept(string site, AskedGateway asked)
    {
        var gateway = new SiteGateway { Name = asked.Name!.Value.Value, Site = site };
        return gateway with
        {
            Listen = asked.Listen is { } listen ? Values(listen.Value) : gateway.Listen,
            Port = asked.Port?.Value ?? gateway.Port,
            Dns = asked.Dns?.Value ?? gateway.Dns,
            DnsTls = asked.DnsTls?.Value,
            Metrics = asked.Metrics?.Value ?? gateway.Metrics,
            Dashboard = asked.Dashboard is { } dashboard ? dashboard.Value : gateway.Dashboard,
            WireGuardKey = asked.WireGuardKey?.Value,
        };
    }

    private static IEnumerable<Link> Accept(AskedLink asked)
    {
        List<LinkEnd> ends = [.. asked.Ends.Select(e => new LinkEnd(e.Value.Gateway!.Value.Value, e.Value.Address?.Value)
        {
            WireGuardPort = LinkChecks.WireGuardPort(e.Value),
        }).OrderBy(e => e.Gateway, StringComparer.Ordinal)];
        for (int a = 0; a < ends.Count; a++)
        {
            for (int b = a + 1; b < ends.Count; b++)
            {
                var link = new Link { Name = asked.Name!.Value.Value, Kind = asked.Type!.Value.Value, A = ends[a], B = ends[b] };
                yield return link with
                {
                    Cost = asked.Cost?.Value ?? link.Cost,
                    Capacity = asked.Capacity?.Value,
                    Mtu = asked.Mtu?.Value ?? link.Mtu,
                };
            }
        }
    }

    private static Service Accept(AskedService asked)
    {
        ImmutableArray<ServicePort> ports = [.. asked.Ports.Select(p => new ServicePort(
            p.Value.Name?.Value, p.Value.Port!.Value.Value, p.Value.Protocol?.Value ?? ServiceProtocol.Tcp)
        {
            Alpn = p.Value.Alpn is { } alpn ? Values(alpn.Value) : [],
            Tls = p.Value.Tls?.Value ?? PortTls.Off,
        })];
        return new Service
        {
            Name = asked.Name!.Value.Value,
            Namespace = asked.Namespace!.Value.Value,
            Address = asked.Address?.Value,
            Ports = ports,
            Delivery = asked.Delivery?.Value ?? ServiceDelivery.Normal,
            Health = Accept(asked.Health?.Value ?? new AskedHealth(), asked.CheckKind),
            FlowIdle = asked.FlowIdle?.Value ?? TimeSpan.FromSeconds(60),
            Exports = [.. asked.Exports.Select(e => new ServiceExport(e.Value.Site!.Value.Value,
                [.. e.Value.Endpoints.Select(p => Accept(p.Value, ports[0].Port))]))],
        };
    }

    private static ServiceEndpoint Accept(AskedEndpoint asked, int onlyPort)
    {
        IPEndPoint address = asked.Address!.Value.Value;
        return new ServiceEndpoint(address.Address, address.Port, asked.Port?.Value ?? onlyPort);
    }

    private static HealthCheck Accept(AskedHealth asked, HealthCheckKind kind)
    {
        var defaults = new HealthCheck();
        TimeSpan interval = asked.Interval?.Value ?? defaults.Interval;
        return new HealthCheck
        {
            Kind = kind,
            Port = asked.Port?.Value,
            Path = asked.Path?.Value ?? defaults.Path,
            Interval = interval,
            Timeout = asked.Timeout?.Value ?? (interval < defaults.Timeout ? interval : defaults.Timeout),
            Failures = asked.Failures?.Value ?? defaults.Failures,
            Successes = asked.Successes?.Value ?? defaults.Successes,
        };
    }

    private static ImmutableArray<T> Values<T>(ImmutableArray<Located<T>> located) => [.. located.Select(l => l.Value)];
}
