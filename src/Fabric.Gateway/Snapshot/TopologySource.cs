using System.Collections.Immutable;
using System.Security.Cryptography;
using System.Text;
using Fabric.Topology;

namespace Fabric.Gateway.Snapshot;

/// <summary>
/// Where the topology comes from: a file, or the <c>*.yaml</c> and <c>*.yml</c> of a folder, in ordinal order of their names.
/// It is compared by content every second rather than watched: a ConfigMap changes by swapping symbolic links, an editor by
/// renaming, and inotify tells of neither in the same way.
/// </summary>
internal sealed class TopologySource(string path, string lastGood)
{
    private const string Old = ".old";

    /// <summary>Hash of what <see cref="Read"/> last saw; a change of it means that there is something to load.</summary>
    public string Fingerprint { get; private set; } = "";

    /// <summary>Whether it counts as unreadable: a drill's word. Default: no.</summary>
    public Func<bool> Gone { get; init; } = static () => false;

    /// <summary>The texts as they are on disk now. Throws <see cref="IOException"/> with the path and what to do.</summary>
    public IReadOnlyList<TopologyFile> Read()
    {
        if (Gone())
        {
            throw new IOException($"{path} cannot be read: a drill took it away");
        }

        var files = ReadAll(path);
        if (files.Count == 0)
        {
            throw new IOException($"no topology at {path}: expected a YAML file, or a folder with *.yaml in it");
        }

        Fingerprint = Hash(files);
        return files;
    }

    /// <summary>The revision that ran last, kept by <see cref="Keep"/>; empty when there is none.</summary>
    public IReadOnlyList<TopologyFile> ReadLastGood() => ReadAll(Directory.Exists(lastGood) ? lastGood : lastGood + Old);

    /// <summary>
    /// Keeps an accepted revision, so that the gateway can start when the source is gone. The folder is replaced whole: a new
    /// one is filled beside it and takes its name. Killed at any moment, the last good one or its predecessor is there whole.
    /// </summary>
    public void Keep(IReadOnlyList<TopologyFile> files)
    {
        var next = lastGood + ".next";
        var old = lastGood + Old;
        DeleteFolder(next);
        Directory.CreateDirectory(next);
        foreach (var file in files)
        {
            File.WriteAllText(Path.Combine(next, KeptName(file.Path)), file.Text);
        }

        if (Directory.Exists(lastGood))
        {
            // Only now: after a kill between the two moves, the old one is all there is.
            DeleteFolder(old);
            Directory.Move(lastGood, old);
        }

        Directory.Move(next, lastGood);
        DeleteFolder(old);
    }

    private static IReadOnlyList<TopologyFile> ReadAll(string path)
    {
        if (File.Exists(path))
        {
            return [new TopologyFile(path, ReadText(path))];
        }

        if (!Directory.Exists(path))
        {
            return [];
        }

        var names = Directory.EnumerateFiles(path)
            .Where(f => IsTopology(Path.GetFileName(f)))
            .Order(StringComparer.Ordinal)
            .Take(TopologyLoader.MaxFiles + 1)
            .ToImmutableArray();
        return names.Length > TopologyLoader.MaxFiles
            ? throw new IOException($"{path} holds more than {TopologyLoader.MaxFiles} YAML files: merge some of them")
            : [.. names.Select(f => new TopologyFile(f, ReadText(f)))];
    }

    private static bool IsTopology(string name) => Path.GetExtension(name) is ".yaml" or ".yml" && !name.StartsWith('.');

    /// <summary>A single file may have any name; a file of a folder is found by its.</summary>
    private static string KeptName(string path) =>
        Path.GetFileName(path) is var name && IsTopology(name) ? name : "topology.yaml";

    private static string ReadText(string file)
    {
        var length = new FileInfo(file).Length;
        return length > TopologyLoader.MaxLength
            ? throw new IOException($"{file} has {length} bytes; a topology file may have {TopologyLoader.MaxLength}")
            : File.ReadAllText(file);
    }

    private static string Hash(IReadOnlyList<TopologyFile> files)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach (var file in files)
        {
            hash.AppendData(Encoding.UTF8.GetBytes($"{Path.GetFileName(file.Path)}\0{file.Text}\0"));
        }

        return Convert.ToHexString(hash.GetHashAndReset());
    }

    private static void DeleteFolder(string folder)
    {
        if (Directory.Exists(folder))
        {
            Directory.Delete(folder, recursive: true);
        }
    }
}
