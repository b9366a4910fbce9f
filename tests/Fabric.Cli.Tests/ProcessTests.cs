using System.Diagnostics;
using Fabric.Identity;
using Fabric.Identity.Authority;
using Fabric.Testing;

namespace Fabric.Cli.Tests;

/// <summary>The built program itself, as a shell runs it.</summary>
public class ProcessTests
{
    private static string Program => Path.Combine(AppContext.BaseDirectory, OperatingSystem.IsWindows() ? "fabric.exe"
        : "fabric");

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

    [RequiresFact("fish")]
    public async Task Fish_completes()
    {
        var script = $"set PATH {AppContext.BaseDirectory} $PATH; fabric completion fish | source; "
            + "complete -C 'fabric st'; complete -C 'fabric status -o js'";
        Assert.Equal((0, "status\njson\n", ""), await Run("fish", "--no-config", "-c", script));
    }

    [RequiresFact("zsh")]
    public async Task Zsh_takes_the_script()
    {
        var script = $"PATH={AppContext.BaseDirectory}:$PATH; source <(fabric completion zsh); print ${{_comps[fabric]}}";
        Assert.Equal((0, "_fabric\n", ""), await Run("zsh", "-f", "-c", script));
    }

    /// <summary>
    /// Killed at moments spread over the whole of a join, what is on disk is an identity that loads, or none yet.
    /// </summary>
    [Fact]
    public async Task A_join_that_is_killed_leaves_what_loads()
    {
        var dir = Directory.CreateTempSubdirectory("fabric-cli-").FullName;
        try
        {
            var ca = MeshCa.Create(Path.Combine(dir, "ca"), "acme.example", TimeProvider.System);
            var store = new GatewayKeyStore(Path.Combine(dir, "state", "identity"));
            await Join(null);
            var started = Stopwatch.GetTimestamp();
            await Join(null);
            var whole = Stopwatch.GetElapsedTime(started);
            var random = new Random(23);
            var killed = 0;
            for (var i = 0; i < 15; i++)
            {
                started = Stopwatch.GetTimestamp();
                var hit = await Join(whole * (0.3 + 0.7 * random.NextDouble()));
                killed += hit ? 1 : 0;
                // A machine that has become quicker since: aim again.
                whole = hit ? whole : TimeSpan.FromTicks(Math.Min(whole.Ticks, Stopwatch.GetElapsedTime(started).Ticks));
                Assert.Equal("paris-1", GatewayIdentity.Load(store, TimeProvider.System).Id.Gateway);
                Assert.NotEmpty(MeshCa.Open(Path.Combine(dir, "ca"),
                    TimeProvider.System).Issue(new("acme.example", "paris", "x"), Csr()).Chain);
            }

            Assert.InRange(killed, 1, 15);

            async Task<bool> Join(TimeSpan? killAfter)
            {
                var token = ca.CreateToken("paris", "paris-1");
                using var process = Process.Start(new ProcessStartInfo(Program,
                    ["join", token.Format(), "--ca", Path.Combine(dir, "ca"), "--state", Path.Combine(dir, "state"), "--force"])
                { RedirectStandardError = true })!;
                var exited = process.WaitForExitAsync();
                if (killAfter is { } moment && await Task.WhenAny(exited, Task.Delay(moment, TimeProvider.System)) != exited)
                {
                    process.Kill();
                }

                await exited.WaitAsync(TimeSpan.FromSeconds(60));
                return process.ExitCode != 0;
            }
        }
        finally
        {
            Directory.Delete(dir, recursive: true);
        }

        static byte[] Csr()
        {
            using var key = System.Security.Cryptography.ECDsa.Create(System.Security.Cryptography.ECCurve.NamedCurves.nistP256);
            return MeshCa.Request(key);
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
