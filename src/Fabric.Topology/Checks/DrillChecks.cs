using Fabric.Topology.Asked;

namespace Fabric.Topology.Checks;

/// <summary>Who may run drills is there: a name that nobody has is a mistake, and may be somebody's one day.</summary>
internal static class DrillChecks
{
    public static void Check(AskedMesh mesh, DiagnosticBag diagnostics)
    {
        foreach (Located<string> from in mesh.Drills?.Value.From ?? [])
        {
            string[] parts = from.Value.Split('/');
            if (!mesh.SitesByName.Refers(new Located<string>(parts[0], from.At)) || parts.Length == 1)
            {
                continue;
            }

            if (mesh.Gateways.Refers(new Located<string>(parts[1], from.At))
                && mesh.Gateways.Find(parts[1]).Site.Name is { } site && site.Value != parts[0])
            {
                diagnostics.Error(DiagnosticCodes.UnknownReference, from.At,
                    $"gateway {Words.Quote(parts[1])} is not of site {Words.Quote(parts[0])}", $"it is of site {site.Value}: write {site.Value}/{parts[1]}");
            }
        }
    }
}
