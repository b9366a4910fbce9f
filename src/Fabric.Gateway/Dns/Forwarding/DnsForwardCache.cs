using System.Net;
using System.Security.Cryptography;
using Fabric.Protocol.Dns;

namespace Fabric.Gateway.Dns.Forwarding;

/// <summary>An answer that was kept.</summary>
internal sealed class DnsCacheEntry
{
    public required DnsResponse Response { get; init; }

    /// <summary>Timestamp of its arrival.</summary>
    public required long Arrived { get; init; }

    /// <summary>Seconds that it counts as new.</summary>
    public required uint Ttl { get; init; }

    /// <summary>Who gave it, and how long that took.</summary>
    public required IPEndPoint Server { get; init; }

    public required TimeSpan RoundTrip { get; init; }

    /// <summary>Why there is none: then the entry stands for a failure.</summary>
    public string? Failure { get; init; }

    public DnsExtendedError FailureCode { get; init; } = DnsExtendedError.NoReachableAuthority;

    /// <summary>Times that it was served; a hint, not a count.</summary>
    public int Hits;

    /// <summary>After a failure to get a newer one: until then nobody is asked again.</summary>
    public long RetryAt;
}

/// <summary>
/// Answers by question, bounded by entries and bytes; the one not asked for longest goes first. A key is the name in lower case, the type, and
/// the DO and CD bits: an answer to one of these is none to another. Safe for concurrent use.
/// </summary>
internal sealed class DnsForwardCache
{
    /// <summary>Bytes of a key at most.</summary>
    public const int MaxKey = DnsLimits.Name + 3;

    // Measured: dictionary slot, node, entry, response and arrays' heads.
    private const int Overhead = 400;

    private readonly Dictionary<byte[], LinkedListNode<Slot>> _slots;
    private readonly Dictionary<byte[], LinkedListNode<Slot>>.AlternateLookup<ReadOnlySpan<byte>> _lookup;
    private readonly LinkedList<Slot> _order = new();
    private readonly Lock _lock = new();
    private readonly int _maxEntries;
    private readonly long _maxBytes;

    public DnsForwardCache(int entries, long bytes)
    {
        (_maxEntries, _maxBytes) = (entries, bytes);
        _slots = new Dictionary<byte[], LinkedListNode<Slot>>(new DnsQuestionComparer());
        _lookup = _slots.GetAlternateLookup<ReadOnlySpan<byte>>();
    }

    public int Count
    {
        get
        {
            lock (_lock)
            {
                return _slots.Count;
            }
        }
    }

    public long Bytes { get; private set; }

    public long Evicted { get; private set; }

    /// <summary>Times that it was emptied. Whoever asks others notes it first, so that what they say does not outlive
    /// <see cref="Clear"/>.</summary>
    public int Generation { get; private set; }

    /// <summary>Writes the key of a question; returns its length.</summary>
    public static int WriteKey(Span<byte> key, in DnsQuery query) => WriteKey(
        key, query.Question, query.DnssecOk, (query.Header.Flags & DnsFlags.CheckingDisabled) != 0);

    public static int WriteKey(Span<byte> key, ReadOnlySpan<byte> question, bool dnssecOk, bool checkingDisabled)
    {
        var name = question[..^4];
        for (var i = 0; i < name.Length; i++)
        {
            key[i] = name[i] is >= (byte)'A' and <= (byte)'Z' ? (byte)(name[i] | 0x20) : name[i];
        }

        question.Slice(name.Length, 2).CopyTo(key[name.Length..]);
        key[name.Length + 2] = (byte)((dnssecOk ? 1 : 0) | (checkingDisabled ? 2 : 0));
        return name.Length + 3;
    }

    public DnsCacheEntry? Find(ReadOnlySpan<byte> key)
    {
        lock (_lock)
        {
            if (!_lookup.TryGetValue(key, out var node))
            {
                return null;
            }

            if (_order.First != node)
            {
                _order.Remove(node);
                _order.AddFirst(node);
            }

            return node.Value.Entry;
        }
    }

    /// <param name="key">The question.</param>
    /// <param name="entry">Its answer.</param>
    /// <param name="generation">When it was asked; of another one than this it is not kept.</param>
    public void Put(byte[] key, DnsCacheEntry entry, int generation)
    {
        var cost = Overhead + key.Length + entry.Response.Records.Length + 4 * entry.Response.TtlOffsets.Length;
        lock (_lock)
        {
            if (generation != Generation)
            {
                return;
            }

            if (_slots.TryGetValue(key, out var before))
            {
                Remove(before);
            }

            if (cost > _maxBytes)
            {
                return;
            }

            _slots[key] = _order.AddFirst(new Slot(key, entry, cost));
            Bytes += cost;
            while (_slots.Count > _maxEntries || Bytes > _maxBytes)
            {
                Remove(_order.Last!);
                Evicted++;
            }
        }
    }

    public void Clear()
    {
        lock (_lock)
        {
            _slots.Clear();
            _order.Clear();
            Bytes = 0;
            Generation++;
        }
    }

    private void Remove(LinkedListNode<Slot> node)
    {
        _slots.Remove(node.Value.Key);
        _order.Remove(node);
        Bytes -= node.Value.Cost;
    }

    private readonly record struct Slot(byte[] Key, DnsCacheEntry Entry, int Cost);
}

/// <summary>Keys by content, hashed with a key of this process: strangers choose the names.</summary>
internal sealed class DnsQuestionComparer : IEqualityComparer<byte[]>, IAlternateEqualityComparer<ReadOnlySpan<byte>, byte[]>
{
    private static readonly byte[] _seed = RandomNumberGenerator.GetBytes(16);

    public bool Equals(byte[]? x, byte[]? y) => x.AsSpan().SequenceEqual(y);

    public int GetHashCode(byte[] key) => Hash(key);

    public bool Equals(ReadOnlySpan<byte> alternate, byte[] other) => alternate.SequenceEqual(other);

    public int GetHashCode(ReadOnlySpan<byte> alternate) => Hash(alternate);

    public byte[] Create(ReadOnlySpan<byte> alternate) => alternate.ToArray();

    private static int Hash(ReadOnlySpan<byte> key) => (int)SipHash.Hash(_seed, key);
}
