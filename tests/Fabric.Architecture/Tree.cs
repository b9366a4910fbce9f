namespace Fabric.Architecture;

/// <summary>
/// The repository as rules see it: path (with <c>/</c>, relative to the root) to file. Rules are functions from a tree to the
/// violations in it, so that a test can plant one without touching the disk.
/// </summary>
public sealed class Tree
{
    private static readonly string[] Built =
        [".git", "bin", "obj", "TestResults", "artifacts", ".vs", ".idea", ".vscode", ".vagrant", "BenchmarkDotNet.Artifacts"];

    private readonly SortedDictionary<string, Lazy<string>> _files = new(StringComparer.Ordinal);

    private Tree(string root) => Root = root;

    /// <summary>Absolute path of the checkout.</summary>
    public string Root { get; }

    public IEnumerable<string> Paths => _files.Keys;

    /// <summary>The checkout that this assembly was built in, found by the solution file.</summary>
    public static Tree Load()
    {
        var root = new DirectoryInfo(AppContext.BaseDirectory);
        while (root is not null && !File.Exists(Path.Combine(root.FullName, "Fabric.sln")))
        {
            root = root.Parent;
        }

        var tree = new Tree(root?.FullName ?? throw new DirectoryNotFoundException($"no Fabric.sln above {AppContext.BaseDirectory}"));
        tree.Add(root);
        return tree;
    }

    public string Text(string path) => _files[path].Value;

    public string[] Lines(string path) => Text(path).Split('\n');

    public bool Has(string path) => _files.ContainsKey(path);

    public IEnumerable<string> Under(string folder, string suffix = "") =>
        Paths.Where(p => p.StartsWith(folder + "/", StringComparison.Ordinal) && p.EndsWith(suffix, StringComparison.Ordinal));

    /// <summary>A copy in which that file has that text.</summary>
    public Tree With(string path, string text)
    {
        var copy = new Tree(Root);
        foreach (var (key, value) in _files)
        {
            copy._files[key] = value;
        }

        copy._files[path] = new Lazy<string>(text);
        return copy;
    }

    private void Add(DirectoryInfo folder)
    {
        foreach (var file in folder.EnumerateFiles())
        {
            // In a worktree .git is a file.
            if (!Built.Contains(file.Name) && !file.Name.EndsWith(".user", StringComparison.Ordinal))
            {
                _files[Path.GetRelativePath(Root, file.FullName).Replace('\\', '/')] = new Lazy<string>(() => File.ReadAllText(file.FullName));
            }
        }

        foreach (var child in folder.EnumerateDirectories())
        {
            if (!Built.Contains(child.Name) && child.LinkTarget is null)
            {
                Add(child);
            }
        }
    }
}

/// <summary>What a rule found.</summary>
internal static class Violations
{
    /// <summary>Fails with every one of them in full.</summary>
    public static void AssertNone(IEnumerable<string> violations)
    {
        var found = violations.ToArray();
        Assert.True(found.Length == 0, string.Join('\n', found.Prepend($"{found.Length} violations:")));
    }
}
