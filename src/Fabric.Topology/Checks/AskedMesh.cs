using Fabric.Topology.Asked;

namespace Fabric.Topology.Checks;

/// <summary>
/// All files merged: lists concatenated in order of the files, names looked up once. Building it reports names that are
/// there twice; of two with one name, the first is the one that references mean.
/// </summary>
internal sealed class AskedMesh
{
    public Located<string>? TrustDomain { get; private set; }
    public Located<string>? Domain { get; private set; }
    public Located<AskedProbes>? Probes { get; private set; }
    public List<Located<AskedSite>> Sites { get; } = [];
    public List<Located<AskedLink>> Links { get; } = [];
    public List<Located<AskedService>> Services { get; } = [];
    public List<Located<AskedWorkload>> Workloads { get; } = [];
    public List<Located<AskedPolicy>> Policies { get; } = [];

    public Dictionary<string, AskedSite> SiteByName { get; } = new(StringComparer.Ordinal);
    public Dictionary<string, (AskedGateway Gateway, AskedSite Site)> GatewayByName { get; } = new(StringComparer.Ordinal);
    public Dictionary<string, AskedService> ServiceByName { get; } = new(StringComparer.Ordinal);

    /// <summary>Keys are <c>site/name</c>.</summary>
    public Dictionary<string, AskedWorkload> WorkloadByName { get; } = new(StringComparer.Ordinal);

    public static AskedMesh Merge(IEnumerable<AskedFile> files, DiagnosticBag diagnostics)
    {
        var mesh = new AskedMesh();
        foreach (AskedFile file in files)
        {
            mesh.TrustDomain = Once(mesh.TrustDomain, file.TrustDomain, "trustDomain", diagnostics);
            mesh.Domain = Once(mesh.Domain, file.Domain, "domain", diagnostics);
            mesh.Probes = Once(mesh.Probes, file.Probes, "probes", diagnostics);
            mesh.Sites.AddRange(file.Sites);
            mesh.Links.AddRange(file.Links);
            mesh.Services.AddRange(file.Services);
            mesh.Workloads.AddRange(file.Workloads);
            mesh.Policies.AddRange(file.Policies);
        }

        mesh.Index(diagnostics);
        return mesh;
    }

    private static Located<T>? Once<T>(Located<T>? first, Located<T>? second, string key, DiagnosticBag diagnostics)
    {
        if (first is { } before && second is { } again)
        {
            diagnostics.Error(DiagnosticCodes.GivenTwice, again.At, $"{key} is given twice; the first is at {before.At}",
                "keep it in one file");
        }

        return first ?? second;
    }

    private void Index(DiagnosticBag diagnostics)
    {
        var sites = new Names("site", diagnostics);
        var gateways = new Names("gateway", diagnostics);
        foreach (Located<AskedSite> site in Sites)
        {
            if (sites.IsNew(site.Value.Name))
            {
                SiteByName.Add(site.Value.Name!.Value.Value, site.Value);
            }

            foreach (Located<AskedGateway> gateway in site.Value.Gateways)
            {
                if (gateways.IsNew(gateway.Value.Name))
                {
                    GatewayByName.Add(gateway.Value.Name!.Value.Value, (gateway.Value, site.Value));
                }
            }
        }

        var links = new Names("link", diagnostics);
        Links.ForEach(link => links.IsNew(link.Value.Name));
        var policies = new Names("policy", diagnostics);
        Policies.ForEach(policy => policies.IsNew(policy.Value.Name));

        var services = new Names("service", diagnostics);
        foreach (AskedService service in Services.Select(s => s.Value))
        {
            if (service.FullName is { } name && services.IsNew(new Located<string>(name, service.Name!.Value.At)))
            {
                ServiceByName.Add(name, service);
            }
        }

        foreach (IGrouping<string?, AskedWorkload> site in Workloads.Select(w => w.Value).GroupBy(w => w.Site?.Value))
        {
            var names = new Names("workload", diagnostics, site.Key is null ? "" : $" in site {Words.Quote(site.Key)}");
            foreach (AskedWorkload workload in site)
            {
                if (names.IsNew(workload.Name) && site.Key is not null)
                {
                    WorkloadByName.Add($"{site.Key}/{workload.Name!.Value.Value}", workload);
                }
            }
        }
    }
}

/// <summary>Names of one kind, each with its first place.</summary>
internal sealed class Names(string kind, DiagnosticBag diagnostics, string where = "")
{
    private readonly Dictionary<string, Mark> first = new(StringComparer.Ordinal);

    /// <summary>False when there is no name, or, with an error, when it was there before.</summary>
    public bool IsNew(Located<string>? name)
    {
        if (name is not { } located)
        {
            return false;
        }

        if (first.TryAdd(located.Value, located.At))
        {
            return true;
        }

        diagnostics.Error(DiagnosticCodes.DuplicateName, located.At,
            $"the {kind} {Words.Quote(located.Value)} is there twice{where}; the first is at {first[located.Value]}",
            "give it another name, or remove one");
        return false;
    }
}
