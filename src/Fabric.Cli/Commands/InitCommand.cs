using System.CommandLine;
using Fabric.Identity;
using Fabric.Identity.Authority;
using Fabric.Topology;

namespace Fabric.Cli.Commands;

/// <summary>
/// <c>fabric init</c>: the mesh's authority in DIR/ca and its first topology in DIR/topology. It overwrites nothing; killed
/// half-way, the same command again completes it (the authority comes last, and a topology that is the same already is left).
/// </summary>
internal static class InitCommand
{
    public static Command Create(CliHost host)
    {
        var dir = new Option<string>("--dir")
        {
            Description = "Where to make it",
            HelpName = "path",
            DefaultValueFactory = _ => "/etc/fabric",
        };
        var trustDomain = new Option<string>("--trust-domain")
        {
            Description = "The mesh's name, such as acme.example",
            HelpName = "name",
        };
        var sites = new Option<string[]>("--site")
        {
            Description = "A site of the first topology; repeat it for more",
            HelpName = "name",
            AllowMultipleArgumentsPerToken = true,
        };
        var topology = new Option<string>("--topology")
        {
            Description = "Take this file instead of the template",
            HelpName = "file",
        };
        var command = new Command("init", "Make a mesh: its certificate authority and its first topology")
        {
            dir, trustDomain, sites, topology,
        };
        command.SetAction(result => Run(host, result.GetRequiredValue(dir), result.GetValue(trustDomain),
            result.GetValue(sites) ?? [], result.GetValue(topology)));
        return command;
    }

    private static int Run(CliHost host, string dir, string? trustDomain, string[] sites, string? taken)
    {
        var text = taken is not null ? Take(taken, ref sites, ref trustDomain) : FromTemplate(trustDomain, sites);
        if (!SpiffeId.IsTrustDomain(trustDomain!, out var reason))
        {
            throw new CliException(ExitCode.Usage, reason);
        }

        var ca = Path.Combine(dir, "ca");
        var folder = Path.Combine(dir, "topology");
        var file = Path.Combine(folder, "fabric.yaml");
        if (MeshCa.Exists(ca))
        {
            throw new CliException(ExitCode.Failure, $"{ca} holds an authority already: nothing was changed");
        }

        Directory.CreateDirectory(folder);
        var others = Directory.EnumerateFiles(folder).Where(f => TopologyFiles.IsName(Path.GetFileName(f)) && f != file).ToList();
        if (others.Count > 0 || (File.Exists(file) && File.ReadAllText(file) != text))
        {
            throw new CliException(ExitCode.Failure, $"{folder} holds a topology already: nothing was changed",
                $"keep it with --topology {(others.Count > 0 ? others[0] : file)}, or choose another --dir");
        }

        WholeFile.Write(file, text);
        var made = MeshCa.Create(ca, trustDomain!, host.Time);

        // So that the root's key may leave this machine at once. Killed before, they are made on first use.
        made.Prepare(sites);
        host.Error.WriteLine($"""
            Made the mesh {trustDomain}:
              {ca}  its authority: keep it safe, and back it up
                root fingerprint sha256 {Convert.ToHexStringLower(made.RootFingerprint)}
                each site has its intermediate: root.key may go to a safe place, until a site is added or a year has passed
              {file}  its first topology

            Next:
              1. put the true addresses into {file}, then: fabric validate {folder}
              2. on this host:    fabric token create SITE/GATEWAY | fabric join - --ca {ca}
              3. start fabricd here; then for each other gateway: fabric token create SITE/GATEWAY
              4. on that gateway: fabric join TOKEN, then start fabricd
            """);
        return ExitCode.Ok;
    }

    private static string FromTemplate(string? trustDomain, string[] sites)
    {
        if (trustDomain is null || sites.Length == 0)
        {
            throw new CliException(ExitCode.Usage, trustDomain is null ? "--trust-domain is missing" : "--site is missing",
                "such as: fabric init --trust-domain acme.example --site paris --site virginia");
        }

        try
        {
            return TopologyTemplate.Create(trustDomain, sites);
        }
        catch (ArgumentException e)
        {
            throw new CliException(ExitCode.Usage, e.Message);
        }
    }

    private static string Take(string path, ref string[] sites, ref string? trustDomain)
    {
        if (sites.Length > 0 || !File.Exists(path))
        {
            throw new CliException(ExitCode.Usage, sites.Length > 0 ? "--site belongs to the template, --topology takes its place"
                : $"there is no file {path}");
        }

        var loaded = TopologyFiles.Load(path);
        if (trustDomain is not null && trustDomain != loaded.TrustDomain)
        {
            throw new CliException(ExitCode.Usage, $"--trust-domain is {trustDomain}, and {path} says {loaded.TrustDomain}");
        }

        trustDomain = loaded.TrustDomain;
        sites = [.. loaded.Sites.Select(s => s.Name)];
        return File.ReadAllText(path);
    }
}
