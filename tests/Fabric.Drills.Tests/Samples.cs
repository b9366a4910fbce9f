using Fabric.Drills.Definition;
using Fabric.Topology;
using Fabric.Topology.Model;

namespace Fabric.Drills.Tests;

internal static class Samples
{
    public static string Topologies { get; } = Path.Combine(Root(), "topologies");

    public static string Drills { get; } = Path.Combine(Topologies, "drills");

    /// <summary>The fabric of the demo: four links between three gateways.</summary>
    public static FabricTopology ThreeSites { get; } = Load("three-sites.yaml");

    public static FabricTopology Load(string file) =>
        TopologyLoader.Load([new TopologyFile(file, File.ReadAllText(Path.Combine(Topologies, file)))]).Topology!;

    /// <summary>The file's text is as expected. With FABRIC_UPDATE=1 it is made so.</summary>
    public static void Golden(string path, string expected)
    {
        if (Environment.GetEnvironmentVariable("FABRIC_UPDATE") == "1")
        {
            File.WriteAllText(path, expected);
        }

        Assert.True(File.Exists(path), $"{path} is missing: FABRIC_UPDATE=1 writes it");
        Assert.Equal(expected, File.ReadAllText(path));
    }

    /// <summary>A drill of some actions, and what else is said; accepted without looking up names.</summary>
    public static DrillDefinition Drill(string actions, string rest = "")
    {
        var result = DrillLoader.Load(new TopologyFile("t.yaml", $"""
            drill: 1
            name: t
            owner: tests
            reason: It is tested.
            actions:
            {actions}
            {rest}
            """));
        Assert.Empty(result.Diagnostics);
        return result.Drill!;
    }

    private static string Root()
    {
        var folder = AppContext.BaseDirectory;
        while (!File.Exists(Path.Combine(folder, "Fabric.sln")))
        {
            folder = Path.GetDirectoryName(folder) ?? throw new InvalidOperationException("Fabric.sln is in no folder above the tests");
        }

        return folder;
    }
}
