using System.Diagnostics;
using System.Text.Json;

namespace Fabric.Lab.Processes;

/// <summary>A program that runs until it is told to stop. What it prints goes to a log in the work folder.</summary>
public sealed class Daemon : IAsyncDisposable
{
    private readonly Process _process;

    private Daemon(string name, string log, Process process) => (Name, Log, _process) = (name, log, process);

    public string Name { get; }

    /// <summary>Path of its log; a daemon that starts again under its name goes on in the same file.</summary>
    public string Log { get; }

    public int Pid => _process.Id;

    public bool IsAlive => !_process.HasExited;

    /// <summary>Starts it in a session of its own, so that a Ctrl-C at the terminal reaches the lab alone, which then stops it.</summary>
    public static Daemon Start(WorkFolder work, string name, string[] argv, IReadOnlyDictionary<string, string>? environment = null)
    {
        var log = work.Of($"{name}.log");
        // The shell only turns the output to the file; exec keeps the process number.
        var info = Command.Info(["setsid", "sh", "-c", "exec \"$@\" >>\"$0\" 2>&1 </dev/null", log, .. argv]);
        foreach (var (key, value) in environment ?? new Dictionary<string, string>())
        {
            info.Environment[key] = value;
        }

        var process = Process.Start(info)!;
        work.Own(process.Id);
        return new Daemon(name, log, process);
    }

    public void Signal(int signal)
    {
        if (IsAlive)
        {
            Posix.kill(Pid, signal);
        }
    }

    /// <summary>SIGTERM, and SIGKILL past the limit (5 s). Gives the exit code; 128 + signal when a signal ended it.</summary>
    public async Task<int> Stop(TimeSpan? limit = null)
    {
        Signal(Posix.SIGTERM);
        using var timeout = new CancellationTokenSource(limit ?? TimeSpan.FromSeconds(5));
        try
        {
            await _process.WaitForExitAsync(timeout.Token);
        }
        catch (OperationCanceledException)
        {
            await Kill();
        }

        return _process.ExitCode;
    }

    /// <summary>SIGKILL: it has no chance to tidy up.</summary>
    public async Task Kill()
    {
        Signal(Posix.SIGKILL);
        await _process.WaitForExitAsync();
    }

    public string Tail(int lines = 40) => File.Exists(Log)
        ? $"--- the end of {Name}'s log\n{string.Join('\n', File.ReadLines(Log).TakeLast(lines).Select(Readable))}\n"
        : $"--- {Name} wrote no log\n";

    /// <summary>Of a structured line: when, how grave, what.</summary>
    private static string Readable(string line)
    {
        try
        {
            var entry = JsonDocument.Parse(line).RootElement;
            return $"{entry.GetProperty("Timestamp")} {entry.GetProperty("LogLevel")} {entry.GetProperty("EventId")} {entry.GetProperty("Message")}"
                + (entry.TryGetProperty("Exception", out var exception) ? $"\n{exception}" : "");
        }
        catch (Exception e) when (e is JsonException or KeyNotFoundException or InvalidOperationException)
        {
            return line;
        }
    }

    public async ValueTask DisposeAsync()
    {
        await Stop();
        // Workers that outlived it: the group is the daemon's own.
        Posix.kill(-Pid, Posix.SIGKILL);
        _process.Dispose();
    }
}
