using System.ComponentModel;
using System.Diagnostics;
using System.Globalization;

namespace Fabric.Gateway.Faults;

/// <summary>
/// A child of a shell and two small programs that takes a fault back when this process cannot: it waits on a pipe, which the kernel closes
/// however this process ends, and as long as the fault lasts and no longer, should this process be stopped. Each fault has its own.
/// </summary>
internal sealed class FaultWatchdog : IDisposable
{
    private const string Done = "done";

    /// <summary>
    /// $1: seconds; $2: the lease; $3: shell commands. What a terminal or a service manager sends to the whole group is not for it, and neither
    /// is SIGTERM for its children, which inherit that: so the limit ends with SIGKILL.
    /// </summary>
    private const string Script = """
        trap '' HUP INT QUIT TERM
        exec >/dev/null 2>&1
        [ "$(timeout -s KILL "$1" head -n 1)" = done ] && exit 0
        eval "$3"
        rm -f -- "$2"
        """;

    /// <summary>This process goes first, when it can.</summary>
    private static readonly TimeSpan _grace = TimeSpan.FromMilliseconds(500);

    private readonly Process _child;

    private FaultWatchdog(Process child) => _child = child;

    /// <summary>Throws <see cref="IOException"/> when there is no shell: then nothing is applied that would need it.</summary>
    public static FaultWatchdog Start(TimeSpan duration, IEnumerable<string[]> undo, string lease)
    {
        var start = new ProcessStartInfo("/bin/sh") { UseShellExecute = false, RedirectStandardInput = true };
        var commands = string.Join("; ", undo.Select(argv => string.Join(' ', argv.Select(Quoted))));
        foreach (var argument in (string[])["-c", Script, "fabric-fault", (duration + _grace).TotalSeconds.ToString("0.###", CultureInfo.InvariantCulture),
            Path.GetFullPath(lease), commands])
        {
            start.ArgumentList.Add(argument);
        }

        // Nothing of our environment is its business.
        start.Environment.Clear();
        start.Environment["PATH"] = NetTools.SearchPath;
        try
        {
            return new FaultWatchdog(Process.Start(start)!);
        }
        catch (Win32Exception e)
        {
            throw new IOException($"no watchdog of the fault could be started: {e.Message}", e);
        }
    }

    /// <summary>The fault was taken back: it has nothing to do.</summary>
    public void Dispose()
    {
        try
        {
            _child.StandardInput.WriteLine(Done);
            _child.StandardInput.Close();
        }
        catch (IOException)
        {
            // It has ended: it was its time, too.
        }

        _child.Dispose();
    }

    private static string Quoted(string argument) => $"'{argument.Replace("'", "'\\''", StringComparison.Ordinal)}'";
}
