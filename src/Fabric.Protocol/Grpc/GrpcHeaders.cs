using System.Globalization;
using System.Text;

namespace Fabric.Protocol.Grpc;

/// <summary>The header values of gRPC that have a grammar of their own. Source: gRPC PROTOCOL-HTTP2.md.</summary>
internal static class GrpcHeaders
{
    public const string ContentType = "application/grpc";
    public const string Status = "grpc-status";
    public const string Message = "grpc-message";
    public const string Timeout = "grpc-timeout";
    public const string Encoding = "grpc-encoding";
    public const string AcceptEncoding = "grpc-accept-encoding";

    /// <summary>Encoded length after which a message is cut: clients refuse trailers above 8 KiB in all.</summary>
    public const int MaxMessageLength = 6 * 1024;

    private static readonly (char Unit, long Ticks)[] Units =
    [
        ('u', TimeSpan.TicksPerMicrosecond),
        ('m', TimeSpan.TicksPerMillisecond),
        ('S', TimeSpan.TicksPerSecond),
        ('M', TimeSpan.TicksPerMinute),
        ('H', TimeSpan.TicksPerHour),
    ];

    /// <summary><c>application/grpc</c>, alone or with a suffix such as <c>+proto</c>, or with parameters.</summary>
    public static bool IsGrpc(string? contentType) =>
        contentType is not null
        && contentType.StartsWith(ContentType, StringComparison.OrdinalIgnoreCase)
        && (contentType.Length == ContentType.Length || contentType[ContentType.Length] is '+' or ';');

    /// <summary>
    /// At most eight digits and a unit; the finest unit that holds it, rounded up. Not positive gives <c>0u</c>.
    /// </summary>
    public static string FormatTimeout(TimeSpan timeout)
    {
        var ticks = Math.Max(0, timeout.Ticks);
        foreach (var (unit, size) in Units)
        {
            var count = (ticks / size) + (ticks % size == 0 ? 0 : 1);
            if (count <= 99_999_999)
            {
                return string.Create(CultureInfo.InvariantCulture, $"{count}{unit}");
            }
        }

        return "99999999H";
    }

    /// <summary>False when the text breaks the grammar. Nanoseconds round up to the tick of 100 ns.</summary>
    public static bool TryParseTimeout(string text, out TimeSpan timeout)
    {
        timeout = default;
        if (text.Length is < 2 or > 9 || text.AsSpan(0, text.Length - 1).ContainsAnyExceptInRange('0', '9'))
        {
            return false;
        }

        var count = long.Parse(text.AsSpan(0, text.Length - 1), NumberStyles.None, CultureInfo.InvariantCulture);
        var unit = text[^1];
        if (unit == 'n')
        {
            timeout = new TimeSpan((count + 99) / 100);
            return true;
        }

        var size = Array.Find(Units, u => u.Unit == unit).Ticks;
        timeout = new TimeSpan(count * size);
        return size != 0;
    }

    /// <summary>
    /// Percent-encodes all but printable ASCII, and the percent sign; longer than the limit is cut, with an ellipsis.
    /// </summary>
    public static string EncodeMessage(string message)
    {
        const string ellipsis = "%E2%80%A6";
        var encoded = new StringBuilder(Math.Min(message.Length, MaxMessageLength));
        Span<byte> utf8 = stackalloc byte[4];
        foreach (var rune in message.EnumerateRunes())
        {
            var fits = encoded.Length;
            if (rune.Value is >= ' ' and <= '~' and not '%')
            {
                encoded.Append((char)rune.Value);
            }
            else
            {
                foreach (var b in utf8[..rune.EncodeToUtf8(utf8)])
                {
                    encoded.Append(CultureInfo.InvariantCulture, $"%{b:X2}");
                }
            }

            if (encoded.Length > MaxMessageLength - ellipsis.Length)
            {
                encoded.Length = fits;
                return encoded.Append(ellipsis).ToString();
            }
        }

        return encoded.ToString();
    }

    /// <summary>Never fails: what is no percent code stays as it is, and what is no UTF-8 becomes U+FFFD.</summary>
    public static string DecodeMessage(string text)
    {
        if (!text.Contains('%'))
        {
            return text;
        }

        var source = System.Text.Encoding.UTF8.GetBytes(text);
        var decoded = new byte[source.Length];
        var length = 0;
        for (var i = 0; i < source.Length; i++)
        {
            var isCode = source[i] == '%' && i + 2 < source.Length
                && char.IsAsciiHexDigit((char)source[i + 1]) && char.IsAsciiHexDigit((char)source[i + 2]);
            decoded[length++] = isCode ? Convert.ToByte(System.Text.Encoding.ASCII.GetString(source, i + 1, 2), 16) : source[i];
            i += isCode ? 2 : 0;
        }

        return System.Text.Encoding.UTF8.GetString(decoded, 0, length);
    }
}
