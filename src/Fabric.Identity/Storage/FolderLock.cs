namespace Fabric.Identity.Storage;

/// <summary>
/// One process (and thread) at a time in a folder, by an advisory lock on its file <c>.lock</c>; the system drops it when the
/// process dies. Held for milliseconds; <see cref="Take"/> gives up after 10 s with <see cref="IOException"/>.
/// </summary>
internal static class FolderLock
{
    private const int Attempts = 1000;

    public static FileStream Take(string dir)
    {
        var options = new FileStreamOptions
        {
            Mode = FileMode.OpenOrCreate,
            Access = FileAccess.ReadWrite,
            Share = FileShare.None,
        };
        if (!OperatingSystem.IsWindows())
        {
            options.UnixCreateMode = SafeFile.Private;
        }

        using var pause = new ManualResetEventSlim();
        for (var attempt = 1; ; attempt++)
        {
            try
            {
                return new FileStream(Path.Combine(dir, ".lock"), options);
            }
            catch (IOException e) when (e is not (FileNotFoundException or DirectoryNotFoundException) && attempt < Attempts)
            {
                pause.Wait(10);
            }
        }
    }
}
