using Fabric.Drills.Measurement;

namespace Fabric.Drills.Reports.Page;

/// <summary>The same drill's run before, beside this one: each figure with its difference, and its timeline, small. Less is better in all of them.</summary>
internal static class Comparison
{
    public static void Draw(Markup page, DrillRecord record, DrillRecord previous)
    {
        page.Add($"""
            <section id="previous"><h2>Beside the run before</h2>
            <p class="why">{previous.Id}, {Words.Day(previous.Began)}: {Words.Outcome(previous.Outcome)}. {previous.Why}</p>
            <div class="drawing">
            """);
        Timeline.Draw(page, previous, small: true);
        page.Add($"""</div><div class="scroll"><table><thead><tr><th>Figure</th><th class="n">This run</th><th class="n">Before</th><th class="n">Difference</th></tr></thead><tbody>""").Add($"\n");
        Row(page, "Detected in", record.DetectionMs, previous.DetectionMs, Words.Ms);
        Row(page, "Longest pause", record.PauseMs, previous.PauseMs, Words.Ms);
        Row(page, "Recovered in", record.RecoveryMs, previous.RecoveryMs, Words.Ms);
        foreach (var probe in record.Probes)
        {
            var before = previous.Probes.FirstOrDefault(p => p.Probe == probe.Probe);
            page.Add($"""<tr class="group"><th colspan="4">{probe.Probe}{(before is null ? ": not in the run before" : "")}</th></tr>""").Add($"\n");
            if (before is not null)
            {
                Probe(page, probe, before);
            }
        }

        page.Add($"</tbody></table></div></section>\n");
    }

    private static void Probe(Markup page, ProbeFigures now, ProbeFigures before)
    {
        Row(page, "Failed", now.Failed, before.Failed, Count);
        Row(page, "Connections dropped", now.ConnectionsDropped, before.ConnectionsDropped, Count);
        Row(page, "Longest pause", now.LongestPauseMs, before.LongestPauseMs, Words.Ms);
        Row(page, "Median", now.MedianMs, before.MedianMs, Words.Ms);
        Row(page, "99 of 100 within", now.P99Ms, before.P99Ms, Words.Ms);
        Row(page, "Bytes lost", now.BytesLost, before.BytesLost, Count);

        static string Count(double? count) => Words.Count((long)(count ?? 0));
    }

    private static void Row(Markup page, string name, double? now, double? before, Func<double?, string> say)
    {
        if (now is 0 && before is 0)
        {
            // Nothing was wrong, and nothing is: no line.
            return;
        }

        var (words, state) = (now, before) switch
        {
            ({ } a, { } b) when a == b => ("=", "same"),
            ({ } a, { } b) => ($"{(a < b ? "−" : "+")}{say(Math.Abs(a - b))}", a < b ? "good" : "bad"),
            _ => ("–", "same"),
        };
        page.Add($"""<tr><td>{name}</td><td class="n">{Say(now)}</td><td class="n">{Say(before)}</td><td class="n {state}">{words}</td></tr>""").Add($"\n");

        string Say(double? value) => value is null ? "–" : say(value);
    }
}
