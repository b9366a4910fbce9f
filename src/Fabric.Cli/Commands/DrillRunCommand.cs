using System.CommandLine;
using System.Globalization;
using Fabric.Cli.Drills;
using Fabric.Cli.Output;
using Fabric.Drills.Definition;
using Fabric.Drills.Guards;
using Fabric.Drills.Measurement;
using Fabric.Drills.Reports;
using Fabric.Drills.Running;
using Fabric.Protocol.Grpc;

namespace Fabric.Cli.Commands;

/// <summary>
/// <c>fabric drill run</c>: asks the guards, runs the drill through the gateway of this host, and reports. Interrupted, it puts everything back before it ends.
/// </summary>
internal static class DrillRunCommand
{
    private static readonly TimeSpan Look = TimeSpan.FromMilliseconds(500);

    public static Command Create(CliHost host)
    {
        var file = new Argument<string>("file") { Description = "The drill" };
        var dry = new Option<bool>("--dry-run") { Description = "Only show targets, what each guard says, and what would happen to every service" };
        var report = new Option<string?>("--report") { Description = "Folder to write report.json, junit.xml and report.html into", HelpName = "path" };
        var output = CommonOptions.Output("text", "json");
        var (history, topology, socket) = (DrillCommand.History(host), CommonOptions.Topology(host), CommonOptions.Socket(host));
        var command = new Command("run", "Run a drill, unless a guard speaks against it") { file, dry, report, history, topology, socket, output };
        command.SetAction(async (result, ct) =>
        {
            var drill = DrillFiles.Accept(result.GetRequiredValue(file));
            using var admin = new AdminApi(host, result.GetRequiredValue(socket));

            // One clock for all that is measured: a step of the wall clock is no pause.
            var (client, time) = (new FabricClient(admin.Client), SteadyTime.Of(host.Time));
            var id = $"{drill.Name}-{time.GetUtcNow().ToString("yyyyMMdd'T'HHmmss'Z'", CultureInfo.InvariantCulture)}";
            var folder = result.GetRequiredValue(history);
            using var running = Lock(folder, id, out var holder);
            var (touched, sure) = (false, true);
            try
            {
                var survey = await SurveyAsync(admin, client, TopologyFiles.Load(result.GetRequiredValue(topology)), holder, time, ct);
                if (result.GetValue(dry))
                {
                    var guards = DrillGuard.Evaluate(drill, survey.View);
                    host.Out.WriteLine(DrillScreen.DryRun(drill, survey.View, guards, host));
                    return guards.All(g => g.Allowed) ? ExitCode.Ok : ExitCode.DrillRefused;
                }

                sure = false;
                using var abort = CancellationTokenSource.CreateLinkedTokenSource(ct);
                await using var asked = time.CreateTimer(_ => StopIfAsked(running, abort), null, Look, Look);
                var watcher = new DrillWatcher(host, drill);
                var record = await new DrillRunner(client, probes => new ProbeMeter(probes, time), watcher, time).RunAsync(drill, survey, id, abort.Token);
                watcher.End();
                (touched, sure) = (record.Outcome != DrillOutcome.Refused, record.Outcome != DrillOutcome.NotReverted);
                await KeepAsync(host, record, folder, result.GetValue(report), result.GetRequiredValue(output));
                return CodeOf(record.Outcome);
            }
            finally
            {
                if (sure)
                {
                    running?.Done(touched);
                }
            }
        });
        return command;
    }

    private static int CodeOf(DrillOutcome outcome) => outcome switch
    {
        DrillOutcome.Passed => ExitCode.Ok,
        DrillOutcome.Failed => ExitCode.DrillFailed,
        DrillOutcome.Refused => ExitCode.DrillRefused,
        DrillOutcome.Aborted => ExitCode.DrillAborted,
        _ => ExitCode.NotReverted,
    };

    /// <summary><c>fabric drill abort</c> on this host.</summary>
    private static void StopIfAsked(DrillLock? running, CancellationTokenSource abort)
    {
        if (running is { StopAsked: true })
        {
            abort.Cancel();
        }
    }

    private static DrillLock? Lock(string folder, string id, out string holder)
    {
        try
        {
            return DrillLock.TryTake(folder, id, out holder);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new CliException(ExitCode.Failure, $"the records of runs cannot be kept in {folder}: {e.Message}", "another folder is named by --history or FABRIC_DRILLS");
        }
    }

    private static async Task<FabricSurvey> SurveyAsync(
        AdminApi admin, FabricClient client, Topology.Model.FabricTopology topology, string holder, TimeProvider time, CancellationToken ct)
    {
        try
        {
            return await FabricSurvey.TakeAsync(client, topology, holder, time, ct);
        }
        catch (GrpcException e)
        {
            throw admin.Explain(e);
        }
    }

    /// <summary>The record goes where it is asked for before anything that may fail, and is printed in any case.</summary>
    private static async Task KeepAsync(CliHost host, DrillRecord record, string folder, string? report, string format)
    {
        var history = new DrillHistory(folder);
        var previous = history.Last(record.Drill.Name);
        host.Out.WriteLine(format == "json" ? DrillRecordJson.Write(record).TrimEnd() : DrillScreen.Result(record, host));
        try
        {
            if (report is not null)
            {
                var files = await DrillReports.WriteAsync(record, previous, report);
                host.Error.WriteLine($"reports: {files.Json} {files.JUnit} {files.Html}");
            }

            history.Add(record);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            host.Error.WriteLine($"fabric: the record could not be written: {e.Message}");
        }
    }
}
