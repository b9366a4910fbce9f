using System.Text.RegularExpressions;
using Fabric.Testing;

namespace Fabric.Cli.Tests;

/// <summary>
/// Runs a text script: what is typed, what comes out, how it ends.
/// <code>
/// $ fabric version          a command; words may be quoted by "…"
/// $ TOKEN=fabric …          its standard output is kept as {TOKEN}, and fed to a later `$ fabric … &lt; TOKEN`
/// fabric 0.1.0              a line of standard output; … stands for any text within a line
/// ! fabric: …               a line of standard error (all of them after those of standard output)
/// ...                       any number of lines
/// [2]                       the exit code; not written when it is 0
/// > clock +2h               moves the clock
/// > remove FILE, > write FILE TEXT
/// </code>
/// {dir} is a temporary folder; FABRIC_* point into it.
/// </summary>
internal sealed partial class CliScript(string dir, ManualTime time)
{
    private readonly Dictionary<string, string> _kept = [];

    public async Task RunAsync(string script)
    {
        var lines = script.ReplaceLineEndings("\n").Split('\n');
        for (var i = 0; i < lines.Length;)
        {
            var line = lines[i++];
            if (line.StartsWith("> ", StringComparison.Ordinal))
            {
                Do(line[2..].Replace("{dir}", dir));
            }
            else if (line.StartsWith("$ ", StringComparison.Ordinal))
            {
                var expected = new List<string>();
                while (i < lines.Length && !lines[i].StartsWith("$ ", StringComparison.Ordinal)
                    && !lines[i].StartsWith("> ", StringComparison.Ordinal))
                {
                    expected.Add(lines[i++]);
                }

                expected.RemoveAll(l => l.StartsWith("# ", StringComparison.Ordinal));
                while (expected is [.., ""])
                {
                    expected.RemoveAt(expected.Count - 1);
                }

                Compare(line, expected, await Type(line[2..]));
            }
            else
            {
                Assert.True(line.Length == 0 || line[0] == '#', $"not a line of a script: {line}");
            }
        }
    }

    private async Task<List<string>> Type(string typed)
    {
        foreach (var (name, value) in _kept)
        {
            typed = typed.Replace($"{{{name}}}", value);
        }

        var keep = Keep().Match(typed);
        typed = (keep.Success ? typed[keep.Length..] : typed).Replace("{dir}", dir);
        var input = typed.Split(" < ") is [_, var name1] ? _kept[name1] + "\n" : "";
        var words = Words().Matches(typed.Split(" < ")[0]).Select(m => m.Value.Trim('"')).ToArray();
        Assert.Equal("fabric", words[0]);
        var (code, stdout, stderr) = await Cli.RunAsync(words[1..], dir, time, input);
        if (keep.Success)
        {
            _kept[keep.Groups[1].Value] = stdout.TrimEnd('\n');
            stdout = "";
        }

        return [.. Lines(stdout), .. Lines(stderr).Select(l => "! " + l), .. code == 0 ? Array.Empty<string>() : [$"[{code}]"]];
    }

    private void Do(string step)
    {
        switch (step.Split(' ', 3))
        {
            case ["clock", var by]: time.Advance(CommonOptions.ParseDuration(by[1..])!.Value); break;
            case ["remove", var file]: File.Delete(file); break;
            case ["write", var file, var text]: File.WriteAllText(file, text.Replace("\\n", "\n")); break;
            default: Assert.Fail($"not a step of a script: {step}"); break;
        }
    }

    private void Compare(string typed, List<string> expected, List<string> actual)
    {
        actual = actual.Select(l => l.Replace(dir, "{dir}")).ToList();
        var pattern = string.Concat(expected.Select(l => l == "..." ? @"(?:[^\n]*\n)*?" : Regex.Escape(l).Replace("…", "[^\n]*")
            + "\n"));
        var text = string.Concat(actual.Select(l => l + "\n"));
        Assert.True(Regex.IsMatch(text, $@"\A{pattern}\z"),
            $"{typed}\n--- expected\n{string.Join('\n', expected)}\n--- actual\n{text}");
    }

    private static string[] Lines(string text) => text.Length == 0 ? [] : text.TrimEnd('\n').Split('\n');

    [GeneratedRegex("^([A-Z0-9]+)=(?=fabric )")]
    private static partial Regex Keep();

    [GeneratedRegex("""(?:[^\s"]|"[^"]*")+""")]
    private static partial Regex Words();
}
