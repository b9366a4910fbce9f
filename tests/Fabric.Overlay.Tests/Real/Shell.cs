using System.Diagnostics;

namespace Fabric.Overlay.Tests.Real;

/// <summary>Commands of the system, each within a limit of time.</summary>
internal static class Shell
{
    public static async Task<(int Code, string Output)> TryAsync(string command, int seconds = 30)
    {
        var start = new ProcessStartInfo("/bin/sh") { RedirectStandardOutput = true, RedirectStandardError = true };
        start.ArgumentList.Add("-c");
        start.ArgumentList.Add(command);
        start.Environment["PATH"] = $"{Environment.GetEnvironmentVariable("PATH")}:/usr/sbin:/sbin";
        using var process = Process.Start(start)!;
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(seconds));
        try
        {
            var output = process.StandardOutput.ReadToEndAsync(limit.Token);
            var error = process.StandardError.ReadToEndAsync(limit.Token);
            await process.WaitForExitAsync(limit.Token);
            return (process.ExitCode, await output + await error);
        }
        catch (OperationCanceledException)
        {
            process.Kill(entireProcessTree: true);
            throw new TimeoutException($"'{command}' took longer than {seconds} s");
        }
    }

    /// <summary>Throws with what the command wrote when it fails.</summary>
    public static async Task<string> RunAsync(string command, int seconds = 30)
    {
        var (code, output) = await TryAsync(command, seconds);
        return code == 0 ? output : throw new InvalidOperationException($"'{command}' ended with {code}: {output}");
    }

    /// <summary>Asks again until it holds, within a limit.</summary>
    public static async Task UntilAsync(Func<Task<bool>> holds, string what, int seconds = 15)
    {
        var since = TimeProvider.System.GetTimestamp();
        while (!await holds())
        {
            if (TimeProvider.System.GetElapsedTime(since) > TimeSpan.FromSeconds(seconds))
            {
                throw new TimeoutException($"after {seconds} s still not: {what}");
            }

            await Task.Delay(TimeSpan.FromMilliseconds(50), TimeProvider.System);
        }
    }
}
