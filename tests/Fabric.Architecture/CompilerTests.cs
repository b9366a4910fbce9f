using System.Diagnostics;
using System.Text.RegularExpressions;

namespace Fabric.Architecture;

/// <summary>
/// The rules that the compiler and the analyzers hold, proven by compiling small projects under the repository's own build files.
/// </summary>
public sealed partial class CompilerTests : IDisposable
{
    private const string Clean = """
        namespace Fabric.Routing;

        public static class Sample
        {
            public static DateTimeOffset Now(TimeProvider time) => time.GetUtcNow();
        }

        """;

    private static readonly Tree Repository = Tree.Load();

    private readonly string _folder = Directory.CreateTempSubdirectory("fabric-architecture-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public async Task A_clean_project_compiles() => Assert.Empty(await Build("Fabric.Routing", Clean));

    [Fact]
    public async Task Planted_violations_do_not_compile()
    {
        // One project with one of each, since a build costs seconds.
        var codes = await Build("Fabric.Routing", Clean + """
            public static class Planted
            {
                public static DateTime Clock() => DateTime.UtcNow;
                public static string Disk() => File.ReadAllText("a");
                public static System.Net.Sockets.AddressFamily Net() => System.Net.Sockets.AddressFamily.InterNetwork;
                public static Task Hope() => Task.Delay(10);
                public static int Layout()   => 1;
                public static string Nothing() => null;
            }

            """);
        string[] expected = ["CS8603 Nothing", "IDE0055 Layout", "RS0030 Clock", "RS0030 Disk", "RS0030 Hope", "RS0030 Net"];
        Assert.Equal(expected, codes);
    }

    [Fact]
    public async Task A_project_that_is_not_pure_may_open_files_and_yet_asks_no_clock()
    {
        var codes = await Build("Fabric.Gateway", Clean.Replace("Routing", "Gateway") + """
            public static class Planted
            {
                public static DateTime Clock() => DateTime.UtcNow;
                public static string Disk() => File.ReadAllText("a");
            }

            """);
        Assert.Equal("RS0030 Clock", Assert.Single(codes));
    }

    /// <summary>Errors of a build as "code member", sorted; empty when it succeeds.</summary>
    private async Task<string[]> Build(string project, string source)
    {
        foreach (var path in Repository.Paths.Where(p => !p.Contains('/') || p.StartsWith("src/", StringComparison.Ordinal) && p.Count(c => c == '/') == 1))
        {
            var copy = Path.Combine(_folder, path);
            Directory.CreateDirectory(Path.GetDirectoryName(copy)!);
            await File.WriteAllTextAsync(copy, Repository.Text(path));
        }

        var folder = Directory.CreateDirectory(Path.Combine(_folder, "src", project)).FullName;
        await File.WriteAllTextAsync(Path.Combine(folder, $"{project}.csproj"), """<Project Sdk="Microsoft.NET.Sdk" />""");
        await File.WriteAllTextAsync(Path.Combine(folder, "Sample.cs"), source);

        var start = new ProcessStartInfo("dotnet", ["build", "--nologo", "-nodeReuse:false", "-v", "q", "-p:UseSharedCompilation=false"])
        {
            WorkingDirectory = folder,
            RedirectStandardOutput = true,
        };
        // What the test host sets for itself must not steer this build.
        foreach (var name in start.Environment.Keys.Where(k => k.StartsWith("MSBuild", StringComparison.OrdinalIgnoreCase)).ToArray())
        {
            start.Environment.Remove(name);
        }

        using var process = Process.Start(start)!;
        var output = await process.StandardOutput.ReadToEndAsync();
        await process.WaitForExitAsync();

        var lines = source.Split('\n');
        var errors = Error().Matches(output)
            .Select(m => $"{m.Groups["code"].Value} {Member().Match(lines[int.Parse(m.Groups["line"].Value) - 1]).Groups[1].Value}")
            .Distinct().Order(StringComparer.Ordinal).ToArray();
        Assert.True(process.ExitCode == 0 == (errors.Length == 0), output);
        return errors;
    }

    [GeneratedRegex(@"Sample\.cs\((?<line>\d+),\d+\): error (?<code>\w+):")]
    private static partial Regex Error();

    [GeneratedRegex(@"(\w+)\(")]
    private static partial Regex Member();
}
