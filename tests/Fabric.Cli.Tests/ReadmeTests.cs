using System.Reflection;
using System.Runtime.CompilerServices;
using System.Text.RegularExpressions;

namespace Fabric.Cli.Tests;

/// <summary>The tables in the README say what the program does.</summary>
public partial class ReadmeTests
{
    private static readonly string Text = File.ReadAllText(Path.Combine(Here(), "../../src/Fabric.Cli/README.md"));

    [Fact]
    public void Every_exit_code_is_in_the_table_and_no_other()
    {
        var known = typeof(ExitCode).GetFields(BindingFlags.Static | BindingFlags.Public).Select(f =>
            (int)f.GetRawConstantValue()!).Distinct();
        Assert.Equal(known.Order(), Codes().Matches(Text).Select(m => int.Parse(m.Groups[1].Value)).Order());
    }

    [Fact]
    public async Task Every_command_is_in_the_table_and_no_other()
    {
        var (_, suggested, _) = await Cli.RunAsync(["[suggest:0]", ""], "/nowhere", TimeProvider.System);
        var known = suggested.Split('\n').Where(l => l.Length > 0 && l[0] != '-').Order();
        Assert.Equal(known, Commands().Matches(Text).Select(m => m.Groups[1].Value).Distinct().Order());
    }

    [GeneratedRegex(@"^\| (\d+) \|", RegexOptions.Multiline)]
    private static partial Regex Codes();

    [GeneratedRegex(@"`fabric ([a-z]+)(?=[^`]*`[^|]*\| )")]
    private static partial Regex Commands();

    private static string Here([CallerFilePath] string path = "") => Path.GetDirectoryName(path)!;
}
