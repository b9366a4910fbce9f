namespace Fabric.Drills.Reports.Page;

/// <summary>
/// The failover itself, in milliseconds from the first fault: what gateways said, one line each, and for how long each probe got nothing.
/// </summary>
internal static class CloseUp
{
    private const int MaxEvents = 14;
    private const double Row = 24;
    private const double Labels = 172;

    private sealed record Line(DateTimeOffset From, DateTimeOffset To, string Lane, string Words, string Class, bool IsLongest);

    /// <summary>False when there was no fault, or nothing came of it.</summary>
    public static bool Draw(Markup page, DrillRecord record)
    {
        if (record.Actions.Min(a => a.Applied) is not { } fault)
        {
            return false;
        }

        var lines = Pauses(record, fault).ToList();
        var until = lines.Select(l => l.To).Append(Words.Later(fault, record.DetectionMs ?? 0)).Max();
        if (until - fault < TimeSpan.FromMilliseconds(1))
        {
            return false;
        }

        var margin = (until - fault) * 0.12;
        lines.AddRange(record.Events
            .Where(e => e.At >= fault - margin && e.At <= until + margin && EventKind.Of(e.Kind).Class is "bad" or "move" && e.Kind != "stream-moved")
            .Take(MaxEvents).Select(e => new Line(e.At, e.At, e.Gateway, EventKind.Say(e), "mark " + EventKind.Of(e.Kind).Class, false)));
        lines = [.. lines.OrderBy(l => l.From).ThenBy(l => l.Lane, StringComparer.Ordinal)];
        var scale = new Scale(Earliest(fault, lines) - margin, until + margin * 2, Labels, Timeline.Width - 10);
        var bottom = 28 + Row * lines.Count + 4;
        page.Add($"""<svg class="timeline closeup" viewBox="0 0 {Timeline.Width} {bottom}" role="img" aria-label="The failover in milliseconds">""");
        Axis(page, scale, fault, bottom);
        page.Add($"""<line class="moment" x1="{scale.X(fault)}" x2="{scale.X(fault)}" y1="20" y2="{bottom}"/>""");
        if (record.DetectionMs is { } ms)
        {
            var x = scale.X(Words.Later(fault, ms));
            page.Add($"""<g class="detection"><line x1="{x}" x2="{x}" y1="20" y2="{bottom}" data-tip="{$"detected {Words.Ms(ms)} after the fault"}"/></g>""");
        }

        for (var i = 0; i < lines.Count; i++)
        {
            Draw(page, scale, fault, lines[i], 26 + Row * i);
        }

        page.Add($"</svg>\n");
        return true;
    }

    private static DateTimeOffset Earliest(DateTimeOffset fault, List<Line> lines) => lines.Select(l => l.From).Append(fault).Min();

    /// <summary>Of live connections and streams, those that began about when the fault did: later ones are of something else.</summary>
    private static IEnumerable<Line> Pauses(DrillRecord record, DateTimeOffset fault)
    {
        var longest = Timeline.Longest(record);
        var last = Words.Later(fault, Math.Max(2000, 2 * (record.DetectionMs ?? 0)));
        return record.Probes
            .Where(p => p.Kind is "live" or "bulk" && p.PauseBegan is { } began && p.LongestPauseMs > 0 && began >= fault.AddSeconds(-1) && began <= last)
            .Select(p => new Line(p.PauseBegan!.Value, Words.Later(p.PauseBegan.Value, p.LongestPauseMs), p.Probe,
                $"nothing for {Words.Ms(p.LongestPauseMs)}", "hit", p == longest));
    }

    private static void Axis(Markup page, Scale scale, DateTimeOffset fault, double bottom)
    {
        var step = Scale.Step(scale.Seconds, 10);
        for (var second = Math.Ceiling((scale.From - fault).TotalSeconds / step) * step; second <= (scale.To - fault).TotalSeconds; second += step)
        {
            var x = scale.X(fault.AddSeconds(second));
            var words = Math.Abs(second) < step / 2 ? "the fault" : step >= 1 ? FormattableString.Invariant($"{second:+0;−0} s")
                : FormattableString.Invariant($"{second * 1000:+0;−0} ms");
            page.Add($"""<line class="grid" x1="{x}" x2="{x}" y1="20" y2="{bottom}"/><text class="axis" x="{x}" y="13" text-anchor="middle">{words}</text>""");
        }
    }

    private static void Draw(Markup page, Scale scale, DateTimeOffset fault, Line line, double y)
    {
        var (from, to) = (scale.X(line.From), scale.X(line.To));
        var after = (line.From - fault).TotalMilliseconds;
        var words = line.From == line.To ? $"{(after < 0 ? "−" : "+")}{Words.Ms(Math.Abs(after))}  {line.Words}" : line.Words;
        page.Add($"""<line class="rule" x1="0" x2="{Timeline.Width}" y1="{y}" y2="{y}"/><text class="lane" x="4" y="{y + 16}">{Words.Short(line.Lane, 24)}</text>""");
        if (line.From == line.To)
        {
            page.Add($"""<circle class="{line.Class}" cx="{from}" cy="{y + Row / 2}" r="5" data-tip="{words}"/>""");
        }
        else
        {
            page.Add($"""<rect class="{(line.IsLongest ? "hit longest" : "hit")}" x="{from}" y="{y + 5}" width="{Math.Max(2, to - from)}" height="{Row - 10}" rx="3" data-tip="{$"{line.Lane}: {line.Words}, from {Words.Clock(line.From)} UTC"}"/>""");
        }

        // Inside a bar that has the room, else where there is some.
        var inside = to - from > 8 * words.Length;
        var right = inside || to < scale.Left + (scale.Right - scale.Left) * 0.62;
        var x = inside ? from + 8 : right ? to + 10 : from - 10;
        page.Add($"""<text class="{(inside && line.IsLongest ? "in-fault" : "beside")}" x="{x}" y="{y + 16}" text-anchor="{(right ? "start" : "end")}">{Words.Short(words, 90)}</text>""");
    }
}
