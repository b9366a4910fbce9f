using System.Diagnostics;

namespace Fabric.Tunnel.Linux;

/// <summary>
/// What falls due on a loop: few timers, of sessions, to the millisecond; and many timeouts, of connections, which seldom come to
/// pass, on a wheel of 1/8 s.
/// </summary>
internal sealed class LoopTimers(EventLoop loop)
{
    private const int Spokes = 256;
    private static readonly long _tick = Stopwatch.Frequency / 8;

    private readonly List<LoopTimer> _timers = [];
    private readonly LoopTimeout?[] _wheel = new LoopTimeout?[Spokes];
    private long _nextDue = long.MaxValue;
    private long _turned = Stopwatch.GetTimestamp() / _tick;
    private int _timeouts;

    /// <summary>How long the loop may sleep; −1 for as long as nothing happens.</summary>
    public int Milliseconds()
    {
        var due = Volatile.Read(ref _nextDue);
        due = _timeouts > 0 ? Math.Min(due, (_turned + 1) * _tick) : due;
        if (due == long.MaxValue)
        {
            return -1;
        }

        var left = due - Stopwatch.GetTimestamp();
        return left <= 0 ? 0 : (int)Math.Min(int.MaxValue, (left * 1000 + Stopwatch.Frequency - 1) / Stopwatch.Frequency);
    }

    public void Fire()
    {
        var now = Stopwatch.GetTimestamp();
        if (Volatile.Read(ref _nextDue) <= now)
        {
            Volatile.Write(ref _nextDue, long.MaxValue);
            foreach (var timer in _timers.ToArray())
            {
                timer.FireIfDue(now);
                IsDue(timer.Due);
            }
        }

        for (; _turned < now / _tick; _turned++)
        {
            // One that is due is on this spoke or on one that was turned before; others are full rounds away.
            for (var timeout = _wheel[(_turned + 1) % Spokes]; timeout is not null;)
            {
                var next = timeout.Next;
                if (timeout.Due <= now)
                {
                    Remove(timeout);
                    timeout.Fire();
                }

                timeout = next;
            }
        }
    }

    /// <summary>Something falls due then. From any thread; another's wakes the loop.</summary>
    public void IsDue(long due)
    {
        for (var known = Volatile.Read(ref _nextDue); due < known;)
        {
            var seen = Interlocked.CompareExchange(ref _nextDue, due, known);
            if (seen == known)
            {
                if (!loop.IsHere)
                {
                    loop.Wake();
                }

                return;
            }

            known = seen;
        }
    }

    public void Add(LoopTimer timer) => loop.Post(() => _timers.Add(timer));

    public void Remove(LoopTimer timer) => loop.Post(() => _timers.Remove(timer));

    /// <summary>Arms a timeout that is not armed. On the loop's thread.</summary>
    public void Add(LoopTimeout timeout, TimeSpan after)
    {
        if (_timeouts++ == 0)
        {
            _turned = Stopwatch.GetTimestamp() / _tick;
        }

        timeout.Due = Stopwatch.GetTimestamp() + (long)(after.TotalSeconds * Stopwatch.Frequency);
        timeout.Spoke = (int)((timeout.Due / _tick + 1) % Spokes);
        ref var first = ref _wheel[timeout.Spoke];
        timeout.Next = first;
        if (first is not null)
        {
            first.Before = timeout;
        }

        first = timeout;
    }

    /// <summary>Disarms it, if it is armed. On the loop's thread.</summary>
    public void Remove(LoopTimeout timeout)
    {
        if (timeout.Spoke < 0)
        {
            return;
        }

        _timeouts--;
        if (timeout.Before is { } before)
        {
            before.Next = timeout.Next;
        }
        else
        {
            _wheel[timeout.Spoke] = timeout.Next;
        }

        if (timeout.Next is { } next)
        {
            next.Before = timeout.Before;
        }

        timeout.Next = timeout.Before = null;
        timeout.Spoke = -1;
    }
}

/// <summary>A timer of a session; armed from any thread, fired on the loop's.</summary>
internal sealed class LoopTimer : ITimer
{
    private readonly Action _tick;
    private long _due = long.MaxValue;

    public LoopTimer(EventLoop loop, Action tick)
    {
        (Loop, _tick) = (loop, tick);
        loop.Timers.Add(this);
    }

    public EventLoop Loop { get; }

    internal long Due => Volatile.Read(ref _due);

    internal void FireIfDue(long now)
    {
        if (Due <= now)
        {
            Volatile.Write(ref _due, long.MaxValue);
            _tick();
        }
    }

    public bool Change(TimeSpan dueTime, TimeSpan period)
    {
        var due = dueTime == Timeout.InfiniteTimeSpan ? long.MaxValue : Stopwatch.GetTimestamp() + (long)(dueTime.TotalSeconds * Stopwatch.Frequency);
        Volatile.Write(ref _due, due);
        Loop.Timers.IsDue(due);
        return true;
    }

    public void Dispose() => Loop.Timers.Remove(this);

    public ValueTask DisposeAsync()
    {
        Dispose();
        return ValueTask.CompletedTask;
    }
}

/// <summary>Something that gives up when it takes too long.</summary>
internal sealed class LoopTimeout(Action fire)
{
    internal LoopTimeout? Next;
    internal LoopTimeout? Before;
    internal int Spoke = -1;
    internal long Due;

    internal void Fire() => fire();
}
