using System.Runtime.InteropServices;

namespace Fabric.Tunnel.Linux;

/// <summary>Ciphertext that waits to be sent: a ring in native memory, which grows as it is needed up to a bound.</summary>
/// <param name="bound">Bytes that it holds at most.</param>
internal sealed unsafe class TlsOutput(int bound) : IDisposable
{
    private const int Smallest = 8 * 1024;

    private static long _allBytes;

    private byte* _ring;
    private int _start;

    /// <summary>Native memory of all outputs of the process, bytes.</summary>
    public static long AllBytes => Volatile.Read(ref _allBytes);

    /// <summary>Native memory that it holds, bytes.</summary>
    public int Capacity { get; private set; }

    /// <summary>Bytes that wait.</summary>
    public int Length { get; private set; }

    /// <summary>The oldest of them, as far as they lie in one piece; all of them unless the ring turns around there.</summary>
    public ReadOnlySpan<byte> First => new(_ring + _start, Math.Min(Length, Capacity - _start));

    /// <summary>Takes all of it, or nothing: false when it is full.</summary>
    public bool TryAppend(ReadOnlySpan<byte> bytes)
    {
        if (bytes.Length > bound - Length)
        {
            return false;
        }

        if (bytes.Length > Capacity - Length)
        {
            Grow(Length + bytes.Length);
        }

        var end = _start + Length;
        var (at, space) = end < Capacity ? (end, Capacity - end) : (end - Capacity, _start - (end - Capacity));
        var first = Math.Min(bytes.Length, space);
        bytes[..first].CopyTo(new Span<byte>(_ring + at, first));
        bytes[first..].CopyTo(new Span<byte>(_ring, bytes.Length - first));
        Length += bytes.Length;
        return true;
    }

    /// <summary>The oldest bytes were sent.</summary>
    public void Consume(int count)
    {
        Length -= count;
        // From the beginning when it is empty: the same few pages stay in the caches.
        _start = Length == 0 ? 0 : (_start + count) % Capacity;
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
        NativeMemory.Free(_ring);
        Interlocked.Add(ref _allBytes, -Capacity);
        _ring = null;
        (Capacity, _start, Length) = (0, 0, 0);
    }

    private void Grow(int needed)
    {
        var capacity = Math.Max(Capacity, Smallest);
        while (capacity < needed)
        {
            capacity = Math.Min(capacity * 2, bound);
        }

        var ring = (byte*)NativeMemory.Alloc((nuint)capacity);
        var first = First;
        first.CopyTo(new Span<byte>(ring, capacity));
        new ReadOnlySpan<byte>(_ring, Length - first.Length).CopyTo(new Span<byte>(ring + first.Length, capacity - first.Length));
        NativeMemory.Free(_ring);
        Interlocked.Add(ref _allBytes, capacity - Capacity);
        _ring = ring;
        (Capacity, _start) = (capacity, 0);
    }
}
