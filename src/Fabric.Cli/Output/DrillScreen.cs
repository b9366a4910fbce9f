using System.Globalization;
using Fabric.Drills.Definition;
using Fabric.Drills.Guards;
using Fabric.Drills.Reports;
using Fabric.Drills.Running;
using Spectre.Console;

namespace Fabric.Cli.Output;

/// <summary>Drills as people read them.</summary>
internal static class DrillScreen
{
    /// <summary>What a run would do.</summary>
    public static string DryRun(DrillDefinition drill, FabricView view, IReadOnlyList<DrillGuardVerdict> guards, CliHost host)
    {
        var (console, text) = StatusScreen.Console(host, false);
        console.MarkupLine($"[bold]{T(drill.Name)}[/] of {T(drill.Owner)}: {T(drill.Reason)}");
        console.MarkupLine($"through {T(view.Status.Gateway)}, topology {T(view.Status.TopologyRevision)}, at most {Units.Seconds(DrillGuard.Length(drill).TotalSeconds)}; nothing is touched now");
        var actions = StatusScreen.Columns(["ACTION", "AT", "FOR", "WHAT", "BY"], []);
        foreach (var action in drill.Actions)
        {
            foreach (var target in Targets.Of(action, view.Topology).Found)
            {
                var means = view.Answers.TryGetValue(target.Gateway, out var answer)
                    ? answer.Abilities.FirstOrDefault(a => a.Kind == action.Kind)?.Means ?? "" : "";
                StatusScreen.Row(actions, [T(action.Id), "+" + Units.Seconds(action.Start.TotalSeconds), Units.Seconds(action.Duration.TotalSeconds),
                    T(target.ToString()), T(means)], []);
            }
        }

        StatusScreen.Show(console, actions);
        Guards(console, guards);
        var services = StatusScreen.Columns(["SERVICE", "ANSWERED NOW BY", "DURING THE DRILL BY", "WHY"], []);
        foreach (var forecast in WhatIf.Of(drill, view))
        {
            StatusScreen.Row(services, [T(forecast.Service), T(forecast.Now),
                forecast.During == forecast.Now ? T(forecast.During) : forecast.During == "nobody" ? "[red]nobody[/]" : $"[yellow]{T(forecast.During)}[/]", T(forecast.Why)], []);
        }

        StatusScreen.Show(console, services);
        console.MarkupLine(guards.All(g => g.Allowed) ? "\n[green]it may run[/]" : "\n[red]it may not run[/]");
        return StatusScreen.Whole(text);
    }

    /// <summary>A run while it goes on.</summary>
    public static string Board(DrillDefinition drill, DrillBoard board, IReadOnlyList<string> lines, DateTimeOffset now, CliHost host)
    {
        var (console, text) = StatusScreen.Console(host, false);
        console.MarkupLine($"[bold]{T(board.Run)}[/]: {board.Phase}, {Units.Seconds((now - board.Since).TotalSeconds)}"
            + (board.Ends is { } ends && ends > now ? $", at most {Units.Seconds((ends - now).TotalSeconds)} more" : "")
            + "    Ctrl-C puts everything back");
        console.MarkupLine(T(drill.Reason));
        var steady = StatusScreen.Columns(["STEADY STATE", "HOLDS", "WHY"], []);
        foreach (var condition in board.Steady)
        {
            StatusScreen.Row(steady, [T(condition.Name), Mark(condition.Holds), T(condition.Seen)], []);
        }

        StatusScreen.Show(console, steady);
        Actions(console, board.Actions);
        var probes = StatusScreen.Columns(["PROBE", "KIND", "IN 10 s", "FAILED"], []);
        foreach (var probe in board.Probes)
        {
            StatusScreen.Row(probes, [T(probe.Probe), T(probe.Kind), $"{probe.Attempts}", Units.Percent(probe.FailedPercent / 100)], []);
        }

        StatusScreen.Show(console, probes);
        var events = StatusScreen.Columns(["AT", "GATEWAY", "SAYS", "OF", "WHY"], []);
        foreach (var e in board.Events)
        {
            StatusScreen.Row(events, [Clock(e.At), T(e.Gateway), T(e.Kind), T(string.Join(" ", new[] { e.Link, e.Peer, e.Service }.Where(o => o.Length > 0))), T(e.Text)], []);
        }

        StatusScreen.Show(console, events);
        foreach (var line in lines)
        {
            console.MarkupLine(T(line));
        }

        return StatusScreen.Whole(text);
    }

    /// <summary>How a run ended.</summary>
    public static string Result(DrillRecord record, CliHost host)
    {
        var (console, text) = StatusScreen.Console(host, false);
        var word = record.Outcome switch
        {
            DrillOutcome.Passed => "[green]passed[/]",
            DrillOutcome.Failed => "[red]failed[/]",
            DrillOutcome.Refused => "[red]refused, nothing was touched[/]",
            DrillOutcome.Aborted => "[yellow]aborted, everything is put back[/]",
            _ => "[red]NOT REVERTED[/]",
        };
        console.MarkupLine($"{word}: [bold]{T(record.Id)}[/]{(record.Why.Length > 0 ? $": {T(record.Why)}" : "")}");
        if (record.Outcome == DrillOutcome.Refused)
        {
            Guards(console, record.Guards);
            return StatusScreen.Whole(text);
        }

        Actions(console, record.Actions);
        var verdicts = StatusScreen.Columns(["EXPECTED", "WHAT", "SEEN", "HELD", "WHY"], []);
        foreach (var verdict in record.Verdicts)
        {
            StatusScreen.Row(verdicts, [T(verdict.Name), T(verdict.Expected), T(verdict.Seen), Mark(verdict.Held), T(verdict.Note)], []);
        }

        StatusScreen.Show(console, verdicts);
        console.MarkupLine($"\ndetection {Ms(record.DetectionMs)}, longest pause {Ms(record.PauseMs)}, recovery {Ms(record.RecoveryMs)}");
        return StatusScreen.Whole(text);
    }

    public static string Proofs(IReadOnlyList<ServiceProof> proofs, CliHost host)
    {
        var (console, text) = StatusScreen.Console(host, false);
        var table = StatusScreen.Columns(["SERVICE", "FAILOVER", "LAST", "BY", "PAUSE", "FAILED", "FAILED SINCE", "DRILLS"], []);
        foreach (var proof in proofs)
        {
            var state = proof.State switch { "proven" => "[green]proven[/]", "never proven" => "[red]never proven[/]", var s => $"[yellow]{T(s)}[/]" };
            StatusScreen.Row(table, [T(proof.Service), state,
                proof.At is { } at ? at.UtcDateTime.ToString("yyyy-MM-dd HH:mm", CultureInfo.InvariantCulture) : "", T(proof.Drill), Ms(proof.PauseMs),
                $"{proof.Failed}", T(proof.FailedSince), T(string.Join(", ", proof.Drills))], []);
        }

        console.Write(table);
        return StatusScreen.Whole(text);
    }

    private static void Guards(IAnsiConsole console, IReadOnlyList<DrillGuardVerdict> guards)
    {
        var table = StatusScreen.Columns(["GUARD", "ALLOWS", "WHY"], []);
        foreach (var guard in guards)
        {
            StatusScreen.Row(table, [T(guard.Guard), Mark(guard.Allowed), T(guard.Reason)], []);
        }

        StatusScreen.Show(console, table);
    }

    private static void Actions(IAnsiConsole console, IReadOnlyList<DrillActionRecord> actions)
    {
        var table = StatusScreen.Columns(["ACTION", "WHAT", "BY", "APPLIED", "REVERTED", "ENDED BY"], []);
        foreach (var a in actions)
        {
            StatusScreen.Row(table, [T(a.Action.Id), T(Targets.Describe(a.Action, a.Gateway)), T(a.Means), a.Applied is { } applied ? Clock(applied) : "",
                a.Reverted is { } reverted ? Clock(reverted) : "", T(a.Ended)], []);
        }

        StatusScreen.Show(console, table);
    }

    private static string T(string text) => StatusScreen.Text(text);

    private static string Mark(bool holds) => holds ? "[green]yes[/]" : "[red]no[/]";

    private static string Ms(double? ms) => ms is { } known ? $"{known.ToString("0.#", CultureInfo.InvariantCulture)} ms" : "-";

    private static string Clock(DateTimeOffset at) => at.UtcDateTime.ToString("HH:mm:ss.fff", CultureInfo.InvariantCulture);
}
