using System.Globalization;

namespace Fabric.Drills.Guards;

/// <summary>Numbers in sentences.</summary>
internal static class Words
{
    public static string Number(double value) => value.ToString("0.#", CultureInfo.InvariantCulture);

    public static string Span(TimeSpan span) => span < TimeSpan.FromMinutes(2) ? $"{Number(span.TotalSeconds)} s"
        : span < TimeSpan.FromHours(2) ? $"{Number(span.TotalMinutes)} min" : $"{Number(span.TotalHours)} h";

    public static string Bits(double bitsPerSecond) => bitsPerSecond >= 1e9 ? $"{Number(bitsPerSecond / 1e9)} Gbit/s"
        : bitsPerSecond >= 1e6 ? $"{Number(bitsPerSecond / 1e6)} Mbit/s" : $"{Number(bitsPerSecond / 1e3)} kbit/s";

    public static string Milliseconds(double ms) => $"{Number(ms)} ms";
}
