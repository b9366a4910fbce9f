using System.Globalization;
using System.Text.Json;

namespace Fabric.Lab.Measurement;

/// <summary>One measured figure.</summary>
/// <param name="Value">Null when it could not be measured, and the note says why.</param>
public sealed record Figure(string Name, double? Value, string Unit, double Goal, string Note)
{
    /// <summary>Whether more is better: it is met when it is at least the goal, otherwise when it is at most the goal.</summary>
    public bool AtLeast { get; init; }

    public bool Met => AtLeast ? Value >= Goal : Value <= Goal;

    public string GoalText => $"{(AtLeast ? "≥" : "≤")} {Figures.Number(Goal)}";
}

/// <summary>What the whole benchmark found.</summary>
public static class Figures
{
    /// <summary>The p-th percentile (0 to 100), by nearest rank: a value that was really seen. NaN of nothing.</summary>
    public static double Percentile(IReadOnlyCollection<double> values, double p) => values.Count == 0 ? double.NaN
        : values.Order().ElementAt(Math.Clamp((int)Math.Ceiling(p / 100 * values.Count) - 1, 0, values.Count - 1));

    /// <summary>Lines for a person.</summary>
    public static IEnumerable<string> Table(IReadOnlyList<Figure> figures)
    {
        yield return $"{"figure",-24}{"value",12} {"unit",-8}{"goal",9}  {"",-7} what";
        foreach (var figure in figures)
        {
            yield return $"{figure.Name,-24}{Number(figure.Value),12} {figure.Unit,-8}{figure.GoalText,9}  {(figure.Met ? "met" : "not met"),-7} {figure.Note}";
        }
    }

    /// <summary><c>{"figures": [{"name", "value", "unit", "goal", "met"}]}</c></summary>
    public static string Json(IReadOnlyList<Figure> figures) => JsonSerializer.Serialize(new
    {
        figures = figures.Select(f => new
        {
            name = f.Name,
            value = f.Value is { } v ? Math.Round(v, 2) : (double?)null,
            unit = f.Unit,
            goal = f.Goal,
            met = f.Met,
        }),
    }, new JsonSerializerOptions { WriteIndented = true }) + "\n";

    public static string Number(double? value) => value is not { } v ? "–" : v.ToString("#,0.##", CultureInfo.InvariantCulture);
}

/// <summary>Where the run is: one line that replaces itself on a terminal, nothing in a pipe.</summary>
public sealed class Progress
{
    private readonly bool _shown = !Console.IsErrorRedirected;

    public void Now(string text)
    {
        if (_shown)
        {
            Console.Error.Write($"\r\e[K{text}");
        }
    }

    /// <summary>A line that stays.</summary>
    public void Say(string text)
    {
        Now("");
        Console.WriteLine(text);
    }
}
