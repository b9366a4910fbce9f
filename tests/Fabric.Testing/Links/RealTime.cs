namespace Fabric.Testing.Links;

/// <summary>Threads that must not wait for others: those that are the network, and those that measure.</summary>
public static class RealTime
{
    /// <summary>
    /// Puts the calling thread under SCHED_FIFO, before all ordinary ones. It must sleep most of the time. False when it may not
    /// (CAP_SYS_NICE); then it goes on as it was.
    /// </summary>
    public static unsafe bool Raise()
    {
        var priority = 10;
        return OperatingSystem.IsLinux() && Posix.sched_setscheduler(0, Posix.SCHED_FIFO, &priority) == 0;
    }
}
