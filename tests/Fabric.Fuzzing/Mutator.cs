namespace Fabric.Fuzzing;

/// <summary>Makes inputs of others: bits, bytes, numbers at the edge, pointers as DNS compresses names, pieces moved, doubled, cut or of another input.</summary>
internal static class Mutator
{
    public const int MaxLength = 4096;

    private static readonly ushort[] _edges = [0, 1, 0x3F, 0x40, 0x7F, 0x80, 0xFF, 0x100, 0x1FF, 0x3FFF, 0x4000, 0x7FFF, 0x8000, 0xC000, 0xC00C, 0xFFFE, 0xFFFF];

    /// <summary>One to eight changes of one of the inputs; at most <see cref="MaxLength"/> bytes.</summary>
    public static byte[] Mutate(Random random, IReadOnlyList<byte[]> inputs)
    {
        var bytes = new List<byte>(inputs[random.Next(inputs.Count)]);
        for (var changes = 1 + random.Next(8); changes > 0; changes--)
        {
            Change(random, bytes, inputs);
        }

        if (bytes.Count > MaxLength)
        {
            bytes.RemoveRange(MaxLength, bytes.Count - MaxLength);
        }

        return [.. bytes];
    }

    private static void Change(Random random, List<byte> bytes, IReadOnlyList<byte[]> inputs)
    {
        var at = random.Next(bytes.Count + 1);
        var left = bytes.Count - at;
        switch (random.Next(11))
        {
            case 0 when left > 0:
                bytes[at] ^= (byte)(1 << random.Next(8));
                break;
            case 1 when left > 0:
                bytes[at] = (byte)random.Next(256);
                break;
            case 2 when left > 1:
                var edge = _edges[random.Next(_edges.Length)];
                (bytes[at], bytes[at + 1]) = ((byte)(edge >> 8), (byte)edge);
                break;
            case 3 when left > 0:
                bytes[at] = (byte)(bytes[at] + random.Next(-4, 5));
                break;
            case 4 when left > 1:
                (bytes[at], bytes[at + 1]) = ((byte)(0xC0 | random.Next(2)), (byte)random.Next(256));
                break;
            case 5 when left > 0:
                bytes.RemoveRange(at, 1 + random.Next(Math.Min(left, 16)));
                break;
            case 6:
                bytes.RemoveRange(at, left);
                break;
            case 7 when left > 0:
                bytes.InsertRange(random.Next(bytes.Count + 1), bytes.GetRange(at, 1 + random.Next(Math.Min(left, 32))));
                break;
            case 8:
                var other = inputs[random.Next(inputs.Count)];
                if (other.Length > 0)
                {
                    var from = random.Next(other.Length);
                    bytes.InsertRange(at, other[from..(from + 1 + random.Next(other.Length - from))]);
                }

                break;
            case 9 when left > 0:
                var piece = inputs[random.Next(inputs.Count)];
                for (var i = 0; i < Math.Min(piece.Length, Math.Min(left, 1 + random.Next(16))); i++)
                {
                    bytes[at + i] = piece[i];
                }

                break;
            default:
                bytes.Insert(at, (byte)random.Next(256));
                break;
        }
    }
}
