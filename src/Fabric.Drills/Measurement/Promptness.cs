using System.Runtime.InteropServices;

namespace Fabric.Drills.Measurement;

/// <summary>Threads that take note of arrivals go before ordinary ones: what waits for a core would be taken for the network's.</summary>
internal static partial class Promptness
{
    private const int Process = 0;

    // As the gateway's probes.
    private const int Nice = -10;

    /// <summary>
    /// Puts the calling thread, and no other one, before ordinary ones (setpriority(2): a nice value is a thread's on Linux). It must sleep most
    /// of the time. Where it may not (CAP_SYS_NICE), or elsewhere than on Linux, it goes on as it was.
    /// </summary>
    public static void Raise()
    {
        if (OperatingSystem.IsLinux())
        {
            _ = SetPriority(Process, 0, Nice);
        }
    }

    [LibraryImport("libc", EntryPoint = "setpriority")]
    private static partial int SetPriority(int which, int who, int priority);
}
