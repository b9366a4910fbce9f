namespace Fabric.Tunnel.Core;

/// <summary>
/// A pinned block of bytes, shared by reference count: what an application wrote is output and retention at once, what a lane
/// delivered is reassembly and input of the application's socket at once. The last <see cref="Release"/> gives it back.
/// </summary>
internal sealed class Slab(SlabPool pool, int size)
{
    private int _references;

    /// <summary>Pinned, so that a driver may hand its address to the kernel.</summary>
    public byte[] Bytes { get; } = GC.AllocateUninitializedArray<byte>(size, pinned: true);

    public int Size => Bytes.Length;

    /// <summary>Where it is in memory.</summary>
    public unsafe byte* Address => (byte*)System.Runtime.InteropServices.Marshal.UnsafeAddrOfPinnedArrayElement(Bytes, 0);

    /// <summary>True when nobody else refers to it: the holder may fill it again.</summary>
    public bool IsExclusive => Volatile.Read(ref _references) == 1;

    internal Slab Rented()
    {
        _references = 1;
        return this;
    }

    public void Retain() => Interlocked.Increment(ref _references);

    public void Release()
    {
        var left = Interlocked.Decrement(ref _references);
        if (left == 0)
        {
            pool.Return(this);
        }
        else if (left < 0)
        {
            throw new InvalidOperationException("a slab was released more often than retained");
        }
    }
}

/// <summary>A view into a slab. Copying it does not retain: each holder says <see cref="Retain"/> once and releases once.</summary>
internal readonly record struct Segment(Slab Owner, int Start, int Length)
{
    public Span<byte> Span => Owner.Bytes.AsSpan(Start, Length);

    public Memory<byte> Memory => Owner.Bytes.AsMemory(Start, Length);

    public unsafe byte* Address => Owner.Address + Start;

    public Segment Slice(int start, int length) => new(Owner, Start + start, length);

    public void Retain() => Owner.Retain();

    public void Release() => Owner.Release();
}

/// <summary>
/// Slabs of two sizes, counted in <see cref="Budget"/>. Keeps a bounded number of returned slabs for reuse, until <see cref="Trim"/>. Safe to
/// call from any thread.
/// </summary>
internal sealed class SlabPool(long limit, int keep = 128)
{
    /// <summary>For reads of a socket and of a lane: the payload of one full DATA frame, and room for its header before it.</summary>
    public const int LargeSize = 65_536;

    /// <summary>For bytes that come in drops.</summary>
    public const int SmallSize = 8_192;

    /// <summary>Pieces shorter than this are copied together, so that no drop holds a large slab.</summary>
    public const int CopyBelow = 4_096;

    private readonly Stack<Slab> _large = new();
    private readonly Stack<Slab> _small = new();
    private readonly Lock _lock = new();

    /// <summary>What the tunnel may use.</summary>
    public MemoryBudget Budget { get; } = new(limit);

    /// <summary>Bytes of all slabs that are rented now.</summary>
    public long Rented => Budget.Rented;

    public Slab Rent(int size)
    {
        Budget.Rent(size);
        var stack = size == LargeSize ? _large : _small;
        lock (_lock)
        {
            if (stack.TryPop(out var slab))
            {
                return slab.Rented();
            }
        }

        return new Slab(this, size).Rented();
    }

    /// <summary>Lets go of all that nobody rents. For when none will be wanted soon: they are reused otherwise, and cost nothing to keep.</summary>
    public void Trim()
    {
        lock (_lock)
        {
            _large.Clear();
            _small.Clear();
        }
    }

    internal void Return(Slab slab)
    {
        var stack = slab.Size == LargeSize ? _large : _small;
        lock (_lock)
        {
            if (stack.Count < keep)
            {
                stack.Push(slab);
            }
        }

        Budget.Return(slab.Size);
    }
}
