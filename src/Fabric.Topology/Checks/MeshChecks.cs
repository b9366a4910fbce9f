using System.Net;
using Fabric.Topology.Asked;

namespace Fabric.Topology.Checks;

/// <summary>What spans several values, in the order of the file format. Each check leaves out what was not given.</summary>
internal static class MeshChecks
{
    private static readonly TimeSpan DefaultActive = new Model.ProbeSettings().Active;

    public static void Check(AskedMesh mesh, DiagnosticBag diagnostics)
    {
        CheckProbes(mesh, diagnostics);
        ForwardingChecks.Check(mesh, diagnostics);
        DrillChecks.Check(mesh, diagnostics);
        GatewayChecks.Check(mesh, diagnostics);
        LinkChecks.Check(mesh, diagnostics);
        ServiceChecks.Check(mesh, diagnostics);
        WorkloadChecks.Check(mesh, diagnostics);
        PolicyChecks.Check(mesh, diagnostics);
        if (!diagnostics.HasErrors)
        {
            Warnings.Check(mesh, diagnostics);
        }
    }

    private static void CheckProbes(AskedMesh mesh, DiagnosticBag diagnostics)
    {
        TimeSpan active = mesh.Probes?.Value.Active?.Value ?? DefaultActive;
        if (mesh.Probes?.Value.Idle is { } idle && idle.Value < active)
        {
            diagnostics.Error(DiagnosticCodes.DurationOrder, idle.At,
                $"probes idle ({Scalars.Print(idle.Value)}) must not be less than active ({Scalars.Print(active)})");
        }
    }
}

/// <summary>Workload ranges of one site do not overlap: a source address names one caller.</summary>
internal static class WorkloadChecks
{
    public static void Check(AskedMesh mesh, DiagnosticBag diagnostics)
    {
        foreach ((AskedWorkload workload, Mark at) in mesh.Workloads)
        {
            mesh.SitesByName.Refers(workload.Site);
            CheckKind(workload, at, diagnostics);
        }

        foreach (IGrouping<string, AskedWorkload> site in mesh.Workloads.Select(w => w.Value)
            .Where(w => w.Site is not null).GroupBy(w => w.Site!.Value.Value))
        {
            CheckSite(mesh, site.Key, [.. site.SelectMany(w => w.Addresses.Select(a => (w, a)))], diagnostics);
        }
    }

    /// <summary>Somewhere in a network, or a process here.</summary>
    private static void CheckKind(AskedWorkload workload, Mark at, DiagnosticBag diagnostics)
    {
        Mark? local = workload.UnixUser?.At ?? workload.Cgroup?.At;
        if (local is null && !workload.HasAddresses)
        {
            diagnostics.Error(DiagnosticCodes.MissingKey, at, "workload needs the key 'addresses', or 'unixUser' or 'cgroup'");
        }
        else if (local is not null && workload.HasAddresses)
        {
            diagnostics.Error(DiagnosticCodes.DoesNotApply, local.Value,
                $"workload {Name(workload)} has addresses, and is processes of a gateway's machine as well", "make it two workloads");
        }
    }

    private static void CheckSite(
        AskedMesh mesh, string site, List<(AskedWorkload Workload, Located<IPNetwork> Range)> ranges, DiagnosticBag diagnostics)
    {
        IPNetwork? services = mesh.SitesByName.Find(site)?.ServiceAddresses?.Value;
        // Ordered by their first address, the widest first: then each can only overlap the one that reaches furthest so far.
        (AskedWorkload Workload, Located<IPNetwork> Range)? furthest = null;
        foreach ((AskedWorkload Workload, Located<IPNetwork> Range) entry in ranges
            .OrderBy(r => Ip.IsV6(r.Range.Value.BaseAddress)).ThenBy(r => Ip.ToNumber(r.Range.Value.BaseAddress))
            .ThenBy(r => r.Range.Value.PrefixLength))
        {
            IPNetwork range = entry.Range.Value;
            if (furthest is { } before && before.Range.Value.Contains(range.BaseAddress))
            {
                // Of two, the later in the file is the one to change.
                (var first, var second) = (before.Range.At.File, before.Range.At.Line, before.Range.At.Column)
                    .CompareTo((entry.Range.At.File, entry.Range.At.Line, entry.Range.At.Column)) <= 0
                    ? (before, entry) : (entry, before);
                diagnostics.Error(DiagnosticCodes.OverlappingAddresses, second.Range.At,
                    $"{second.Range.Value} of workload {Name(second.Workload)} overlaps {first.Range.Value} of workload "
                    + $"{Name(first.Workload)} at {first.Range.At}", "an address of a site belongs to one workload");
            }
            else
            {
                furthest = entry;
            }

            if (services is { } reserved && (reserved.Contains(range.BaseAddress) || range.Contains(reserved.BaseAddress)))
            {
                diagnostics.Error(DiagnosticCodes.OverlappingAddresses, entry.Range.At,
                    $"{range} of workload {Name(entry.Workload)} overlaps the service addresses {reserved} "
                    + $"of site {Words.Quote(site)}",
                    "service addresses come from a range that nothing else uses");
            }
        }
    }

    private static string Name(AskedWorkload workload) => Words.Quote(workload.Name?.Value ?? "?");
}
