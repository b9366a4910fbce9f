using System.Buffers;
using System.Diagnostics.CodeAnalysis;
using System.Text;
using System.Text.Unicode;

namespace Fabric.Topology;

/// <summary>
/// The path of an HTTP request in its one spelling, which policies are written in and requests are compared by: percent-encoding is undone
/// once where the character may stand for itself, and is in capitals where it may not (RFC 3986 §6.2.2). What two readers may take for two
/// different paths is no path, and is refused: dot segments, empty segments, <c>;parameters</c>, encoded slashes, backslashes, controls,
/// encoding that is encoded again, and what is not UTF-8. Upper and lower case differ.
/// </summary>
public static class RequestPath
{
    /// <summary>Bytes of a path that is read at all.</summary>
    public const int MaxBytes = 8192;

    private const int SmallPath = 512;

    /// <summary>What may stand for itself in a path (RFC 3986 §3.3), but for <c>;</c>, which some servers cut off.</summary>
    private static readonly SearchValues<byte> _literal =
        SearchValues.Create("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~!$&'()*+,=:@/"u8);

    /// <summary>Reads the path of a request's target; a query is left out.</summary>
    /// <param name="target">As on the wire: origin-form (RFC 9112 §3.2.1), or <c>:path</c>.</param>
    /// <param name="path">Printable ASCII; begins with a slash.</param>
    /// <param name="problem">Why it is no path, to be put after it.</param>
    public static bool TryRead(ReadOnlySpan<byte> target, [NotNullWhen(true)] out string? path, out string problem)
    {
        path = null;
        var query = target.IndexOf((byte)'?');
        target = query < 0 ? target : target[..query];
        problem = target.Length > MaxBytes ? $"is longer than {MaxBytes} bytes"
            : target.IsEmpty || target[0] != '/' ? "does not begin with '/'" : "";
        if (problem.Length > 0)
        {
            return false;
        }

        if (!target.ContainsAnyExcept(_literal))
        {
            // Nearly all of them.
            problem = Ambiguity(target);
            path = problem.Length == 0 ? Encoding.ASCII.GetString(target) : null;
            return path is not null;
        }

        byte[]? rented = target.Length > SmallPath ? ArrayPool<byte>.Shared.Rent(target.Length) : null;
        Span<byte> octets = rented ?? stackalloc byte[SmallPath];
        if (TryDecode(target, octets, out int length, out problem))
        {
            octets = octets[..length];
            problem = Ambiguity(octets);
            problem = problem.Length > 0 || Utf8.IsValid(octets) ? problem : "is not UTF-8 when it is decoded";
            path = problem.Length == 0 ? Spell(octets) : null;
        }

        if (rented is not null)
        {
            ArrayPool<byte>.Shared.Return(rented);
        }

        return path is not null;
    }

    private static bool TryDecode(ReadOnlySpan<byte> text, Span<byte> octets, out int length, out string problem)
    {
        length = 0;
        problem = "";
        for (int i = 0; i < text.Length; i++)
        {
            byte octet = text[i];
            if (octet == '%')
            {
                if (!TryHex(text[(i + 1)..], out octet))
                {
                    problem = "has a '%' that two hexadecimal digits do not follow";
                    return false;
                }

                i += 2;
                problem = octet == '/' ? "has an encoded slash" : "";
            }
            else
            {
                problem = octet is <= (byte)' ' or >= 0x7f or (byte)'#' ? $"has the byte 0x{octet:X2}, which must be encoded" : "";
            }

            if (problem.Length > 0)
            {
                return false;
            }

            octets[length++] = octet;
        }

        return true;
    }

    private static bool TryHex(ReadOnlySpan<byte> text, out byte octet)
    {
        octet = 0;
        if (text.Length < 2 || !char.IsAsciiHexDigit((char)text[0]) || !char.IsAsciiHexDigit((char)text[1]))
        {
            return false;
        }

        octet = (byte)((Digit(text[0]) << 4) | Digit(text[1]));
        return true;
    }

    private static int Digit(byte character) => character <= '9' ? character - '0' : (character | 0x20) - 'a' + 10;

    /// <summary>What servers are known to read in more than one way; empty when there is nothing.</summary>
    private static string Ambiguity(ReadOnlySpan<byte> octets)
    {
        if (octets.IndexOfAnyInRange((byte)0, (byte)0x1f) >= 0 || octets.Contains((byte)0x7f))
        {
            return "has an encoded control character";
        }

        if (octets.IndexOfAny((byte)'\\', (byte)';') is var at and >= 0)
        {
            return octets[at] == '\\' ? "has a backslash" : "has parameters (';')";
        }

        for (int i = 0; i < octets.Length && octets[i..].IndexOf((byte)'%') is var next and >= 0; i++)
        {
            i += next;
            if (TryHex(octets[(i + 1)..], out _))
            {
                return "is encoded twice";
            }
        }

        ReadOnlySpan<byte> rest = octets[1..];
        while (true)
        {
            int slash = rest.IndexOf((byte)'/');
            ReadOnlySpan<byte> segment = slash < 0 ? rest : rest[..slash];
            if (segment.SequenceEqual("."u8) || segment.SequenceEqual(".."u8))
            {
                return "has a '.' or '..' segment";
            }

            if (slash < 0)
            {
                return "";
            }

            if (segment.IsEmpty)
            {
                return "has two slashes in a row";
            }

            rest = rest[(slash + 1)..];
        }
    }

    private static string Spell(ReadOnlySpan<byte> octets)
    {
        var text = new StringBuilder(octets.Length);
        foreach (byte octet in octets)
        {
            if (_literal.Contains(octet))
            {
                text.Append((char)octet);
            }
            else
            {
                text.Append('%').Append(octet.ToString("X2", System.Globalization.CultureInfo.InvariantCulture));
            }
        }

        return text.ToString();
    }
}
