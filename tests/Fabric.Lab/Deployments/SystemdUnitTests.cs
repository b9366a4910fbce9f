using System.Globalization;
using System.Text.RegularExpressions;

using Fabric.Lab.Gateways;
using Fabric.Lab.Processes;
using Fabric.Testing;

using Xunit.Abstractions;

namespace Fabric.Lab.Deployments;

/// <summary>What systemd itself says of the unit.</summary>
public sealed partial class SystemdUnitTests(ITestOutputHelper output) : IDisposable
{
    /// <summary>
    /// On systemd's scale from 0 to 10, where a service with no sandbox has 9.6. What is left: the network and NET_ADMIN, which are what a
    /// gateway is for, /dev/net/tun, and pages that .NET compiles into.
    /// </summary>
    private const double ExposureLimit = 2.0;

    private static readonly string Unit = Path.Combine(Programs.Repository, "scripts/systemd/fabricd.service");

    private readonly string _folder = Directory.CreateTempSubdirectory("fabric-unit-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [RequiresFact("systemd-analyze")]
    public async Task Verify_finds_nothing()
    {
        var result = await Verify(await File.ReadAllTextAsync(Unit));
        Assert.True(result is { ExitCode: 0, Output: "", Error: "" }, result.ToString());
    }

    [RequiresFact("systemd-analyze")]
    public async Task Verify_finds_a_planted_mistake()
    {
        var result = await Verify((await File.ReadAllTextAsync(Unit)).Replace("Type=notify", "Type=notfy"));
        Assert.Contains("notfy", result.Error);
    }

    [RequiresFact("systemd-analyze")]
    public async Task Exposure_is_below_the_limit()
    {
        var exposure = await Exposure(await File.ReadAllTextAsync(Unit));
        output.WriteLine($"systemd-analyze security: {exposure:0.0} of 10, at most {ExposureLimit:0.0}");
        Assert.InRange(exposure, 0.1, ExposureLimit);
    }

    [Fact]
    public async Task It_is_not_root_and_has_the_powers_that_it_uses()
    {
        var unit = await File.ReadAllTextAsync(Unit);
        foreach (var line in new[]
        {
            "User=fabric", "AmbientCapabilities=CAP_NET_ADMIN CAP_NET_BIND_SERVICE", "CapabilityBoundingSet=CAP_NET_ADMIN CAP_NET_BIND_SERVICE",
            "NoNewPrivileges=yes", "StateDirectoryMode=0700",
        })
        {
            Assert.Contains($"\n{line}\n", unit, StringComparison.Ordinal);
        }
    }

    [RequiresFact("systemd-analyze")]
    public async Task Exposure_rises_when_the_sandbox_is_opened()
    {
        var open = CapabilityLine().Replace(await File.ReadAllTextAsync(Unit), "");
        Assert.True(await Exposure(open) > ExposureLimit);
    }

    // The unit names programs where it installs them: the copy names stubs, so that only the unit is judged.
    private Task<CommandResult> Verify(string text)
    {
        foreach (var program in new[] { "fabricd", "fabric" })
        {
            var stub = Path.Combine(_folder, program);
            File.WriteAllText(stub, "#!/bin/sh\n");
            File.SetUnixFileMode(stub, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        }

        return Command.Run(["systemd-analyze", "verify", "--man=no", Copy(text.Replace("/usr/local/bin/", _folder + "/"))]);
    }

    private async Task<double> Exposure(string text)
    {
        var report = (await Command.Run(["systemd-analyze", "security", "--offline=yes", "--no-pager", Copy(text)])).Checked().Output;
        var overall = OverallLine().Match(report);
        Assert.True(overall.Success, report);
        return double.Parse(overall.Groups[1].Value, CultureInfo.InvariantCulture);
    }

    private string Copy(string text)
    {
        var copy = Path.Combine(_folder, "fabricd.service");
        File.WriteAllText(copy, text);
        return copy;
    }

    [GeneratedRegex(@"exposure level for fabricd\.service: ([0-9.]+)")]
    private static partial Regex OverallLine();

    [GeneratedRegex(@"^CapabilityBoundingSet=.*$", RegexOptions.Multiline)]
    private static partial Regex CapabilityLine();
}
