using System.Reflection;
using System.Security.Cryptography;
using System.Text;

namespace Fabric.Drills.Reports.Page;

/// <summary>
/// A run as one HTML page that needs nothing else: it opens from a file, in light and in dark, and its own policy forbids it to load
/// anything. Without scripts it shows the same; with them it tells what is under the pointer.
/// </summary>
public static class DrillPage
{
    private static readonly string Style = Resource("report.css");
    private static readonly string Script = Resource("report.js");

    public static string Write(DrillRecord record, DrillRecord? previous)
    {
        var page = new Markup();
        var policy = $"default-src 'none'; style-src '{Hash(Style)}'; script-src '{Hash(Script)}'; base-uri 'none'; form-action 'none'";
        page.Add($"""
            <!doctype html>
            <html lang="en">
            <head>
            <meta charset="utf-8">
            <meta http-equiv="Content-Security-Policy" content="{policy}">
            <meta name="viewport" content="width=device-width, initial-scale=1">
            <meta name="color-scheme" content="light dark">
            <title>{record.Drill.Name}: {Words.Outcome(record.Outcome)}</title>
            <style>
            """).AddRaw(Style).Add($"</style>\n</head>\n<body>\n");
        Head(page, record);
        Tiles.Draw(page, record, previous);
        Drawings(page, record);
        PageTables.Verdicts(page, record, previous);
        PageTables.Probes(page, record);
        if (previous is not null)
        {
            Comparison.Draw(page, record, previous);
        }

        PageTables.PutBack(page, record);
        PageTables.Guards(page, record);
        PageTables.Clocks(page, record);
        PageTables.Events(page, record);
        page.Add($"""
            <footer><p>Instants are of the clock of the machine that ran the drill, in UTC; those of gateways were moved to it.
            Run <code>{record.Id}</code>, Fabric {record.Version}, topology <code>{record.TopologyRevision}</code>.</p></footer>
            <div id="tip" role="status" hidden></div>
            <script>
            """).AddRaw(Script).Add($"</script>\n</body>\n</html>\n");
        return page.ToString();
    }

    private static void Head(Markup page, DrillRecord record)
    {
        var drill = record.Drill;
        page.Add($"""
            <header>
            <p class="kicker">Failover drill{(record.Fabric.Length > 0 ? " · " + record.Fabric : "")}</p>
            <h1>{drill.Name} <span class="outcome {OutcomeClass(record.Outcome)}">{Words.Outcome(record.Outcome)}</span></h1>
            <p class="why">{record.Why}</p>
            <dl class="facts">
            <div><dt>Began</dt><dd>{Words.Day(record.Began)}</dd></div>
            <div><dt>Took</dt><dd>{Words.Span(record.Ended - record.Began)}</dd></div>
            <div><dt>Owner</dt><dd>{drill.Owner}</dd></div>
            <div class="wide"><dt>Reason</dt><dd>{drill.Reason}</dd></div>
            </dl>
            </header>

            """);
    }

    private static void Drawings(Markup page, DrillRecord record)
    {
        page.Add($"""
            <section id="timeline"><h2>Timeline</h2>
            <p class="legend"><span><span class="key k-fault"></span>fault in force</span>
            <span><span class="key k-bad"></span>lost</span>
            <span><span class="key k-good"></span>back</span>
            <span><span class="key k-move"></span>moved</span>
            <span><span class="key k-well"></span>went well</span>
            <span><span class="key k-failed"></span>failed</span>
            <span><span class="key k-worst"></span>longest, 0.1 ms to 10 s</span>
            <span><span class="key k-pause"></span>longest pause</span>
            <span><span class="key k-detection"></span>detected</span></p>
            <div class="drawing">
            """);
        Timeline.Draw(page, record, small: false);
        page.Add($"</div></section>\n");
        var closeUp = new Markup();
        if (CloseUp.Draw(closeUp, record))
        {
            page.Add($"""<section id="closeup"><h2>The failover, in milliseconds</h2><div class="drawing">""").AddRaw(closeUp.ToString()).Add($"</div></section>\n");
        }
    }

    private static string OutcomeClass(DrillOutcome outcome) => outcome switch
    {
        DrillOutcome.Passed => "good",
        DrillOutcome.Refused or DrillOutcome.Aborted => "warn",
        _ => "bad",
    };

    private static string Hash(string content) => "sha256-" + Convert.ToBase64String(SHA256.HashData(Encoding.UTF8.GetBytes(content)));

    private static string Resource(string name)
    {
        var assembly = Assembly.GetExecutingAssembly();
        using var stream = assembly.GetManifestResourceStream($"Fabric.Drills.Reports.Page.{name}")!;
        using var reader = new StreamReader(stream, Encoding.UTF8);
        return reader.ReadToEnd();
    }
}
