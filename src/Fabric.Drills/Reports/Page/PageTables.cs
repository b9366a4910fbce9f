using Fabric.Drills.Measurement;

namespace Fabric.Drills.Reports.Page;

/// <summary>The tables of a run.</summary>
internal static class PageTables
{
    /// <summary>Of events that are written out; all are in the JSON.</summary>
    private const int MaxEvents = 500;

    public static void Verdicts(Markup page, DrillRecord record, DrillRecord? previous)
    {
        Begin(page, "budget", "Budget", record.Verdicts.Count, "Nothing was judged.",
            ["", "What", "Expected", "Seen", .. previous is null ? Array.Empty<string>() : ["Before"], "Note"]);
        foreach (var verdict in record.Verdicts)
        {
            page.Add($"""<tr><td class="sign {(verdict.Held ? "good" : "bad")}">{(verdict.Held ? "✓" : "✗")}</td><td>{verdict.Name}</td><td>{verdict.Expected}</td><td>{verdict.Seen}</td>""");
            if (previous is not null)
            {
                page.Add($"<td>{previous.Verdicts.FirstOrDefault(v => v.Name == verdict.Name)?.Seen ?? "–"}</td>");
            }

            page.Add($"<td>{verdict.Note}</td></tr>\n");
        }

        End(page, record.Verdicts.Count);
    }

    public static void Probes(Markup page, DrillRecord record)
    {
        Begin(page, "probes", "Probes", record.Probes.Count, "The drill had no probes.",
            ["Probe", "Service", "#Failed", "#of", "#Dropped", "#Longest pause", "began", "#Median", "#99 %", "#Bytes", "#Lost", "#Wrong"]);
        foreach (var probe in record.Probes)
        {
            page.Add($"""<tr><td><b>{probe.Probe}</b> <span class="quiet">{probe.Kind}</span></td><td>{probe.Service}</td>""");
            Number(page, Words.Count(probe.Failed), probe.Failed > 0);
            Number(page, Words.Count(probe.Attempts), false);
            Number(page, Words.Count(probe.ConnectionsDropped), probe.ConnectionsDropped > 0);
            Number(page, Words.Ms(probe.LongestPauseMs), false);
            page.Add($"<td>{(probe.PauseBegan is { } began ? Words.After(began, record.Began) : "")}</td>");
            Number(page, Words.Ms(probe.MedianMs), false);
            Number(page, Words.Ms(probe.P99Ms), false);
            Number(page, Words.Bytes(probe.Bytes), false);
            Number(page, Words.Count(probe.BytesLost), probe.BytesLost > 0);
            Number(page, Words.Count(probe.HashesWrong), probe.HashesWrong > 0);
            page.Add($"</tr>\n");
            if (probe.Failures is { Count: > 0 } failures)
            {
                page.Add($"""<tr class="more"><td></td><td colspan="11">{string.Join(" · ", failures.Select(f => $"{Words.Count(f.Count)} × {f.Error}"))}</td></tr>""").Add($"\n");
            }
        }

        End(page, record.Probes.Count);

        static void Number(Markup page, string number, bool isBad) => page.Add($"""<td class="{(isBad ? "n bad" : "n")}">{number}</td>""");
    }

    public static void PutBack(Markup page, DrillRecord record)
    {
        Begin(page, "put-back", "Faults, and what was put back", record.Actions.Count, "No fault was applied.",
            ["", "Fault", "Gateway", "By", "Applied", "Put back", "#Lasted", "Why it ended"]);
        foreach (var action in record.Actions)
        {
            var lasted = action.Reverted - action.Applied;
            page.Add($"""<tr><td class="sign {(action.Applied is null ? "same" : action.RevertedForSure ? "good" : "bad")}">{(action.Applied is null ? "–" : action.RevertedForSure ? "✓" : "✗")}</td><td><b>{action.Action.Id}</b> {Words.Fault(action.Action)}</td><td>{action.Gateway}</td><td>{action.Means}</td>""");
            page.Add($"""<td>{Instant(action.Applied, "not applied")}</td><td class="{(action.Applied is not null && !action.RevertedForSure ? "bad" : "")}">{(action.Applied is null ? "" : Instant(action.Reverted, "not known"))}</td><td class="n">{(lasted is { } span ? Words.Span(span) : "")}</td><td>{action.Ended}</td></tr>""").Add($"\n");
        }

        End(page, record.Actions.Count);

        string Instant(DateTimeOffset? at, string otherwise) => at is { } known ? $"{Words.After(known, record.Began)} ({Words.Clock(known)})" : otherwise;
    }

    public static void Guards(Markup page, DrillRecord record)
    {
        Begin(page, "guards", "Guards", record.Guards.Count, "No guard was asked.", ["", "Guard", "Reason"]);
        foreach (var guard in record.Guards)
        {
            page.Add($"""<tr><td class="sign {(guard.Allowed ? "good" : "bad")}">{(guard.Allowed ? "✓" : "✗")}</td><td>{guard.Guard}</td><td>{guard.Reason}</td></tr>""").Add($"\n");
        }

        End(page, record.Guards.Count);
    }

    public static void Clocks(Markup page, DrillRecord record)
    {
        Begin(page, "clocks", "Clocks", record.ClockOffsets.Count, "No gateway's clock was asked.", ["Gateway", "#Taken off its clock", "#Sure to within"]);
        foreach (var clock in record.ClockOffsets)
        {
            page.Add($"""<tr><td>{clock.Gateway}</td><td class="n">{Words.Ms(clock.Ms)}</td><td class="n">± {Words.Ms(clock.UncertainMs)}</td></tr>""").Add($"\n");
        }

        End(page, record.ClockOffsets.Count);
    }

    public static void Events(Markup page, DrillRecord record)
    {
        page.Add($"""<section id="events"><details><summary><h2>What gateways said ({Words.Count(record.Events.Count)})</h2></summary><div class="scroll"><table><thead><tr><th>After</th><th>At</th><th>Gateway</th><th>What</th></tr></thead><tbody>""").Add($"\n");
        foreach (var happened in record.Events.Take(MaxEvents))
        {
            page.Add($"""<tr><td class="n">{Words.After(happened.At, record.Began)}</td><td>{Words.Clock(happened.At)}</td><td>{happened.Gateway}</td><td class="{EventKind.Of(happened.Kind).Class}">{EventKind.Say(happened)}</td></tr>""").Add($"\n");
        }

        page.Add($"</tbody></table></div>");
        if (record.Events.Count > MaxEvents)
        {
            page.Add($"<p class=\"quiet\">The first {MaxEvents}; all are in report.json.</p>");
        }

        page.Add($"</details></section>\n");
    }

    /// <param name="heads">One that begins with # is of a column of numbers.</param>
    private static void Begin(Markup page, string id, string title, int rows, string none, IEnumerable<string> heads)
    {
        page.Add($"""<section id="{id}"><h2>{title}</h2>""");
        if (rows == 0)
        {
            page.Add($"""<p class="quiet">{none}</p>""");
            return;
        }

        page.Add($"""<div class="scroll"><table><thead><tr>""");
        foreach (var head in heads)
        {
            page.Add($"""<th class="{(head.StartsWith('#') ? "n" : "")}">{head.TrimStart('#')}</th>""");
        }

        page.Add($"</tr></thead><tbody>\n");
    }

    private static void End(Markup page, int rows) => page.AddRaw(rows == 0 ? "</section>\n" : "</tbody></table></div></section>\n");
}
