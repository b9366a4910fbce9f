namespace Fabric.Drills.Reports.Page;

/// <summary>The figures that a drill is about, large: what was seen, what it may be, and what it was before.</summary>
internal static class Tiles
{
    public static void Draw(Markup page, DrillRecord record, DrillRecord? previous)
    {
        var expect = record.Drill.Expect;
        page.Add($"<section class=\"tiles\">\n");
        Tile(page, "Detected in", record.DetectionMs, expect.DetectionMsMax, previous?.DetectionMs, Words.Ms, "not detected");
        Tile(page, "Longest pause", record.PauseMs, expect.PauseMsMax, previous?.PauseMs, Words.Ms, "not measured");
        Tile(page, "Recovered in", record.RecoveryMs, expect.RecoveryMsMax, previous?.RecoveryMs, Words.Ms, "not measured");
        Tile(page, "Probes failed", Failed(record), expect.RequestsFailedMax, previous is null ? null : Failed(previous), Count, "no probes");
        Tile(page, "Connections dropped", Dropped(record), expect.ConnectionsDroppedMax, previous is null ? null : Dropped(previous), Count, "no probes");
        Tile(page, "Bytes lost", Lost(record), expect.BytesLostMax, previous is null ? null : Lost(previous), Count, "no probes");
        page.Add($"</section>\n");

        static string Count(double? count) => Words.Count((long)(count ?? 0));
    }

    public static double? Failed(DrillRecord record) => record.Probes.Count == 0 ? null : record.Probes.Sum(p => p.Failed);

    public static double? Dropped(DrillRecord record) => record.Probes.Count == 0 ? null : record.Probes.Sum(p => p.ConnectionsDropped);

    public static double? Lost(DrillRecord record) => record.Probes.Count == 0 ? null : record.Probes.Sum(p => p.BytesLost);

    private static void Tile(Markup page, string name, double? seen, double? most, double? before, Func<double?, string> say, string none)
    {
        var kept = most is null || seen <= most;
        var state = most is null ? "plain" : seen is null ? "bad" : kept ? "good" : "bad";
        page.Add($"""<div class="tile {state}"><p class="name">{name}</p><p class="figure">{(seen is null ? none : say(seen))}</p>""");
        if (most is { } limit)
        {
            var share = seen is null ? 0 : limit > 0 ? Math.Clamp(seen.Value / limit, 0, 1) : seen > 0 ? 1 : 0;
            page.Add($"""<svg class="meter" viewBox="0 0 100 4" preserveAspectRatio="none" aria-hidden="true"><rect class="whole" width="100" height="4" rx="2"/><rect class="part" width="{100 * share}" height="4" rx="2"/></svg><p class="note">{(kept ? "of" : "budget")} {say(limit)}{Since(seen, before, say)}</p>""");
        }
        else
        {
            page.Add($"""<p class="note">no budget{Since(seen, before, say)}</p>""");
        }

        page.Add($"</div>\n");
    }

    private static string Since(double? seen, double? before, Func<double?, string> say) => (seen, before) switch
    {
        ({ } now, { } then) when say(Math.Abs(now - then)) is var difference => now == then ? ", as before" : $", {difference} {(now < then ? "less" : "more")} than before",
        _ => "",
    };
}
