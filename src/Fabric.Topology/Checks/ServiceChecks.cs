using System.Net;
using Fabric.Topology.Asked;
using Fabric.Topology.Model;

namespace Fabric.Topology.Checks;

/// <summary>Ports and endpoints of a service fit each other; each site has an address for it.</summary>
internal static class ServiceChecks
{
    private const int MaxDnsName = 253;
    private const int MaxPortName = 62;
    private static readonly TimeSpan DefaultInterval = new HealthCheck().Interval;

    public static void Check(AskedMesh mesh, DiagnosticBag diagnostics)
    {
        foreach (Located<AskedService> service in mesh.Services)
        {
            CheckName(mesh, service.Value, diagnostics);
            CheckPorts(service.Value, diagnostics);
            CheckHealth(service.Value, diagnostics);
            CheckFlows(service.Value, diagnostics);
            CheckExports(mesh, service.Value, diagnostics);
            PlaceChecks.Check(mesh, service.Value, diagnostics);
        }

        CheckAddresses(mesh, diagnostics);
    }

    private static void CheckName(AskedMesh mesh, AskedService service, DiagnosticBag diagnostics)
    {
        string domain = mesh.Domain?.Value ?? FabricTopology.DefaultDomain;
        int port = service.Ports.Select(p => (int?)p.Value.NameLength).Max() ?? 0;
        if (service.FullName is { } name && port + name.Length + 1 + domain.Length > MaxDnsName)
        {
            diagnostics.Error(DiagnosticCodes.BadDomain, service.Name!.Value.At,
                $"the {(port == 0 ? "" : "longest ")}name of service {Words.Quote(name)} with the domain has {port + name.Length + 1 + domain.Length} characters; "
                + $"a DNS name has at most {MaxDnsName}", "shorten the domain");
        }
    }

    private static void CheckPorts(AskedService service, DiagnosticBag diagnostics)
    {
        var names = new Names("port", diagnostics, $" in service {Words.Quote(service.FullName ?? "?")}");
        var numbers = new Names("port", diagnostics, $" in service {Words.Quote(service.FullName ?? "?")}",
            "a number stands once: protocol tcp+udp carries both on it");
        foreach (Located<AskedPort> port in service.Ports)
        {
            names.IsNew(port.Value.Name);
            if (port.Value.Name is { Value.Length: > MaxPortName } name)
            {
                diagnostics.Error(DiagnosticCodes.BadName, name.At,
                    $"the name of a port has at most {MaxPortName} characters, because DNS puts '_' in front: {Words.Quote(name.Value)} has {name.Value.Length}");
            }

            if (port.Value.Port is { } number)
            {
                numbers.IsNew(new Located<string>(number.Value.ToString(), number.At));
            }

            if (port.Value.Alpn is { } alpn && (port.Value.Protocol?.Value == ServiceProtocol.Udp
                || (port.Value.Protocol?.Value == ServiceProtocol.Http && port.Value.Tls?.Value != PortTls.Svid)))
            {
                diagnostics.Error(DiagnosticCodes.DoesNotApply, alpn.At,
                    "alpn does not apply to protocol http or udp: it is negotiated by TLS, over tcp", "use protocol: tcp, or for http also tls: svid");
            }
            else if (port.Value.Protocol?.Value == ServiceProtocol.Http)
            {
                foreach (Located<string> other in port.Value.Alpn?.Value.Where(a => !TlsProtocols.Http.Contains(a.Value)) ?? [])
                {
                    diagnostics.Error(DiagnosticCodes.DoesNotApply, other.At,
                        $"alpn {other.Value} does not apply to protocol http: its requests are read", $"use {string.Join(" or ", TlsProtocols.Http)}, or protocol: tcp");
                }
            }

            if (port.Value is { Tls: { Value: PortTls.Svid } tls, Protocol.Value: ServiceProtocol.Udp or ServiceProtocol.TcpAndUdp })
            {
                // Of tcp+udp, the datagrams would go by the source address: one port with two answers to who calls.
                diagnostics.Error(DiagnosticCodes.DoesNotApply, tls.At,
                    "tls: svid does not apply to protocol udp or tcp+udp: a caller shows its certificate on a stream", "use protocol: tcp or http");
            }

            if (service.Ports.Length > 1 && port.Value.Name is null)
            {
                diagnostics.Error(DiagnosticCodes.MissingKey, port.At,
                    "port needs the key 'name', because the service has several");
            }
        }
    }

    private static void CheckHealth(AskedService service, DiagnosticBag diagnostics)
    {
        if (service.Health is not { } located)
        {
            return;
        }

        AskedHealth health = located.Value;
        TimeSpan interval = health.Interval?.Value ?? DefaultInterval;
        if (health.Timeout is { } timeout && timeout.Value > interval)
        {
            diagnostics.Error(DiagnosticCodes.DurationOrder, timeout.At,
                $"health timeout ({Scalars.Print(timeout.Value)}) must not exceed the interval ({Scalars.Print(interval)})");
        }

        HealthCheckKind type = service.CheckKind;
        if (health.Type is { } asked && type != HealthCheckKind.None && service.IsUdpOnly && health.Port is null)
        {
            diagnostics.Error(DiagnosticCodes.DoesNotApply, asked.At,
                $"a health check of type {type.ToString().ToLowerInvariant()} does not apply to service "
                + $"{Words.Quote(service.FullName ?? "?")}: all its ports are udp",
                "give the check a port that answers, make a port's protocol tcp+udp, or leave health out");
        }

        if (health.Port is { } port && type == HealthCheckKind.None)
        {
            diagnostics.Error(DiagnosticCodes.DoesNotApply, port.At,
                "port does not apply to a health check of type none", "make its type tcp or http");
        }

        if (health.Path is { } path && type != HealthCheckKind.Http)
        {
            diagnostics.Error(DiagnosticCodes.DoesNotApply, path.At,
                $"path does not apply to a health check of type {type.ToString().ToLowerInvariant()}", "make its type http");
        }
    }

    private static void CheckFlows(AskedService service, DiagnosticBag diagnostics)
    {
        if (service.FlowIdle is { } idle && service.Ports.All(p =>
            p.Value.Protocol?.Value is not (ServiceProtocol.Udp or ServiceProtocol.TcpAndUdp)))
        {
            diagnostics.Error(DiagnosticCodes.DoesNotApply, idle.At,
                $"flowIdle does not apply to service {Words.Quote(service.FullName ?? "?")}: none of its ports carries udp",
                "make a port's protocol udp or tcp+udp, or leave flowIdle out");
        }
    }

    private static void CheckExports(AskedMesh mesh, AskedService service, DiagnosticBag diagnostics)
    {
        var sites = new Names("export of site", diagnostics, $" in service {Words.Quote(service.FullName ?? "?")}");
        var ports = service.Ports.Select(p => p.Value.Port?.Value).ToHashSet();
        foreach (AskedExport export in service.Exports.Select(e => e.Value))
        {
            mesh.SitesByName.Refers(export.Site);
            sites.IsNew(export.Site);
            var endpoints = new Names("endpoint", diagnostics, " in this export");
            foreach (Located<AskedEndpoint> endpoint in export.Endpoints)
            {
                if (endpoint.Value.Address is { } address)
                {
                    string port = endpoint.Value.Port is { } given ? $" for port {given.Value}" : "";
                    endpoints.IsNew(new Located<string>(address.Value + port, address.At));
                }

                CheckPort(service, ports, endpoint, diagnostics);
            }
        }
    }

    private static void CheckPort(
        AskedService service, HashSet<int?> ports, Located<AskedEndpoint> endpoint, DiagnosticBag diagnostics)
    {
        if (endpoint.Value.Port is { } port)
        {
            // A port that was refused is in the set as null: then this one may be right.
            if (!ports.Contains(port.Value) && !ports.Contains(null))
            {
                diagnostics.Error(DiagnosticCodes.UnknownServicePort, port.At,
                    $"service {Words.Quote(service.FullName ?? "?")} has no port {port.Value}",
                    ports.Count == 0 ? null : $"its ports: {string.Join(", ", ports)}");
            }
        }
        else if (service.Ports.Length > 1)
        {
            diagnostics.Error(DiagnosticCodes.UnknownServicePort, endpoint.At,
                $"the endpoint does not say behind which port of service {Words.Quote(service.FullName ?? "?")} it stands",
                $"write {{ address: \"{endpoint.Value.Address?.Value}\", port: {service.Ports[0].Value.Port?.Value} }}");
        }
    }

    private static void CheckAddresses(AskedMesh mesh, DiagnosticBag diagnostics)
    {
        // Everyone may import: each site has an address for each service, if its range holds them.
        List<(Located<string> Name, IPNetwork Range)> ranges =
        [
            .. mesh.SitesByName.All.Select(s =>
                (s.Value.Name!.Value, s.Value.ServiceAddresses?.Value ?? ServiceAddresses.DefaultRange(s.Key))),
        ];
        HashSet<IPAddress> dns = [.. mesh.Gateways.All.Values.Select(g => g.Gateway.Dns?.Value.Address).OfType<IPAddress>()];
        int wanted = mesh.ServicesByName.All.Values.Sum(PlaceChecks.Count);
        foreach ((Located<string> name, IPNetwork range) in ranges)
        {
            AskedSite site = mesh.SitesByName.All[name.Value];
            UInt128 held = ServiceAddresses.Capacity(range) - (UInt128)dns.Count(range.Contains);
            if (held < (UInt128)wanted)
            {
                diagnostics.Error(DiagnosticCodes.RangeExhausted, site.ServiceAddresses?.At ?? name.At,
                    $"the range {range} of site {Words.Quote(name.Value)} holds {held} service addresses; "
                    + (wanted == mesh.ServicesByName.All.Count ? $"there are {Words.Count(wanted, "service")}"
                        : $"services with names of sites and hosts need {wanted}"), "take a larger range");
            }
        }

        var fixedAddresses = new Dictionary<IPAddress, (string Service, Mark At)>();
        foreach ((string name, AskedService service) in mesh.ServicesByName.All)
        {
            if (service.Address is not { } address || ranges.Count == 0)
            {
                continue;
            }

            (string? problem, string? hint) = !ranges.Any(r => r.Range.Contains(address.Value))
                    ? ("lies in no site's range of service addresses",
                        "ranges: " + string.Join(", ", ranges.Take(8).Select(r => r.Range)))
                : !ranges.Any(r => ServiceAddresses.IsUsable(r.Range, address.Value))
                    ? ("is the first or last address of its range", null)
                : dns.Contains(address.Value) ? ("is the address of a gateway's DNS listener", null)
                : fixedAddresses.TryGetValue(address.Value, out (string Service, Mark At) first)
                    ? ($"is that of service {Words.Quote(first.Service)} at {first.At}",
                        "a service address stands for one service")
                : ((string?)null, (string?)null);
            if (problem is not null)
            {
                diagnostics.Error(DiagnosticCodes.UnusableServiceAddress, address.At,
                    $"the address {address.Value} of service {Words.Quote(name)} {problem}", hint);
            }

            fixedAddresses.TryAdd(address.Value, (name, address.At));
        }
    }
}
