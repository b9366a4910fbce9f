namespace Fabric.Protocol.Http;

/// <summary>
/// The status of an answer whose fields pass on as they are. Its field comes first (RFC 9113 §8.3), and is in one of two forms that need no table of the
/// connection: whole in the static table, or as a literal whose name is there (RFC 7541 §6.1, §6.2, appendix A).
/// </summary>
public static class Http2Status
{
    private static ReadOnlySpan<ushort> Indexed => [200, 204, 206, 304, 400, 404, 500];

    /// <summary>0 when it is in neither form: then only who keeps the connection's table can tell.</summary>
    public static int Of(ReadOnlySpan<byte> block)
    {
        // Changes of the table's size come before it.
        while (!block.IsEmpty && (block[0] & 0xe0) == 0x20)
        {
            var size = 1;
            if ((block[0] & 0x1f) == 0x1f)
            {
                while (size < block.Length && (block[size++] & 0x80) != 0)
                {
                }
            }

            block = block[size..];
        }

        if (block.IsEmpty)
        {
            return 0;
        }

        const int First = 8;
        if ((block[0] & 0x80) != 0)
        {
            var index = (block[0] & 0x7f) - First;
            return index >= 0 && index < Indexed.Length ? Indexed[index] : 0;
        }

        var isStatus = (block[0] & 0x40) != 0 ? (block[0] & 0x3f) is >= First and < First + 7 : (block[0] & 0x0f) is >= First and < First + 7;
        if (!isStatus || block.Length < 5 || block[1] != 3)
        {
            return 0;
        }

        var (a, b, c) = (block[2] - '0', block[3] - '0', block[4] - '0');
        return a is >= 1 and <= 9 && b is >= 0 and <= 9 && c is >= 0 and <= 9 ? (a * 100) + (b * 10) + c : 0;
    }
}
