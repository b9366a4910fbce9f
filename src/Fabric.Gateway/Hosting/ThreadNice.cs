using System.Runtime.InteropServices;

namespace Fabric.Gateway.Hosting;

/// <summary>
/// Lets a thread, and those that it starts from then on, go before the others of the machine, where the system permits it.
/// </summary>
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
    /// For the loops that carry bytes, six times: a message that waits for a core is as late as one that a link held up. But bulk must not
    /// keep the judges waiting.
    /// </summary>
    public const int Carries = -8;

    /// <summary>
    /// For all else of the daemon, three times: while garbage is collected every thread waits for the one that does it, whichever that is. But
    /// a topology that is read anew must not keep waiting what is carried.
    /// </summary>
    public const int Daemon = -5;

    /// <summary>What the daemon was started with: nothing of it goes below.</summary>
    private static readonly int _started = OperatingSystem.IsLinux() ? GetPriority(PrioProcess, 0) : 0;

    /// <summary>
    /// Puts the calling thread there, from above or below: it has inherited what the thread has that started it. False when the system does
    /// not permit it, or knows no such thing.
    /// </summary>
    /// <param name="nice">As <see cref="Judges"/>, <see cref="Carries"/> or <see cref="Daemon"/>.</param>
    public static bool Set(int nice) => OperatingSystem.IsLinux()
        && (GetPriority(PrioProcess, 0) is var now && Math.Min(nice, _started) is var wanted
            && (now == wanted || SetPriority(PrioProcess, 0, wanted) == 0));

    [LibraryImport("libc", EntryPoint = "getpriority")]
    private static partial int GetPriority(int which, int who);

    [LibraryImport("libc", EntryPoint = "setpriority")]
    private static partial int SetPriority(int which, int who, int nice);
}
