using System.Runtime.InteropServices;

namespace Fabric.Gateway.Hosting;

/// <summary>
/// Gives memory back after a load: the runtime collects garbage when it needs room, and a daemon that has become quiet needs none. When
/// much was allocated since the last time and little of it lately, everything is collected once, and what it frees goes back to the
/// system, as do the pages of files that it used once (<see cref="MappedFiles"/>). Never while streams carry anything, for it stops the process for some ten milliseconds: carrying allocates nothing, so that is
/// asked for by itself.
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

    private readonly Func<long> _allocated;
    private readonly Func<long> _carried;
    private readonly Action _collect;
    private Action? _first;
    private readonly ITimer _timer;
    private long _before;
    private long _carriedBefore;
    private long _collectedAt;

    /// <param name="time">Of the timer.</param>
    /// <param name="carried">Bytes of streams carried since the start of the process.</param>
    /// <param name="letGo">Lets go of buffers that are kept for reuse.</param>
    public IdleCollector(TimeProvider time, Func<long> carried, Action letGo)
        : this(time, carried, letGo, new MappedFiles())
    {
    }

    private IdleCollector(TimeProvider time, Func<long> carried, Action letGo, MappedFiles files)
        : this(time, carried, static () => GC.GetTotalAllocatedBytes(), () => Collect(letGo, files), () => files.LetGo())
    {
    }

    /// <param name="time">Of the timer.</param>
    /// <param name="carried">Bytes of streams carried since the start of the process.</param>
    /// <param name="allocated">Bytes allocated since the start of the process.</param>
    /// <param name="collect">Collects everything.</param>
    /// <param name="first">Once before that, in an earlier period: looks at what is there. It takes some ten milliseconds, which the start should not.</param>
    public IdleCollector(TimeProvider time, Func<long> carried, Func<long> allocated, Action collect, Action? first = null)
    {
        (_carried, _allocated, _collect, _first) = (carried, allocated, collect, first);
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
        if (carriedLately >= Nothing)
        {
            return;
        }

        if (_first is { } first)
        {
            _first = null;
            first();
        }
        else if (lately < Little && now - _collectedAt >= Much)
        {
            _collectedAt = now;
            _collect();
        }
    }

    private static void Collect(Action letGo, MappedFiles files)
    {
        letGo();
        GC.Collect(GC.MaxGeneration, GCCollectionMode.Aggressive, blocking: true, compacting: true);
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
