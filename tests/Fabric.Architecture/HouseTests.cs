using System.Diagnostics;

using Fabric.Testing;

namespace Fabric.Architecture;

public sealed class HouseTests
{
    private static readonly Tree Repository = Tree.Load();

    /// <summary>Each rule: its name, the file and text that break it, and a part of the message that must come of it.</summary>
    public static TheoryData<string, string, string, string> Planted => new()
    {
        { nameof(House.TopLevelIsTheMap), "docs/guide.md", "# Guide\n", "docs: not an entry" },
        { nameof(House.TopLevelIsTheMap), "notes.txt", "", "notes.txt: not an entry" },
        { nameof(House.TestsMirrorSources), "tests/Fabric.Routing.Tests/Elsewhere/XTests.cs", "", "no folder Elsewhere" },
        { nameof(House.TestsMirrorSources), "src/Fabric.Extra/Fabric.Extra.csproj", "<Project />", "no tests/Fabric.Extra.Tests" },
        { nameof(House.SourcesAreShort), "src/Fabric.Routing/Long.cs", Repeat("//\n", 451), "451 lines; at most 450" },
        { nameof(House.NamespacesFollowFolders), "src/Fabric.Routing/Paths/A.cs", "namespace Fabric.Routing;\n", "its folder says Fabric.Routing.Paths" },
        { nameof(House.NothingIsAStub), "src/Fabric.Routing/A.cs", "throw new Not" + "ImplementedException();\n", "A.cs:1: " },
        { nameof(House.NoTraceOfAMachine), "scripts/a.sh", "cd /" + "home/someone/fabric\n", "a.sh:1: " },
        { nameof(House.NoTraceOfAMachine), "src/nuget.config", "", "package sources" },
        { nameof(House.BansAreWired), "src/Directory.Build.props", "<Project />", "BannedSymbols.Pure.txt does not reach Fabric.Routing" },
        { nameof(House.BansAreWired), "src/Directory.Build.props", "<Project />", "BannedSymbols.Sockets.txt does not reach Fabric.Identity" },
        { nameof(House.BansAreWired), "src/Directory.Build.props", "<Project />", "BannedSymbols.txt does not reach Fabric.Gateway" },
        { nameof(House.BansAreWired), "src/Fabric.Routing/A.cs", "#pragma warning disable RS0030\n", "A.cs:1: " },
        { nameof(House.TextIsTidy), "src/Fabric.Routing/A.cs", "//\r\n", "CR at a line end" },
        { nameof(House.TextIsTidy), "src/Fabric.Routing/A.cs", "//", "no newline" },
        { nameof(House.TextIsTidy), "src/Fabric.Routing/A.cs", "//\n// \n", "A.cs:2: blank" },
        { nameof(House.ScriptsAreStrict), "scripts/a.sh", "#!/bin/sh\nset -euo pipefail\n", "does not begin with" },
        { nameof(House.ScriptsAreStrict), "scripts/a.sh", "#!/usr/bin/env bash\n", "lacks set -euo" },
        { nameof(House.ScriptsAreDescribed), "scripts/never-told.sh", "", "says nothing of scripts/never-told.sh" },
    };

    public static TheoryData<string> Rules => new(Planted.Select(row => (string)row[0]).Distinct());

    [Theory]
    [MemberData(nameof(Rules))]
    public void The_repository_keeps(string rule) => Violations.AssertNone(Check(rule, Repository));

    [Theory]
    [MemberData(nameof(Planted))]
    public void A_planted_violation_is_caught(string rule, string path, string text, string message)
    {
        Assert.DoesNotContain(Check(rule, Repository), v => v.Contains(message));
        Assert.Contains(Check(rule, Repository.With(path, text)), v => v.Contains(message));
    }

    [Fact]
    public void Every_rule_of_the_house_is_checked_and_has_a_planted_violation() => Assert.Equal(
        typeof(House).GetMethods().Where(m => m.IsPublic && m.IsStatic && m.Name != nameof(House.Scripts)).Select(m => m.Name).Order(),
        Planted.Select(row => (string)row[0]).Distinct().Order());

    [Fact]
    public void Scripts_have_the_run_bit()
    {
        Assert.NotEmpty(House.Scripts(Repository));
        Assert.All(House.Scripts(Repository), p => Assert.True(CanRun(Path.Combine(Repository.Root, p)), p));

        var planted = Path.GetTempFileName();
        try
        {
            Assert.False(CanRun(planted));
        }
        finally
        {
            File.Delete(planted);
        }
    }

    [RequiresFact("shellcheck")]
    public async Task Scripts_pass_shellcheck()
    {
        foreach (var script in House.Scripts(Repository))
        {
            Assert.Equal((0, ""), await Shellcheck(Path.Combine(Repository.Root, script)));
        }

        var planted = Path.GetTempFileName();
        try
        {
            await File.WriteAllTextAsync(planted, "#!/usr/bin/env bash\nrm -r $1\n");
            Assert.Contains("SC2086", (await Shellcheck(planted)).Output);
        }
        finally
        {
            File.Delete(planted);
        }
    }

    private static async Task<(int Code, string Output)> Shellcheck(string path)
    {
        using var process = Process.Start(new ProcessStartInfo("shellcheck", ["-x", path])
        {
            RedirectStandardOutput = true,
            WorkingDirectory = Repository.Root,
        })!;
        var output = await process.StandardOutput.ReadToEndAsync();
        await process.WaitForExitAsync();
        return (process.ExitCode, output);
    }

    // Windows has no such bit: git keeps it there.
    private static bool CanRun(string path) => !OperatingSystem.IsWindows() && (File.GetUnixFileMode(path) & UnixFileMode.UserExecute) != 0;

    private static string[] Check(string rule, Tree tree) =>
        [.. (IEnumerable<string>)typeof(House).GetMethod(rule)!.Invoke(null, [tree])!];

    private static string Repeat(string text, int times) => string.Concat(Enumerable.Repeat(text, times));
}
