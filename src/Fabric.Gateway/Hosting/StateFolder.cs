using System.Text.Json;

namespace Fabric.Gateway.Hosting;

/// <summary>
/// The daemon's own folder, mode 0700. Every write goes to a new file that takes the old one's name, so that a daemon killed at
/// any moment finds either the old or the new one. Locked while the daemon lives: two on one folder would be one gateway twice.
/// </summary>
internal sealed class StateFolder : IAsyncDisposable
{
    private readonly FileStream _lock;

    public StateFolder(string path)
    {
        Path = path;
        if (OperatingSystem.IsWindows())
        {
            Directory.CreateDirectory(path);
        }
        else
        {
            Directory.CreateDirectory(path, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        }

        try
        {
            _lock = new FileStream(Of("lock"), FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
        }
        catch (IOException e) when (e is not (DirectoryNotFoundException or PathTooLongException))
        {
            throw new IOException($"another fabricd uses {path}: give this one a --state of its own", e);
        }
    }

    public string Path { get; }

    public ValueTask DisposeAsync() => _lock.DisposeAsync();

    public string Of(string name) => System.IO.Path.Combine(Path, name);

    /// <summary>The value kept under that name; the fallback when there is none, or when it cannot be read as one.</summary>
    public T ReadJson<T>(string name, T fallback)
    {
        try
        {
            return JsonSerializer.Deserialize<T>(File.ReadAllText(Of(name))) ?? fallback;
        }
        catch (Exception e) when (e is IOException or JsonException)
        {
            return fallback;
        }
    }

    public void WriteJson<T>(string name, T value)
    {
        var next = Of(name + ".next");
        using (var file = new FileStream(next, FileMode.Create, FileAccess.Write))
        {
            JsonSerializer.Serialize(file, value);
            file.Flush(flushToDisk: true);
        }

        File.Move(next, Of(name), overwrite: true);
    }
}
