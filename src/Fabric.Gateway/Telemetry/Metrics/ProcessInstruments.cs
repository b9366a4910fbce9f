using System.Diagnostics;
using System.Globalization;

namespace Fabric.Gateway.Telemetry.Metrics;

/// <summary>The process, by the semantic conventions for process metrics. What the runtime tells of itself is in its own meter, <c>System.Runtime</c>.</summary>
internal static class ProcessInstruments
{
    public static void Create(GatewayMeter meter)
    {
        meter.Total<(string Mode, TimeSpan Time)>("process.cpu.time", "s", "Time on processors.", ["cpu.mode"],
            _ => [("user", Environment.CpuUsage.UserTime), ("system", Environment.CpuUsage.PrivilegedTime)], c => c.Time.TotalSeconds, c => [c.Mode]);
        meter.Count("process.memory.usage", "By", "Physical memory in use.", _ => Environment.WorkingSet);
        meter.Count("process.memory.virtual", "By", "Virtual memory committed.", _ => Of(static p => p.VirtualMemorySize64));
        meter.Count("process.thread.count", "{thread}", "Threads.", _ => Threads());
        meter.Count("process.unix.file_descriptor.count", "{file_descriptor}", "File descriptors in use, sockets among them; 0 where that is not known.",
            _ => OperatingSystem.IsLinux() ? Directory.EnumerateFileSystemEntries("/proc/self/fd").Count() : 0);
        meter.Gauge("process.uptime", "s", "Time since the daemon started.", now => now.Status.UptimeSeconds);
    }

    private static double Of(Func<Process, double> value)
    {
        using var process = Process.GetCurrentProcess();
        return value(process);
    }

    /// <summary>The kernel's own count; listing them all is dear.</summary>
    private static double Threads()
    {
        const string field = "Threads:";
        return OperatingSystem.IsLinux() && File.ReadLines("/proc/self/status").FirstOrDefault(l => l.StartsWith(field, StringComparison.Ordinal)) is { } line
            ? double.Parse(line.AsSpan(field.Length), NumberStyles.AllowLeadingWhite, CultureInfo.InvariantCulture) : Of(static p => p.Threads.Count);
    }
}
