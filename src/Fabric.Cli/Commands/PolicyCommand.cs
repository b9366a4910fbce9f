using System.CommandLine;
using System.Globalization;
using System.Text;
using Fabric.Cli.Output;
using Fabric.Protocol.Http;
using Fabric.Routing.Policies;
using Fabric.Topology;
using Fabric.Topology.Model;

namespace Fabric.Cli.Commands;

/// <summary>
/// <c>fabric policy test</c>: what the policies of a topology say of a call, before any gateway has it: by the evaluator that gateways use.
/// </summary>
internal static class PolicyCommand
{
    public static Command Create(CliHost host)
    {
        var from = new Option<string>("--from")
        {
            Description = "Who calls: a SPIFFE ID, or its path below the trust domain, such as site/paris/workload/shop",
            HelpName = "id",
            Required = true,
        };
        var to = new Option<string>("--to")
        {
            Description = "What is called: name.namespace, which asks for each of its ports, or name.namespace:port",
            HelpName = "service",
            Required = true,
        };
        var method = new Option<string?>("--method")
        {
            Description = "Of an HTTP request, in capitals; GET when only --path is given",
            HelpName = "method",
        };
        var path = new Option<string?>("--path")
        {
            Description = "Of an HTTP request, such as /api/v1; / when only --method is given. Without both: may it connect at all",
            HelpName = "path",
        };
        var topology = CommonOptions.Topology(host);
        var output = CommonOptions.Output("text", "json", "yaml");
        var test = new Command("test", "Whether a caller may call a service, and which policy decides; exit code 0 when it may, 1 when not")
        {
            from, to, method, path, topology, output,
        };
        test.SetAction(result => Run(host, Load(result.GetRequiredValue(topology)), result.GetRequiredValue(from),
            result.GetRequiredValue(to), Request(result.GetValue(method), result.GetValue(path)), result.GetRequiredValue(output)));
        return new Command("policy", "Who may call what") { test };
    }

    private static int Run(CliHost host, FabricTopology topology, string from, string to, (string? Method, string? Path) request, string format)
    {
        var (caller, site) = Caller(topology, from);
        var (service, ports) = Service(topology, to);
        var policies = new PolicyEvaluator(topology);
        var decisions = ports.Select(port =>
            Decision.Of(policies.Evaluate(site, caller, service, port, request.Method, request.Path), service, port)).ToList();
        var allowed = decisions.TrueForAll(d => d.Allowed);
        if (format != "text")
        {
            host.Out.WriteLine(Documents.Write(Documents.Of(new Report(allowed, caller, topology.Revision, decisions)), format));
        }
        else
        {
            foreach (var decision in decisions)
            {
                host.Out.WriteLine($"{(decision.Allowed ? "allowed" : "denied")}: {decision.Reason}");
                if (decision.Shadow.Length > 0)
                {
                    host.Out.WriteLine($"  shadow policy {decision.Shadow} would {(decision.Allowed ? "deny" : "allow")} it");
                }
            }
        }

        return allowed ? ExitCode.Ok : ExitCode.Denied;
    }

    /// <summary>As gateways read them; nulls when neither was given.</summary>
    private static (string? Method, string? Path) Request(string? method, string? path)
    {
        if (method is null && path is null)
        {
            return (null, null);
        }

        (method, path) = (method ?? "GET", path ?? "/");
        if (!HttpSyntax.IsMethod(Encoding.UTF8.GetBytes(method)))
        {
            throw new CliException(ExitCode.Usage, $"'{method}' is not a method of HTTP: capitals and '-', at most 32", "such as GET or POST");
        }

        return path == "*" ? (method, path)
            : RequestPath.TryRead(Encoding.UTF8.GetBytes(path), out var read, out var problem) ? (method, read)
            : throw new CliException(ExitCode.Usage, $"the path '{path}' {problem}", "a gateway refuses such a request with 400");
    }

    /// <summary>The full ID, and its site, whose gateways alone vouch for it.</summary>
    private static (string Caller, string Site) Caller(FabricTopology topology, string from)
    {
        var caller = from.StartsWith("spiffe://", StringComparison.Ordinal) ? from : $"spiffe://{topology.TrustDomain}/{from}";
        if (!SpiffePath.TryParse(caller, out var id) || id.Site is not { } site)
        {
            throw new CliException(ExitCode.Usage, $"'{from}' is not the SPIFFE ID of a caller of some site",
                $"such as spiffe://{topology.TrustDomain}/site/SITE/workload/NAME, or site/SITE/workload/NAME");
        }

        var sites = topology.Sites.Select(s => s.Name).ToList();
        return id.TrustDomain != topology.TrustDomain || sites.Contains(site) ? (caller, site)
            : throw new CliException(ExitCode.Usage, $"the topology has no site {site}", Known(site, sites));
    }

    private static (string Service, IReadOnlyList<int> Ports) Service(FabricTopology topology, string to)
    {
        var (name, port) = to.Split(':') is [var before, var after] ? (before, after) : (to, null);
        var service = topology.Services.FirstOrDefault(s => s.FullName == name)
            ?? throw new CliException(ExitCode.Usage, $"the topology has no service {name}", Known(name, [.. topology.Services.Select(s => s.FullName)]));
        var ports = service.Ports.Select(p => p.Port).ToList();
        return port is null ? (name, ports)
            : int.TryParse(port, NumberStyles.None, CultureInfo.InvariantCulture, out var number) && ports.Contains(number) ? (name, [number])
            : throw new CliException(ExitCode.Usage, $"service {name} has no port {port}", $"its ports: {string.Join(", ", ports)}");
    }

    private static string Known(string word, List<string> known) => Nearest.To(word, known) is { } near ? $"did you mean {near}?"
        : known.Count == 0 ? "there are none" : $"there are {string.Join(", ", known.Take(20))}";

    /// <summary>Exit code 1 says that it is denied, and nothing else: what cannot be read is wrong use.</summary>
    private static FabricTopology Load(string path)
    {
        try
        {
            return TopologyFiles.Load(path);
        }
        catch (Exception e) when (e is CliException { ExitCode: ExitCode.Failure } or IOException or UnauthorizedAccessException)
        {
            throw new CliException(ExitCode.Usage, e.Message, (e as CliException)?.Hint);
        }
    }

    private sealed record Report(bool Allowed, string Caller, string Revision, IReadOnlyList<Decision> Decisions);

    /// <param name="Rule">The policy that decides; empty when none does.</param>
    /// <param name="Shadow">The shadow policy with which it would be the opposite; empty when it would be the same.</param>
    private sealed record Decision(string Service, int Port, bool Allowed, string Rule, string Reason, string Shadow)
    {
        public static Decision Of(Verdict verdict, string service, int port) =>
            new(service, port, verdict.Allowed, verdict.RuleName ?? "", verdict.Reason, verdict.Shadow ?? "");
    }
}
