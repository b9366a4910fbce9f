namespace Fabric.Drills.Running;

/// <summary>
/// One run at a time on a host: a file that the kernel locks while the run lives, and one beside it that says which run it is. What it says stays after a
/// run that was killed: then it names what may still be in force.
/// </summary>
public sealed class DrillLock : IDisposable
{
    private readonly FileStream _file;
    private readonly string _folder;
    private readonly string? _before;

    private DrillLock(FileStream file, string folder) => (_file, _folder, _before) = (file, folder, Holder(folder));

    /// <summary>Null, with the run that holds it, when another is under way. Throws <see cref="IOException"/> when the folder cannot be written.</summary>
    public static DrillLock? TryTake(string folder, string run, out string holder)
    {
        Directory.CreateDirectory(folder);
        FileStream file;
        try
        {
            file = new FileStream(Path.Combine(folder, ".lock"), FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
        }
        catch (IOException e) when (e is not (DirectoryNotFoundException or FileNotFoundException or PathTooLongException))
        {
            holder = Holder(folder) ?? "of another process";
            return null;
        }

        var taken = new DrillLock(file, folder);
        File.WriteAllText(NameOf(folder), run);
        File.Delete(StopOf(folder));
        holder = "";
        return taken;
    }

    /// <summary>The run that is under way on this host, or was when its process ended; null when everything is put back, as far as this host knows.</summary>
    public static string? Holder(string folder) => File.Exists(NameOf(folder)) && File.ReadAllText(NameOf(folder)) is { Length: > 0 and <= 100 } run ? run : null;

    /// <param name="touched">Whether the run did anything: one that did not leaves the name of the one before.</param>
    public void Done(bool touched = true) => File.WriteAllText(NameOf(_folder), touched ? "" : _before ?? "");

    /// <summary>Asks the run that is under way on this host, if there is one, to abort.</summary>
    public static void AskToStop(string folder)
    {
        if (Holder(folder) is { } run)
        {
            File.WriteAllText(StopOf(folder), run);
        }
    }

    /// <summary>Whether this run was asked to abort.</summary>
    public bool StopAsked => File.Exists(StopOf(_folder));

    public void Dispose() => _file.Dispose();

    private static string StopOf(string folder) => Path.Combine(folder, ".abort");

    private static string NameOf(string folder) => Path.Combine(folder, ".run");
}
