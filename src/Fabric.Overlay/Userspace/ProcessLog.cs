using System.Text;

namespace Fabric.Overlay.Userspace;

/// <summary>The file that a WireGuard process writes to: what is new goes to our log, and the file never grows large.</summary>
internal sealed class ProcessLog
{
    private const int MaxFile = 256 << 10, MaxLines = 20, MaxLine = 300;

    private readonly string _path;
    private long _read;

    /// <summary>What is in the file already is not told again.</summary>
    public ProcessLog(string path)
    {
        _path = path;
        _read = File.Exists(path) ? new FileInfo(path).Length : 0;
    }

    public string Path => _path;

    /// <summary>
    /// The whole lines that came since the last call: at most 20, each of at most 300 characters; the rest is counted.
    /// </summary>
    public IReadOnlyList<string> ReadNew()
    {
        try
        {
            using var file = new FileStream(_path, FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite);
            _read = Math.Min(_read, file.Length);
            var fresh = new byte[Math.Min(file.Length - _read, MaxFile)];
            file.Position = _read;
            file.ReadExactly(fresh);
            var whole = fresh.AsSpan().LastIndexOf((byte)'\n') + 1;
            _read += whole;
            var lines = Encoding.UTF8.GetString(fresh, 0, whole).Split('\n', StringSplitOptions.RemoveEmptyEntries);
            if (_read > MaxFile)
            {
                // The process appends: after this it goes on at the beginning.
                file.SetLength(0);
                _read = 0;
            }

            var shown = lines.Take(MaxLines).Select(l => l.Length > MaxLine ? l[..MaxLine] + "…" : l);
            return lines.Length > MaxLines ? [.. shown, $"… and {lines.Length - MaxLines} lines more"] : [.. shown];
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return [];
        }
    }
}
