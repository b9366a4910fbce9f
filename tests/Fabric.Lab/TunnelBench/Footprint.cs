using System.Globalization;

namespace Fabric.Lab.TunnelBench;

/// <summary>What processes have taken of the machine: those that were started, and all that they have started since.</summary>
/// <param name="groups">Process groups, each by the number of its leader.</param>
public sealed class Footprint(IReadOnlyCollection<int> groups)
{
    // USER_HZ, in which /proc counts, is 100 on every architecture of .NET.
    private const double TicksPerSecond = 100;

    private readonly int[] _processes = [.. Directory.EnumerateDirectories("/proc")
        .Select(d => int.TryParse(Path.GetFileName(d), CultureInfo.InvariantCulture, out var pid) ? pid : 0)
        .Where(pid => pid > 0 && Stat(pid) is { } stat && groups.Contains(int.Parse(stat[2], CultureInfo.InvariantCulture)))];

    /// <summary>User and system time of all threads until now.</summary>
    public double CpuSeconds => _processes.Sum(pid => Stat(pid) is { } stat
        ? (long.Parse(stat[11], CultureInfo.InvariantCulture) + long.Parse(stat[12], CultureInfo.InvariantCulture)) / TicksPerSecond : 0);

    /// <summary>Resident memory now, in KiB.</summary>
    public long ResidentKib => _processes.Sum(pid => File.ReadLines($"/proc/{pid}/smaps_rollup")
        .Where(l => l.StartsWith("Rss:", StringComparison.Ordinal))
        .Sum(l => long.Parse(l["Rss:".Length..].Replace("kB", ""), CultureInfo.InvariantCulture)));

    /// <summary>The fields of <c>/proc/PID/stat</c> after the name: state, parent, group; the 12th and 13th are the times. Null when it is gone.</summary>
    private static string[]? Stat(int pid)
    {
        try
        {
            var stat = File.ReadAllText($"/proc/{pid}/stat");
            return stat[(stat.LastIndexOf(')') + 2)..].Split(' ');
        }
        catch (IOException)
        {
            return null;
        }
    }
}
