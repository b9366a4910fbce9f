using System.Collections.Immutable;
using Fabric.Drills.Definition;
using Fabric.Topology;
using Fabric.Topology.Model;

namespace Fabric.Cli.Drills;

/// <summary>Drills on disk.</summary>
internal static class DrillFiles
{
    public const int MaxFiles = 1_000;

    /// <summary>The file itself, or those of a folder (not of folders in it).</summary>
    public static IEnumerable<string> Find(string path) => File.Exists(path) ? [path]
        : Directory.Exists(path) ? Directory.EnumerateFiles(path).Where(f => TopologyFiles.IsName(Path.GetFileName(f))).Order(StringComparer.Ordinal).Take(MaxFiles)
        : throw new CliException(ExitCode.Failure, $"there is no drill at {path}");

    /// <summary>With what it was checked against: <paramref name="topology"/>, or what the file names; null when it names none.</summary>
    public static (DrillDefinition? Drill, ImmutableArray<Diagnostic> Diagnostics, string? Against) Load(string path, string? topology)
    {
        var file = Read(path);
        var (drill, diagnostics) = DrillLoader.Load(file);
        var against = topology ?? (drill is { Topology.Length: > 0 } ? Path.Combine(Path.GetDirectoryName(path) ?? "", drill.Topology) : null);
        if (drill is null || against is null)
        {
            return (drill, diagnostics, against);
        }

        FabricTopology loaded = TopologyFiles.Load(against);
        (drill, diagnostics) = DrillLoader.Load(file, loaded);
        return (drill, diagnostics, against);
    }

    /// <summary>Its names are not looked up: guards do so against the running fabric.</summary>
    public static DrillDefinition Accept(string path)
    {
        var (drill, diagnostics) = DrillLoader.Load(Read(path));
        return drill ?? throw new CliException(ExitCode.InvalidTopology,
            $"the drill at {path} is not valid:\n" + string.Join('\n', diagnostics.Where(d => d.Severity == Severity.Error)), $"fabric drill validate {path}");
    }

    private static TopologyFile Read(string path)
    {
        var length = File.Exists(path) ? new FileInfo(path).Length : throw new CliException(ExitCode.Failure, $"there is no drill at {path}");
        return length <= 4L * DrillLoader.MaxLength ? new TopologyFile(path, File.ReadAllText(path))
            : throw new CliException(ExitCode.InvalidTopology, $"{path} has {length} bytes; a drill has at most {DrillLoader.MaxLength}");
    }
}
