using System.Globalization;

using Fabric.Lab.Measurement;
using Fabric.Lab.Processes;

namespace Fabric.Lab.TunnelBench;

/// <summary><c>tunnel</c>, as <c>scripts/bench.sh tunnel</c> calls it: the tunnel beside what users would put there instead.</summary>
public static class TunnelProgram
{
    private const string Usage = """
        usage: tunnel [--json FILE] [--only FIGURE,...] [--quick] [--rounds N] [--driver auto|portable|linux|both]

          figures: bulk_1, cpu_per_gib, bulk_8, rps_32, p99_32, mixed_p99, mixed_rps, conns_per_s, idle_kib, rss_after_load,
                   telemetry_throughput_cost, telemetry_cpu_cost
        """;

    /// <summary>0 when all that was measured met its goal; 1 when not, or something was in the way; 2 for a wrong command line; 130 after a signal.</summary>
    public static async Task<int> Run(string[] args)
    {
        string? json = null;
        string[] only = [.. Measure.Names];
        string[] drivers = ["portable", "auto"];
        var quick = false;
        var rounds = 0;
        for (var i = 0; i < args.Length; i++)
        {
            var value = i + 1 < args.Length ? args[i + 1] : "";
            switch (args[i])
            {
                case "--json" when value.Length > 0:
                    json = value;
                    i++;
                    break;
                case "--only" when value.Split(',') is var wanted && wanted.All(Measure.Names.Contains):
                    only = wanted;
                    i++;
                    break;
                case "--rounds" when int.TryParse(value, CultureInfo.InvariantCulture, out rounds) && rounds is > 0 and <= 1_000:
                    i++;
                    break;
                case "--driver" when value is "auto" or "portable" or "linux" or "both":
                    drivers = value == "both" ? drivers : [value];
                    i++;
                    break;
                case "--quick":
                    quick = true;
                    break;
                default:
                    Console.Error.WriteLine($"unknown or wrong: {string.Join(' ', args[i..])}\n{Usage}");
                    return 2;
            }
        }

        var sizes = quick ? new Sizes(TimeSpan.FromSeconds(0.2), TimeSpan.FromSeconds(0.5), 200) : new Sizes(TimeSpan.FromSeconds(0.5), TimeSpan.FromSeconds(2), 2_000);
        // What tidies up afterwards is outside: a signal does not stop it.
        await using var run = new TunnelRun(sizes, rounds > 0 ? rounds : quick ? 1 : 5, drivers);
        return await Report.Of(async () =>
        {
            await Interruption.Guard(() => run.Measure(only));
            run.Failures.ForEach(Console.Error.WriteLine);
            return Measure.All.Where(m => only.Contains(m.Name)).Select(m => run.Results.Verdict(run.Fabrics[^1], m)).OfType<Figure>().ToArray();
        }, json, _ => Tables.Values(run.Results, run.Columns).Append("").Concat(Tables.Ratios(run.Results, run.Fabrics)).Append(Tables.Legend(sizes.Connections)));
    }
}
