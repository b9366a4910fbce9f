using System.Buffers;

namespace Fabric.Protocol.Http;

/// <summary>Takes the fields of a block, in their order. What it is given is only good until it returns.</summary>
public interface IHpackFields
{
    /// <param name="name">As it was sent; upper case is not refused here.</param>
    /// <param name="value">Any bytes.</param>
    /// <param name="isSecret">It must not go into a table of whoever passes it on (RFC 7541 §7.1.3).</param>
    void Add(ReadOnlySpan<byte> name, ReadOnlySpan<byte> value, bool isSecret);
}

/// <summary>A block cannot be decoded: the connection is over, because nobody knows what the table holds (RFC 9113 §4.3).</summary>
public sealed class HpackException(string reason) : Exception(reason);

/// <summary>
/// Decodes field blocks of one direction of one connection (RFC 7541). It has to be given all of them, in their order: each may change what the next
/// ones refer to.
/// </summary>
public sealed class HpackDecoder
{
    /// <summary>What the encoder may let the table grow to, when it is told so.</summary>
    public const int MaxTable = 64 * 1024;

    /// <summary>Numbers are lengths and indexes: none is larger.</summary>
    private const int LargestNumber = 1 << 24;

    private readonly HpackTable _table = new();
    private readonly ArrayBufferWriter<byte> _name = new(64);
    private readonly ArrayBufferWriter<byte> _value = new(256);

    /// <summary>The largest table that the encoder was ever offered; at most <see cref="MaxTable"/>. Default 4,096.</summary>
    public int TableLimit { get; set; } = 4096;

    /// <summary>Decodes one whole block. Throws <see cref="HpackException"/>; what <paramref name="to"/> throws passes through.</summary>
    public void Decode(ReadOnlySpan<byte> block, IHpackFields to)
    {
        var isFirst = true;
        while (!block.IsEmpty)
        {
            var kind = block[0];
            if ((kind & 0xe0) == 0x20)
            {
                var size = Number(ref block, 5);
                if (!isFirst || size > TableLimit)
                {
                    throw new HpackException(isFirst ? $"a table of {size} bytes is over the limit of {TableLimit}" : "a table size amid fields");
                }

                _table.Capacity = size;
                continue;
            }

            isFirst = false;
            if ((kind & 0x80) != 0)
            {
                var (name, value) = Find(Number(ref block, 7));
                to.Add(name, value, isSecret: false);
            }
            else
            {
                Literal(ref block, kind, to);
            }
        }
    }

    private void Literal(ref ReadOnlySpan<byte> block, byte kind, IHpackFields to)
    {
        var isIndexed = (kind & 0x40) != 0;
        var index = Number(ref block, isIndexed ? 6 : 4);
        var name = index > 0 ? Find(index).Name : Text(ref block, _name);
        var value = Text(ref block, _value);
        if (isIndexed)
        {
            _table.Add(name, value);
        }

        to.Add(name, value, isSecret: (kind & 0xf0) == 0x10);
    }

    private (byte[] Name, byte[] Value) Find(int index) =>
        _table.Find(index) ?? throw new HpackException($"there is no field {index}");

    /// <summary>RFC 7541 §5.1.</summary>
    private static int Number(ref ReadOnlySpan<byte> block, int prefix)
    {
        var most = (1 << prefix) - 1;
        var number = block[0] & most;
        block = block[1..];
        if (number < most)
        {
            return number;
        }

        for (var shift = 0; shift <= 21; shift += 7)
        {
            if (block.IsEmpty)
            {
                break;
            }

            var octet = block[0];
            block = block[1..];
            number += (octet & 0x7f) << shift;
            if ((octet & 0x80) == 0)
            {
                return number <= LargestNumber ? number : throw new HpackException($"the number {number} is too large");
            }
        }

        throw new HpackException("a number does not end");
    }

    /// <summary>RFC 7541 §5.2.</summary>
    private static ReadOnlySpan<byte> Text(ref ReadOnlySpan<byte> block, ArrayBufferWriter<byte> decoded)
    {
        if (block.IsEmpty)
        {
            throw new HpackException("a text is missing");
        }

        var isCoded = (block[0] & 0x80) != 0;
        var length = Number(ref block, 7);
        if (length > block.Length)
        {
            throw new HpackException("a text does not end");
        }

        var text = block[..length];
        block = block[length..];
        if (!isCoded)
        {
            return text;
        }

        decoded.ResetWrittenCount();
        return HuffmanCode.TryDecode(text, decoded) ? decoded.WrittenSpan : throw new HpackException("a text is not in the Huffman code");
    }
}
