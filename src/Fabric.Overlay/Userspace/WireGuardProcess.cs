using System.ComponentModel;
using System.Diagnostics;
using System.Globalization;
using System.Runtime.InteropServices;

namespace Fabric.Overlay.Userspace;

/// <summary>
/// A WireGuard process: started by us, or adopted from an earlier process of ours. It outlives us on purpose, so that
/// sessions outlive a restart of the daemon; therefore its output goes to a file and not to a pipe that would break with us.
/// </summary>
internal sealed partial class WireGuardProcess : IDisposable
{
    private const int SignalTerminate = 15, SignalKill = 9;

    private static readonly TimeSpan _poll = TimeSpan.FromMilliseconds(100);

    private readonly Process? _child;
    private readonly string? _started;
    private readonly TimeProvider _time;

    private WireGuardProcess(int id, Process? child, TimeProvider time)
    {
        (Id, _child, _time) = (id, child, time);
        _started = StartOf(id);
    }

    public int Id { get; }

    /// <summary>
    /// Starts it with its output appended to a file. The shell only opens the file and is replaced by the command: .NET can
    /// redirect to pipes alone. Throws <see cref="OverlayException"/>.
    /// </summary>
    public static WireGuardProcess Start(string command, IEnumerable<string> arguments, string logFile, TimeProvider time)
    {
        var start = new ProcessStartInfo("/bin/sh") { UseShellExecute = false };
        foreach (var argument in (string[])["-c", "log=$1; shift; exec \"$@\" </dev/null >>\"$log\" 2>&1", "sh", logFile,
            command, .. arguments])
        {
            start.ArgumentList.Add(argument);
        }

        // Nothing of our environment is the process's business.
        start.Environment.Clear();
        start.Environment["PATH"] = SearchPath;
        start.Environment["LOG_LEVEL"] = "error";
        try
        {
            var child = Process.Start(start)!;
            return new(child.Id, child, time);
        }
        catch (Win32Exception e)
        {
            throw new OverlayException(OverlayStage.Interface, $"cannot start '{command}': {e.Message}", e.NativeErrorCode, e);
        }
    }

    /// <summary>Null when there is no such process.</summary>
    public static WireGuardProcess? Adopt(int id, TimeProvider time) =>
        new WireGuardProcess(id, null, time) is { IsAlive: true } adopted ? adopted : null;

    /// <summary>A process that is not our child is looked at every 100 ms; it may stay a zombie, when nobody reaps it.</summary>
    public async Task WaitForExitAsync(CancellationToken cancellationToken)
    {
        if (_child is not null)
        {
            await _child.WaitForExitAsync(cancellationToken);
            return;
        }

        while (IsAlive)
        {
            await Task.Delay(_poll, _time, cancellationToken);
        }
    }

    /// <summary>Asks it to end, and ends it when it does not within the limit. Returns when it is gone.</summary>
    public async Task EndAsync(TimeSpan limit)
    {
        foreach (var signal in (int[])[SignalTerminate, SignalKill])
        {
            if (!IsAlive)
            {
                return;
            }

            _ = kill(Id, signal);
            using var end = new CancellationTokenSource(limit, _time);
            await WaitForExitAsync(end.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    public void Dispose() => _child?.Dispose();

    /// <summary>The number may belong to another process by now: the same one has the same start.</summary>
    private bool IsAlive => _started is not null && StartOf(Id) == _started;

    /// <summary>Where commands are looked for: that of the environment, and where Linux keeps its own.</summary>
    public static string SearchPath =>
        $"{Environment.GetEnvironmentVariable("PATH")}:/usr/local/bin:/usr/local/sbin:/usr/bin:/usr/sbin:/bin:/sbin";

    /// <summary>Field 22 of /proc/N/stat; null when there is no such process, or it is a zombie.</summary>
    private static string? StartOf(int id)
    {
        try
        {
            // The second field is the command in parentheses, and may hold spaces and parentheses itself.
            var stat = File.ReadAllText(string.Create(CultureInfo.InvariantCulture, $"/proc/{id}/stat"));
            var fields = stat[(stat.LastIndexOf(')') + 2)..].Split(' ');
            return fields.Length > 19 && fields[0] is not ("Z" or "X") ? fields[19] : null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentOutOfRangeException)
        {
            return null;
        }
    }

    [LibraryImport("libc", SetLastError = true)]
    private static partial int kill(int process, int signal);
}
