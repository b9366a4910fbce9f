using System.Text;

namespace Fabric.Topology.Asked;

/// <summary>How values and suggestions are put into messages.</summary>
internal static class Words
{
    private const int QuoteLimit = 80;

    /// <summary>The value in single quotes; control characters escaped, cut after 80 characters.</summary>
    public static string Quote(string text)
    {
        var quoted = new StringBuilder("'");
        foreach (char c in text.Length > QuoteLimit ? text[..QuoteLimit] : text)
        {
            quoted.Append(c switch
            {
                '\n' => "\\n",
                '\t' => "\\t",
                _ when char.IsControl(c) || char.IsSurrogate(c) => $"\\u{(int)c:x4}",
                _ => c.ToString(),
            });
        }

        return quoted.Append(text.Length > QuoteLimit ? "…'" : "'").ToString();
    }

    public static string Count(int count, string noun) =>
        count == 1 ? $"1 {noun}" : noun.EndsWith('y') ? $"{count} {noun[..^1]}ies" : $"{count} {noun}s";

    /// <summary><c>did you mean 'x'?</c> for the nearest candidate within a third of the word's length (at least one, at most
    /// three edits); when none is near, the candidates themselves if they are few; null when there are none.</summary>
    public static string? DidYouMean(string word, IEnumerable<string> candidates)
    {
        int limit = Math.Clamp(word.Length / 3, 1, 3);
        string? best = null;
        var few = new List<string>();
        int bestDistance = limit + 1;
        foreach (string candidate in candidates)
        {
            if (few.Count <= 8)
            {
                few.Add(candidate);
            }

            int distance = string.Equals(word, candidate, StringComparison.OrdinalIgnoreCase)
                ? 0 : Distance(word, candidate, bestDistance);
            if (distance < bestDistance)
            {
                (best, bestDistance) = (candidate, distance);
            }
        }

        return best is not null ? $"did you mean {Quote(best)}?"
            : few.Count is > 0 and <= 8 ? $"there {(few.Count == 1 ? "is" : "are")} {string.Join(", ", few)}" : null;
    }

    /// <summary>Optimal string alignment: insert, delete, replace, swap neighbours. Gives <paramref name="bound"/> when it is
    /// not less than that, or a word is longer than 64.</summary>
    internal static int Distance(string a, string b, int bound)
    {
        if (Math.Abs(a.Length - b.Length) >= bound || a.Length > 64 || b.Length > 64)
        {
            return bound;
        }

        var before = new int[b.Length + 1];
        var last = new int[b.Length + 1];
        var row = new int[b.Length + 1];
        for (int j = 0; j <= b.Length; j++)
        {
            last[j] = j;
        }

        for (int i = 1; i <= a.Length; i++)
        {
            row[0] = i;
            for (int j = 1; j <= b.Length; j++)
            {
                int change = a[i - 1] == b[j - 1] ? 0 : 1;
                row[j] = Math.Min(Math.Min(row[j - 1], last[j]) + 1, last[j - 1] + change);
                if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                {
                    row[j] = Math.Min(row[j], before[j - 2] + 1);
                }
            }

            (before, last, row) = (last, row, before);
        }

        return Math.Min(last[b.Length], bound);
    }
}
