using System.Runtime.InteropServices;

namespace Fabric.Gateway.Hosting;

/// <summary>
/// Gives memory back after a load: the runtime collects garbage when it needs room, and a daemon that has become quiet needs none. When
/// much was allocated since the last time and little of it lately, everything is collected once, and what it frees goes back to the
/// system, as do the pages of files that it used once (<see cref="MappedFiles"/>). What ends a load comes back for it, compilers above all, and goes
/// again: after a period, after two, four and so on, at last once a minute, so that an idle daemon holds what it used lately. Never while streams
/// carry anything, for it stops the process for some ten milliseconds: carrying allocates nothing, so that is asked for by itself.
/// </summary>
internal sealed partial class IdleCollector : IDisposable
{
    /// <summary>How often it looks.</summary>
    public static readonly TimeSpan Period = TimeSpan.FromSeconds(2);

    /// <summary>Bytes allocated in a period that are little.</summary>
    public const long Little = 512 * 1024;

    /// <summary>Bytes allocated since the last time that are worth a collection.</summary>
    public const long Much = 2 * 1024 * 1024;

    /// <summary>Bytes of streams in a period that are nothing: what gateways tell each other.</summary>
    public const long Nothing = 64 * 1024;

    /// <summary>Periods after which what is not in use is let go of again, at last.</summary>
    public const int Longest = 32;

    private readonly Func<long> _allocated;
    private readonly Func<long> _carried;
    private readonly Action _collect;
    private readonly Action _letGoAgain;
    private readonly ITimer _timer;
    private long _before;
    private long _carriedBefore;
    private long _collectedAt;
    private int _pause;
    private int _left;

    /// <param name="time">Of the timer.</param>
    /// <param name="carried">Bytes of streams carried since the start of the process.</param>
    /// <param name="letGo">Lets go of buffers that are kept for reuse.</param>
    public IdleCollector(TimeProvider time, Func<long> carried, Action letGo)
        : this(time, carried, static () => GC.GetTotalAllocatedBytes(), new MappedFiles(), letGo)
    {
    }

    private IdleCollector(TimeProvider time, Func<long> carried, Func<long> allocated, MappedFiles files, Action letGo)
        : this(time, carried, allocated, () => Collect(letGo, files), () => GiveBack(files))
    {
        // Files are first looked at by the collection that follows the start, and let go of a period later: it takes some ten milliseconds.
    }

    /// <param name="time">Of the timer.</param>
    /// <param name="carried">Bytes of streams carried since the start of the process.</param>
    /// <param name="allocated">Bytes allocated since the start of the process.</param>
    /// <param name="collect">Collects everything.</param>
    /// <param name="letGoAgain">Lets go of what has not been in use since, without a collection.</param>
    public IdleCollector(TimeProvider time, Func<long> carried, Func<long> allocated, Action collect, Action letGoAgain)
    {
        (_carried, _allocated, _collect, _letGoAgain) = (carried, allocated, collect, letGoAgain);
        (_before, _carriedBefore) = (allocated(), carried());
        // Starting was a load as well: what it left is out of the way of later, small collections.
        _collectedAt = _before - Much;
        _timer = time.CreateTimer(static s => ((IdleCollector)s!).Look(), this, Period, Period);
    }

    private void Look()
    {
        var (now, carriedNow) = (_allocated(), _carried());
        var (lately, carriedLately) = (now - _before, carriedNow - _carriedBefore);
        (_before, _carriedBefore) = (now, carriedNow);
        if (carriedLately >= Nothing || lately >= Little)
        {
            return;
        }

        if (now - _collectedAt >= Much)
        {
            (_collectedAt, _pause, _left) = (now, 1, 1);
            _collect();
        }
        else if (_pause > 0 && --_left == 0)
        {
            _left = _pause = Math.Min(2 * _pause, Longest);
            _letGoAgain();
        }
    }

    private static void Collect(Action letGo, MappedFiles files)
    {
        letGo();
        GC.Collect(GC.MaxGeneration, GCCollectionMode.Aggressive, blocking: true, compacting: true);
        GiveBack(files);
    }

    private static void GiveBack(MappedFiles files)
    {
        if (OperatingSystem.IsLinux())
        {
            try
            {
                // What native code has freed, glibc keeps for itself, in a heap for each thread.
                _ = TrimHeaps(0);
            }
            catch (EntryPointNotFoundException)
            {
                // Another C library, which keeps less.
            }
        }

        files.LetGo();
    }

    [LibraryImport("libc", EntryPoint = "malloc_trim")]
    private static partial int TrimHeaps(nuint keep);

    public void Dispose() => _timer.Dispose();
}
