using System.Globalization;

namespace Fabric.Cli.Output;

/// <summary>Numbers as people read them.</summary>
internal static class Units
{
    public static string Milliseconds(double ms) => ms <= 0 ? "-"
        : ms < 10 ? string.Create(CultureInfo.InvariantCulture, $"{ms:0.00} ms")
        : ms < 10_000 ? string.Create(CultureInfo.InvariantCulture, $"{ms:0} ms")
        : Seconds(ms / 1000);

    /// <summary>The two largest units: <c>3d 4h</c>, <c>11h 59m</c>, <c>2m 5s</c>, <c>0.4s</c>.</summary>
    public static string Seconds(double seconds)
    {
        if (seconds < 10)
        {
            return string.Create(CultureInfo.InvariantCulture, $"{Math.Max(0, seconds):0.0}s");
        }

        var span = TimeSpan.FromSeconds(Math.Min(Math.Floor(seconds), 86400d * 36500));
        return span.TotalDays >= 1 ? Two((int)span.TotalDays, "d", span.Hours, "h")
            : span.TotalHours >= 1 ? Two(span.Hours, "h", span.Minutes, "m")
            : span.TotalMinutes >= 1 ? Two(span.Minutes, "m", span.Seconds, "s")
            : $"{span.Seconds}s";
    }

    public static string Percent(double ratio) => string.Create(CultureInfo.InvariantCulture, $"{ratio * 100:0.#} %");

    public static string Bytes(ulong bytes)
    {
        string[] units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
        var (value, unit) = ((double)bytes, 0);
        while (value >= 1024 && unit < units.Length - 1)
        {
            (value, unit) = (value / 1024, unit + 1);
        }

        return string.Create(CultureInfo.InvariantCulture, $"{value:0.#} {units[unit]}");
    }

    private static string Two(int large, string largeUnit, int small, string smallUnit) =>
        small == 0 ? $"{large}{largeUnit}" : $"{large}{largeUnit} {small}{smallUnit}";
}
