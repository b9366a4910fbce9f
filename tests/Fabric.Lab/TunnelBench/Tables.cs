using System.Globalization;

using Fabric.Lab.Measurement;

namespace Fabric.Lab.TunnelBench;

/// <summary>Lines for a person.</summary>
public static class Tables
{
    /// <summary>Medians over rounds, each with its spread under it.</summary>
    public static IEnumerable<string> Values(Results results, IReadOnlyList<string> columns)
    {
        yield return $"{"",-24}{string.Concat(columns.Select(c => $"{c,17}"))}";
        foreach (var measure in Measure.All.Where(m => columns.Any(c => results.Values(c, m.Name).Count > 0)))
        {
            var values = columns.Select(c => results.Values(c, measure.Name)).ToArray();
            yield return Row($"{measure.Name}, {measure.Unit}", values, v => v.Count == 0 ? "–" : Number(Figures.Percentile(v, 50)), measure.What);
            if (values.Any(v => v.Count > 1))
            {
                yield return Row("", values, v => v.Count < 2 ? "" : $"{Number(v.Min())}..{Number(v.Max())}", "");
            }
        }
    }

    /// <summary>The figures that have goals; the goals are the last column's.</summary>
    public static IEnumerable<string> Ratios(Results results, IReadOnlyList<string> fabrics)
    {
        yield return $"{"ratio to the best peer",-24}{string.Concat(fabrics.Select(f => $"{f,17}"))}{"goal",9}  {"",-7} spread";
        foreach (var measure in Measure.All)
        {
            if (results.Verdict(fabrics[^1], measure) is { } figure)
            {
                var ratios = fabrics.Select(f => results.Verdict(f, measure)!.Value);
                yield return $"{measure.Name,-24}{string.Concat(ratios.Select(r => $"{(r is { } x ? Number(x) : "–"),17}"))}{figure.GoalText,9}  {(figure.Met ? "met" : "not met"),-7} {figure.Note}";
            }
        }
    }

    public static string Legend(int connections) =>
        $"Medians over rounds, under them the least and the most. idle_kib is absolute, over {connections.ToString("N0", CultureInfo.InvariantCulture)} connections; rss_after_load is to HAProxy.";

    private static string Row(string name, IEnumerable<IReadOnlyList<double>> values, Func<IReadOnlyList<double>, string> text, string what) =>
        $"{name,-24}{string.Concat(values.Select(v => $"{text(v),17}"))}  {what}".TrimEnd();

    /// <summary>Three digits that count.</summary>
    private static string Number(double value) => value.ToString(Math.Abs(value) switch
    {
        >= 100 => "#,0",
        >= 10 => "0.0",
        _ => "0.00",
    }, CultureInfo.InvariantCulture);
}
