using Fabric.Topology.Asked;
using Fabric.Topology.Model;

namespace Fabric.Topology.Checks;

/// <summary>Policies name sites, gateways, services and ports that exist: a typing error would be silence otherwise.</summary>
internal static class PolicyChecks
{
    /// <summary>What gateways look up is one entry for each of them: about 100 bytes.</summary>
    public const int MaxCombinations = 250_000;

    public static void Check(AskedMesh mesh, DiagnosticBag diagnostics)
    {
        CheckCombinations(mesh, diagnostics);
        HashSet<string> namespaces = [.. mesh.ServicesByName.All.Values.Select(s => s.Namespace!.Value.Value)];
        Dictionary<string, HashSet<int>> portsOf = PortsOf(mesh);
        foreach (AskedPolicy policy in mesh.Policies.Select(p => p.Value))
        {
            foreach (Located<string> from in policy.From)
            {
                CheckFrom(mesh, from, diagnostics);
            }

            foreach (Located<string> to in policy.To)
            {
                CheckTo(mesh, to, namespaces, diagnostics);
            }

            CheckPorts(policy, portsOf, diagnostics);
            CheckRequests(mesh, policy, diagnostics);
        }
    }

    /// <summary>A rule about requests needs a port that carries some.</summary>
    private static void CheckRequests(AskedMesh mesh, AskedPolicy policy, DiagnosticBag diagnostics)
    {
        if (policy.Http is not { } http)
        {
            return;
        }

        string name = Words.Quote(policy.Name?.Value ?? "?");
        if (http.Value.Methods.IsEmpty && http.Value.Paths.IsEmpty)
        {
            diagnostics.Error(DiagnosticCodes.MissingKey, http.At, $"http of policy {name} needs the key 'methods' or 'paths'",
                "leave http out to cover all requests");
        }

        HashSet<int> ports = [.. policy.Ports.Select(p => p.Value)];
        List<AskedService> services = [.. mesh.ServicesByName.All.Where(s => policy.To.Any(t =>
            t.Value == s.Key || t.Value == "*." + s.Value.Namespace!.Value.Value)).Select(s => s.Value)];
        if (services.Count > 0 && !services.Exists(s => s.Ports.Any(p => p.Value.Protocol?.Value == ServiceProtocol.Http
            && (ports.Count == 0 || p.Value.Port is null || ports.Contains(p.Value.Port.Value.Value)))))
        {
            diagnostics.Error(DiagnosticCodes.DoesNotApply, http.At,
                $"http does not apply to policy {name}: no port that it covers has protocol http", "give the port protocol: http");
        }
    }

    private static void CheckCombinations(AskedMesh mesh, DiagnosticBag diagnostics)
    {
        long combinations = 0;
        foreach (Located<AskedPolicy> policy in mesh.Policies)
        {
            AskedRequests? http = policy.Value.Http?.Value;
            combinations += (long)policy.Value.From.Length * policy.Value.To.Length * Math.Max(1, policy.Value.Ports.Length)
                * Math.Max(1, http?.Methods.Length ?? 1) * Math.Max(1, http?.Paths.Length ?? 1);
            if (combinations > MaxCombinations)
            {
                diagnostics.Error(DiagnosticCodes.LimitExceeded, policy.At,
                    $"the policies up to {Words.Quote(policy.Value.Name?.Value ?? "?")} have {combinations} combinations of from, to, port, method and path; "
                    + $"at most {MaxCombinations} are read", "cover many by one: site/SITE/* in from, *.NAMESPACE in to, no ports for all");
                return;
            }
        }
    }

    /// <summary>Paths below <c>site/</c> are Fabric's own; others belong to whoever issues the certificates.</summary>
    private static void CheckFrom(AskedMesh mesh, Located<string> from, DiagnosticBag diagnostics)
    {
        string[] segments = from.Value.Split('/');
        if (segments is not ["site", not "*", ..] || !mesh.SitesByName.Refers(new Located<string>(segments[1], from.At))
            || segments is not ["site", _, "gateway", not "*"])
        {
            return;
        }

        AskedSite? home = mesh.Gateways.Find(segments[3]).Site;
        if (mesh.Gateways.Refers(new Located<string>(segments[3], from.At))
            && home?.Name?.Value is { } site && site != segments[1])
        {
            diagnostics.Error(DiagnosticCodes.UnknownReference, from.At,
                $"there is no gateway {Words.Quote(segments[3])} in site {Words.Quote(segments[1])}",
                $"it is in site {site}");
        }
    }

    private static void CheckTo(AskedMesh mesh, Located<string> to, HashSet<string> namespaces, DiagnosticBag diagnostics)
    {
        if (!to.Value.StartsWith("*.", StringComparison.Ordinal))
        {
            mesh.ServicesByName.Refers(to);
        }
        else if (!namespaces.Contains(to.Value[2..]) && !diagnostics.IsFull)
        {
            diagnostics.Error(DiagnosticCodes.UnknownReference, to.At,
                $"there is no service in namespace {Words.Quote(to.Value[2..])}", Words.DidYouMean(to.Value[2..], namespaces));
        }
    }

    private static void CheckPorts(AskedPolicy policy, Dictionary<string, HashSet<int>> portsOf, DiagnosticBag diagnostics)
    {
        List<HashSet<int>> covered = [.. policy.To.Select(to => portsOf.GetValueOrDefault(to.Value)).OfType<HashSet<int>>()];
        foreach (Located<int> port in covered.Count == 0 ? []
            : policy.Ports.Where(p => !covered.Exists(c => c.Contains(p.Value))))
        {
            List<int> ports = [.. covered.SelectMany(c => c).Distinct().Order().Take(9)];
            diagnostics.Error(DiagnosticCodes.UnknownServicePort, port.At,
                $"no service that policy {Words.Quote(policy.Name?.Value ?? "?")} covers has port {port.Value}",
                ports.Count is 0 or > 8 ? null : $"their ports: {string.Join(", ", ports)}");
        }
    }

    /// <summary>By what can stand in <c>to</c>: each service, and each namespace.</summary>
    private static Dictionary<string, HashSet<int>> PortsOf(AskedMesh mesh)
    {
        var portsOf = new Dictionary<string, HashSet<int>>(StringComparer.Ordinal);
        foreach ((string name, AskedService service) in mesh.ServicesByName.All)
        {
            string space = "*." + service.Namespace!.Value.Value;
            portsOf.TryAdd(space, []);
            portsOf.Add(name, [.. service.Ports.Select(p => p.Value.Port?.Value).OfType<int>()]);
            portsOf[space].UnionWith(portsOf[name]);
        }

        return portsOf;
    }
}
