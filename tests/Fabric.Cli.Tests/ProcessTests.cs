using System.Diagnostics;
using Fabric.Testing;

namespace Fabric.Cli.Tests;

/// <summary>The built program itself, as a shell runs it.</summary>
public class ProcessTests
{
    private static string Program => Path.Combine(AppContext.BaseDirectory, OperatingSystem.IsWindows() ? "fabric.exe" : "fabric");

    [Fact]
    public async Task Exit_code_and_streams()
    {
        Assert.Equal((0, "fabric 0.1.0\n", ""), await Run(Program, "--version"));
        var (code, output, error) = await Run(Program, "statsu");
        Assert.Equal((2, ""), (code, output));
        Assert.Contains("did you mean 'status'?", error);
    }

    /// <summary>The real shell asks the real program.</summary>
    [RequiresTheory("bash")]
    [InlineData("fabric st", "status")]
    [InlineData("fabric token cr", "create")]
    [InlineData("fabric completion z", "zsh")]
    [InlineData("fabric status -o js", "json")]
    public async Task Bash_completes(string line, string expected)
    {
        var script = $$"""
            PATH="{{AppContext.BaseDirectory}}:$PATH"
            source <(fabric completion bash)
            COMP_LINE='{{line}}' COMP_POINT={{line.Length}} COMP_WORDS=({{line}}) COMP_CWORD={{line.Count(c => c == ' ')}}
            _fabric
            printf '%s\n' "${COMPREPLY[@]}"
            """;
        var (code, output, error) = await Run("bash", "--norc", "-c", script);
        Assert.Equal((0, expected + "\n", ""), (code, output, error));
    }

    [RequiresFact("zsh")]
    public async Task Zsh_takes_the_script() => Assert.Equal((0, "", ""), await Parse("zsh", "-n"));

    [RequiresFact("fish")]
    public async Task Fish_takes_the_script() => Assert.Equal((0, "", ""), await Parse("fish", "--no-execute"));

    private static async Task<(int, string, string)> Parse(string shell, string flag)
    {
        var file = Path.GetTempFileName();
        try
        {
            File.WriteAllText(file, (await Run(Program, "completion", shell)).Output);
            return await Run(shell, flag, file);
        }
        finally
        {
            File.Delete(file);
        }
    }

    private static async Task<(int Code, string Output, string Error)> Run(string program, params string[] args)
    {
        using var process = Process.Start(new ProcessStartInfo(program, args)
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        })!;
        var (output, error) = (process.StandardOutput.ReadToEndAsync(), process.StandardError.ReadToEndAsync());
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(60));
        try
        {
            await process.WaitForExitAsync(limit.Token);
        }
        catch (OperationCanceledException)
        {
            process.Kill(entireProcessTree: true);
            throw;
        }

        return (process.ExitCode, (await output).ReplaceLineEndings("\n"), (await error).ReplaceLineEndings("\n"));
    }
}
