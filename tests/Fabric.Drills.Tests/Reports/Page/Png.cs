using System.Buffers.Binary;
using System.IO.Compression;
using System.Text;

namespace Fabric.Drills.Tests.Reports.Page;

/// <summary>Just enough of PNG (https://www.w3.org/TR/png-3/) to see what a browser painted: 8 bits, RGB or RGBA, not interlaced.</summary>
internal static class Png
{
    /// <summary>How many pixels have each colour, as 0xRRGGBB.</summary>
    public static Dictionary<int, int> Colours(ReadOnlySpan<byte> file)
    {
        Assert.True(file[1..].StartsWith("PNG\r\n"u8));
        var (width, height, channels) = (0, 0, 0);
        using var packed = new MemoryStream();
        for (var at = 8; at < file.Length;)
        {
            var length = BinaryPrimitives.ReadInt32BigEndian(file[at..]);
            var data = file.Slice(at + 8, length);
            switch (Encoding.ASCII.GetString(file.Slice(at + 4, 4)))
            {
                case "IHDR":
                    (width, height) = (BinaryPrimitives.ReadInt32BigEndian(data), BinaryPrimitives.ReadInt32BigEndian(data[4..]));
                    Assert.True(data[8] == 8 && data[9] is 2 or 6 && data[12] == 0, "8 bits, RGB or RGBA");
                    channels = data[9] == 2 ? 3 : 4;
                    break;
                case "IDAT":
                    packed.Write(data);
                    break;
            }

            at += 12 + length;
        }

        packed.Position = 0;
        using var rows = new ZLibStream(packed, CompressionMode.Decompress);
        var colours = new Dictionary<int, int>();
        var (row, above) = (new byte[width * channels], new byte[width * channels]);
        for (var y = 0; y < height; y++)
        {
            var filter = rows.ReadByte();
            rows.ReadExactly(row);
            for (var i = 0; i < row.Length; i++)
            {
                var (left, up, corner) = (i < channels ? 0 : row[i - channels], above[i], i < channels ? 0 : above[i - channels]);
                row[i] += (byte)(filter switch { 1 => left, 2 => up, 3 => (left + up) / 2, 4 => Paeth(left, up, corner), _ => 0 });
            }

            for (var i = 0; i < row.Length; i += channels)
            {
                var colour = row[i] << 16 | row[i + 1] << 8 | row[i + 2];
                colours[colour] = colours.GetValueOrDefault(colour) + 1;
            }

            (row, above) = (above, row);
        }

        return colours;
    }

    private static int Paeth(int left, int up, int corner)
    {
        var guess = left + up - corner;
        var (a, b, c) = (Math.Abs(guess - left), Math.Abs(guess - up), Math.Abs(guess - corner));
        return a <= b && a <= c ? left : b <= c ? up : corner;
    }
}
