using System.CommandLine;
using Fabric.Identity;
using Fabric.Identity.Authority;

namespace Fabric.Cli.Commands;

/// <summary><c>fabric workload issue</c>: a workload's certificate, for ports with <c>tls: svid</c>.</summary>
internal static class WorkloadCommand
{
    private static readonly TimeSpan _defaultLife = TimeSpan.FromHours(24);

    public static Command Create(CliHost host)
    {
        var who = new Argument<string>("site/name") { Description = "The workload's site and name, as policies name it" };
        var ca = CommonOptions.Path(host, "--ca", "FABRIC_CA", CommonOptions.DefaultCa, "Folder of the mesh's authority");
        var to = new Option<string>("--out")
        {
            Description = "Folder that NAME.crt, NAME.key and bundle.pem are written to; it becomes 0700",
            HelpName = "path",
            Required = true,
        };
        var ttl = CommonOptions.Duration("--ttl", "How long the certificate is good, at most 30d. Default: 24h");
        var issue = new Command("issue", "Issue a workload's certificate (X.509-SVID) with a new key, on the authority's host")
        {
            who, ca, to, ttl,
        };
        issue.SetAction(result => Run(host, result.GetRequiredValue(who), result.GetRequiredValue(ca), result.GetRequiredValue(to),
            result.GetValue(ttl) ?? _defaultLife));
        return new Command("workload", "Certificates of workloads, which call ports with tls: svid") { issue };
    }

    private static int Run(CliHost host, string who, string caDir, string to, TimeSpan ttl)
    {
        if (who.Split('/') is not [{ Length: > 0 } site, { Length: > 0 } name])
        {
            throw new CliException(ExitCode.Usage, $"'{who}' is not SITE/NAME", "such as: fabric workload issue paris/shop --out shop");
        }

        if (!MeshCa.Exists(caDir))
        {
            throw new CliException(ExitCode.Failure, $"there is no mesh authority in {caDir}",
                "run this where `fabric init` was run, or name its folder by --ca");
        }

        if (Path.GetFullPath(to) == Path.GetFullPath(caDir))
        {
            throw new CliException(ExitCode.Usage, $"--out '{to}' is the folder of the authority", "name a folder of the workload's own");
        }

        try
        {
            var (id, until) = MeshCa.Open(caDir, host.Time).IssueWorkload(site, name, ttl, to);
            host.Out.WriteLine($"{id} until {until:u} in {to}: {name}.crt, {name}.key, bundle.pem");
            return ExitCode.Ok;
        }
        catch (ArgumentException e)
        {
            throw new CliException(ExitCode.Usage, e.Message);
        }
        catch (JoinException e)
        {
            throw new CliException(ExitCode.Failure, e.Message,
                e.Failure == JoinFailure.Authority ? "put root.key there, run this again, and take it away" : null);
        }
    }
}
