using System.Formats.Tar;
using System.IO.Compression;

namespace Fabric.Testing;

/// <summary>A <c>.tar.gz</c>, such as <c>fabric bugreport</c> writes.</summary>
public static class TarGz
{
    /// <summary>The text of each file in it, by its name without the folder.</summary>
    public static Dictionary<string, string> Read(string path)
    {
        var parts = new Dictionary<string, string>();
        using var archive = new TarReader(new GZipStream(File.OpenRead(path), CompressionMode.Decompress));
        while (archive.GetNextEntry() is { } entry)
        {
            using var text = new StreamReader(entry.DataStream ?? Stream.Null);
            parts.Add(Path.GetFileName(entry.Name), text.ReadToEnd());
        }

        return parts;
    }
}
