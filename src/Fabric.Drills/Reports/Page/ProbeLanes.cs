using System.Globalization;
using System.Text;

namespace Fabric.Drills.Reports.Page;

/// <summary>
/// Each probe by the second, or by as many as make a column wide enough to be seen: what went well as columns from below (for bulk: its
/// bytes), what failed on top of it, and the longest that one took as a line over a logarithmic scale from 0.1 ms to 10 s.
/// </summary>
internal sealed class ProbeLanes(Markup lanes, DrillRecord record, Scale scale, bool small)
{
    private const double MinColumn = 3;
    private const double LeastMs = 0.1;
    private const double MostMs = 10_000;

    /// <summary>Where each probe's lane lies.</summary>
    public Dictionary<string, (double Top, double Bottom)> Lanes { get; } = [];

    /// <summary>Draws all below <paramref name="y"/>; where the last one ends.</summary>
    public double Draw(double y)
    {
        var height = small ? 26 : 64;
        var bin = Math.Max(1, (int)Math.Ceiling(MinColumn * scale.Seconds / (scale.Right - scale.Left)));
        var seconds = record.Seconds.ToLookup(s => s.Probe);
        foreach (var probe in record.Probes)
        {
            Lanes[probe.Probe] = (y, y + height);
            lanes.Add($"""<line class="rule" x1="0" x2="{Timeline.Width}" y1="{y}" y2="{y}"/><text class="lane" x="4" y="{y + (small ? height / 2.0 + 4 : 22)}">{Words.Short(probe.Probe, 24)}<title>{probe.Probe}</title></text>""");
            if (!small)
            {
                lanes.Add($"""<text class="under" x="4" y="{y + 36}">{Words.Short($"{probe.Kind} · {probe.Service}", 28)}</text><text class="under" x="4" y="{y + 50}">{Words.Count(probe.Failed)} of {Words.Count(probe.Attempts)} failed</text>""");
            }

            Columns(probe.Kind, [.. Bins(seconds[probe.Probe], bin)], y, height, bin);
            y += height;
        }

        return y;
    }

    private IEnumerable<Bin> Bins(IEnumerable<ProbeSecond> seconds, int bin) => seconds
        .Where(s => s.At.AddSeconds(1) > scale.From && s.At < scale.To)
        .GroupBy(s => (long)Math.Floor((s.At - scale.From).TotalSeconds / bin))
        .OrderBy(g => g.Key)
        .Select(g => new Bin(
            scale.From.AddSeconds(g.Min(s => (s.At - scale.From).TotalSeconds)), g.Sum(s => (long)s.Succeeded), g.Sum(s => (long)s.Failed),
            g.Sum(s => s.Bytes), g.Max(s => s.WorstMs)));

    private void Columns(string kind, List<Bin> bins, double y, double height, int bin)
    {
        double Size(Bin b) => kind == "bulk" ? b.Bytes : b.Succeeded + b.Failed;
        var room = height - (small ? 5 : 10);
        var bottom = y + height - (small ? 2 : 4);
        var most = Math.Max(1, bins.Select(Size).DefaultIfEmpty().Max());
        foreach (var b in bins)
        {
            var (from, to) = (scale.X(b.At), scale.X(b.At.AddSeconds(bin)));
            var whole = room * 0.8 * Size(b) / most;
            var failed = b.Failed == 0 ? 0 : Math.Max(small ? 2 : 4, kind == "bulk" ? 0 : whole * b.Failed / (b.Succeeded + b.Failed));
            var good = Math.Max(0, kind == "bulk" ? whole : whole - failed);
            var width = Math.Max(1, to - from - Math.Min(1.5, (to - from) / 5));
            var tip = $"{Words.After(b.At, scale.From)}{(bin > 1 ? $", {bin} s" : "")}\n{Words.Count(b.Succeeded)} well, {Words.Count(b.Failed)} failed, {Words.Bytes(b.Bytes)}"
                + (b.WorstMs is { } worst ? $"\nlongest {Words.Ms(worst)}" : "");
            lanes.Add($"""<g data-tip="{tip}"><rect class="room" x="{from}" y="{y + 1}" width="{to - from}" height="{height - 2}"/>""");
            if (good > 0)
            {
                lanes.Add($"""<rect class="well" x="{from}" y="{bottom - good}" width="{width}" height="{good}"/>""");
            }

            if (failed > 0)
            {
                lanes.Add($"""<rect class="failed" x="{from}" y="{bottom - good - failed}" width="{width}" height="{failed}"/>""");
            }

            lanes.Add($"</g>");
        }

        Worst(bins, bin, bottom, room);
    }

    private void Worst(List<Bin> bins, int bin, double bottom, double room)
    {
        var line = new StringBuilder();
        DateTimeOffset? before = null;
        foreach (var b in bins.Where(b => b.WorstMs is not null))
        {
            var share = Math.Log10(Math.Clamp(b.WorstMs!.Value, LeastMs, MostMs) / LeastMs) / Math.Log10(MostMs / LeastMs);
            var joins = before is { } last && (b.At - last).TotalSeconds < 1.5 * bin + 0.5;
            line.Append(CultureInfo.InvariantCulture, $"{(joins ? 'L' : 'M')}{scale.X(b.At.AddSeconds(bin / 2.0)):0.#} {bottom - room * share:0.#}");
            before = b.At;
        }

        if (line.Length > 0)
        {
            lanes.Add($"""<path class="worst" d="{line.ToString()}"/>""");
        }
    }

    private readonly record struct Bin(DateTimeOffset At, long Succeeded, long Failed, long Bytes, double? WorstMs);
}
