using Fabric.Lab.Processes;

namespace Fabric.Lab.Measurement;

/// <summary>The end of a program that measures.</summary>
public static class Report
{
    /// <summary>
    /// Measures, prints the table, and writes the figures to that file if there is one. 0 when all met their goals; 1 when not, or something
    /// was in the way; 130 after a signal.
    /// </summary>
    /// <param name="measure">Measures.</param>
    /// <param name="json">The file, or null.</param>
    /// <param name="table">Shows the figures in its own way; null: <see cref="Figures.Table"/>.</param>
    public static async Task<int> Of(
        Func<Task<IReadOnlyList<Figure>>> measure, string? json, Func<IReadOnlyList<Figure>, IEnumerable<string>>? table = null)
    {
        IReadOnlyList<Figure> figures;
        try
        {
            figures = await measure();
        }
        catch (OperationCanceledException)
        {
            Console.Error.WriteLine("interrupted: everything was removed");
            return 130;
        }
        catch (LabException e)
        {
            Console.Error.WriteLine($"error: {e.Message}");
            return 1;
        }

        foreach (var line in (table ?? Figures.Table)(figures))
        {
            Console.WriteLine(line);
        }

        if (json is not null)
        {
            await File.WriteAllTextAsync(json, Figures.Json(figures));
        }

        return figures.All(f => f.Met) ? 0 : 1;
    }
}
