using Fabric.Lab.Measurement;
using Fabric.Lab.Processes;

namespace Fabric.Lab.Failover;

/// <summary><c>failover</c>, as <c>scripts/bench.sh failover</c> calls it: what a failover costs the application, in figures.</summary>
public static class FailoverProgram
{
    private static readonly string[] Sections = ["pause", "mirrored", "detect", "false", "flap", "planned", "hashes"];

    private const string Usage = """
        usage: failover [--json FILE] [--only SECTION,...] [--quick] [--cuts N] [--bytes GIB] [--timeline]

          sections: pause, mirrored, detect (one series of cuts for these three), false, flap, planned, hashes
        """;

    /// <summary>0 when all that was measured met its goal; 1 when not, or something was in the way; 2 for a wrong command line; 130 after a signal.</summary>
    public static async Task<int> Run(string[] args)
    {
        string? json = null;
        var only = Sections;
        var (quick, timeline) = (false, false);
        var (cuts, gib) = (100, 10.0);
        for (var i = 0; i < args.Length; i++)
        {
            var value = i + 1 < args.Length ? args[i + 1] : "";
            switch (args[i])
            {
                case "--json" when value.Length > 0:
                    json = value;
                    i++;
                    break;
                case "--only" when value.Split(',') is var wanted && wanted.All(Sections.Contains):
                    only = wanted;
                    i++;
                    break;
                case "--cuts" when int.TryParse(value, out cuts) && cuts is > 0 and <= 10_000:
                    i++;
                    break;
                case "--bytes" when double.TryParse(value, out gib) && gib is > 0 and <= 10_000:
                    i++;
                    break;
                case "--quick":
                    quick = true;
                    break;
                case "--timeline":
                    timeline = true;
                    break;
                default:
                    Console.Error.WriteLine($"unknown or wrong: {string.Join(' ', args[i..])}\n{Usage}");
                    return 2;
            }
        }

        var run = new FailoverRun(quick ? new Sizes(Math.Min(cuts, 10), 10_000, 20, 4, 1, Math.Min(gib, 0.5), 10) : new Sizes(cuts, 100_000, 120, 20, 3, gib, 100), timeline);
        return await Report.Of(async () =>
        {
            await run.Measure(only);
            return run.Results;
        }, json);
    }
}

/// <summary>How much of everything.</summary>
/// <param name="Cuts">In each direction.</param>
/// <param name="FlapSeconds">Length of the flapping.</param>
/// <param name="CostChanges">Planned moves by a change of cost.</param>
/// <param name="Returns">Planned moves because a link came back.</param>
/// <param name="Faults">During the hashed streams.</param>
public sealed record Sizes(int Cuts, long Probes, int FlapSeconds, int CostChanges, int Returns, double GiB, int Faults);

/// <summary>The sections one after the other, each on a fabric of its own.</summary>
public sealed class FailoverRun(Sizes sizes, bool timeline)
{
    private readonly Progress _progress = new();
    private readonly List<Figure> _figures = [];
    private int _dropped;
    private long _lost;
    private bool _counted;

    /// <summary>What was measured; losses, which all sections count, are the first.</summary>
    public IReadOnlyList<Figure> Results => [.. _counted
        ? [new Figure("lost", _lost + _dropped, "", 0, $"{_lost:N0} bytes lost or doubled, {_dropped} connections dropped, over all sections that were run")]
        : Array.Empty<Figure>(), .. _figures];

    public async Task Measure(string[] sections)
    {
        if (sections.Intersect(["pause", "mirrored", "detect"]).Any())
        {
            await Cuts(sections);
        }

        if (sections.Contains("false"))
        {
            var section = new FalseVerdicts(sizes.Probes, _progress);
            await On(FalseVerdicts.Wires, section.Run, FalseVerdicts.Probes);
            Add("false_verdicts", section.Down, "", 0, $"verdicts down in {section.Sent:N0} probes without a fault, all cores busy; {section.Suspect} times suspect", section.Losses);
            Tell(section.Doubts);
        }

        if (sections.Contains("flap"))
        {
            var section = new Flapping(TimeSpan.FromSeconds(sizes.FlapSeconds), _progress);
            await On(Flapping.Wires, section.Run);
            Add("flap_switches", section.Switches, "", 5, $"switches in {sizes.FlapSeconds} s of the preferred link dark and whole for 0.5 s each", section.Losses);
        }

        if (sections.Contains("planned"))
        {
            var section = new PlannedMoves(sizes.CostChanges, sizes.Returns, _progress);
            await On(PlannedMoves.Wires, section.Run);
            var kinds = section.Pauses().GroupBy(p => p.Kind).Select(g => $"{g.Count()} by {g.Key} {Figures.Number(g.Max(p => p.Ms))}");
            Add("planned_pause_ms", section.Pauses().Max(p => p.Ms), "ms", 25, $"worst connection at the worst planned move: {string.Join(", ", kinds)}", section.Losses);
            Tell(section.Timeline());
        }

        if (sections.Contains("hashes"))
        {
            var section = new HashedStreams((long)(sizes.GiB * (1L << 30)), sizes.Faults, _progress);
            await On(HashedStreams.Wires, section.Run);
            _figures.Add(new Figure("hashes_wrong", section.Wrong, "", 0, $"of {section.Streams} streams, {section.Bytes / (double)(1L << 30):0.0} GiB, over {section.Faults} faults by chance"));
        }

        _progress.Now("");
    }

    private async Task Cuts(string[] sections)
    {
        var mirrored = sections.Contains("mirrored") && FailoverFabric.KnowsMirrored;
        string[] services = [.. sections.Contains("pause") || sections.Contains("detect") ? ["echo"] : Array.Empty<string>(), .. mirrored ? ["mirrored"] : Array.Empty<string>()];
        var series = new CutSeries(sizes.Cuts, _progress);
        if (services.Length > 0)
        {
            await On(CutSeries.Wires, fabric => series.Run(fabric, services), mirrored: mirrored);
            Count((series.Dropped, series.BytesLost));
        }

        if (sections.Contains("pause"))
        {
            var (worst, all) = (series.WorstPauses("echo"), series.AllPauses("echo"));
            _figures.Add(new Figure("pause_p50_ms", Figures.Percentile(worst, 50), "ms", 80,
                $"worst of 50 connections, over {worst.Count} cuts; over every connection and cut {Figures.Number(Figures.Percentile(all, 50))}"));
            _figures.Add(new Figure("pause_p99_ms", Figures.Percentile(worst, 99), "ms", 150,
                $"longest {Figures.Number(worst.Max())}; over every connection and cut {Figures.Number(Figures.Percentile(all, 99))}; RTT 20 ms, bulk 8 MiB/s beside"));
        }

        if (sections.Contains("mirrored"))
        {
            _figures.Add(!mirrored ? new Figure("mirrored_pause_p99_ms", null, "ms", 15, "not measured: the topology has no delivery: mirrored")
                : new Figure("mirrored_pause_p99_ms", Figures.Percentile(series.WorstPauses("mirrored"), 99), "ms", 15,
                    $"p50 {Figures.Number(Figures.Percentile(series.WorstPauses("mirrored"), 50))}, longest {Figures.Number(series.WorstPauses("mirrored").Max())}, over the same cuts; "
                        + $"in as many seconds without a cut: p50 {Figures.Number(Figures.Percentile(series.CalmPauses("mirrored"), 50))}, "
                        + $"p99 {Figures.Number(Figures.Percentile(series.CalmPauses("mirrored"), 99))}"));
        }

        if (sections.Contains("detect"))
        {
            var all = series.Detections();
            var seen = all.OfType<double>().ToArray();
            var missed = all.Count - seen.Length;
            _figures.Add(new Figure("detect_p99_ms", missed > 0 ? null : Figures.Percentile(seen, 99), "ms", 200,
                $"from the cut until the gateways that used the link called it down ({series.Cuts.Count(c => c.Both)} times both); p50 {Figures.Number(Figures.Percentile(seen, 50))}, longest {Figures.Number(seen.Max())}"
                    + (missed > 0 ? $"; {missed} cuts of {all.Count} were not noticed" : "")));
        }

        Tell(services.SelectMany(series.Timeline));
    }

    private void Tell(IEnumerable<string> lines)
    {
        foreach (var line in timeline ? lines : [])
        {
            _progress.Say(line);
        }
    }

    private async Task On(IReadOnlyList<Wire> wires, Func<FailoverFabric, Task> run, string probes = "", bool mirrored = false)
    {
        _progress.Now("two sites are built");
        await FailoverFabric.On(wires, probes, mirrored, async fabric =>
        {
            await run(fabric);
            Tell([await fabric.Garbage()]);
        });
    }

    private void Add(string name, double value, string unit, double goal, string note, (int Dropped, long BytesLost) losses)
    {
        Count(losses);
        _figures.Add(new Figure(name, value, unit, goal, note));
    }

    private void Count((int Dropped, long BytesLost) losses) => (_counted, _dropped, _lost) = (true, _dropped + losses.Dropped, _lost + losses.BytesLost);
}
