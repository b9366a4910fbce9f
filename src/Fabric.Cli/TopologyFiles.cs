using Fabric.Topology;
using Fabric.Topology.Model;

namespace Fabric.Cli;

/// <summary>A topology on disk: one file, or the <c>.yaml</c> and <c>.yml</c> files of a folder (not of folders in it).</summary>
internal static class TopologyFiles
{
    public static bool IsName(string name) =>
        name is [not '.', ..] && Path.GetExtension(name) is ".yaml" or ".yml"
        && name.AsSpan().IndexOfAny("/\\\0:") < 0;

    /// <summary>Throws <see cref="CliException"/> when there is nothing at <paramref name="path"/>.</summary>
    public static IReadOnlyList<TopologyFile> Read(string path)
    {
        if (File.Exists(path))
        {
            return [ReadOne(path)];
        }

        if (!Directory.Exists(path))
        {
            throw new CliException(ExitCode.Failure, $"there is no topology at {path}",
                "`fabric init` writes a first one; another place is named by FABRIC_TOPOLOGY");
        }

        return Directory.EnumerateFiles(path).Where(f => IsName(Path.GetFileName(f))).Take(TopologyLoader.MaxFiles + 1)
            .Order(StringComparer.Ordinal).Select(ReadOne).ToList();
    }

    /// <summary>An accepted topology; otherwise <see cref="CliException"/> with every error.</summary>
    public static FabricTopology Load(string path)
    {
        var result = TopologyLoader.Load(Read(path));
        return result.Topology ?? throw new CliException(ExitCode.InvalidTopology,
            $"the topology at {path} is not valid:\n"
                + string.Join('\n', result.Diagnostics.Where(d => d.Severity == Severity.Error)),
            $"fabric validate {path}");
    }

    private static TopologyFile ReadOne(string path)
    {
        // One more than is taken: the loader then names the limit.
        var length = new FileInfo(path).Length;
        return length <= 4L * TopologyLoader.MaxLength ? new TopologyFile(path, File.ReadAllText(path))
            : throw new CliException(ExitCode.InvalidTopology,
                $"{path} has {length} bytes; at most {TopologyLoader.MaxLength} are read");
    }
}
