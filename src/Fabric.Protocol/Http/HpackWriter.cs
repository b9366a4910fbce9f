using System.Buffers;

namespace Fabric.Protocol.Http;

/// <summary>
/// Encodes fields without a table of its own (RFC 7541): each block stands for itself, so that one may be left out without changing what the next ones
/// mean.
/// </summary>
public static class HpackWriter
{
    /// <summary>Begins the first block of a connection: the table is given up.</summary>
    public static void NoTable(IBufferWriter<byte> to) => to.Write<byte>([0x20]);

    /// <param name="to">Where to.</param>
    /// <param name="name">In lower case.</param>
    /// <param name="value">Any bytes.</param>
    /// <param name="isSecret">No one on the way may keep it in a table.</param>
    public static void Field(IBufferWriter<byte> to, ReadOnlySpan<byte> name, ReadOnlySpan<byte> value, bool isSecret = false)
    {
        to.Write<byte>([(byte)(isSecret ? 0x10 : 0)]);
        Text(to, name);
        Text(to, value);
    }

    private static void Text(IBufferWriter<byte> to, ReadOnlySpan<byte> text)
    {
        Span<byte> length = stackalloc byte[5];
        var (rest, at) = (text.Length, 0);
        if (rest < 0x7f)
        {
            length[at++] = (byte)rest;
        }
        else
        {
            length[at++] = 0x7f;
            for (rest -= 0x7f; rest >= 0x80; rest >>= 7)
            {
                length[at++] = (byte)(rest | 0x80);
            }

            length[at++] = (byte)rest;
        }

        to.Write(length[..at]);
        to.Write(text);
    }
}
