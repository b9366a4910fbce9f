using System.Runtime.InteropServices;

namespace Fabric.Gateway.Hosting;

/// <summary>Lets one thread go before the others of the machine, where the system permits it.</summary>
/// <remarks>
/// .NET ignores <see cref="Thread.Priority"/> on Linux. A nice value is a property of one thread there (setpriority(2), NOTES), and
/// needs CAP_SYS_NICE or RLIMIT_NICE (systemd: LimitNICE). Not SCHED_FIFO: whoever floods the probe port would then take a whole
/// core from all that carries bytes.
/// </remarks>
internal static partial class ThreadNice
{
    private const int PrioProcess = 0;

    /// <summary>Of 40 steps by a factor of 1.25, ten up: nine times the share of an ordinary thread, and taken on at once.</summary>
    private const int Nice = -10;

    /// <summary>
    /// Raises the calling thread, unless it is as high already; false when the system does not permit it, or knows no such thing.
    /// </summary>
    public static bool Raise() => OperatingSystem.IsLinux()
        && (GetPriority(PrioProcess, 0) <= Nice || SetPriority(PrioProcess, 0, Nice) == 0);

    [LibraryImport("libc", EntryPoint = "getpriority")]
    private static partial int GetPriority(int which, int who);

    [LibraryImport("libc", EntryPoint = "setpriority")]
    private static partial int SetPriority(int which, int who, int nice);
}
