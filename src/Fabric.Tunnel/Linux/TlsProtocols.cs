using System.Text;

namespace Fabric.Tunnel.Linux;

/// <summary>Lists of protocol names as ALPN writes them: each with one byte of length before it (RFC 7301 §3.1).</summary>
internal static class TlsProtocols
{
    /// <summary>Throws <see cref="ArgumentException"/> when a name is empty or longer than 255 bytes.</summary>
    public static byte[] Encode(IEnumerable<string> names) => [.. names.SelectMany(name =>
    {
        var bytes = Encoding.UTF8.GetBytes(name);
        return bytes.Length is > 0 and < 256 ? bytes.Prepend((byte)bytes.Length)
            : throw new ArgumentException($"'{name}' is no ALPN name: it must have 1 to 255 bytes", nameof(names));
    })];

    /// <summary>The first of the supported names that is among those offered, as the part of the offer; empty when none is.</summary>
    public static ReadOnlySpan<byte> Select(ReadOnlySpan<byte> supported, ReadOnlySpan<byte> offered)
    {
        for (; supported.Length > 0; supported = supported[(1 + supported[0])..])
        {
            // libssl has checked that the lengths of the offer add up.
            for (var rest = offered; rest.Length > 0; rest = rest[(1 + rest[0])..])
            {
                if (rest[1..(1 + rest[0])].SequenceEqual(supported[1..(1 + supported[0])]))
                {
                    return rest[1..(1 + rest[0])];
                }
            }
        }

        return [];
    }
}
