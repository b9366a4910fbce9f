using System.Buffers;
using System.Text;

namespace Fabric.Protocol.Http;

/// <summary>Why a message is not passed on: the status to answer with, and one sentence for the log.</summary>
public sealed class HttpRefusedException(int status, string reason) : Exception(reason)
{
    public int Status { get; } = status;
}

/// <summary>
/// The small syntax that HTTP/1.1 and HTTP/2 share (RFC 9110 §5, RFC 9112), read strictly: of what two readers could take in two ways, none is
/// taken.
/// </summary>
public static class HttpSyntax
{
    private static readonly SearchValues<byte> _token =
        SearchValues.Create("!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"u8);

    private static readonly SearchValues<byte> _method = SearchValues.Create("ABCDEFGHIJKLMNOPQRSTUVWXYZ-"u8);

    private static readonly SearchValues<byte> _authority =
        SearchValues.Create("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~%:[]"u8);

    /// <summary>Whether it is a token: the name of a field, for one.</summary>
    public static bool IsToken(ReadOnlySpan<byte> text) => !text.IsEmpty && !text.ContainsAnyExcept(_token);

    /// <summary>Methods are compared as they are written (RFC 9110 §9.1), and all that are registered are in capitals; others, servers read as they like.</summary>
    public static bool IsMethod(ReadOnlySpan<byte> text) => text.Length is > 0 and <= 32 && !text.ContainsAnyExcept(_method);

    /// <summary>Whether a field may have it: no controls but the tab.</summary>
    public static bool IsValue(ReadOnlySpan<byte> text)
    {
        foreach (var octet in text)
        {
            if ((octet < ' ' && octet != '\t') || octet == 0x7f)
            {
                return false;
            }
        }

        return true;
    }

    /// <summary>Whether it is a host, with a port or without. Empty is one: of a request that has none.</summary>
    public static bool IsAuthority(ReadOnlySpan<byte> text) => text.Length <= 255 + 6 && !text.ContainsAnyExcept(_authority);

    /// <summary>Whether two authorities are one: in lower case, without the dot of the root, and without the port that is the default.</summary>
    public static bool SameAuthority(ReadOnlySpan<byte> a, ReadOnlySpan<byte> b) => Plain(a) == Plain(b);

    /// <summary>Without blanks and tabs at either end.</summary>
    public static ReadOnlySpan<byte> Trim(ReadOnlySpan<byte> text) => text.Trim(" \t"u8);

    /// <summary>Whether they are alike but for case, in ASCII.</summary>
    public static bool Same(ReadOnlySpan<byte> a, ReadOnlySpan<byte> b) => Ascii.EqualsIgnoreCase(a, b);

    /// <summary>Whether a list, separated by commas, has a word, in whatever case.</summary>
    public static bool Lists(ReadOnlySpan<byte> list, ReadOnlySpan<byte> word)
    {
        foreach (var item in list.Split((byte)','))
        {
            if (Same(Trim(list[item]), word))
            {
                return true;
            }
        }

        return false;
    }

    /// <summary>A length: digits and nothing else, at most 15 of them.</summary>
    public static bool TryReadLength(ReadOnlySpan<byte> text, out long length)
    {
        length = 0;
        if (text.Length is 0 or > 15 || text.ContainsAnyExceptInRange((byte)'0', (byte)'9'))
        {
            return false;
        }

        foreach (var digit in text)
        {
            length = (length * 10) + (digit - '0');
        }

        return true;
    }

    /// <summary>The first line of a chunk, without its CRLF (RFC 9112 §7.1): hexadecimal digits, at most 15; extensions are allowed and not read.</summary>
    public static bool TryReadChunkSize(ReadOnlySpan<byte> line, out long size)
    {
        size = 0;
        var end = line.IndexOf((byte)';');
        var digits = end < 0 ? line : HttpSyntax.Trim(line[..end]);
        if (digits.Length is 0 or > 15 || !IsValue(line) || (end > 0 && line[0] is (byte)' ' or (byte)'\t'))
        {
            return false;
        }

        foreach (var digit in digits)
        {
            if (!char.IsAsciiHexDigit((char)digit))
            {
                return false;
            }

            size = (size << 4) | (long)(digit <= '9' ? digit - '0' : (digit | 0x20) - 'a' + 10);
        }

        return true;
    }

    private static string Plain(ReadOnlySpan<byte> authority)
    {
        var text = Encoding.Latin1.GetString(authority).ToLowerInvariant();
        text = text.EndsWith(":80", StringComparison.Ordinal) ? text[..^3] : text;
        return text.EndsWith('.') ? text[..^1] : text;
    }
}
