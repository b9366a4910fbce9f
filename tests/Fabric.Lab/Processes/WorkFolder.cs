using System.Globalization;

namespace Fabric.Lab.Processes;

/// <summary>
/// The one folder of a running lab, under the folder for temporary files: configurations, logs, and which processes are ours,
/// each with the instant of its start, so that a number that was given to another process since is never touched. A lab that
/// was killed leaves it behind; the next one reads it and removes what is left.
/// </summary>
public sealed class WorkFolder : IAsyncDisposable
{
    private readonly object _lock = new();

    private WorkFolder(string path) => Path = path;

    public string Path { get; }

    private string Pids => Of("pids");

    private string Owner => Of("owner");

    /// <summary>
    /// Takes the folder of this user. What a lab that was killed, or kept, left in it is removed first; a lab that is alive
    /// keeps it, and this throws.
    /// </summary>
    public static async Task<WorkFolder> Take()
    {
        var folder = new WorkFolder(System.IO.Path.Combine(System.IO.Path.GetTempPath(), $"fabric-lab-{Posix.getuid()}"));
        if (Directory.Exists(folder.Path))
        {
            if (File.Exists(folder.Owner) && ProcessStamp.Parse(await File.ReadAllTextAsync(folder.Owner)) is { IsAlive: true } owner && owner.Pid != Environment.ProcessId)
            {
                throw new LabException($"another lab of this user is running (process {owner.Pid}, {folder.Path}): one at a time");
            }

            await folder.DisposeAsync();
        }

        // Others may read it: nginx of the loopback mode runs as whoever started it, but in namespaces it drops its rights.
        Directory.CreateDirectory(folder.Path);
        await File.WriteAllTextAsync(folder.Owner, ProcessStamp.Of(Environment.ProcessId)!.ToString());
        return folder;
    }

    public string Of(params string[] parts) => System.IO.Path.Combine([Path, .. parts]);

    public string Folder(params string[] parts) => Directory.CreateDirectory(Of(parts)).FullName;

    /// <summary>Writes down that this process is ours.</summary>
    public void Own(int pid)
    {
        lock (_lock)
        {
            File.AppendAllText(Pids, ProcessStamp.Of(pid) + "\n");
        }
    }

    /// <summary>Kills what is left of ours, and removes the folder.</summary>
    public async ValueTask DisposeAsync()
    {
        if (!Directory.Exists(Path))
        {
            return;
        }

        var ours = File.Exists(Pids) ? (await File.ReadAllLinesAsync(Pids)).Select(ProcessStamp.Parse).OfType<ProcessStamp>().ToArray() : [];
        // Each leads a group of its own, and a worker may outlive the master that started it. A number that went to another
        // process since is not ours to kill.
        foreach (var stamp in ours.Where(s => s.IsAlive || ProcessStamp.Of(s.Pid) is null))
        {
            Posix.kill(-stamp.Pid, Posix.SIGKILL);
            if (stamp.IsAlive)
            {
                // It has only just started, and leads no group yet.
                Posix.kill(stamp.Pid, Posix.SIGKILL);
            }
        }

        await Poll.Until("our processes to end", TimeSpan.FromSeconds(5), () => Task.FromResult(!ours.Any(s => s.IsAlive)));
        Directory.Delete(Path, recursive: true);
    }
}

/// <summary>A process and the tick of its start: together they name it for as long as the machine is up.</summary>
public sealed record ProcessStamp(int Pid, long Started)
{
    /// <summary>Whether that very process runs; a zombie does not.</summary>
    public bool IsAlive => Of(Pid) == this;

    /// <summary>Null when there is no such process.</summary>
    public static ProcessStamp? Of(int pid)
    {
        try
        {
            // /proc/PID/stat, after the name in parentheses: state is field 3, start time in ticks field 22.
            var stat = File.ReadAllText($"/proc/{pid}/stat");
            var fields = stat[(stat.LastIndexOf(')') + 2)..].Split(' ');
            return fields[0] is "Z" or "X" ? null : new ProcessStamp(pid, long.Parse(fields[19], CultureInfo.InvariantCulture));
        }
        catch (IOException)
        {
            return null;
        }
    }

    public static ProcessStamp? Parse(string text) => text.Trim().Split(' ') is [var pid, var started]
        ? new ProcessStamp(int.Parse(pid, CultureInfo.InvariantCulture), long.Parse(started, CultureInfo.InvariantCulture))
        : null;

    public override string ToString() => $"{Pid} {Started}";
}
