using System.ComponentModel;
using System.Diagnostics;

namespace Fabric.Gateway.Faults;

/// <summary>nft, tc and ip, as programs with a limit.</summary>
internal static class NetTools
{
    /// <summary>Where administrators' programs lie: a service's PATH may lack it.</summary>
    public const string SearchPath = "/usr/sbin:/usr/bin:/sbin:/bin";

    private const int MaxAnswer = 256 << 10;
    private static readonly TimeSpan _limit = TimeSpan.FromSeconds(5);

    /// <summary>Its standard output. Throws <see cref="IOException"/> with what it said when it fails, is not there, or takes more than 5 s.</summary>
    public static async Task<string> RunAsync(string[] argv, string input = "")
    {
        var start = new ProcessStartInfo(Find(argv[0]), argv[1..])
        {
            UseShellExecute = false,
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        start.Environment.Clear();
        start.Environment["PATH"] = SearchPath;
        Process process;
        try
        {
            process = Process.Start(start)!;
        }
        catch (Win32Exception e)
        {
            throw new IOException($"{argv[0]} cannot be started: {e.Message}", e);
        }

        using var _ = process;
        using var limit = new CancellationTokenSource(_limit);
        try
        {
            var output = ReadAsync(process.StandardOutput, limit.Token);
            var error = ReadAsync(process.StandardError, limit.Token);
            await process.StandardInput.WriteAsync(input.AsMemory(), limit.Token);
            process.StandardInput.Close();
            await process.WaitForExitAsync(limit.Token);
            return process.ExitCode == 0 ? await output
                : throw new IOException($"'{string.Join(' ', argv)}' failed: {(await error).ReplaceLineEndings(" ").Trim()}");
        }
        catch (OperationCanceledException)
        {
            process.Kill(entireProcessTree: true);
            throw new IOException($"'{string.Join(' ', argv)}' did not end within {_limit.TotalSeconds:0} s");
        }
    }

    /// <summary>As <see cref="RunAsync"/>, where its failure says that there is nothing to take back.</summary>
    public static async Task TryAsync(params string[] argv)
    {
        try
        {
            await RunAsync(argv);
        }
        catch (IOException)
        {
            // Gone already, which is what was wanted.
        }
    }

    private static string Find(string program) => SearchPath.Split(':').Select(f => Path.Combine(f, program)).FirstOrDefault(File.Exists)
        ?? throw new IOException($"{program} is not installed");

    private static async Task<string> ReadAsync(StreamReader reader, CancellationToken cancellationToken)
    {
        var buffer = new char[4096];
        var text = new System.Text.StringBuilder();
        int read;
        while ((read = await reader.ReadAsync(buffer, cancellationToken)) > 0)
        {
            text.Append(buffer, 0, Math.Min(read, MaxAnswer - text.Length));
        }

        return text.ToString();
    }
}
