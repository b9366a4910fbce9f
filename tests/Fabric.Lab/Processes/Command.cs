using System.Diagnostics;
using System.Text;

namespace Fabric.Lab.Processes;

/// <summary>What a program that ended left behind.</summary>
public sealed record CommandResult(string Command, int ExitCode, string Output, string Error)
{
    /// <summary>This result when the program ended with 0; otherwise throws with everything it said.</summary>
    public CommandResult Checked() => ExitCode == 0 ? this : throw new LabException(ToString());

    public override string ToString() => BothEnds.Of($"{Command}: exit code {ExitCode}", Output + Error);
}

/// <summary>Something in the lab is not as it must be; the message says what was done, and what came of it.</summary>
public sealed class LabException(string message) : Exception(message);

/// <summary>Programs that run to their end, within a limit.</summary>
public static class Command
{
    private static readonly TimeSpan DefaultLimit = TimeSpan.FromSeconds(90);

    /// <summary>Runs it and gives its result, whatever its exit code. Past the limit (90 s: a machine may be busy with something else) it is killed, and this throws.</summary>
    public static async Task<CommandResult> Run(string[] argv, TimeSpan? limit = null, string? input = null)
    {
        using var process = new Process { StartInfo = Info(argv) };
        process.Start();
        using var timeout = CancellationTokenSource.CreateLinkedTokenSource(Interruption.Token);
        timeout.CancelAfter(limit ?? DefaultLimit);
        var output = process.StandardOutput.ReadToEndAsync(CancellationToken.None);
        var error = process.StandardError.ReadToEndAsync(CancellationToken.None);
        try
        {
            await process.StandardInput.WriteAsync(input ?? "");
            process.StandardInput.Close();
            await process.WaitForExitAsync(timeout.Token);
        }
        catch (IOException)
        {
            // It ended without reading its input: its exit code says the rest.
            await process.WaitForExitAsync(timeout.Token);
        }
        catch (OperationCanceledException)
        {
            process.Kill(entireProcessTree: true);
            Interruption.Token.ThrowIfCancellationRequested();
            throw new LabException(BothEnds.Of($"{Shown(argv)}: did not end within {(limit ?? DefaultLimit).TotalSeconds:0} s", await output + await error));
        }

        return new CommandResult(Shown(argv), process.ExitCode, await output, await error);
    }

    /// <summary>Runs it, and throws unless it ended with 0.</summary>
    public static async Task<string> Do(params string[] argv) => (await Run(argv)).Checked().Output;

    internal static string Shown(string[] argv) => string.Join(' ', argv.Select(a => a.Contains(' ') ? $"'{a}'" : a));

    internal static ProcessStartInfo Info(string[] argv) => new(argv[0], argv[1..])
    {
        RedirectStandardInput = true,
        RedirectStandardOutput = true,
        RedirectStandardError = true,
        StandardOutputEncoding = Encoding.UTF8,
    };
}

/// <summary>Waiting for what must come, with a limit.</summary>
public static class Poll
{
    /// <summary>Asks every 20 ms until the answer is not null; past the limit throws, saying what was awaited and what was seen last.</summary>
    public static async Task<T> For<T>(string what, TimeSpan limit, Func<Task<T?>> ask, Func<string>? seen = null)
        where T : class
    {
        var watch = Stopwatch.StartNew();
        while (true)
        {
            if (await ask() is { } answer)
            {
                return answer;
            }

            if (watch.Elapsed > limit)
            {
                throw new LabException(BothEnds.Of($"{what}: not within {limit.TotalSeconds:0.#} s", seen?.Invoke() ?? ""));
            }

            await Task.Delay(20, Interruption.Token);
        }
    }

    /// <summary>Asks every 20 ms until it holds.</summary>
    public static Task Until(string what, TimeSpan limit, Func<Task<bool>> holds, Func<string>? seen = null) =>
        For(what, limit, async () => await holds() ? what : null, seen);
}
