using System.Collections.Immutable;
using System.Security.Cryptography;
using System.Text;
using Fabric.Topology.Asked;
using Fabric.Topology.Checks;
using Fabric.Topology.Model;
using Fabric.Topology.Yaml;

namespace Fabric.Topology;

/// <summary>A file as its caller read it. The path stands in findings; files are merged in ordinal order of it.</summary>
public sealed record TopologyFile(string Path, string Text);

/// <summary>A topology, or errors: never both, never neither. Warnings may stand beside either.</summary>
public sealed record TopologyResult(FabricTopology? Topology, ImmutableArray<Diagnostic> Diagnostics);

/// <summary>
/// Text to topology: (1) text to nodes, (2) nodes to what was asked, by the declared shapes, (3) files merged, (4) checks that
/// span values, (5) acceptance. All errors are reported at once, except that (3) to (5) wait until every file could be read:
/// what a broken file declares is unknown, and everything that refers to it would be reported too. Never throws on bad input.
/// </summary>
public static class TopologyLoader
{
    /// <summary>Files of one topology.</summary>
    public const int MaxFiles = 1_000;

    /// <summary>UTF-16 units of all files together.</summary>
    public const int MaxLength = 16 * 1024 * 1024;

    /// <summary>Loads one topology of one or more files, merged in ordinal order of their paths.</summary>
    public static TopologyResult Load(IReadOnlyList<TopologyFile> files)
    {
        var diagnostics = new DiagnosticBag();
        ImmutableArray<TopologyFile> sorted = [.. files.OrderBy(f => f.Path, StringComparer.Ordinal)];
        FabricTopology? topology = IsWithinLimits(sorted, diagnostics) ? Read(sorted, diagnostics) : null;
        return new TopologyResult(diagnostics.HasErrors ? null : topology, diagnostics.ToSorted());
    }

    private static bool IsWithinLimits(ImmutableArray<TopologyFile> files, DiagnosticBag diagnostics)
    {
        var nowhere = new Mark(files.IsEmpty ? "topology" : files[0].Path, 1, 1);
        long length = files.Sum(f => (long)f.Text.Length);
        if (files.IsEmpty)
        {
            diagnostics.Error(DiagnosticCodes.MissingKey, nowhere, "there is no topology file",
                "fabric init writes a first one; files end in .yaml");
        }
        else if (files.Length > MaxFiles || length > MaxLength)
        {
            diagnostics.Error(DiagnosticCodes.LimitExceeded, nowhere,
                $"the topology has {files.Length} files with {length} characters; at most {MaxFiles} with {MaxLength} are read");
        }

        return !diagnostics.HasErrors;
    }

    private static FabricTopology? Read(ImmutableArray<TopologyFile> files, DiagnosticBag diagnostics)
    {
        var reading = new Reading(diagnostics);
        var asked = new List<AskedFile>();
        var given = new HashSet<string>(StringComparer.Ordinal);
        bool allRead = true;
        foreach (TopologyFile file in files)
        {
            Node? root = NodeReader.Read(file, diagnostics);
            allRead &= root is not null;
            given.UnionWith(root is MapNode map ? map.Entries.Select(e => e.Key.Text) : []);
            if (root is not null && AskedShapes.File.TryRead(root, "a topology", reading, out AskedFile read))
            {
                asked.Add(read);
            }
        }

        if (!allRead || diagnostics.IsFull)
        {
            return null;
        }

        AskedMesh mesh = AskedMesh.Merge(asked, diagnostics);
        var start = new Mark(files[0].Path, 1, 1);
        if (!given.Contains("trustDomain"))
        {
            diagnostics.Error(DiagnosticCodes.MissingKey, start, "a topology needs the key 'trustDomain' in one of its files",
                "such as trustDomain: acme.example");
        }

        if (!given.Contains("sites") || (mesh.Sites.Count == 0 && !diagnostics.HasErrors))
        {
            diagnostics.Error(DiagnosticCodes.MissingKey, start, "a topology needs the key 'sites' with at least one site");
        }

        MeshChecks.Check(mesh, diagnostics);
        return diagnostics.HasErrors ? null : Acceptance.Accept(mesh, Revision(files));
    }

    /// <summary>Paths do not count, only their order, and neither do byte order marks and the kind of line ends: gateways keep
    /// the same files in different folders and on different systems.</summary>
    private static string Revision(ImmutableArray<TopologyFile> files)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach (TopologyFile file in files)
        {
            byte[] text = Encoding.UTF8.GetBytes(file.Text.TrimStart('\ufeff').ReplaceLineEndings("\n"));
            hash.AppendData(Encoding.ASCII.GetBytes($"{text.Length}\n"));
            hash.AppendData(text);
        }

        return Convert.ToHexStringLower(hash.GetHashAndReset())[..12];
    }
}
