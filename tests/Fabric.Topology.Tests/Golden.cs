namespace Fabric.Topology.Tests;

/// <summary>Files of the repository that tests hold to what the code says.</summary>
internal static class Golden
{
    public static string Topologies { get; } = Path.Combine(Root(), "topologies");

    /// <summary>The file's text is as expected. With FABRIC_UPDATE=1 it is made so.</summary>
    public static void Check(string path, string expected)
    {
        if (Environment.GetEnvironmentVariable("FABRIC_UPDATE") == "1")
        {
            File.WriteAllText(path, expected);
        }

        Assert.True(File.Exists(path), $"{path} is missing: FABRIC_UPDATE=1 writes it");
        Assert.Equal(expected, File.ReadAllText(path));
    }

    /// <summary>A file, or the files of a folder, by file name only: so messages are the same in every checkout.</summary>
    public static TopologyResult Load(string path) => TopologyLoader.Load(
        [.. (Directory.Exists(path) ? Directory.GetFiles(path, "*.yaml") : [path])
            .Select(file => new TopologyFile(Path.GetFileName(file), File.ReadAllText(file)))]);

    private static string Root()
    {
        string folder = AppContext.BaseDirectory;
        while (!File.Exists(Path.Combine(folder, "Fabric.sln")))
        {
            folder = Path.GetDirectoryName(folder)
                ?? throw new InvalidOperationException("Fabric.sln is in no folder above the tests");
        }

        return folder;
    }
}
