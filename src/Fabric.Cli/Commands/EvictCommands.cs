using System.CommandLine;
using Fabric.Cli.Trust;
using Fabric.Topology.Model;

namespace Fabric.Cli.Commands;

/// <summary>
/// <c>fabric site evict|readmit</c> and <c>fabric gateway evict|readmit</c>: who is out of the mesh. Their certificates go on until they end, and
/// are worth nothing: every gateway refuses them as soon as it has heard of it, and each hears of it from any other.
/// </summary>
internal static class EvictCommands
{
    private static readonly TimeSpan DefaultLimit = TimeSpan.FromSeconds(60);

    public static Command Site(CliHost host) => new("site", "Sites that are out of the mesh, or in it again")
    {
        Command(host, evict: true, "site", "Close every lane of a site's gateways, and refuse them everywhere"),
        Command(host, evict: false, "site", "Take an eviction back"),
    };

    public static Command Gateway(CliHost host) => new("gateway", "Gateways that are out of the mesh, or in it again")
    {
        Command(host, evict: true, "site/gateway", "Close every lane of one gateway, and refuse it everywhere"),
        Command(host, evict: false, "site/gateway", "Take an eviction back"),
    };

    private static Command Command(CliHost host, bool evict, string form, string description)
    {
        var name = new Argument<string>(form) { Description = $"The {(form == "site" ? "site" : "gateway")}, as the topology names it" };
        var (ca, socket, topology) = (TrustCommand.Ca(host), CommonOptions.Socket(host), CommonOptions.Topology(host));
        var limit = CommonOptions.Duration("--limit", "How long to wait until all that can be reached know. Default: 60s");
        var command = new Command(evict ? "evict" : "readmit", description) { name, ca, socket, topology, limit };
        command.SetAction((result, ct) => Run(host, evict, form, result.GetRequiredValue(name), result.GetRequiredValue(ca),
            result.GetRequiredValue(socket), result.GetRequiredValue(topology), result.GetValue(limit) ?? DefaultLimit, ct));
        return command;
    }

    private static async Task<int> Run(CliHost host, bool evict, string form, string name, string ca, string socket, string topology,
        TimeSpan limit, CancellationToken ct)
    {
        if (name.Contains('/') != form.Contains('/'))
        {
            throw new CliException(ExitCode.Usage, $"'{name}' is not {form.ToUpperInvariant()}",
                form == "site" ? "such as: fabric site evict paris" : "such as: fabric gateway evict paris/paris-1");
        }

        var authority = TrustCommand.Open(host, ca);
        using var admin = new AdminApi(host, socket);
        var followers = new Followers(host, admin);
        var status = await followers.StatusAsync(ct);
        TrustCommand.IsNewest(authority, ca, status);
        var held = authority.Current;
        if (evict)
        {
            Known(TopologyFiles.Load(topology), name);
            if (name == status.Site || name == $"{status.Site}/{status.Gateway}")
            {
                throw new CliException(ExitCode.Usage, $"{name} is where this runs: it would be the last that anybody hears of it",
                    "run it at another gateway, with the authority's folder");
            }
        }
        else if (held?.Evicted.Contains(name) != true)
        {
            throw new CliException(ExitCode.Usage, $"{name} is not evicted",
                held?.Evicted.Count > 0 ? $"evicted are: {string.Join(", ", held.Evicted)}" : "nobody is");
        }

        var document = TrustCommand.Signed(() => evict ? authority.Evict(name) : authority.Readmit(name));
        await followers.PublishAsync(document, ct);
        var late = await followers.WaitAsync(r => r.Version >= document.Version, r => $"has version {r.Version} of the trust document",
            limit, onlyHeard: true, ct);
        host.Error.WriteLine(evict
            ? $"{name} is evicted: its lanes are closed and it is refused{(late.Count == 0 ? " everywhere" : "")} (trust document {document.Version})."
            : $"{name} is in the mesh again (trust document {document.Version}). Where its certificate has ended meanwhile, it joins anew, by a token.");
        if (late.Count > 0)
        {
            host.Error.WriteLine($"Not heard of yet; they learn it from the first gateway that they reach:\n{string.Join('\n', late.Select(l => "  " + l))}");
        }

        return late.Count == 0 ? ExitCode.Ok : ExitCode.NotEverywhere;
    }

    private static void Known(FabricTopology topology, string name)
    {
        var known = name.Contains('/') ? topology.Sites.SelectMany(s => s.Gateways.Select(g => $"{s.Name}/{g.Name}")).ToList()
            : topology.Sites.Select(s => s.Name).ToList();
        if (!known.Contains(name))
        {
            throw new CliException(ExitCode.Usage, $"the topology has no '{name}'", Nearest.To(name, known) is { } near ? $"did you mean '{near}'?"
                : "who is not in the topology has no lanes, and cannot renew: its certificate ends within 24 h");
        }
    }
}
