using System.Diagnostics;
using Fabric.Identity.Authority;
using Fabric.Identity.Joining;
using Fabric.Identity.Storage;
using Fabric.Testing;

namespace Fabric.Identity.Tests.Storage;

/// <summary>What root does in a folder of a user with less power: the files are that user's, and no link of that user's is followed.</summary>
[System.Runtime.Versioning.UnsupportedOSPlatform("windows")]
public sealed class UnixOwnerTests : IDisposable
{
    private const string Nobody = "65534";

    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [RequiresFact("root", "chown", "find")]
    public void All_that_a_mesh_leaves_in_it_is_the_owners()
    {
        var state = FolderOfNobody();
        var ca = MeshCa.Create(Path.Combine(state, "ca"), Mesh.Domain, TimeProvider.System);
        Assert.Empty(ca.Prepare(["paris"]));
        var store = new GatewayKeyStore(Path.Combine(state, "deep", "identity"));
        JoinClient.JoinLocally(ca.CreateToken("paris", "paris-1"), ca, store, TimeProvider.System);
        JoinClient.JoinLocally(ca.CreateToken("paris", "paris-1"), ca, store, TimeProvider.System);

        Assert.NotEqual("", Run("find", state, "-name", "gateway.key"));
        Assert.NotEqual("", Run("find", state, "-name", ".lock"));
        Assert.Equal("", Run("find", state, "!", "-user", Nobody));
        Assert.Equal("", Run("find", state, "-mindepth", "1", "-type", "f", "!", "-perm", "600"));
        Assert.Equal("", Run("find", state, "-mindepth", "1", "-type", "d", "!", "-perm", "700"));
    }

    [RequiresFact("root", "chown")]
    public void A_lock_that_is_a_link_is_refused_and_its_target_is_not_made()
    {
        var state = FolderOfNobody();
        var target = _folder["target"];
        File.CreateSymbolicLink(Path.Combine(state, ".lock"), target);

        var refused = Assert.Throws<IOException>(() => FolderLock.Take(state));
        Assert.Contains("is a symbolic link", refused.Message, StringComparison.Ordinal);
        Assert.False(File.Exists(target));
    }

    [RequiresFact("root", "chown")]
    public void A_folder_that_is_a_link_is_refused_and_its_target_is_not_changed()
    {
        var state = FolderOfNobody();
        var target = Directory.CreateDirectory(_folder["target"], (UnixFileMode)0b111_101_101).FullName;
        Directory.CreateSymbolicLink(Path.Combine(state, "tokens"), target);

        Assert.Throws<IOException>(() => SafeFile.MakeFolder(Path.Combine(state, "tokens")));
        Assert.Equal((UnixFileMode)0b111_101_101, File.GetUnixFileMode(target));
        Assert.Equal("0", Run("stat", "-c", "%u", target));
    }

    [RequiresFact("root", "chown")]
    public void A_write_replaces_a_link_and_does_not_follow_it()
    {
        var state = FolderOfNobody();
        File.WriteAllText(_folder["target"], "untouched");
        File.CreateSymbolicLink(Path.Combine(state, "bundle.pem"), _folder["target"]);

        SafeFile.Write(Path.Combine(state, "bundle.pem"), "new");
        Assert.Equal(("untouched", "new"), (File.ReadAllText(_folder["target"]), File.ReadAllText(Path.Combine(state, "bundle.pem"))));
        Assert.Equal(Nobody, Run("stat", "-c", "%u", Path.Combine(state, "bundle.pem")));
    }

    private string FolderOfNobody()
    {
        var state = Directory.CreateDirectory(_folder["state"], SafeFile.PrivateFolder).FullName;
        Run("chown", $"{Nobody}:{Nobody}", state);
        return state;
    }

    private static string Run(string program, params string[] arguments)
    {
        using var process = Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardOutput = true })!;
        var output = process.StandardOutput.ReadToEnd().Trim();
        process.WaitForExit();
        Assert.Equal(0, process.ExitCode);
        return output;
    }
}
