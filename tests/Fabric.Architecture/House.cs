using System.Text.RegularExpressions;
using System.Xml.Linq;

namespace Fabric.Architecture;

/// <summary>Where things lie and what their text may hold.</summary>
public static partial class House
{
    public const int LongestSource = 450;

    private static readonly string[] TopLevel =
    [
        "src", "tests", "topologies", "scripts", ".ci", ".github",
        "Fabric.sln", "Vagrantfile", "README.md", "LICENSE",
        ".editorconfig", ".gitattributes", ".gitignore", ".dockerignore",
        "Directory.Build.props", "Directory.Build.targets", "Directory.Packages.props", "global.json",
    ];

    /// <summary>Folders of tests that need none in the project: tests on a real kernel, and a program that tests start.</summary>
    private static readonly string[] OnlyOfTests = ["Real", "Host"];

    private static readonly string[] Pure = ["Fabric.Topology", "Fabric.Protocol", "Fabric.Routing"];
    private static readonly string[] Socketless = ["Fabric.Identity"];

    /// <summary>The top level holds what the map shows, and what tools insist on.</summary>
    public static IEnumerable<string> TopLevelIsTheMap(Tree tree) => tree.Paths.Select(p => p.Split('/')[0]).Distinct()
        .Where(name => !TopLevel.Contains(name))
        .Select(name => $"{name}: not an entry of the top level; documentation lies beside what it describes");

    /// <summary>Every project has tests, and test folders are folders of the project.</summary>
    public static IEnumerable<string> TestsMirrorSources(Tree tree)
    {
        foreach (var project in tree.Under("src", ".csproj").Select(p => p.Split('/')[1]))
        {
            if (!tree.Has($"tests/{project}.Tests/{project}.Tests.csproj"))
            {
                yield return $"src/{project}: no tests/{project}.Tests";
            }

            var folders = tree.Under($"src/{project}", ".cs").Select(FolderOf).ToHashSet();
            foreach (var path in tree.Under($"tests/{project}.Tests", ".cs"))
            {
                var folder = FolderOf(path);
                if (folder.Length > 0 && !OnlyOfTests.Contains(folder) && !folders.Any(f => f == folder || f.StartsWith(folder + "/", StringComparison.Ordinal)))
                {
                    yield return $"{path}: src/{project} has no folder {folder}";
                }
            }
        }
    }

    /// <summary>A file that outgrows a screenful of screens has two subjects.</summary>
    public static IEnumerable<string> SourcesAreShort(Tree tree) => tree.Under("src", ".cs")
        .Select(p => (Path: p, Lines: tree.Lines(p).Length - 1))
        .Where(f => f.Lines > LongestSource)
        .Select(f => $"{f.Path}: {f.Lines} lines; at most {LongestSource}");

    /// <summary>Namespaces follow folders.</summary>
    public static IEnumerable<string> NamespacesFollowFolders(Tree tree)
    {
        foreach (var path in tree.Under("src", ".cs").Concat(tree.Under("tests", ".cs")))
        {
            var expected = string.Join('.', path.Split('/')[1..^1]);
            var match = Namespace().Match(tree.Text(path));
            if (match.Success && match.Groups[1].Value != expected)
            {
                yield return $"{path}: namespace {match.Groups[1].Value}; its folder says {expected}";
            }
        }
    }

    /// <summary>Nothing is called done that is not.</summary>
    public static IEnumerable<string> NothingIsAStub(Tree tree) => Grep(tree.Under("src", ".cs"), tree, Stub(), "is a stub");

    /// <summary>The project speaks only of itself: no path of somebody's machine, no package source but the public one.</summary>
    public static IEnumerable<string> NoTraceOfAMachine(Tree tree) => Grep(tree.Paths.Where(IsText), tree, Machine(), "names somebody's machine")
        .Concat(tree.Paths.Where(p => Path.GetFileName(p).Equals("nuget.config", StringComparison.OrdinalIgnoreCase))
            .Select(p => $"{p}: package sources are the builder's own choice"));

    /// <summary>The lists of banned APIs reach every project that they are for, and nobody turns them off.</summary>
    public static IEnumerable<string> BansAreWired(Tree tree)
    {
        const string props = "src/Directory.Build.props";
        var lists = XDocument.Parse(tree.Text(props)).Descendants("AdditionalFiles")
            .Select(f => (File: f.Attribute("Include")!.Value.Split(')')[^1], Condition: f.Parent!.Attribute("Condition")?.Value)).ToArray();
        bool Reaches(string file, string project) =>
            lists.Any(l => l.File == file && (l.Condition is null || l.Condition.Contains($"'{project}'", StringComparison.Ordinal)));

        foreach (var project in tree.Under("src", ".csproj").Select(p => p.Split('/')[1]))
        {
            string[] needed = ["BannedSymbols.txt", .. Pure.Contains(project) ? ["BannedSymbols.Pure.txt"] : Array.Empty<string>(),
                .. Socketless.Contains(project) ? ["BannedSymbols.Sockets.txt"] : Array.Empty<string>()];
            foreach (var file in needed.Where(f => !Reaches(f, project)))
            {
                yield return $"{props}: {file} does not reach {project}";
            }
        }

        foreach (var violation in Grep(tree.Under("src", ".cs").Concat(tree.Under("src", ".csproj")), tree, BanOff(), "turns a ban off"))
        {
            yield return violation;
        }
    }

    /// <summary>LF at line ends, one at the end, no blanks before it.</summary>
    public static IEnumerable<string> TextIsTidy(Tree tree)
    {
        foreach (var path in tree.Paths.Where(p => IsText(p) && !p.EndsWith(".sln", StringComparison.Ordinal)))
        {
            var text = tree.Text(path);
            if (text.Contains('\r'))
            {
                yield return $"{path}: CR at a line end";
            }

            if (text.Length > 0 && !text.EndsWith('\n'))
            {
                yield return $"{path}: no newline at the end";
            }

            var line = Array.FindIndex(tree.Lines(path), l => l.Length > 0 && l[^1] is ' ' or '\t');
            if (line >= 0)
            {
                yield return $"{path}:{line + 1}: blank at the line's end";
            }
        }
    }

    /// <summary>Scripts name their shell and stop at the first error.</summary>
    public static IEnumerable<string> ScriptsAreStrict(Tree tree)
    {
        foreach (var path in Scripts(tree))
        {
            if (!tree.Text(path).StartsWith("#!/usr/bin/env bash\n", StringComparison.Ordinal))
            {
                yield return $"{path}: does not begin with #!/usr/bin/env bash";
            }

            if (!tree.Lines(path).Contains("set -euo pipefail"))
            {
                yield return $"{path}: lacks set -euo pipefail";
            }
        }
    }

    /// <summary>What is told in <c>scripts/README.md</c> is what lies there.</summary>
    public static IEnumerable<string> ScriptsAreDescribed(Tree tree) => Scripts(tree)
        .Where(p => !tree.Has("scripts/README.md") || !tree.Text("scripts/README.md").Contains(Path.GetFileName(p), StringComparison.Ordinal))
        .Select(p => $"scripts/README.md: says nothing of {p}");

    /// <summary>Scripts that people run.</summary>
    public static IEnumerable<string> Scripts(Tree tree) =>
        tree.Under("scripts", ".sh").Concat(tree.Under(".ci").Where(p => !Path.HasExtension(p)));

    private static string FolderOf(string path) => string.Join('/', path.Split('/')[2..^1]);

    private static bool IsText(string path) => Path.GetExtension(path) is ".cs" or ".csproj" or ".props" or ".targets" or ".sln" or ".md" or ".sh"
        or ".yaml" or ".yml" or ".json" or ".txt" or ".proto" or ".py" or ".service" or ".conf" or "" or ".editorconfig" or ".gitignore";

    private static IEnumerable<string> Grep(IEnumerable<string> paths, Tree tree, Regex pattern, string verdict)
    {
        foreach (var path in paths)
        {
            var lines = tree.Lines(path);
            for (var i = 0; i < lines.Length; i++)
            {
                if (pattern.Match(lines[i]) is { Success: true } match)
                {
                    yield return $"{path}:{i + 1}: '{match.Value}' {verdict}";
                }
            }
        }
    }

    [GeneratedRegex(@"^namespace ([\w.]+)", RegexOptions.Multiline)]
    private static partial Regex Namespace();

    [GeneratedRegex(@"NotImplementedException|\b(TODO|FIXME|HACK)\b")]
    private static partial Regex Stub();

    // Home folders and checkouts. A pattern, so that it does not match itself.
    [GeneratedRegex(@"(?<![\w.])/(home|Users|root|work|workspace|builds)/[\w.-]+|[A-Z]:\\Users\\")]
    private static partial Regex Machine();

    [GeneratedRegex(@"(disable|NoWarn>|dotnet_diagnostic\.).*RS0030|AdditionalFiles (Remove|Update)")]
    private static partial Regex BanOff();
}
