using System.Runtime.InteropServices;

namespace Fabric.Tunnel.Linux;

/// <summary>
/// Ciphertext that waits, to be sent or to be decrypted: in native memory, in one piece, which grows as it is needed up to a bound.
/// Used up bytes leave at its beginning, new ones come at its end; what is left is moved to the beginning when the end is reached.
/// </summary>
/// <param name="bound">Bytes that it holds at most.</param>
internal sealed unsafe class TlsBuffer(int bound) : IDisposable
{
    private const int Smallest = 8 * 1024;

    private static long _allBytes;

    private byte* _bytes;
    private int _start;

    /// <summary>Native memory of all buffers of the process, bytes.</summary>
    public static long AllBytes => Volatile.Read(ref _allBytes);

    /// <summary>Native memory that it holds, bytes.</summary>
    public int Capacity { get; private set; }

    /// <summary>Bytes that wait.</summary>
    public int Length { get; private set; }

    /// <summary>Where the oldest of them is, until the next <see cref="Reserve"/>.</summary>
    public byte* Start => _bytes + _start;

    /// <summary>The bytes that wait, the oldest first.</summary>
    public Span<byte> Waiting => new(Start, Length);

    /// <summary>Room for so many bytes in one piece; what is written there counts after <see cref="Add"/>. Null when it is full.</summary>
    public byte* Reserve(int count)
    {
        if (count > bound - Length)
        {
            return null;
        }

        if (Length + count > Capacity)
        {
            Grow(Length + count);
        }
        else if (_start + Length + count > Capacity)
        {
            Waiting.CopyTo(new Span<byte>(_bytes, Capacity));
            _start = 0;
        }

        return Start + Length;
    }

    /// <summary>So many bytes were written where <see cref="Reserve"/> said.</summary>
    public void Add(int count) => Length += count;

    /// <summary>Takes all of it, or nothing: false when it is full.</summary>
    public bool TryAppend(ReadOnlySpan<byte> bytes)
    {
        var room = Reserve(bytes.Length);
        if (room is null)
        {
            return false;
        }

        bytes.CopyTo(new Span<byte>(room, bytes.Length));
        Add(bytes.Length);
        return true;
    }

    /// <summary>The oldest bytes are used up.</summary>
    public void Consume(int count)
    {
        Length -= count;
        // From the beginning when it is empty: the same few pages stay in the caches.
        _start = Length == 0 ? 0 : _start + count;
    }

    /// <summary>Gives the memory back when nothing waits.</summary>
    public void Trim()
    {
        if (Length == 0)
        {
            Dispose();
        }
    }

    public void Dispose()
    {
        NativeMemory.Free(_bytes);
        Interlocked.Add(ref _allBytes, -Capacity);
        _bytes = null;
        (Capacity, _start, Length) = (0, 0, 0);
    }

    private void Grow(int needed)
    {
        var capacity = Math.Max(Capacity, Math.Min(Smallest, bound));
        while (capacity < needed)
        {
            capacity = (int)Math.Min(capacity * 2L, bound);
        }

        var bytes = (byte*)NativeMemory.Alloc((nuint)capacity);
        Waiting.CopyTo(new Span<byte>(bytes, capacity));
        NativeMemory.Free(_bytes);
        Interlocked.Add(ref _allBytes, capacity - Capacity);
        _bytes = bytes;
        (Capacity, _start) = (capacity, 0);
    }
}
