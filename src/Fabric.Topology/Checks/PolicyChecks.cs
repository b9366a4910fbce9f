using Fabric.Topology.Asked;
using Fabric.Topology.Model;

namespace Fabric.Topology.Checks;

/// <summary>Policies name sites, gateways, services and ports that exist. A typing error in a policy would be silence otherwise.</summary>
internal static class PolicyChecks
{
    public static void Check(AskedMesh mesh, DiagnosticBag diagnostics)
    {
        HashSet<string> namespaces = [.. mesh.ServiceByName.Values.Select(s => s.Namespace!.Value.Value)];
        var allowed = new HashSet<string>(StringComparer.Ordinal);
        foreach (AskedPolicy policy in mesh.Policies.Select(p => p.Value))
        {
            foreach (Located<string> from in policy.From)
            {
                CheckFrom(mesh, from, diagnostics);
            }

            foreach (Located<string> to in policy.To)
            {
                CheckTo(mesh, to, namespaces, diagnostics);
                if (policy.Action?.Value != PolicyAction.Deny)
                {
                    allowed.Add(to.Value);
                }
            }

            CheckPorts(mesh, policy, diagnostics);
        }

        foreach ((string name, AskedService service) in mesh.ServiceByName)
        {
            if (!allowed.Contains(name) && !allowed.Contains("*." + service.Namespace!.Value.Value))
            {
                diagnostics.Warning(DiagnosticCodes.NobodyMayCall, service.Name!.Value.At,
                    $"no policy allows anyone to call service {Words.Quote(name)}",
                    "nothing is allowed that no policy allows: add one with action: allow");
            }
        }
    }

    /// <summary>Paths below <c>site/</c> are Fabric's own; others belong to whoever issues the certificates.</summary>
    private static void CheckFrom(AskedMesh mesh, Located<string> from, DiagnosticBag diagnostics)
    {
        string[] segments = from.Value.Split('/');
        if (segments is not ["site", not "*", ..]
            || !MeshChecks.Refers(new Located<string>(segments[1], from.At), "site", mesh.SiteByName, diagnostics))
        {
            return;
        }

        if (segments is ["site", _, "gateway", not "*"])
        {
            MeshChecks.Refers(new Located<string>(segments[3], from.At), "gateway", mesh.GatewayByName, diagnostics);
        }
        else if (segments is ["site", _, "workload", not "*"] && !mesh.WorkloadByName.ContainsKey($"{segments[1]}/{segments[3]}")
            && !diagnostics.IsFull)
        {
            string prefix = segments[1] + "/";
            diagnostics.Warning(DiagnosticCodes.UndeclaredWorkload, from.At,
                $"no workload {Words.Quote(segments[3])} is declared in site {Words.Quote(segments[1])}",
                Words.DidYouMean(segments[3], mesh.WorkloadByName.Keys.Where(k => k.StartsWith(prefix, StringComparison.Ordinal))
                    .Select(k => k[prefix.Length..])));
        }
    }

    private static void CheckTo(AskedMesh mesh, Located<string> to, HashSet<string> namespaces, DiagnosticBag diagnostics)
    {
        if (!to.Value.StartsWith("*.", StringComparison.Ordinal))
        {
            MeshChecks.Refers(to, "service", mesh.ServiceByName, diagnostics);
        }
        else if (!namespaces.Contains(to.Value[2..]) && !diagnostics.IsFull)
        {
            diagnostics.Error(DiagnosticCodes.UnknownReference, to.At,
                $"there is no service in namespace {Words.Quote(to.Value[2..])}", Words.DidYouMean(to.Value[2..], namespaces));
        }
    }

    private static void CheckPorts(AskedMesh mesh, AskedPolicy policy, DiagnosticBag diagnostics)
    {
        if (policy.Ports.IsEmpty)
        {
            return;
        }

        var covered = mesh.ServiceByName.Where(s => policy.To.Any(to => to.Value == s.Key
            || (to.Value.StartsWith("*.", StringComparison.Ordinal) && to.Value[2..] == s.Value.Namespace!.Value.Value))).ToList();
        HashSet<int> ports = [.. covered.SelectMany(s => s.Value.Ports).Select(p => p.Value.Port?.Value).OfType<int>()];
        foreach (Located<int> port in covered.Count == 0 ? [] : policy.Ports.Where(p => !ports.Contains(p.Value)))
        {
            diagnostics.Error(DiagnosticCodes.UnknownServicePort, port.At,
                $"no service that policy {Words.Quote(policy.Name?.Value ?? "?")} covers has port {port.Value}",
                ports.Count is 0 or > 8 ? null : $"their ports: {string.Join(", ", ports.Order())}");
        }
    }
}
