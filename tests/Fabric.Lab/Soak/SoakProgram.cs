using System.Globalization;

using Fabric.Lab.Failover;
using Fabric.Lab.Measurement;

namespace Fabric.Lab.Soak;

/// <summary><c>soak</c>, as <c>scripts/bench.sh soak</c> calls it: what grows while two gateways work for a long time.</summary>
public static class SoakProgram
{
    private const string Usage = "usage: soak [--json FILE] [--minutes N]";

    /// <summary>As <see cref="Report.Of"/>; 2 for a wrong command line.</summary>
    public static async Task<int> Run(string[] args)
    {
        string? json = null;
        var minutes = 60;
        for (var i = 0; i < args.Length; i += 2)
        {
            var value = i + 1 < args.Length ? args[i + 1] : "";
            switch (args[i])
            {
                case "--json" when value.Length > 0:
                    json = value;
                    break;
                case "--minutes" when int.TryParse(value, CultureInfo.InvariantCulture, out minutes) && minutes is >= 2 and <= 100_000:
                    break;
                default:
                    Console.Error.WriteLine($"unknown or wrong: {string.Join(' ', args[i..])}\n{Usage}");
                    return 2;
            }
        }

        var run = new SoakRun(TimeSpan.FromMinutes(minutes), new Progress());
        return await Report.Of(async () =>
        {
            await FailoverFabric.On(SoakRun.Wires, "", mirrored: false, run.Run);
            foreach (var line in run.Losses.Concat(run.Growths.SelectMany(g => g.Lines())))
            {
                Console.WriteLine(line);
            }

            return run.Results;
        }, json);
    }
}
