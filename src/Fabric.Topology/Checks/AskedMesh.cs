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
    public Located<AskedDns>? Dns { get; private set; }
    public Located<AskedDrills>? Drills { get; private set; }
    public List<Located<AskedSite>> Sites { get; } = [];
    public List<Located<AskedLink>> Links { get; } = [];
    public List<Located<AskedService>> Services { get; } = [];
    public List<Located<AskedWorkload>> Workloads { get; } = [];
    public List<Located<AskedPolicy>> Policies { get; } = [];

    public AskedObjects<AskedSite> SitesByName { get; }
    public AskedObjects<(AskedGateway Gateway, AskedSite Site)> Gateways { get; }

    /// <summary>By <c>name.namespace</c>.</summary>
    public AskedObjects<AskedService> ServicesByName { get; }

    /// <summary>By <c>site/name</c>.</summary>
    public HashSet<string> DeclaredWorkloads { get; } = new(StringComparer.Ordinal);

    private AskedMesh(DiagnosticBag diagnostics)
    {
        SitesByName = new("site", diagnostics);
        Gateways = new("gateway", diagnostics);
        ServicesByName = new("service", diagnostics);
    }

    public static AskedMesh Merge(IEnumerable<AskedFile> files, DiagnosticBag diagnostics)
    {
        var mesh = new AskedMesh(diagnostics);
        foreach (AskedFile file in files)
        {
            mesh.TrustDomain = Once(mesh.TrustDomain, file.TrustDomain, "trustDomain", diagnostics);
            mesh.Domain = Once(mesh.Domain, file.Domain, "domain", diagnostics);
            mesh.Probes = Once(mesh.Probes, file.Probes, "probes", diagnostics);
            mesh.Dns = Once(mesh.Dns, file.Dns, "dns", diagnostics);
            mesh.Drills = Once(mesh.Drills, file.Drills, "drills", diagnostics);
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
        foreach (AskedSite site in Sites.Select(s => s.Value))
        {
            SitesByName.Add(site.Name, site);
            foreach (AskedGateway gateway in site.Gateways.Select(g => g.Value))
            {
                Gateways.Add(gateway.Name, (gateway, site));
            }
        }

        foreach (AskedService service in Services.Select(s => s.Value))
        {
            ServicesByName.Add(service.FullName is { } name ? new Located<string>(name, service.Name!.Value.At) : null, service);
        }

        var links = new Names("link", diagnostics);
        Links.ForEach(link => links.IsNew(link.Value.Name));
        var policies = new Names("policy", diagnostics);
        Policies.ForEach(policy => policies.IsNew(policy.Value.Name));
        foreach (IGrouping<string?, AskedWorkload> site in Workloads.Select(w => w.Value).GroupBy(w => w.Site?.Value))
        {
            var names = new Names("workload", diagnostics, site.Key is null ? "" : $" in site {Words.Quote(site.Key)}");
            foreach (AskedWorkload workload in site)
            {
                if (names.IsNew(workload.Name))
                {
                    DeclaredWorkloads.Add($"{site.Key}/{workload.Name!.Value.Value}");
                }
            }
        }
    }
}

/// <summary>Objects of one kind by name, for references to them. Of two with one name, the first is meant.</summary>
internal sealed class AskedObjects<T>(string kind, DiagnosticBag diagnostics)
{
    private readonly Names names = new(kind, diagnostics);
    private bool hasNameless;

    public Dictionary<string, T> All { get; } = new(StringComparer.Ordinal);

    public void Add(Located<string>? name, T value)
    {
        hasNameless |= name is null;
        if (names.IsNew(name))
        {
            All.Add(name!.Value.Value, value);
        }
    }

    public T? Find(string name) => All.GetValueOrDefault(name);

    /// <summary>An error, with the nearest names, when there is no such object, unless one without a name may be meant.
    /// True when there is one.</summary>
    public bool Refers(Located<string>? reference)
    {
        if (reference is not { } name || All.ContainsKey(name.Value))
        {
            return reference is not null;
        }

        if (!hasNameless && !diagnostics.IsFull)
        {
            diagnostics.Error(DiagnosticCodes.UnknownReference, name.At, $"there is no {kind} {Words.Quote(name.Value)}",
                Words.DidYouMean(name.Value, All.Keys));
        }

        return false;
    }
}

/// <summary>Names of one kind, each with its first place.</summary>
internal sealed class Names(string kind, DiagnosticBag diagnostics, string where = "", string hint = "give it another name, or remove one")
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
            hint);
        return false;
    }
}
