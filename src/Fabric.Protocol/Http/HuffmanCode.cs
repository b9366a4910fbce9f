using System.Buffers;

namespace Fabric.Protocol.Http;

/// <summary>
/// The code of RFC 7541, appendix B. It is canonical: codes of one length follow each other in the order of their symbols, and those of the next
/// length begin where they end, so that the lengths say all.
/// </summary>
internal static class HuffmanCode
{
    private const int Longest = 30;
    private const int EndOfString = 256;

    private static ReadOnlySpan<byte> Lengths =>
    [
        13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
        6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
        13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
        15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
        20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
        22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
        26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
        20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
        30,
    ];

    /// <summary>Of each length: the first code, how many there are, and where their symbols begin in <see cref="_symbols"/>.</summary>
    private static readonly (int First, int Count, int At)[] _byLength = new (int, int, int)[Longest + 1];
    private static readonly short[] _symbols = Sort();

    /// <summary>Undoes it. False when the text has the end-of-string symbol, more than 7 bits of padding, or padding that is not ones.</summary>
    public static bool TryDecode(ReadOnlySpan<byte> text, IBufferWriter<byte> to)
    {
        // The shortest code has 5 bits.
        var octets = to.GetSpan((text.Length * 8 / 5) + 1);
        var (written, code, length) = (0, 0, 0);
        foreach (var octet in text)
        {
            for (var bit = 7; bit >= 0; bit--)
            {
                code = (code << 1) | ((octet >> bit) & 1);
                length++;
                var (first, count, at) = _byLength[length];
                if (code - first < count)
                {
                    var symbol = _symbols[at + code - first];
                    if (symbol == EndOfString)
                    {
                        return false;
                    }

                    octets[written++] = (byte)symbol;
                    (code, length) = (0, 0);
                }
            }
        }

        to.Advance(written);
        return length < 8 && code == (1 << length) - 1;
    }

    private static short[] Sort()
    {
        var symbols = new short[Lengths.Length];
        var (code, at) = (0, 0);
        for (var length = 1; length <= Longest; length++)
        {
            var begin = at;
            for (short symbol = 0; symbol < Lengths.Length; symbol++)
            {
                if (Lengths[symbol] == length)
                {
                    symbols[at++] = symbol;
                }
            }

            _byLength[length] = (code, at - begin, begin);
            code = (code + at - begin) << 1;
        }

        return symbols;
    }
}
