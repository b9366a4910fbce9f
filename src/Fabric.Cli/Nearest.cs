namespace Fabric.Cli;

/// <summary>"Did you mean": the known word with the fewest edits, when few enough.</summary>
internal static class Nearest
{
    public static string? To(string word, IEnumerable<string> known)
    {
        var best = known.Select(k => (Word: k, Edits: Edits(word, k))).OrderBy(k => k.Edits).FirstOrDefault();
        return best.Word is not null && best.Edits <= Math.Max(1, Math.Min(word.Length, best.Word.Length) / 3 + 1) ? best.Word
            : null;
    }

    /// <summary>Optimal string alignment distance: insert, delete, replace, or swap neighbours, one each.</summary>
    private static int Edits(string a, string b)
    {
        if (a.Length > 64 || b.Length > 64)
        {
            return int.MaxValue;
        }

        var d = new int[a.Length + 1, b.Length + 1];
        for (var i = 0; i <= a.Length; i++)
        {
            for (var j = 0; j <= b.Length; j++)
            {
                if (i == 0 || j == 0)
                {
                    d[i, j] = i + j;
                    continue;
                }

                d[i, j] = Math.Min(Math.Min(d[i - 1, j], d[i, j - 1]) + 1, d[i - 1, j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1));
                if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                {
                    d[i, j] = Math.Min(d[i, j], d[i - 2, j - 2] + 1);
                }
            }
        }

        return d[a.Length, b.Length];
    }
}
