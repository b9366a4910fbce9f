namespace Fabric.Fuzzing;

/// <summary>Inputs that are kept for a target: a text file, one input a line, in hexadecimal, sorted.</summary>
internal static class Corpus
{
    /// <summary>Inputs of one target at most: of more, the shortest are written.</summary>
    public const int MaxInputs = 512;

    /// <summary>Those that lie beside the program.</summary>
    public static string Folder => Path.Combine(AppContext.BaseDirectory, "Corpus");

    public static byte[][] Read(string folder, string target) =>
        [.. new[] { FileOf(folder, target), HarmOf(folder, target) }.Where(File.Exists).SelectMany(File.ReadAllLines).Where(l => l.Length > 0).Select(Convert.FromHexString)];

    /// <summary>Writes what is kept instead of what was; what did harm is added to a file of its own, for good.</summary>
    public static void Write(string folder, string target, IEnumerable<byte[]> kept, IReadOnlyCollection<byte[]> harmful)
    {
        File.WriteAllLines(
            FileOf(folder, target), kept.Select(Convert.ToHexStringLower).Distinct().OrderBy(l => l.Length).ThenBy(l => l, StringComparer.Ordinal).Take(MaxInputs));
        if (harmful.Count > 0)
        {
            File.AppendAllLines(HarmOf(folder, target), harmful.Select(Convert.ToHexStringLower));
        }
    }

    private static string FileOf(string folder, string target) => Path.Combine(folder, target + ".txt");

    private static string HarmOf(string folder, string target) => Path.Combine(folder, target + ".harm.txt");
}
