namespace Fabric.Tunnel.Core;

/// <summary>
/// The one memory cap of a tunnel, over all its sessions: what is rented in slabs, what applications wrote and the peers have not
/// acknowledged, and the windows that peers were given. Each session counts on its <see cref="MemoryShare"/>. Safe to call from
/// any thread.
///
/// <para>Three marks. At half of the cap in windows, or half of it rented, windows no longer grow. At <see cref="Pressure"/>
/// applications are not read, new streams get the least window, and what peers send is packed tight. At <see cref="Limit"/>, in the
/// sessions that use most, OPEN is refused and a stream is reset whose application has taken nothing for
/// <see cref="Patience"/>, or at a quarter more than the cap any that is behind: credit that was given cannot be taken
/// back.</para>
/// </summary>
internal sealed class MemoryBudget(long limit)
{
    private long _rented;
    private long _retained;
    private long _promised;
    private long _wakeAt;
    private long _overflows;
    private int _sessions;
    private int _starved;

    /// <summary>A busy application is not one that does not read.</summary>
    public static readonly TimeSpan Patience = TimeSpan.FromSeconds(5);

    /// <summary>Bytes; the cap.</summary>
    public long Limit { get; } = limit;

    /// <summary>The cap less the credit that is out and may yet be used: between half and three quarters of it.</summary>
    public long Pressure => Limit - Math.Clamp(Promised, Limit / 4, Limit / 2);

    /// <summary>Bytes of all slabs that are rented now: the true use.</summary>
    public long Rented => Volatile.Read(ref _rented);

    /// <summary>Bytes written by applications and not acknowledged.</summary>
    public long Retained => Volatile.Read(ref _retained);

    /// <summary>Bytes of credit given to peers that applications have not taken yet, arrived or not.</summary>
    public long Promised => Volatile.Read(ref _promised);

    /// <summary>Streams reset because the cap was reached.</summary>
    public long Overflows => Volatile.Read(ref _overflows);

    public bool IsTight => Rented >= Pressure;

    public bool IsFull => Rented >= Limit;

    /// <summary>
    /// What each session may retain whatever the others do. All sessions together: an eighth of the cap.
    /// </summary>
    public long Guaranteed => Limit / 8 / Math.Max(8, Volatile.Read(ref _sessions));

    /// <summary>
    /// Some memory was freed since a session found none. Raised by whichever thread freed it, in whatever lock it holds: the
    /// listener only notes it.
    /// </summary>
    public Action? Freed { get; set; }

    public void Rent(int bytes) => Interlocked.Add(ref _rented, bytes);

    public void Return(int bytes)
    {
        Interlocked.Add(ref _rented, -bytes);
        Wake();
    }

    internal void AddRetained(long bytes)
    {
        Interlocked.Add(ref _retained, bytes);
        if (bytes < 0)
        {
            Wake();
        }
    }

    internal void AddPromised(long bytes) => Interlocked.Add(ref _promised, bytes);

    internal void AddSession(int count) => Interlocked.Add(ref _sessions, count);

    /// <summary>
    /// What one session may have of a half, when all together have <paramref name="total"/>: twice what is free. One alone gets
    /// two thirds, two get two fifths each, and some room is always left for the next. (Dynamic thresholds of shared-memory
    /// switches, Choudhury and Hahne 1998: no list of sessions, no rounds, and nobody can take all.)
    /// </summary>
    internal long Fair(long total) => Math.Max(0, 2 * (Limit / 2 - total));

    /// <summary>Whether a session with that use has at least the mean of all: at the cap, it gives way.</summary>
    internal bool IsHog(long use) => use > Guaranteed && use >= (Retained + Promised) / Math.Max(1, Volatile.Read(ref _sessions));

    internal void CountOverflow() => Interlocked.Increment(ref _overflows);

    /// <summary>A session found no memory: <see cref="Freed"/> is raised when a 64th of the cap has become free.</summary>
    internal void Starve()
    {
        Volatile.Write(ref _wakeAt, Rented + Retained - Limit / 64);
        Volatile.Write(ref _starved, 1);
    }

    private void Wake()
    {
        if (Volatile.Read(ref _starved) != 0 && Rented + Retained <= Volatile.Read(ref _wakeAt)
            && Interlocked.Exchange(ref _starved, 0) != 0)
        {
            Freed?.Invoke();
        }
    }
}

/// <summary>One session's use of the budget. Called in the session's lock.</summary>
internal sealed class MemoryShare
{
    private readonly MemoryBudget _budget;
    private long _retained;
    private long _promised;
    private bool _left;

    public MemoryShare(MemoryBudget budget)
    {
        _budget = budget;
        budget.AddSession(1);
    }

    /// <inheritdoc cref="MemoryBudget.Retained"/>
    public long Retained
    {
        get => _retained;
        set
        {
            _budget.AddRetained(value - _retained);
            _retained = value;
        }
    }

    /// <inheritdoc cref="MemoryBudget.Promised"/>
    public long Promised
    {
        get => _promised;
        set
        {
            _budget.AddPromised(value - _promised);
            _promised = value;
        }
    }

    /// <summary>Whether applications of the session may be read. When not, the budget will tell.</summary>
    public bool MayRetain()
    {
        if (_retained < _budget.Guaranteed || (_retained < _budget.Fair(_budget.Retained) && !_budget.IsTight))
        {
            return true;
        }

        _budget.Starve();
        return false;
    }

    /// <summary>Whether windows may grow.</summary>
    public bool MayGrow => _promised < _budget.Fair(_budget.Promised) && _budget.Rented < _budget.Limit / 2;

    /// <summary>The window of a new stream: the less, the less is left.</summary>
    public int FirstWindow(int least, int most)
    {
        var part = _budget.IsTight ? 0 : (_budget.Fair(_budget.Promised) - _promised) / 16;
        return (int)Math.Clamp(part, Math.Min(least, most), most);
    }

    /// <summary>Whether something of this session must go, of which the application has taken nothing for so long.</summary>
    public bool MustGiveWay(TimeSpan behind) => _budget.IsFull && (behind >= MemoryBudget.Patience || _budget.Rented >= _budget.Limit / 4 * 5)
        && _budget.IsHog(_retained + _promised);

    /// <summary>The session is over; what it still has counts until it is let go.</summary>
    public void Leave()
    {
        if (!_left)
        {
            _left = true;
            _budget.AddSession(-1);
        }
    }
}
