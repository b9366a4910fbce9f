using System.Formats.Tar;
using System.Globalization;
using System.IO.Compression;
using System.Text;

namespace Fabric.Cli.BugReports;

/// <summary>
/// A folder of texts in one compressed archive, readable by its owner alone. Each part is made by itself: one that fails is told in
/// <c>contents.txt</c>, with the reason, and hinders none of the others.
/// </summary>
internal sealed class BugReport(TimeProvider time)
{
    /// <summary>Of one part, in characters: of a longer one the end is kept.</summary>
    public const int MaxPart = 4 << 20;

    private readonly List<(string Name, string Text)> _parts = [];
    private readonly StringBuilder _contents = new();

    /// <summary>How many secrets were found in what was collected, and left out.</summary>
    public int LeftOut { get; private set; }

    /// <param name="what">What it is, for whoever opens the archive.</param>
    /// <param name="collect">Its text. What this throws is why it is not there.</param>
    public async Task Add(string name, string what, Func<Task<string>> collect)
    {
        try
        {
            var (text, leftOut) = Redaction.Clean(End(await collect()));
            LeftOut += leftOut;
            _parts.Add((name, text));
            Tell(name, $"{what}{(leftOut > 0 ? string.Create(CultureInfo.InvariantCulture, $"; {Redaction.Mark} where something looked like a secret: {leftOut}") : "")}");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or CliException or HttpRequestException or OperationCanceledException or InvalidOperationException)
        {
            Tell(name, $"{what}: missing, because {Redaction.Clean(e.Message.Split('\n')[0]).Text}");
        }
    }

    /// <summary>Writes the archive. A file that is there already is left as it is, and an <see cref="IOException"/>.</summary>
    public void Write(string path)
    {
        var options = new FileStreamOptions { Mode = FileMode.CreateNew, Access = FileAccess.Write };
        if (!OperatingSystem.IsWindows())
        {
            options.UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite;
        }

        using var file = new FileStream(path, options);
        using var compressed = new GZipStream(file, CompressionLevel.Optimal);
        using var archive = new TarWriter(compressed, TarEntryFormat.Pax);
        var folder = Path.GetFileName(path).Split('.')[0];
        foreach (var (name, text) in _parts.Prepend(("contents.txt", _contents.ToString())))
        {
            archive.WriteEntry(new PaxTarEntry(TarEntryType.RegularFile, $"{folder}/{name}")
            {
                DataStream = new MemoryStream(Encoding.UTF8.GetBytes(text)),
                ModificationTime = time.GetUtcNow(),
                Mode = UnixFileMode.UserRead | UnixFileMode.UserWrite,
            });
        }
    }

    private void Tell(string name, string what) => _contents.Append(CultureInfo.InvariantCulture, $"{name,-22} {what}\n");

    private static string End(string text) => text.Length <= MaxPart ? text : string.Create(CultureInfo.InvariantCulture, $"… the last {MaxPart:N0} of {text.Length:N0} characters\n{text.AsSpan(text.Length - MaxPart)}");
}
