using System.CommandLine;
using Fabric.Cli.Output;
using Fabric.Topology;
using Fabric.Topology.Model;

namespace Fabric.Cli.Commands;

/// <summary><c>fabric validate</c>: every finding about a topology at once, as compilers print them, and what it holds.</summary>
internal static class ValidateCommand
{
    public static Command Create(CliHost host)
    {
        var path = new Argument<string>("path")
        {
            Description = "File or folder (environment: FABRIC_TOPOLOGY)",
            DefaultValueFactory = _ => host.Setting("FABRIC_TOPOLOGY", CommonOptions.DefaultTopology),
        };
        var output = CommonOptions.Output("text", "json", "yaml");
        var command = new Command("validate", "Check a topology without applying it") { path, output };
        command.SetAction(result => Run(host, result.GetRequiredValue(path), result.GetRequiredValue(output)));
        return command;
    }

    private static int Run(CliHost host, string path, string format)
    {
        var files = TopologyFiles.Read(path);
        var (topology, diagnostics) = TopologyLoader.Load(files);
        if (format != "text")
        {
            var findings = diagnostics.Select(d => new Finding(
                d.Code, d.Severity == Severity.Error ? "error" : "warning", d.File, d.Line, d.Column, d.Message, d.Hint ?? ""))
                .ToList();
            host.Out.WriteLine(Documents.Write(Documents.Of(new Report(topology is not null, files.Select(f => f.Path).ToList(),
                findings, topology is null ? null : Counts.Of(topology))), format));
            return topology is null ? ExitCode.InvalidTopology : ExitCode.Ok;
        }

        foreach (var diagnostic in diagnostics)
        {
            host.Out.WriteLine(diagnostic);
        }

        var errors = diagnostics.Count(d => d.Severity == Severity.Error);
        var warnings = diagnostics.Length - errors;
        host.Out.WriteLine(topology is null ? $"not valid: {Count(errors, "error")}, {Count(warnings, "warning")}"
            : $"valid: {Counts.Of(topology)}" + (warnings > 0 ? $"; {Count(warnings, "warning")}" : ""));
        return topology is null ? ExitCode.InvalidTopology : ExitCode.Ok;
    }

    internal static string Count(int number, string what) =>
        $"{number} {(number == 1 ? what : what.EndsWith("cy") ? what[..^1] + "ies" : what + "s")}";

    private sealed record Report(bool Valid, IReadOnlyList<string> Files, IReadOnlyList<Finding> Diagnostics, Counts? Summary);

    private sealed record Finding(string Code, string Severity, string File, int Line, int Column, string Message, string Hint);

    private sealed record Counts(
        string TrustDomain, string Revision, int Sites, int Gateways, int Links, int Services, int Workloads, int Policies)
    {
        public static Counts Of(FabricTopology t) =>
            new(t.TrustDomain, t.Revision, t.Sites.Length, t.Sites.Sum(s => s.Gateways.Length),
            t.Links.Length, t.Services.Length, t.Workloads.Length, t.Policies.Length);

        public override string ToString() => $"{TrustDomain} with {Count(Sites, "site")}, {Count(Gateways, "gateway")}, "
            + $"{Count(Links, "link")}, {Count(Services, "service")}, {Count(Workloads, "workload")}, "
            + $"{Count(Policies, "policy")}; revision {Revision}";
    }
}
