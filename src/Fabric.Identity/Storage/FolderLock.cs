namespace Fabric.Identity.Storage;

/// <summary>
/// One process (and thread) at a time in a folder, by an advisory lock on its file <c>.lock</c>; the system drops it when the
/// process dies. Held for milliseconds; <see cref="Take"/> gives up after 10 s with <see cref="IOException"/>.
/// </summary>
internal static class FolderLock
{
    private const string Name = ".lock";
    private const int Attempts = 1000;

    public static FileStream Take(string dir)
    {
        var path = Path.Combine(dir, Name);
        using var pause = new ManualResetEventSlim();
        for (var attempt = 1; ; attempt++)
        {
            // The folder may be that of a user with less power than this one: a link of its making leads nowhere.
            if (new FileInfo(path).LinkTarget is not null)
            {
                throw new IOException($"'{path}' is a symbolic link, which no lock is: remove it");
            }

            try
            {
                return File.Exists(path) ? new FileStream(path, FileMode.Open, FileAccess.ReadWrite, FileShare.None)
                    : SafeFile.OpenNew(path, FileAccess.ReadWrite, FileShare.None);
            }
            catch (IOException e) when (e is not DirectoryNotFoundException && attempt < Attempts)
            {
                // Somebody has it, or made it in between.
                pause.Wait(10);
            }
        }
    }
}
