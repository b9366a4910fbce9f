using System.Text.RegularExpressions;
using System.Xml.Linq;

namespace Fabric.Architecture;

/// <summary>
/// Which project may use which. The project files are read, not the assemblies: an unused reference vanishes from metadata.
/// </summary>
public static partial class Arrows
{
    /// <summary>The arrows of the house, as short names. <c>src/README.md</c> shows the same table.</summary>
    public static readonly IReadOnlyDictionary<string, string[]> Allowed = new Dictionary<string, string[]>
    {
        ["Topology"] = [],
        ["Protocol"] = [],
        ["Routing"] = ["Topology"],
        ["Identity"] = ["Topology", "Protocol"],
        ["Overlay"] = ["Topology"],
        ["Tunnel"] = ["Protocol", "Routing", "Identity"],
        ["Gateway"] = ["Topology", "Protocol", "Routing", "Identity", "Overlay", "Tunnel"],
        ["Drills"] = ["Topology", "Protocol"],
        ["Cli"] = ["Topology", "Protocol", "Routing", "Identity", "Drills"],
    };

    /// <summary>References of projects under <c>src/</c> against the table.</summary>
    public static IEnumerable<string> OfSources(Tree tree)
    {
        foreach (var path in tree.Under("src", ".csproj"))
        {
            var project = ShortName(path);
            if (!Allowed.TryGetValue(project, out var allowed))
            {
                yield return $"{path}: project {project} is not in the table of arrows";
                continue;
            }

            foreach (var used in References(tree, path).Where(u => !allowed.Contains(u)))
            {
                yield return $"{path}: {project} must not use {used}; it may use {(allowed.Length == 0 ? "nobody" : string.Join(", ", allowed))}";
            }
        }
    }

    /// <summary>A test project sees its subject, what its subject sees, and the testing project; the Lab never sees the daemon's inside.</summary>
    public static IEnumerable<string> OfTests(Tree tree)
    {
        foreach (var path in tree.Under("tests", ".csproj"))
        {
            var project = ShortName(path);
            var subject = project.EndsWith(".Tests", StringComparison.Ordinal) ? project[..^".Tests".Length] : null;
            string[] allowed = project switch
            {
                "Architecture" => ["Testing"],
                // The whole daemon but its sockets; and rooms of it, measured one by one.
                "Simulation" or "Benchmarks" or "Fuzzing" => [.. Allowed.Keys.Except(["Cli"]), "Testing"],
                "Lab" => ["Topology", "Protocol", "Drills", "Testing"],
                _ when subject is null => [.. Allowed.Keys.Except(["Gateway", "Cli"]), "Testing"],
                _ when Allowed.TryGetValue(subject, out var arrows) => [subject, .. arrows, "Testing"],
                _ => [],
            };
            foreach (var used in References(tree, path).Where(u => !allowed.Contains(u)))
            {
                yield return $"{path}: {project} must not use {used}";
            }
        }
    }

    /// <summary>The table in <c>src/README.md</c> says what <see cref="Allowed"/> says.</summary>
    public static IEnumerable<string> OfReadme(Tree tree)
    {
        var rows = TableRow().Matches(tree.Text("src/README.md"))
            .ToDictionary(m => m.Groups["project"].Value, m => m.Groups["uses"].Value.Trim());
        foreach (var (project, allowed) in Allowed)
        {
            if (!rows.TryGetValue(project, out var uses))
            {
                yield return $"src/README.md: no row for Fabric.{project}";
                continue;
            }

            string[] shown = uses switch
            {
                "–" => [],
                // "All" stands for everything that is neither the daemon, nor above it.
                "all of the above" => [.. Allowed.Keys.TakeWhile(k => k != project)],
                _ => uses.Split(',', StringSplitOptions.TrimEntries),
            };
            if (!shown.Order(StringComparer.Ordinal).SequenceEqual(allowed.Order(StringComparer.Ordinal)))
            {
                yield return $"src/README.md: Fabric.{project} may use {string.Join(", ", allowed)}; the table says {uses}";
            }
        }

        foreach (var project in rows.Keys.Where(k => !Allowed.ContainsKey(k)))
        {
            yield return $"src/README.md: Fabric.{project} is in the table and not in the house";
        }
    }

    /// <summary>Every project is in the solution, and every project of the solution exists.</summary>
    public static IEnumerable<string> OfSolution(Tree tree)
    {
        var listed = SolutionProject().Matches(tree.Text("Fabric.sln")).Select(m => m.Groups[1].Value.Replace('\\', '/')).ToHashSet();
        var present = tree.Paths.Where(p => p.EndsWith(".csproj", StringComparison.Ordinal)).ToHashSet();
        return [
            .. present.Except(listed).Select(p => $"Fabric.sln: lacks {p}"),
            .. listed.Except(present).Select(p => $"Fabric.sln: names {p}, which does not exist"),
        ];
    }

    private static IEnumerable<string> References(Tree tree, string path) => XDocument.Parse(tree.Text(path))
        .Descendants("ProjectReference")
        // Built along, and nothing of it seen: only a test of whole programs may do so.
        .Where(r => !(path == "tests/Fabric.Lab/Fabric.Lab.csproj" && r.Attribute("ReferenceOutputAssembly")?.Value == "false"))
        .Select(r => ShortName(r.Attribute("Include")!.Value));

    private static string ShortName(string path) => Path.GetFileNameWithoutExtension(path.Replace('\\', '/'))["Fabric.".Length..];

    [GeneratedRegex(@"^\| `Fabric\.(?<project>\w+)` \|[^|]*\|(?<uses>[^|]*)\|$", RegexOptions.Multiline)]
    private static partial Regex TableRow();

    [GeneratedRegex(@"""([^""]+\.csproj)""")]
    private static partial Regex SolutionProject();
}
