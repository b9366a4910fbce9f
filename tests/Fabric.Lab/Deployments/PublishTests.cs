using Fabric.Lab.Gateways;
using Fabric.Lab.Processes;
using Fabric.Testing;

namespace Fabric.Lab.Deployments;

/// <summary>scripts/publish.sh. That its programs need no .NET is shown on a machine without it.</summary>
public sealed class PublishTests
{
    private static readonly string Script = Path.Combine(Programs.Repository, "scripts/publish.sh");

    [RequiresFact("dotnet")]
    public async Task For_Linux_it_makes_programs_that_bring_their_runtime()
    {
        var folder = await PublishedBuild.Linux;
        // A runtime of the machine is not looked for: it would be sought here.
        string[] nowhere = ["env", "DOTNET_ROOT=/nonexistent", "PATH=/usr/bin:/bin"];
        Assert.Contains("--topology", (await Command.Run([.. nowhere, Path.Combine(folder, "fabricd"), "--help"])).Checked().Output);
        Assert.Contains("init", (await Command.Run([.. nowhere, Path.Combine(folder, "fabric"), "--help"])).Checked().Output);
        var check = await Command.Run([.. nowhere, Path.Combine(folder, "fabricd"), "--check", "--state", "/nonexistent", "--topology", "/nonexistent"]);
        Assert.Equal(1, check.ExitCode);
        Assert.Contains("fabric join", check.Error);
        Assert.Equal(await File.ReadAllTextAsync(Path.Combine(Programs.Repository, "scripts/systemd/fabricd.service")),
            await File.ReadAllTextAsync(Path.Combine(folder, "fabricd.service")));
        Assert.True(File.Exists(Path.Combine(folder, "libcoreclr.so")));
    }

    [RequiresFact("dotnet")]
    public async Task For_Windows_it_makes_its_programs()
    {
        var folder = await PublishedBuild.Windows;
        foreach (var program in new[] { "fabricd.exe", "fabric.exe" })
        {
            var bytes = await File.ReadAllBytesAsync(Path.Combine(folder, program));
            // A PE file for x64: "MZ", at 0x3C the offset of "PE\0\0", and after it the machine 0x8664.
            var header = BitConverter.ToInt32(bytes, 0x3C);
            Assert.Equal(("MZ", "PE\0\0", (ushort)0x8664), (System.Text.Encoding.ASCII.GetString(bytes, 0, 2),
                System.Text.Encoding.ASCII.GetString(bytes, header, 4), BitConverter.ToUInt16(bytes, header + 4)));
        }

        Assert.True(File.Exists(Path.Combine(folder, "coreclr.dll")));
    }

    [Fact]
    public async Task A_runtime_that_it_does_not_know_is_refused()
    {
        var result = await Command.Run([Script, "linux-x46"]);
        Assert.Equal(2, result.ExitCode);
        Assert.Contains("linux-x46", result.Error);
    }
}
