using System.Net;
using Fabric.Topology.Asked;
using Fabric.Topology.Model;

namespace Fabric.Topology.Checks;

/// <summary>Allowed, but probably not meant. They wait until there are no errors, which would cause most of them.</summary>
internal static class Warnings
{
    public static void Check(AskedMesh mesh, DiagnosticBag diagnostics)
    {
        CheckEachSiteHasALink(mesh, diagnostics);
        CheckEachServiceMayBeCalled(mesh, diagnostics);
        CheckNoMetadata(mesh, diagnostics);
        foreach (Located<string> from in mesh.Policies.SelectMany(p => p.Value.From).Where(_ => !diagnostics.IsFull))
        {
            CheckWorkloadIsDeclared(mesh, from, diagnostics);
        }
    }

    private static void CheckEachSiteHasALink(AskedMesh mesh, DiagnosticBag diagnostics)
    {
        HashSet<string> linked = [.. mesh.Links.SelectMany(l => l.Value.Ends).Select(e => e.Value.Gateway!.Value.Value)];
        foreach (Located<string> site in mesh.Sites.Count < 2 ? [] : mesh.Sites.Select(s => s.Value)
            .Where(s => !s.Gateways.Any(g => linked.Contains(g.Value.Name!.Value.Value))).Select(s => s.Name!.Value))
        {
            diagnostics.Warning(DiagnosticCodes.SiteWithoutLink, site.At,
                $"site {Words.Quote(site.Value)} has no link: no other site reaches it",
                "add one of its gateways to the ends of a link");
        }
    }

    private static void CheckEachServiceMayBeCalled(AskedMesh mesh, DiagnosticBag diagnostics)
    {
        HashSet<string> allowed = [.. mesh.Policies.Select(p => p.Value)
            .Where(p => p.Action!.Value.Value == PolicyAction.Allow && p.Mode?.Value != PolicyMode.Shadow)
            .SelectMany(p => p.To).Select(t => t.Value)];
        foreach ((string name, AskedService service) in mesh.ServicesByName.All)
        {
            if (!allowed.Contains(name) && !allowed.Contains("*." + service.Namespace!.Value.Value))
            {
                diagnostics.Warning(DiagnosticCodes.NobodyMayCall, service.Name!.Value.At,
                    $"no policy allows anyone to call service {Words.Quote(name)}",
                    "nothing is allowed that no policy allows: add one with action: allow");
            }
        }
    }

    /// <summary>Only a warning: gateways dial what the topology names and nothing else, so whoever wrote it may have meant it.</summary>
    private static void CheckNoMetadata(AskedMesh mesh, DiagnosticBag diagnostics)
    {
        IEnumerable<(IPAddress Address, Mark At, string What)> endpoints = mesh.Services.SelectMany(s => s.Value.Exports.SelectMany(e => e.Value.Endpoints)
            .Select(e => (e.Value.Address!.Value.Value.Address, e.Value.Address!.Value.At, $"an endpoint of service {Words.Quote(s.Value.FullName!)}")));
        IEnumerable<(IPAddress Address, Mark At, string What)> ends = mesh.Links.SelectMany(l => l.Value.Ends.Where(e => e.Value.Address?.Value is not null)
            .Select(e => (e.Value.Address!.Value.Value!, e.Value.Address!.Value.At, $"an end of link {Words.Quote(l.Value.Name!.Value.Value)}")));
        foreach (var (address, at, what) in endpoints.Concat(ends).Where(a => Ip.IsMetadata(a.Address)))
        {
            diagnostics.Warning(DiagnosticCodes.MetadataAddress, at,
                $"{address} is {what}: clouds give out the credentials of the gateway's host there",
                "whoever may call the service gets them; take it out, unless that is what you want");
        }
    }

    /// <summary>Only a warning: workloads may also prove who they are with certificates of their own.</summary>
    private static void CheckWorkloadIsDeclared(AskedMesh mesh, Located<string> from, DiagnosticBag diagnostics)
    {
        if (from.Value.Split('/') is not ["site", { } site, "workload", { } name] || name == "*"
            || mesh.DeclaredWorkloads.Contains($"{site}/{name}"))
        {
            return;
        }

        string prefix = site + "/";
        diagnostics.Warning(DiagnosticCodes.UndeclaredWorkload, from.At,
            $"no workload {Words.Quote(name)} is declared in site {Words.Quote(site)}",
            Words.DidYouMean(name, mesh.DeclaredWorkloads.Where(k => k.StartsWith(prefix, StringComparison.Ordinal))
                .Select(k => k[prefix.Length..])));
    }
}
