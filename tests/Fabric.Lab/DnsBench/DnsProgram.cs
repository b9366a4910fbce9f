using System.Globalization;

using Fabric.Lab.Measurement;
using Fabric.Lab.Processes;

namespace Fabric.Lab.DnsBench;

/// <summary><c>dns</c>, as <c>scripts/bench.sh dns</c> calls it: our name server beside four others.</summary>
public static class DnsProgram
{
    private const string Usage = "usage: dns [--json FILE] [--quick] [--rounds N] [--names N,...] [--threads N,...]";

    /// <summary>0 when all met its goal; 1 when not, or something was in the way; 2 for a wrong command line; 130 after a signal.</summary>
    public static async Task<int> Run(string[] args)
    {
        string? json = null;
        int[] sizes = [1_000, 100_000];
        int[] threads = [1, 2];
        var (quick, rounds) = (false, 0);
        for (var i = 0; i < args.Length; i++)
        {
            var value = i + 1 < args.Length ? args[i + 1] : "";
            switch (args[i])
            {
                case "--json" when value.Length > 0:
                    json = value;
                    i++;
                    break;
                case "--rounds" when int.TryParse(value, CultureInfo.InvariantCulture, out rounds) && rounds is > 0 and <= 1_000:
                    i++;
                    break;
                case "--names" when Numbers(value, 1_000_000) is { } given:
                    sizes = given;
                    i++;
                    break;
                case "--threads" when Numbers(value, 64) is { } given:
                    threads = given;
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

        var run = new DnsRun(quick ? 1 : 5, rounds > 0 ? rounds : quick ? 1 : 5, [.. sizes.SelectMany(s => threads.Select(t => new DnsCase(s, t)))]);
        return await Report.Of(async () =>
        {
            IReadOnlyList<Figure> figures = [];
            await Interruption.Guard(async () => figures = await run.Measure());
            return figures;
        }, json, figures => run.Table().Append("").Concat(Figures.Table(figures)));
    }

    /// <summary>Null when one is none, or not between 1 and the most.</summary>
    private static int[]? Numbers(string value, int most)
    {
        var numbers = value.Split(',').Select(v => int.TryParse(v, CultureInfo.InvariantCulture, out var n) ? n : 0).ToArray();
        return numbers.All(n => n > 0 && n <= most) ? numbers : null;
    }
}
