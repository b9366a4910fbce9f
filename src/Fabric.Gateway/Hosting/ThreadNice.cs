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

    /// <summary>For what judges links. Of 40 steps by a factor of 1.25, ten up: nine times the share of an ordinary thread, and taken on at once.</summary>
    public const int Judges = -10;

    /// <summary>
    /// For what carries bytes: three times the share of an ordinary thread. A message that waits for a core is as late as one that a link
    /// held up; but bulk must not keep the judges waiting.
    /// </summary>
    public const int Carries = -5;

    /// <summary>
    /// Raises the calling thread, unless it is as high already; false when the system does not permit it, or knows no such thing.
    /// </summary>
    /// <param name="nice">As <see cref="Judges"/> or <see cref="Carries"/>.</param>
    public static bool Raise(int nice) => OperatingSystem.IsLinux()
        && (GetPriority(PrioProcess, 0) <= nice || SetPriority(PrioProcess, 0, nice) == 0);

    [LibraryImport("libc", EntryPoint = "getpriority")]
    private static partial int GetPriority(int which, int who);

    [LibraryImport("libc", EntryPoint = "setpriority")]
    private static partial int SetPriority(int which, int who, int nice);
}
