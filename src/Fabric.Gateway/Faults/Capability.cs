using System.Globalization;

namespace Fabric.Gateway.Faults;

/// <summary>One of the parts of root's power (capabilities(7)), and whether this process has it in force.</summary>
/// <param name="Name">As services and containers are given it.</param>
/// <param name="Bit">Its number in the kernel.</param>
internal sealed record Capability(string Name, int Bit)
{
    public static readonly Capability NetAdmin = new("CAP_NET_ADMIN", 12);
    public static readonly Capability NetRaw = new("CAP_NET_RAW", 13);

    private const string Effective = "CapEff:";

    /// <summary>Null when this process has it, or where nobody says; else why not, with a hint.</summary>
    public string? WhyNot(string whatFor)
    {
        try
        {
            return OperatingSystem.IsLinux() ? WhyNot(whatFor, File.ReadAllText("/proc/self/status")) : null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // What needs it says so when it is tried.
            return null;
        }
    }

    /// <param name="status">In the format of proc_pid_status(5).</param>
    internal string? WhyNot(string whatFor, string status)
    {
        var line = status.Split('\n').FirstOrDefault(l => l.StartsWith(Effective, StringComparison.Ordinal));
        var has = line is null || !ulong.TryParse(line[Effective.Length..].Trim(), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var effective)
            || (effective >> Bit & 1) == 1;
        return has ? null : $"it needs {Name}, {whatFor}, and fabricd does not have it (hint: with systemd a drop-in with AmbientCapabilities={Name} and "
            + $"CapabilityBoundingSet={Name}; with Kubernetes {Name["CAP_".Length..]} in securityContext.capabilities.add; else run it as root)";
    }
}
