using System.Globalization;

using Fabric.Lab.Measurement;

namespace Fabric.Lab.Soak;

/// <summary>What a process holds at one moment.</summary>
/// <param name="Resident">KiB.</param>
/// <param name="Private">KiB that no other process has a part of.</param>
public readonly record struct Holding(double Resident, double Private, double Descriptors)
{
    public static Holding Of(int pid)
    {
        var memory = File.ReadLines($"/proc/{pid}/smaps_rollup").Select(l => l.Split(':', 2)).Where(l => l.Length == 2)
            .ToDictionary(l => l[0], l => l[1].Replace("kB", "").Trim());
        double Kib(string name) => double.Parse(memory[name], CultureInfo.InvariantCulture);
        return new Holding(Kib("Rss"), Kib("Private_Clean") + Kib("Private_Dirty"), Directory.GetFiles($"/proc/{pid}/fd").Length);
    }
}

/// <summary>
/// What a process held over time. The first quarter of that is for warming up; growth is what the last holds more than the second, by
/// their medians, so that a fault that is going on counts for nothing.
/// </summary>
public sealed class Growth(string name)
{
    private readonly List<Holding> _samples = [];

    public void Add(Holding sample) => _samples.Add(sample);

    /// <summary>Last quarter to second.</summary>
    public double OfResident => Median(3, h => h.Resident) / Median(1, h => h.Resident);

    /// <inheritdoc cref="OfResident"/>
    public double OfPrivate => Median(3, h => h.Private) / Median(1, h => h.Private);

    /// <summary>Last quarter less second.</summary>
    public double OfDescriptors => Median(3, h => h.Descriptors) - Median(1, h => h.Descriptors);

    /// <summary>Its quarters, for a person.</summary>
    public IEnumerable<string> Lines()
    {
        yield return $"{name,-16}{"resident",12}{"private",12}{"descriptors",14}   medians of each quarter of {_samples.Count} samples, MiB";
        for (var quarter = 0; quarter < 4; quarter++)
        {
            yield return $"  quarter {quarter + 1,-6}{Figures.Number(Median(quarter, h => h.Resident) / 1024),12}"
                + $"{Figures.Number(Median(quarter, h => h.Private) / 1024),12}{Figures.Number(Median(quarter, h => h.Descriptors)),14}";
        }
    }

    private double Median(int quarter, Func<Holding, double> what) => Figures.Percentile(
        [.. _samples.Skip(_samples.Count * quarter / 4).Take(_samples.Count * (quarter + 1) / 4 - _samples.Count * quarter / 4).Select(what)], 50);
}
