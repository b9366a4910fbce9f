using System.CommandLine;
using Fabric.Cli.Drills;
using Fabric.Cli.Output;
using Fabric.Drills.Definition;
using Fabric.Drills.Reports;
using Fabric.Topology;

namespace Fabric.Cli.Commands;

/// <summary><c>fabric drill</c>: declared faults with a budget.</summary>
internal static class DrillCommand
{
    public static Command Create(CliHost host) => new("drill", "Rehearse failures: checked, measured, and put back")
    {
        Validate(host), DrillRunCommand.Create(host), Abort(host), List(host), DrillResponderCommand.Create(host),
    };

    public static Option<string> History(CliHost host) => CommonOptions.Path(host, "--history", "FABRIC_DRILLS",
        host.Setting("XDG_STATE_HOME", "") is { Length: > 0 } state ? Path.Combine(state, "fabric/drills")
        : Environment.IsPrivilegedProcess ? "/var/lib/fabric/drills" : Path.Combine(host.Setting("HOME", "/"), ".local/state/fabric/drills"),
        $"Folder of the records of past runs, the last {DrillHistory.Kept} of each drill");

    private static Command Validate(CliHost host)
    {
        var paths = new Argument<string[]>("path") { Description = "Files or folders", Arity = ArgumentArity.OneOrMore };
        var topology = new Option<string?>("--topology") { Description = "Check against this one. Default: what each file names", HelpName = "path" };
        var command = new Command("validate", "Check drills without running them") { paths, topology };
        command.SetAction(result =>
        {
            var valid = true;
            foreach (var path in result.GetRequiredValue(paths).SelectMany(DrillFiles.Find))
            {
                var (drill, diagnostics, against) = DrillFiles.Load(path, result.GetValue(topology));
                foreach (var diagnostic in diagnostics)
                {
                    host.Out.WriteLine(diagnostic);
                }

                valid &= drill is not null;
                host.Out.WriteLine(drill is null
                    ? $"{path}: not valid: {ValidateCommand.Count(diagnostics.Count(d => d.Severity == Severity.Error), "error")}"
                    : $"{path}: valid: {drill.Name} with {ValidateCommand.Count(drill.Actions.Count, "action")}, {ValidateCommand.Count(drill.Probes.Count, "probe")}; "
                        + (against is null ? "names not looked up: no topology" : $"checked against {against}"));
            }

            return valid ? ExitCode.Ok : ExitCode.InvalidTopology;
        });
        return command;
    }

    private static Command Abort(CliHost host)
    {
        var run = new Argument<string?>("run") { Description = "Id of a run. Default: the one that was last begun on this host", Arity = ArgumentArity.ZeroOrOne };
        var all = new Option<bool>("--all") { Description = "Whatever is in force anywhere, of any drill" };
        var (history, topology, socket) = (History(host), CommonOptions.Topology(host), CommonOptions.Socket(host));
        var command = new Command("abort", "Put back at once what a drill has done, at every gateway that can be reached") { run, all, history, topology, socket };
        command.SetAction((result, ct) => DrillAborting.RunAsync(host, result.GetRequiredValue(socket), result.GetValue(run), result.GetValue(all),
            result.GetRequiredValue(history), result.GetRequiredValue(topology), ct));
        return command;
    }

    private static Command List(CliHost host)
    {
        var drills = new Argument<string?>("drills") { Description = "File or folder of drills, to name those that would prove a service", Arity = ArgumentArity.ZeroOrOne };
        var (history, topology) = (History(host), CommonOptions.Topology(host));
        var json = new Option<bool>("--json") { Description = "As -o json" };
        var output = CommonOptions.Output("table", "json", "yaml");
        var command = new Command("list", "When the failover of each service was last proven") { drills, history, topology, json, output };
        command.SetAction(result =>
        {
            var known = result.GetValue(drills) is { } path
                ? DrillFiles.Find(path).Select(f => DrillFiles.Load(f, null).Drill).OfType<DrillDefinition>().ToArray() : [];
            var proofs = Proofs.Of(TopologyFiles.Load(result.GetRequiredValue(topology)), [.. new DrillHistory(result.GetRequiredValue(history)).All()], known);
            var format = result.GetValue(json) ? "json" : result.GetRequiredValue(output);
            host.Out.WriteLine(format == "table" ? DrillScreen.Proofs(proofs, host) : Documents.Write(Documents.Of(proofs), format));
            return ExitCode.Ok;
        });
        return command;
    }
}
