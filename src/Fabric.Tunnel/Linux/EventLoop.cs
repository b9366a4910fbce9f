using System.Collections.Concurrent;
using System.Diagnostics;
using System.Runtime.InteropServices;
using Fabric.Protocol.Tunnel;
using Fabric.Tunnel.Core;

namespace Fabric.Tunnel.Linux;

/// <summary>
/// One thread that waits for many sockets (epoll, edge-triggered) and runs what is ready, in turns of three phases
/// (<see cref="LoopPhase"/>), each item once with a budget: one send carries what the whole turn produced for a lane, and bulk makes nobody
/// wait for more than one budget of it. What it runs belongs to this thread; other threads only <see cref="Schedule"/>.
/// </summary>
internal sealed unsafe class EventLoop : IDisposable
{
    /// <summary>Slabs that one read of a socket may fill.</summary>
    public const int ScratchSlabs = 2;

    private const int EventsAtOnce = 256;

    /// <summary>
    /// A loop that moves bulk and has nothing left naps before it waits, so that more is there when it looks again: to be woken for every few
    /// segments costs more than to carry them. It is what network cards do (interrupt moderation). With the kernel's slack 100 µs.
    /// </summary>
    private const int NapMicroseconds = 50;

    /// <summary>Bytes in one turn that are bulk.</summary>
    private const int MuchInOneTurn = 64 * 1024;

    private static readonly int _eventSize = RuntimeInformation.ProcessArchitecture == Architecture.X64 ? 12 : 16;

    private readonly TunnelOptions _options;
    private readonly SlabPool _pool;
    private readonly Thread _thread;
    private readonly int _epoll = Libc.NewEpoll();
    private readonly int _wake = Libc.NewEventFd();
    private readonly ConcurrentQueue<LoopItem> _posted = new();
    private readonly Queue<LoopItem> _ready = new();
    private readonly Queue<LoopItem> _output = new();
    private readonly Queue<LoopItem> _bulk = new();
    private readonly Stack<int> _free = new();
    private int _sockets;
    private LoopItem?[] _watched = new LoopItem?[64];
    private uint[] _generations = new uint[64];
    private int _isAwake = 1;
    private volatile bool _stopping;
    private readonly Slab?[] _scratch = new Slab?[ScratchSlabs];
    private readonly LoopMeter _meter = new();
    private bool _isOver;
    private long _askedAt;

    /// <param name="name">Its thread's.</param>
    /// <param name="pool">Of its buffers.</param>
    /// <param name="options">Says what a thread does first, and is given a line when something failed that must not.</param>
    public EventLoop(string name, SlabPool pool, TunnelOptions options)
    {
        (_pool, _options) = (pool, options);
        Timers = new LoopTimers(this);
        for (var i = _watched.Length - 1; i > 0; i--)
        {
            _free.Push(i);
        }

        // Slot 0 is the eventfd.
        Check(Libc.EpollChange(_epoll, Libc.EpollAdd, _wake, Libc.EpollIn, 0), "epoll_ctl");
        _thread = new Thread(Loop) { Name = name, IsBackground = true };
        _thread.Start();
    }

    public LoopTimers Timers { get; }

    /// <summary>For the lane whose turn it is: its frames, and bytes of small ones side by side.</summary>
    public FrameBatch Batch { get; } = new();

    public byte[] Staging { get; } = GC.AllocateUninitializedArray<byte>(FrameHeader.MaxFrame, pinned: true);

    /// <summary>Whether the caller is the loop's thread.</summary>
    public bool IsHere => Environment.CurrentManagedThreadId == _thread.ManagedThreadId;

    /// <summary>Bytes that this loop's sockets moved, and system calls that moved them.</summary>
    public long Bytes;
    public long SystemCalls;

    public LoopUsage Usage => new(
        _thread.Name!, _meter.Turns, _meter.Busy, _meter.LongestTurn, _meter.LongestQueue, _sockets, Volatile.Read(ref SystemCalls), Volatile.Read(ref Bytes))
    {
        Unanswered = Volatile.Read(ref _askedAt) is var asked and not 0 ? Stopwatch.GetElapsedTime(asked) : TimeSpan.Zero,
    };

    /// <summary>Asks for a turn, and remembers since when it has been owed. A loop without work sleeps, and is well all the same.</summary>
    public void AskForLife()
    {
        if (Interlocked.CompareExchange(ref _askedAt, Stopwatch.GetTimestamp(), 0) == 0)
        {
            Post(() => Volatile.Write(ref _askedAt, 0));
        }
    }

    /// <summary>The item runs in the next turn, or later in this one. From any thread, in any lock.</summary>
    public void Schedule(LoopItem item)
    {
        if (Interlocked.Exchange(ref item.IsQueued, 1) != 0)
        {
            return;
        }

        if (IsHere)
        {
            Enqueue(item);
            return;
        }

        _posted.Enqueue(item);
        Wake();
        if (_isOver)
        {
            // Not here: the caller may hold the lock that the item wants.
            ThreadPool.UnsafeQueueUserWorkItem(static loop => loop.Drain(), this, preferLocal: false);
        }
    }

    /// <summary>The thread is gone: what is asked for now is done by another.</summary>
    private void Drain()
    {
        lock (_posted)
        {
            while (_posted.TryDequeue(out var item))
            {
                Volatile.Write(ref item.IsQueued, 0);
                Guard(item, static i => i.Run());
            }
        }
    }

    /// <summary>Runs the call on the loop's thread, soon. From any thread.</summary>
    public void Post(Action call) => Schedule(new LoopCall(this, call));

    public void Wake()
    {
        if (Interlocked.Exchange(ref _isAwake, 1) == 0)
        {
            var one = 1ul;
            _ = Libc.Write(_wake, &one, 8);
        }
    }

    /// <summary>
    /// A slab for one read, the first of <see cref="ScratchSlabs"/> or the next, alone the loop's: the same one at each call, until what was read
    /// of it is retained.
    /// </summary>
    public Slab Scratch(int index)
    {
        ref var slab = ref _scratch[index];
        if (slab is { IsExclusive: true })
        {
            return slab;
        }

        slab?.Release();
        return slab = _pool.Rent(SlabPool.LargeSize);
    }

    private void ReleaseScratch()
    {
        foreach (ref var slab in _scratch.AsSpan())
        {
            slab?.Release();
            slab = null;
        }
    }

    /// <summary>Watches a descriptor for the item: what is ready already is told at once. On the loop's thread.</summary>
    public void Watch(int fd, LoopItem item)
    {
        if (_free.Count == 0)
        {
            var length = _watched.Length;
            Array.Resize(ref _watched, length * 2);
            Array.Resize(ref _generations, length * 2);
            for (var i = length * 2 - 1; i >= length; i--)
            {
                _free.Push(i);
            }
        }

        _sockets++;
        var slot = _free.Pop();
        _watched[slot] = item;
        item.Slot = slot;
        Check(Libc.EpollChange(_epoll, Libc.EpollAdd, fd,
            Libc.EpollIn | Libc.EpollOut | Libc.EpollPeerClosed | Libc.EpollEdge, (ulong)_generations[slot] << 32 | (uint)slot), "epoll_ctl");
    }

    /// <summary>No more events for the item. The descriptor is closed right after, or else <paramref name="fd"/> names it. On the loop's thread.</summary>
    public void Unwatch(LoopItem item, int fd = -1)
    {
        if (item.Slot < 0)
        {
            return;
        }

        if (fd >= 0)
        {
            _ = Libc.EpollChange(_epoll, Libc.EpollDelete, fd, 0, 0);
        }

        _sockets--;
        // What epoll has told already and nobody has looked at is of another generation.
        _generations[item.Slot]++;
        _watched[item.Slot] = null;
        _free.Push(item.Slot);
        item.Slot = -1;
    }

    private static void Check(int result, string what)
    {
        if (result < 0)
        {
            throw new IOException($"{what}: {Libc.Explain(Libc.Errno)}");
        }
    }

    private void Loop()
    {
        _options.ThreadStarted();
        var events = stackalloc byte[EventsAtOnce * 16];
        var before = Bytes;
        while (!_stopping)
        {
            var timeout = 0;
            if (!TakePosted() && _ready.Count + _output.Count + _bulk.Count == 0)
            {
                // A loop that sleeps holds no buffer.
                ReleaseScratch();

                // Asked for from here on, it is woken; so what was asked for before is looked at after.
                Interlocked.Exchange(ref _isAwake, 0);
                timeout = _posted.IsEmpty && !_stopping ? Timers.Milliseconds() : 0;
                if (timeout != 0 && Bytes - before > MuchInOneTurn)
                {
                    Libc.Nap(NapMicroseconds);
                }
            }

            before = Bytes;
            var count = Libc.EpollWait(_epoll, events, EventsAtOnce, timeout);
            Volatile.Write(ref _isAwake, 1);
            var began = Stopwatch.GetTimestamp();
            for (var i = 0; i < count; i++)
            {
                var one = events + i * _eventSize;
                Tell(*(uint*)one, *(ulong*)(one + (_eventSize - 8)));
            }

            Turn();
            _meter.Turned(began, Stopwatch.GetTimestamp());
        }

        // Twice: what runs last may make something ready.
        Turn();
        Turn();
        foreach (var item in _watched.OfType<LoopItem>().ToArray())
        {
            Guard(item, static i => i.Stop());
        }

        Volatile.Write(ref _isOver, true);
        Drain();

        ReleaseScratch();
        _ = Libc.Close(_epoll);
        _ = Libc.Close(_wake);
    }

    private void Tell(uint events, ulong data)
    {
        var slot = (int)(uint)data;
        if (slot == 0)
        {
            ulong count;
            _ = Libc.Read(_wake, &count, 8);
        }
        else if (_generations[slot] == (uint)(data >> 32) && _watched[slot] is { } item)
        {
            try
            {
                item.OnEvents(events);
            }
            catch (Exception error)
            {
                _options.Log($"{_thread.Name}: unexpected {error}");
            }
        }
    }

    private bool TakePosted()
    {
        var any = false;
        while (_posted.TryDequeue(out var item))
        {
            any = true;
            Enqueue(item);
        }

        return any;
    }

    private void Enqueue(LoopItem item) => (item.Phase switch
    {
        LoopPhase.Ready => _ready,
        LoopPhase.Output => _output,
        _ => _bulk,
    }).Enqueue(item);

    private void Turn()
    {
        TakePosted();
        Timers.Fire();
        _meter.Ready(_ready.Count);

        // What becomes ready in the turn runs in it, but nobody twice as long as others wait for their first time.
        Run(_ready, _ready.Count + EventsAtOnce);
        Run(_output, _output.Count);
        Run(_bulk, 1);
    }

    private void Run(Queue<LoopItem> queue, int most)
    {
        for (var left = most; left > 0 && queue.TryDequeue(out var item); left--)
        {
            Volatile.Write(ref item.IsQueued, 0);
            if (item.Loop == this)
            {
                Guard(item, static i => i.Run());
            }
            else
            {
                // It has moved since, and what it was queued for is that loop's business.
                item.Loop.Schedule(item);
            }
        }
    }

    /// <summary>One item's failure is its own: the loop goes on.</summary>
    private void Guard(LoopItem item, Action<LoopItem> run)
    {
        try
        {
            run(item);
        }
        catch (Exception error)
        {
            _options.Log($"{_thread.Name}: unexpected {error}");
        }
    }

    /// <summary>Ends the thread; what is still watched is stopped.</summary>
    public void Dispose()
    {
        _stopping = true;
        Wake();
        if (!IsHere)
        {
            _thread.Join();
        }
    }
}
