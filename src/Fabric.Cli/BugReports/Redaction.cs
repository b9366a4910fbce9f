using System.Text.RegularExpressions;

namespace Fabric.Cli.BugReports;

/// <summary>
/// Takes out of a text what looks like a secret. Nothing that holds one is read for a report; this is for what somebody has put where it does not
/// belong, such as a token in a comment of the topology.
/// </summary>
internal static class Redaction
{
    public const string Mark = "[left out]";

    // Linear in the length of the text, whatever is in it.
    private const RegexOptions Options = RegexOptions.NonBacktracking | RegexOptions.CultureInvariant;

    private static readonly (Regex Pattern, string Replacement)[] _rules =
    [
        // A PEM block; one without an end, to the end of the text.
        (new Regex("-----BEGIN [A-Z ]*PRIVATE KEY-----(?:[^-]|-[^-])*(?:-----END [A-Z ]*PRIVATE KEY-----)?", Options), Mark),
        // Of a header all of its line.
        (new Regex("((?:proxy-)?authorization\\s*[:=]\\s*)[^\\r\\n]+", Options | RegexOptions.IgnoreCase), "$1" + Mark),
        // Join tokens, those of Vault, and JSON Web Tokens (RFC 7519).
        (new Regex("fab1\\.[A-Za-z0-9_-]+", Options), "fab1." + Mark),
        (new Regex("\\bhv[sbr]\\.[A-Za-z0-9_-]+", Options), Mark),
        (new Regex("\\beyJ[A-Za-z0-9_-]+\\.[A-Za-z0-9_-]+\\.[A-Za-z0-9_-]*", Options), Mark),
        // scheme://user:password@host
        (new Regex("([a-z][a-z0-9+.-]*://)[^/@\\s]+@", Options | RegexOptions.IgnoreCase), "$1" + Mark + "@"),
        // A name that says what follows, with : or = in between. wg says (hidden), which is none.
        (new Regex("((?:private|preshared|api|secret|access)[_ -]?key|passw(?:or)?d|passphrase|secret|[a-z_-]*token)(\"?\\s*[:=]\\s*)(\"[^\"\\r\\n]*\"|'[^'\\r\\n]*'|[^\\s,;\"'(][^\\s,;\"']*)",
            Options | RegexOptions.IgnoreCase), "$1$2" + Mark),
    ];

    /// <summary>The text without them, and how many there were.</summary>
    public static (string Text, int LeftOut) Clean(string text)
    {
        var count = 0;
        foreach (var (pattern, replacement) in _rules)
        {
            text = pattern.Replace(text, match =>
            {
                // A mark of an earlier rule is no secret.
                if (match.Value.EndsWith(Mark, StringComparison.Ordinal))
                {
                    return match.Value;
                }

                count++;
                return match.Result(replacement);
            });
        }

        return (text, count);
    }
}
