using System.Runtime.InteropServices;

namespace Fabric.Drills.Measurement;

/// <summary>Threads that take note of arrivals go before ordinary ones: what waits for a core would be taken for the network's.</summary>
internal static partial class Promptness
{
    private const int Process = 0;

    /// <summary>As the gateway's own probes of links: for what sleeps most of the time.</summary>
    public const int Few = -10;

    /// <summary>For readers of a stream that is as fast as it can be: after the gateway's loops that carry it.</summary>
    public const int Many = -5;

    /// <summary>
    /// Puts the calling thread, and no other one, before ordinary ones (setpriority(2): a nice value is a thread's on Linux). Where it may not
    /// (CAP_SYS_NICE), or elsewhere than on Linux, it goes on as it was.
    /// </summary>
    public static void Raise(int nice)
    {
        if (OperatingSystem.IsLinux())
        {
            _ = SetPriority(Process, 0, nice);
        }
    }

    [LibraryImport("libc", EntryPoint = "setpriority")]
    private static partial int SetPriority(int which, int who, int priority);
}
