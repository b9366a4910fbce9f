namespace Fabric.Gateway.Hosting;

/// <summary>
/// Gives memory back after a load: the runtime collects garbage when it needs room, and a daemon that has become quiet needs none. When
/// much was allocated since the last time and little of it lately, everything is collected once, and what it frees goes back to the
/// system. Never in the middle of work, for it stops the process for some milliseconds.
/// </summary>
internal sealed class IdleCollector : IDisposable
{
    /// <summary>How often it looks.</summary>
    public static readonly TimeSpan Period = TimeSpan.FromSeconds(2);

    /// <summary>Bytes allocated in a period that are little.</summary>
    public const long Little = 512 * 1024;

    /// <summary>Bytes allocated since the last time that are worth a collection.</summary>
    public const long Much = 8 * 1024 * 1024;

    private readonly Func<long> _allocated;
    private readonly Action _collect;
    private readonly ITimer _timer;
    private long _before;
    private long _collectedAt;

    public IdleCollector(TimeProvider time)
        : this(time, static () => GC.GetTotalAllocatedBytes(), static () => GC.Collect(GC.MaxGeneration, GCCollectionMode.Aggressive, true, true))
    {
    }

    /// <param name="time">Of the timer.</param>
    /// <param name="allocated">Bytes allocated since the start of the process.</param>
    /// <param name="collect">Collects everything.</param>
    public IdleCollector(TimeProvider time, Func<long> allocated, Action collect)
    {
        (_allocated, _collect, _before) = (allocated, collect, allocated());
        _timer = time.CreateTimer(static s => ((IdleCollector)s!).Look(), this, Period, Period);
    }

    private void Look()
    {
        var now = _allocated();
        var lately = now - _before;
        _before = now;
        if (lately < Little && now - _collectedAt >= Much)
        {
            _collectedAt = now;
            _collect();
        }
    }

    public void Dispose() => _timer.Dispose();
}
