namespace Fabric.Overlay.Devices;

/// <summary>What this process may do.</summary>
internal static class Privilege
{
    private const int NetAdmin = 12;

    /// <summary>Null when interfaces can be made; else why not.</summary>
    public static string? WhyNoInterfaces()
    {
        if (!OperatingSystem.IsLinux())
        {
            return "it works on Linux only";
        }

        var line = File.ReadLines("/proc/self/status").FirstOrDefault(l => l.StartsWith("CapEff:", StringComparison.Ordinal));
        var effective = line is null ? 0 : Convert.ToUInt64(line[7..].Trim(), 16);
        return (effective >> NetAdmin & 1) == 1 ? null
            : "the process has no CAP_NET_ADMIN; run it as root or grant that capability";
    }
}
