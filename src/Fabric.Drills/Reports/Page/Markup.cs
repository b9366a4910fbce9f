using System.Globalization;
using System.Runtime.CompilerServices;
using System.Text;

namespace Fabric.Drills.Reports.Page;

/// <summary>
/// HTML and SVG as it is written: what stands in the source goes through as it is, and whatever is put into it is escaped, for text and for
/// attributes in double quotes alike. So nothing that comes from a file can become markup by an oversight.
/// </summary>
internal sealed class Markup
{
    private readonly StringBuilder _text = new();

    public Markup Add([InterpolatedStringHandlerArgument("")] Handler markup)
    {
        _ = markup;
        return this;
    }

    /// <summary>Markup that was made by another one of these, or stands in a file of the project.</summary>
    public Markup AddRaw(string markup)
    {
        _text.Append(markup);
        return this;
    }

    public override string ToString() => _text.ToString();

    /// <summary>Escaped; control characters, and those that turn the direction of what follows, are shown as U+FFFD.</summary>
    internal static string Escape(string text)
    {
        var escaped = new StringBuilder(text.Length + 16);
        foreach (var rune in text.EnumerateRunes())
        {
            _ = rune.Value switch
            {
                '&' => escaped.Append("&amp;"),
                '<' => escaped.Append("&lt;"),
                '>' => escaped.Append("&gt;"),
                '"' => escaped.Append("&quot;"),
                '\'' => escaped.Append("&#39;"),
                _ => IsShown(rune.Value) ? escaped.Append(rune.ToString()) : escaped.Append('\ufffd'),
            };
        }

        return escaped.ToString();
    }

    private static bool IsShown(int rune) => rune is '\n' or '\t' or (>= 0x20 and < 0x7f) or (> 0x9f
        and not 0x200e and not 0x200f and not (>= 0x2028 and <= 0x202e) and not (>= 0x2066 and <= 0x206f));

    [InterpolatedStringHandler]
    internal readonly struct Handler(int literalLength, int formattedCount, Markup markup)
    {
        private readonly StringBuilder _text = markup._text;

        // The compiler hands them over; the builder grows by itself.
        public int Expected { get; } = literalLength + 8 * formattedCount;

        public void AppendLiteral(string markup) => _text.Append(markup);

        public void AppendFormatted(string? text) => _text.Append(Escape(text ?? ""));

        public void AppendFormatted(int number) => _text.Append(number.ToString(CultureInfo.InvariantCulture));

        public void AppendFormatted(long number) => _text.Append(number.ToString(CultureInfo.InvariantCulture));

        /// <summary>Coordinates: a tenth of a pixel is enough.</summary>
        public void AppendFormatted(double number) =>
            _text.Append((double.IsFinite(number) ? Math.Round(number, 1) : 0).ToString("0.#", CultureInfo.InvariantCulture));
    }
}
