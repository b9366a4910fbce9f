using Fabric.Topology.Asked;
using Fabric.Topology.Model;

namespace Fabric.Topology.Checks;

/// <summary>Zones that are forwarded are told apart by their names, and none is the fabric's own, which gateways answer themselves.</summary>
internal static class ForwardingChecks
{
    public static void Check(AskedMesh mesh, DiagnosticBag diagnostics)
    {
        string domain = mesh.Domain?.Value ?? FabricTopology.DefaultDomain;
        foreach (Located<AskedForwarding> forwarding in mesh.Sites.Select(s => s.Value.Forward).Prepend(mesh.Dns?.Value.Forward)
            .Where(f => f is not null).Select(f => f!.Value))
        {
            var seen = new Dictionary<string, Located<string>>(StringComparer.Ordinal);
            foreach (Located<string> zone in forwarding.Value.Zones.Where(z => z.Value.Zone is not null).Select(z => z.Value.Zone!.Value))
            {
                if (!seen.TryAdd(zone.Value, zone))
                {
                    diagnostics.Error(DiagnosticCodes.DuplicateName, zone.At,
                        $"zone {Words.Quote(zone.Value)} is there twice; the first is at {seen[zone.Value].At}", "give it all its servers in one place");
                }
                else if (zone.Value == domain || zone.Value.EndsWith("." + domain, StringComparison.Ordinal))
                {
                    diagnostics.Error(DiagnosticCodes.DoesNotApply, zone.At,
                        $"zone {Words.Quote(zone.Value)} is the fabric's own domain {Words.Quote(domain)}, or in it: it is answered here and never forwarded",
                        "leave it out");
                }
            }
        }
    }
}
