using System.Collections.Immutable;
using System.Net;
using Fabric.Topology.Asked;
using Fabric.Topology.Model;

namespace Fabric.Topology;

public enum ChangeKind
{
    Added,
    Removed,
    Changed,
}

/// <summary>
/// One object that differs. <see cref="ObjectKind"/> is <c>mesh</c>, <c>site</c>, <c>gateway</c>, <c>link</c>, <c>service</c>,
/// <c>workload</c> or <c>policy</c>; <see cref="Description"/> is one line: what was added or removed, or
/// <c>cost: 0 → 20; mtu: 1500 → 9000</c>.
/// </summary>
public sealed record TopologyChange(ChangeKind Kind, string ObjectKind, string Name, string Description)
{
    /// <summary><c>+ link dx (paris-1, virginia-1): ...</c>, with <c>-</c> when removed and <c>~</c> when changed.</summary>
    public override string ToString() =>
        $"{(Kind switch { ChangeKind.Added => '+', ChangeKind.Removed => '-', _ => '~' })} {ObjectKind} {Name}: {Description}";
}

/// <summary>
/// What differs between two accepted topologies, by kind and name. It compares what each object says of itself in words:
/// two objects that read the same are the same.
/// </summary>
public static class TopologyDiff
{
    /// <summary>Changes from <paramref name="a"/> to <paramref name="b"/>, by kind as in the file, then by name. Empty when only
    /// comments, order or layout of the files differ. The order of a service's exports counts: it is a preference.</summary>
    public static ImmutableArray<TopologyChange> Between(FabricTopology a, FabricTopology b)
    {
        Dictionary<(int, string, string), Facts> before = Describe(a);
        Dictionary<(int, string, string), Facts> after = Describe(b);
        var changes = ImmutableArray.CreateBuilder<TopologyChange>();
        foreach ((int Order, string Kind, string Name) key in before.Keys.Union(after.Keys)
            .OrderBy(k => k.Item1).ThenBy(k => k.Item3, StringComparer.Ordinal))
        {
            if (!before.TryGetValue(key, out Facts? old))
            {
                changes.Add(new TopologyChange(ChangeKind.Added, key.Kind, key.Name, after[key].All));
            }
            else if (!after.TryGetValue(key, out Facts? now))
            {
                changes.Add(new TopologyChange(ChangeKind.Removed, key.Kind, key.Name, old.All));
            }
            else if (old.All != now.All)
            {
                changes.Add(new TopologyChange(ChangeKind.Changed, key.Kind, key.Name, old.To(now)));
            }
        }

        return changes.ToImmutable();
    }

    private static Dictionary<(int, string, string), Facts> Describe(FabricTopology topology)
    {
        var all = new Dictionary<(int, string, string), Facts>
        {
            [(0, "mesh", topology.TrustDomain)] = new(
                ("domain", topology.Domain), ("active", Print(topology.Probes.Active)), ("idle", Print(topology.Probes.Idle)),
                ("misses", topology.Probes.Misses), ("holdDown", Print(topology.Probes.HoldDown)),
                ("absent", topology.Dns.Absent is { } absent ? Lower(absent) : "by kind of service"), ("responsesPerSecond", topology.Dns.ResponsesPerSecond),
                ("forward", Print(topology.Dns.Forward)),
                ("drills", topology.Drills.From.IsEmpty ? "from nobody" : $"from {Join(topology.Drills.From)}")),
        };
        foreach (Site site in topology.Sites)
        {
            all[(1, "site", site.Name)] = new(("serviceAddresses", site.ServiceAddresses), ("relay", site.Relay ? "true" : "false"),
                ("forward", site.Forward is { } forward ? Print(forward) : "as dns says"));
            foreach (SiteGateway gateway in site.Gateways)
            {
                all[(2, "gateway", gateway.Name)] = new(
                    ("site", gateway.Site), ("listen", Join(gateway.Listen)), ("port", gateway.Port), ("dns", gateway.Dns),
                    ("dnsTls", gateway.DnsTls?.ToString() ?? "off"),
                    ("metrics", gateway.Metrics), ("dashboard", gateway.Dashboard?.ToString() ?? "off"),
                    ("wireguardKey", gateway.WireGuardKey is { } key ? Convert.ToBase64String([.. key]) : "none"),
                    ("lan", gateway.Lan is { } lan ? $"on {Join(lan.Interfaces)}{(lan.Announce ? "" : ", announces nothing")}" : "none"));
            }
        }

        foreach (Link link in topology.Links)
        {
            all[(3, "link", $"{link.Name} ({link.A.Gateway}, {link.B.Gateway})")] = new(
                ("type", link.Kind.ToString().ToLowerInvariant()), ("cost", link.Cost),
                ("capacity", link.Capacity is { } bits ? $"{bits}bit" : "unknown"), ("mtu", link.Mtu),
                (link.A.Gateway, End(link, link.A)), (link.B.Gateway, End(link, link.B)));
        }

        foreach (Service service in topology.Services)
        {
            all[(4, "service", service.FullName)] = new(
                ("address", service.Address?.ToString() ?? "derived"),
                ("ports", Join(service.Ports.Select(p => $"{p.Name} {p.Port} {Print(p.Protocol)}{Alpn(p)}{Tls(p)}{Idle(service, p)}".TrimStart()))),
                ("names", service.Headless ? "of hosts" : service.SiteNames ? "of the service and of sites" : "of the service"),
                ("delivery", Lower(service.Delivery)), ("health", Print(service.Health)),
                ("exports", Join(service.Exports.Select(e => $"{e.Site} [{Join(e.Endpoints.Select(Print))}]{Lan(e)}"))));
        }

        foreach (Workload workload in topology.Workloads)
        {
            all[(5, "workload", $"{workload.Site}/{workload.Name}")] = new(
                ("addresses", Join(workload.Addresses)), ("unixUser", workload.UnixUser ?? "any"), ("cgroup", workload.Cgroup ?? "any"));
        }

        foreach (Policy policy in topology.Policies)
        {
            all[(6, "policy", policy.Name)] = new(
                ("action", Lower(policy.Action)), ("mode", Lower(policy.Mode)), ("from", Join(policy.From)), ("to", Join(policy.To)),
                ("ports", policy.Ports.IsEmpty ? "all" : Join(policy.Ports)), ("http", policy.Http is { } http ? Print(http) : "any"));
        }

        return all;
    }

    private static string End(Link link, LinkEnd end) => (end.Address?.ToString() ?? "dials out")
        + (link.Kind == LinkKind.Vpn ? $" wireguard {end.WireGuardPort}" : "");

    private static string Print(HttpRequests http) =>
        $"{(http.Methods.IsEmpty ? "all methods" : Join(http.Methods))} of {(http.Paths.IsEmpty ? "all paths" : Join(http.Paths))}";

    private static string Print(TimeSpan duration) => Scalars.Print(duration);

    private static string Print(ServiceEndpoint endpoint) =>
        $"{(endpoint.Host is null ? "" : endpoint.Host + " ")}{new IPEndPoint(endpoint.Address, endpoint.Port)} for {endpoint.ServicePort}";

    private static string Print(ServiceProtocol protocol) => protocol == ServiceProtocol.TcpAndUdp ? "tcp+udp" : Lower(protocol);

    private static string Print(DnsForwarding forward) => $"to {(forward.Servers is { } servers ? $"[{Join(servers)}]" : "resolv.conf")} "
        + $"for {(forward.Clients is { } clients ? $"[{Join(clients)}]" : "the site")}"
        + string.Concat(forward.Zones.Select(z => $", {z.Zone} to [{Join(z.Servers)}]"));

    private static string Lan(ServiceExport export) => export.Lan is { } lan ? $" and {lan.Type} for {lan.ServicePort}" : "";

    private static string Alpn(ServicePort port) => port.Alpn.IsEmpty ? "" : $" alpn {string.Join(" ", port.Alpn)}";

    private static string Tls(ServicePort port) => port.Tls == PortTls.Off ? "" : $" tls {Lower(port.Tls)}";

    private static string Idle(Service service, ServicePort port) => port.CarriesDatagrams ? $" idle {Print(service.FlowIdle)}" : "";

    private static string Print(HealthCheck health) =>
        $"{Lower(health.Kind)}{(health.Port is { } port ? $" at port {port}" : "")} {health.Path} every {Print(health.Interval)} within {Print(health.Timeout)}, "
        + $"down after {health.Failures}, up after {health.Successes}";

    private static string Lower<T>(T value) where T : struct, Enum => value.ToString().ToLowerInvariant();

    private static string Join<T>(IEnumerable<T> values) => string.Join(", ", values);

    private sealed class Facts(params (string Key, object Value)[] facts)
    {
        private readonly ImmutableArray<(string Key, string Value)> facts = [.. facts.Select(f => (f.Key, $"{f.Value}"))];

        public string All => string.Join("; ", facts.Select(f => $"{f.Key}: {f.Value}"));

        /// <summary>Both describe objects of one kind and name, so that their keys are the same, in the same order.</summary>
        public string To(Facts now) => string.Join("; ", facts.Zip(now.facts).Where(p => p.First.Value != p.Second.Value)
            .Select(p => $"{p.First.Key}: {p.First.Value} → {p.Second.Value}"));
    }
}
