using System.Numerics;
using System.Text;
using Fabric.Protocol.Dns;

namespace Fabric.Gateway.Dns;

/// <summary>What a <see cref="DnsTable{T}"/> holds: something with a name.</summary>
internal interface IDnsNamed
{
    /// <summary>Labels in wire form, without the root label; ASCII, case as declared.</summary>
    byte[] Labels { get; }

    /// <summary><see cref="DnsNameComparer.Hash"/> of the labels.</summary>
    int Hash { get; }
}

/// <summary>
/// An immutable hash table by name, without regard to case: an array of small buckets. A change copies the array (8 bytes for about
/// four items) and the buckets it touches; the rest is shared with the table before.
/// </summary>
internal sealed class DnsTable<T>
    where T : class, IDnsNamed
{
    private const int PerBucket = 4;
    private const int MaxPerBucket = 2 * PerBucket;

    private readonly T[][] _buckets;
    private readonly int _shift;

    private DnsTable(T[][] buckets, int count)
    {
        (_buckets, Count) = (buckets, count);
        _shift = 32 - BitOperations.Log2((uint)buckets.Length);
    }

    public static DnsTable<T> Empty { get; } = new([[], []], 0);

    public int Count { get; }

    public IEnumerable<T> Items => _buckets.SelectMany(b => b);

    public T? Find(ReadOnlySpan<byte> labels)
    {
        var hash = DnsNameComparer.Hash(labels);
        foreach (var item in _buckets[Slot(hash)])
        {
            // Labels here are ASCII, and no other byte equals one.
            if (item.Hash == hash && Ascii.EqualsIgnoreCase(item.Labels, labels))
            {
                return item;
            }
        }

        return null;
    }

    /// <summary>The table without <paramref name="removed"/> and with <paramref name="added"/>, which replace those of their
    /// names.</summary>
    public DnsTable<T> With(IReadOnlyCollection<T> removed, IReadOnlyCollection<T> added)
    {
        var atMost = Count + added.Count;
        return atMost <= _buckets.Length * MaxPerBucket ? Changed(removed, added)
            : Count == 0 ? Of(added)
            : Of([.. Items]).Changed(removed, added);
    }

    /// <summary>All at once: every bucket is made once. Of items with one name the last stays.</summary>
    private static DnsTable<T> Of(IReadOnlyCollection<T> items)
    {
        var table = new DnsTable<T>(new T[(int)BitOperations.RoundUpToPowerOf2((uint)(items.Count / PerBucket + 2))][], items.Count);
        var (lengths, filled) = (new int[table._buckets.Length], new int[table._buckets.Length]);
        foreach (var item in items)
        {
            lengths[table.Slot(item.Hash)]++;
        }

        for (var i = 0; i < lengths.Length; i++)
        {
            table._buckets[i] = lengths[i] == 0 ? [] : new T[lengths[i]];
        }

        var doubles = 0;
        foreach (var item in items)
        {
            var slot = table.Slot(item.Hash);
            var at = IndexIn(table._buckets[slot].AsSpan(0, filled[slot]), item);
            table._buckets[slot][at < 0 ? filled[slot]++ : at] = item;
            doubles += at < 0 ? 0 : 1;
        }

        if (doubles == 0)
        {
            return table;
        }

        for (var i = 0; i < lengths.Length; i++)
        {
            table._buckets[i] = table._buckets[i][..filled[i]];
        }

        return new DnsTable<T>(table._buckets, items.Count - doubles);
    }

    private DnsTable<T> Changed(IReadOnlyCollection<T> removed, IReadOnlyCollection<T> added)
    {
        var buckets = (T[][])_buckets.Clone();
        var count = Count;
        foreach (var item in removed)
        {
            ref var bucket = ref buckets[Slot(item.Hash)];
            var at = IndexIn(bucket, item);
            if (at >= 0)
            {
                bucket = [.. bucket[..at], .. bucket[(at + 1)..]];
                count--;
            }
        }

        foreach (var item in added)
        {
            ref var bucket = ref buckets[Slot(item.Hash)];
            var at = IndexIn(bucket, item);
            var next = new T[at < 0 ? bucket.Length + 1 : bucket.Length];
            bucket.CopyTo(next, 0);
            next[at < 0 ? bucket.Length : at] = item;
            bucket = next;
            count += at < 0 ? 1 : 0;
        }

        return new DnsTable<T>(buckets, count);
    }

    // The upper bits of a product depend on all bits of the hash (Knuth, multiplicative hashing).
    private int Slot(int hash) => (int)((uint)hash * 2654435769u >> _shift);

    private static int IndexIn(ReadOnlySpan<T> bucket, T item)
    {
        for (var i = 0; i < bucket.Length; i++)
        {
            if (bucket[i].Hash == item.Hash && Ascii.EqualsIgnoreCase(bucket[i].Labels, item.Labels))
            {
                return i;
            }
        }

        return -1;
    }
}
