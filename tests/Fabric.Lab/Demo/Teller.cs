using Spectre.Console;

namespace Fabric.Lab.Demo;

/// <summary>Tells the story as it happens: with a spinner and colours on a terminal, in plain lines in a pipe.</summary>
public sealed class Teller(IAnsiConsole console)
{
    private StatusContext? _status;
    private string _title = "";

    private bool IsTerminal => console.Profile.Capabilities.Interactive && console.Profile.Capabilities.Ansi;

    public static Teller OnConsole()
    {
        var console = AnsiConsole.Create(new AnsiConsoleSettings
        {
            Ansi = Console.IsOutputRedirected ? AnsiSupport.No : AnsiSupport.Detect,
            Interactive = Console.IsOutputRedirected ? InteractionSupport.No : InteractionSupport.Detect,
        });
        if (Console.IsOutputRedirected)
        {
            // Lines are for whoever reads the pipe to break.
            console.Profile.Width = int.MaxValue;
        }

        return new Teller(console);
    }

    /// <summary>Runs a step under its title.</summary>
    public async Task Step(int number, string title, Func<Task> run)
    {
        _title = $"{number}. {title}";
        if (!IsTerminal)
        {
            Line(_title);
            await run();
            return;
        }

        await console.Status().StartAsync(Markup.Escape(_title), async status =>
        {
            _status = status;
            try
            {
                await run();
            }
            finally
            {
                _status = null;
            }
        });
    }

    /// <summary>A line that stays.</summary>
    public void Say(string text)
    {
        foreach (var line in text.TrimEnd().Split('\n'))
        {
            Line($"     {line}");
        }
    }

    /// <summary>Where the step is now; on a terminal only, where it replaces what it said before.</summary>
    public void Now(string text) => _status?.Status(Markup.Escape($"{_title}: {text}"));

    public void Outcome(DemoStep step)
    {
        if (IsTerminal)
        {
            console.MarkupLine($"{(step.Ok ? "[green]✓[/]" : "[red]✗[/]")} [bold]{Markup.Escape(step.Name)}[/] [grey]{step.Milliseconds:N0} ms[/]");
            Say(step.Details);
        }
        else
        {
            Line($"   {(step.Ok ? "ok" : "FAILED")} ({step.Milliseconds:0} ms): {step.Details.TrimEnd()}");
        }
    }

    public void Summary(DemoReport report)
    {
        if (IsTerminal)
        {
            var table = new Table().RoundedBorder().AddColumns("step", "", "ms").Title("the main job");
            foreach (var (step, index) in report.Steps.Select((s, i) => (s, i)))
            {
                table.AddRow(Markup.Escape($"{index + 1}. {step.Name}"), step.Ok ? "[green]held[/]" : "[red]failed[/]", $"{step.Milliseconds:N0}");
            }

            console.Write(table);
        }
        else
        {
            Line("");
            foreach (var (step, index) in report.Steps.Select((s, i) => (s, i)))
            {
                Line($"{index + 1}. {step.Name,-66} {(step.Ok ? "held" : "FAILED"),-6} {step.Milliseconds,8:0} ms");
            }
        }

        if (report.Failover is { } cost)
        {
            Line($"silent cut: noticed after {cost.DetectedMs:0} ms, longest pause {cost.StallMs:0} ms, bytes lost {cost.BytesLost}, "
                + $"connections dropped {cost.ConnectionsDropped}");
        }

        Line(report.Ok ? "Every step held." : "Not every step held.");
    }

    /// <summary>A whole line: the terminal may fold it, and what is copied from it is one line still.</summary>
    public void Line(string text)
    {
        if (_status is null)
        {
            Console.WriteLine(text);
        }
        else
        {
            console.WriteLine(text);
        }
    }
}
