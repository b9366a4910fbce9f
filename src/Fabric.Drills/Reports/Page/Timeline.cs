using Fabric.Drills.Measurement;

namespace Fabric.Drills.Reports.Page;

/// <summary>
/// A run drawn over its time: faults as bars, what gateways said, which links they used, and each probe by the second, with the detection and
/// the longest pause marked. Small, it has the same lanes at half the height, and no words but the probes' names.
/// </summary>
internal sealed class Timeline
{
    public const double Width = 1160;
    private const double Labels = 172;

    /// <summary>Marks that are drawn of one gateway and kind lie at least so far apart; what would lie on another one is counted with it.</summary>
    private const double MarkEvery = 4;

    private const int MaxSegments = 400;

    private readonly Markup _page;
    private readonly DrillRecord _record;
    private readonly bool _small;
    private readonly Scale _scale;
    private readonly Markup _lanes = new();
    private double _y;
    private double _faultsEnd;

    private Timeline(Markup page, DrillRecord record, bool small)
    {
        (_page, _record, _small) = (page, record, small);
        _scale = new Scale(record.Began, record.Ended > record.Began ? record.Ended : record.Began.AddSeconds(1), Labels, Width - 10);
    }

    private double Unit => _small ? 0.55 : 1;

    public static void Draw(Markup page, DrillRecord record, bool small) => new Timeline(page, record, small).Draw();

    /// <summary>The live connection or hashed stream that got nothing for longest.</summary>
    public static ProbeFigures? Longest(DrillRecord record) => record.Probes
        .Where(p => p.Kind is "live" or "bulk" && p.PauseBegan is not null && p.LongestPauseMs > 0).MaxBy(p => p.LongestPauseMs);

    private void Draw()
    {
        _y = 26;
        Faults();
        Gateways();
        Paths();
        var probes = new ProbeLanes(_lanes, _record, _scale, _small);
        _y = probes.Draw(_y);
        _y += 4;
        _page.Add($"""
            <svg class="{(_small ? "timeline small" : "timeline")}" viewBox="0 0 {Width} {_y + 2}" role="img" aria-label="Timeline of the run" data-began="{_record.Began.ToUnixTimeMilliseconds()}" data-seconds="{_scale.Seconds}" data-left="{_scale.Left}" data-right="{_scale.Right}">
            """);
        Axis();
        _page.AddRaw(_lanes.ToString());
        Detection();
        Pause(probes);
        _page.Add($"""<line class="cursor" x1="-9" x2="-9" y1="20" y2="{_y}"/></svg>""").Add($"\n");
    }

    private void Axis()
    {
        var step = Scale.Step(_scale.Seconds, 12);
        for (var second = 0.0; second <= _scale.Seconds + 1e-6; second += step)
        {
            var x = _scale.X(_record.Began.AddSeconds(second));
            _page.Add($"""<line class="grid" x1="{x}" x2="{x}" y1="20" y2="{_y}"/><text class="axis" x="{x}" y="13" text-anchor="middle">{Mark(second)}</text>""");
        }

        static string Mark(double second) => second >= 120 ? $"{(int)second / 60}:{(int)second % 60:00} min" : FormattableString.Invariant($"{second:0.###} s");
    }

    private void Lane(string name, string under, double height)
    {
        var middle = _y + height / 2;
        _lanes.Add($"""<line class="rule" x1="0" x2="{Width}" y1="{_y}" y2="{_y}"/>""");
        _lanes.Add($"""<text class="lane" x="4" y="{(under.Length > 0 ? middle - 2 : middle + 4)}">{Words.Short(name, 24)}<title>{name}</title></text>""");
        if (under.Length > 0)
        {
            _lanes.Add($"""<text class="under" x="4" y="{middle + 12}">{Words.Short(under, 28)}</text>""");
        }
    }

    private void Faults()
    {
        foreach (var action in _record.Actions)
        {
            var height = 28 * Unit;
            Lane(_small ? action.Action.Id : $"fault {action.Action.Id}", "", height);
            if (action.Applied is { } applied)
            {
                var (from, to) = (_scale.X(applied), _scale.X(action.Reverted ?? _record.Ended));
                var tip = $"{Words.Fault(action.Action)} at {action.Gateway}, by {action.Means}\n{Words.After(applied, _record.Began)} to "
                    + (action.Reverted is { } reverted ? $"{Words.After(reverted, _record.Began)}: {action.Ended}" : $"the end: {action.Ended}");
                _lanes.Add($"""<rect class="{(action.RevertedForSure ? "fault" : "fault open")}" x="{from}" y="{_y + 5 * Unit}" width="{Math.Max(3, to - from)}" height="{height - 10 * Unit}" rx="{4 * Unit}" data-tip="{tip}"/>""");
                if (!_small)
                {
                    FaultWords($"{Words.Fault(action.Action)} at {action.Gateway}", from, to, _y + height / 2 + 4);
                }
            }
            else if (!_small)
            {
                _lanes.Add($"""<text class="beside" x="{Labels + 4}" y="{_y + height / 2 + 4}">{Words.Fault(action.Action)}: not applied {action.Ended}</text>""");
            }

            _y += height;
        }

        _faultsEnd = _y;
    }

    /// <summary>In the bar where they fit, else where there is most room.</summary>
    private void FaultWords(string words, double from, double to, double y)
    {
        const double letter = 6.6;
        var (inside, after, before) = ((to - from - 16) / letter, (Width - to - 12) / letter, (from - Labels - 12) / letter);
        if (words.Length <= inside || inside >= Math.Max(after, before))
        {
            _lanes.Add($"""<text class="in-fault" x="{from + 8}" y="{y}">{Words.Short(words, Math.Max(2, (int)inside))}</text>""");
        }
        else
        {
            var x = after >= before || words.Length <= after ? to + 8 : from - 8;
            _lanes.Add($"""<text class="beside" x="{x}" y="{y}" text-anchor="{(x > from ? "start" : "end")}">{Words.Short(words, Math.Max(2, (int)(x > from ? after : before)))}</text>""");
        }
    }

    private void Gateways()
    {
        foreach (var gateway in _record.Events.GroupBy(e => e.Gateway).OrderBy(g => g.Key, StringComparer.Ordinal))
        {
            var height = 28 * Unit;
            Lane(gateway.Key, "", height);
            var middle = _y + height / 2;
            _lanes.Add($"""<line class="base" x1="{Labels}" x2="{_scale.Right}" y1="{middle}" y2="{middle}"/>""");
            foreach (var marks in gateway.Where(e => e.At >= _scale.From && e.At <= _scale.To)
                .GroupBy(e => (e.Kind, Place: (int)(_scale.X(e.At) / MarkEvery))))
            {
                var first = marks.First();
                var more = marks.Count() > 1 ? $"\nand {marks.Count() - 1} more of these" : "";
                Mark(EventKind.Of(first.Kind), _scale.X(first.At), middle, $"{Words.After(first.At, _record.Began)}  {first.Gateway}\n{EventKind.Say(first)}{more}");
            }

            _y += height;
        }
    }

    private void Mark(EventKind kind, double x, double y, string tip)
    {
        var r = _small ? 2.6 : 5;
        var shape = kind.Shape switch
        {
            'v' => $"M{Px(x - r)} {Px(y - r)}H{Px(x + r)}L{Px(x)} {Px(y + r)}Z",
            'd' => $"M{Px(x)} {Px(y - r)}L{Px(x + r)} {Px(y)}L{Px(x)} {Px(y + r)}L{Px(x - r)} {Px(y)}Z",
            's' => $"M{Px(x - r + 1)} {Px(y - r + 1)}H{Px(x + r - 1)}V{Px(y + r - 1)}H{Px(x - r + 1)}Z",
            _ => $"M{Px(x - r)} {Px(y)}a{Px(r)} {Px(r)} 0 1 0 {Px(2 * r)} 0a{Px(r)} {Px(r)} 0 1 0 {Px(-2 * r)} 0Z",
        };
        _lanes.Add($"""<path class="mark {kind.Class}" d="{shape}" data-tip="{tip}"/>""");

        static string Px(double value) => FormattableString.Invariant($"{value:0.#}");
    }

    /// <summary>Which link a gateway used towards a peer: known from the first time that it said so.</summary>
    private void Paths()
    {
        var links = _record.Events.Where(e => e.Kind == "path-moved").Select(e => e.Link).Distinct().Order(StringComparer.Ordinal).ToList();
        foreach (var way in _record.Events.Where(e => e.Kind == "path-moved").GroupBy(e => (e.Gateway, e.Peer)).OrderBy(g => g.Key.Gateway, StringComparer.Ordinal))
        {
            var height = 22 * Unit;
            Lane(_small ? $"{way.Key.Gateway} →" : $"{way.Key.Gateway} → {way.Key.Peer}", "", height);
            var moves = way.OrderBy(e => e.At).Take(MaxSegments).ToList();
            for (var i = -1; i < moves.Count; i++)
            {
                var (from, to) = (i < 0 ? _record.Began : moves[i].At, i + 1 < moves.Count ? moves[i + 1].At : _record.Ended);
                var (x, width) = (_scale.X(from), Math.Max(1, _scale.X(to) - _scale.X(from)));
                var link = i < 0 ? "" : moves[i].Link;
                var tip = i < 0 ? "the link before the first move: not told" : $"{link} from {Words.After(from, _record.Began)}\n{moves[i].Text}";
                _lanes.Add($"""<rect class="path {(i < 0 ? "unknown" : $"p{links.IndexOf(link) % 6}")}" x="{x}" y="{_y + height / 2 - 4 * Unit}" width="{width}" height="{8 * Unit}" rx="{3 * Unit}" data-tip="{tip}"/>""");
                if (!_small && link.Length > 0 && width > 8 * link.Length + 12)
                {
                    _lanes.Add($"""<text class="on-path" x="{x + 8}" y="{_y + height / 2 + 3.5}">{link}</text>""");
                }
            }

            _y += height;
        }
    }

    private void Detection()
    {
        if (_record.DetectionMs is { } ms && _record.Actions.Min(a => a.Applied) is { } applied)
        {
            var x = _scale.X(Words.Later(applied, ms));
            _page.Add($"""<g id="{(_small ? "previous-detection" : "detection")}" class="detection"><line x1="{x}" x2="{x}" y1="20" y2="{_y}" data-tip="{$"detected {Words.Ms(ms)} after the fault"}"/></g>""");
        }
    }

    private void Pause(ProbeLanes probes)
    {
        if (Longest(_record) is { PauseBegan: { } began } longest && probes.Lanes.TryGetValue(longest.Probe, out var lane))
        {
            var (from, to) = (_scale.X(began), _scale.X(Words.Later(began, longest.LongestPauseMs)));
            var tip = $"longest pause: {longest.Probe} got nothing for {Words.Ms(longest.LongestPauseMs)}\nfrom {Words.After(began, _record.Began)}, {Words.Clock(began)} UTC";
            _page.Add($"""<g id="{(_small ? "previous-pause" : "longest-pause")}" class="pause" data-tip="{tip}"><rect class="band" x="{from}" y="{_faultsEnd}" width="{Math.Max(2.5, to - from)}" height="{_y - _faultsEnd}"/><rect class="hit" x="{from}" y="{lane.Top + 1}" width="{Math.Max(2.5, to - from)}" height="{lane.Bottom - lane.Top - 2}"/>""");
            if (!_small)
            {
                var left = to > Width - 260;
                _page.Add($"""<text class="pause-words" x="{(left ? from - 6 : to + 6)}" y="{lane.Top + 13}" text-anchor="{(left ? "end" : "start")}">nothing for {Words.Ms(longest.LongestPauseMs)}</text>""");
            }

            _page.Add($"</g>");
        }
    }
}
