using Fabric.Topology.Asked;
using Fabric.Topology.Model;

namespace Fabric.Topology.Checks;

/// <summary>An export says where its endpoints are; those of a local network need a gateway that looks there.</summary>
internal static class LanChecks
{
    /// <summary>Types of services that are looked for in one site.</summary>
    private const int MaxTypes = 32;

    public static void Check(AskedMesh mesh, DiagnosticBag diagnostics)
    {
        foreach (var site in mesh.Services.SelectMany(s => s.Value.Exports).Where(e => e.Value is { Site: not null, Lan.Value.Type: not null })
            .Select(e => (Site: e.Value.Site!.Value.Value, Type: e.Value.Lan!.Value.Value.Type!.Value)).GroupBy(e => e.Site))
        {
            if (site.DistinctBy(e => e.Type.Value).ElementAtOrDefault(MaxTypes) is { Type: { Value: not null } one })
            {
                diagnostics.Error(DiagnosticCodes.BadCount, one.At,
                    $"more than {MaxTypes} types of services are looked for on the local networks of site {Words.Quote(site.Key)}");
            }
        }

        foreach (AskedGateway gateway in mesh.Sites.SelectMany(s => s.Value.Gateways).Select(g => g.Value))
        {
            var interfaces = new Names("interface", diagnostics, $" of gateway {Words.Quote(gateway.Name?.Value ?? "?")}");
            foreach (Located<string> name in gateway.Lan?.Value.Interfaces ?? [])
            {
                interfaces.IsNew(name);
            }
        }

        foreach (AskedService service in mesh.Services.Select(s => s.Value))
        {
            foreach (Located<AskedExport> export in service.Exports)
            {
                CheckExport(mesh, service, export, diagnostics);
            }
        }
    }

    private static void CheckExport(AskedMesh mesh, AskedService service, Located<AskedExport> export, DiagnosticBag diagnostics)
    {
        string name = Words.Quote(service.FullName ?? "?");
        if (export.Value.Lan is not { } lan)
        {
            if (!export.Value.HasEndpoints)
            {
                diagnostics.Error(DiagnosticCodes.MissingKey, export.At, "export needs the key 'endpoints' or 'lan'");
            }

            return;
        }

        if (export.Value.Site is { } site && mesh.SitesByName.All.TryGetValue(site.Value, out AskedSite? exporting)
            && exporting.Gateways.All(g => g.Value.Lan is null))
        {
            diagnostics.Error(DiagnosticCodes.DoesNotApply, lan.At,
                $"lan does not apply to site {Words.Quote(site.Value)}: none of its gateways looks at a local network",
                "give one of them lan: { interfaces: [ ... ] }");
        }

        AskedPort? port = lan.Value.Port is { } given ? service.Ports.Select(p => p.Value).FirstOrDefault(p => p.Port?.Value == given.Value)
            : service.Ports.Length == 1 ? service.Ports[0].Value : null;
        if (port is null && !service.Ports.Any(p => p.Value.Port is null))
        {
            diagnostics.Error(DiagnosticCodes.UnknownServicePort, lan.Value.Port?.At ?? lan.At, lan.Value.Port is { } unknown
                ? $"service {name} has no port {unknown.Value}"
                : $"lan does not say behind which port of service {name} its endpoints stand",
                $"its ports: {string.Join(", ", service.Ports.Select(p => p.Value.Port?.Value))}");
        }

        if (port is not null && lan.Value.Type is { } type)
        {
            ServiceProtocol protocol = port.Protocol?.Value ?? ServiceProtocol.Tcp;
            bool datagrams = type.Value.EndsWith("._udp", StringComparison.Ordinal);
            if (datagrams ? protocol is ServiceProtocol.Tcp or ServiceProtocol.Http : protocol == ServiceProtocol.Udp)
            {
                diagnostics.Error(DiagnosticCodes.DoesNotApply, type.At,
                    $"{type.Value} does not apply to a port of protocol {protocol.ToString().ToLowerInvariant()}: it is of {(datagrams ? "datagrams" : "connections")}");
            }
        }
    }
}
