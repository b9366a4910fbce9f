namespace Fabric.Protocol.Http;

/// <summary>Fields that a block refers to by number: the 61 of RFC 7541, appendix A, and after them what earlier blocks added, the newest first.</summary>
internal sealed class HpackTable
{
    /// <summary>What an entry counts for, besides its name and value (RFC 7541 §4.1).</summary>
    public const int EntryOverhead = 32;

    private static readonly (byte[] Name, byte[] Value)[] _static =
    [
        .. new (string Name, string Value)[]
        {
            (":authority", ""), (":method", "GET"), (":method", "POST"), (":path", "/"), (":path", "/index.html"), (":scheme", "http"),
            (":scheme", "https"), (":status", "200"), (":status", "204"), (":status", "206"), (":status", "304"), (":status", "400"),
            (":status", "404"), (":status", "500"), ("accept-charset", ""), ("accept-encoding", "gzip, deflate"), ("accept-language", ""),
            ("accept-ranges", ""), ("accept", ""), ("access-control-allow-origin", ""), ("age", ""), ("allow", ""), ("authorization", ""),
            ("cache-control", ""), ("content-disposition", ""), ("content-encoding", ""), ("content-language", ""), ("content-length", ""),
            ("content-location", ""), ("content-range", ""), ("content-type", ""), ("cookie", ""), ("date", ""), ("etag", ""), ("expect", ""),
            ("expires", ""), ("from", ""), ("host", ""), ("if-match", ""), ("if-modified-since", ""), ("if-none-match", ""), ("if-range", ""),
            ("if-unmodified-since", ""), ("last-modified", ""), ("link", ""), ("location", ""), ("max-forwards", ""),
            ("proxy-authenticate", ""), ("proxy-authorization", ""), ("range", ""), ("referer", ""), ("refresh", ""), ("retry-after", ""),
            ("server", ""), ("set-cookie", ""), ("strict-transport-security", ""), ("transfer-encoding", ""), ("user-agent", ""), ("vary", ""),
            ("via", ""), ("www-authenticate", ""),
        }.Select(f => (System.Text.Encoding.ASCII.GetBytes(f.Name), System.Text.Encoding.ASCII.GetBytes(f.Value))),
    ];

    /// <summary>A ring; its length is a power of two.</summary>
    private (byte[] Name, byte[] Value)[] _ring = new (byte[], byte[])[16];
    private int _oldest;
    private int _count;
    private int _size;
    private int _capacity = 4096;

    public int Capacity
    {
        get => _capacity;
        set
        {
            _capacity = value;
            Shrink(value);
        }
    }

    /// <summary>By its number, from 1; null when there is none.</summary>
    public (byte[] Name, byte[] Value)? Find(int index)
    {
        if (index <= _static.Length)
        {
            return index < 1 ? null : _static[index - 1];
        }

        index -= _static.Length + 1;
        return index >= _count ? null : _ring[(_oldest + _count - 1 - index) & (_ring.Length - 1)];
    }

    /// <summary>What is larger than the table empties it (RFC 7541 §4.4).</summary>
    public void Add(ReadOnlySpan<byte> name, ReadOnlySpan<byte> value)
    {
        var size = name.Length + value.Length + EntryOverhead;
        var (ownName, ownValue) = size <= _capacity ? (name.ToArray(), value.ToArray()) : ([], []);
        Shrink(Math.Max(0, _capacity - size));
        if (size <= _capacity)
        {
            if (_count == _ring.Length)
            {
                _ring = [.. _ring[_oldest..], .. _ring[.._oldest], .. new (byte[], byte[])[_count]];
                _oldest = 0;
            }

            _ring[(_oldest + _count++) & (_ring.Length - 1)] = (ownName, ownValue);
            _size += size;
        }
    }

    private void Shrink(int size)
    {
        while (_size > size)
        {
            var (name, value) = _ring[_oldest];
            _ring[_oldest] = default;
            _oldest = (_oldest + 1) & (_ring.Length - 1);
            _count--;
            _size -= name.Length + value.Length + EntryOverhead;
        }
    }
}
