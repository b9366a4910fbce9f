using Fabric.Lab.Gateways;
using Fabric.Lab.Processes;

namespace Fabric.Lab.Deployments;

/// <summary>What scripts/publish.sh makes, in artifacts/ as for a person who runs it; made once in a test run.</summary>
internal static class PublishedBuild
{
    private static readonly Lazy<Task<string>> LinuxBuild = new(() => Make("linux-x64"));
    private static readonly Lazy<Task<string>> WindowsBuild = new(() => Make("win-x64"));

    // A first build for a runtime compiles everything again, and fetches that runtime.
    private static readonly TimeSpan Limit = TimeSpan.FromMinutes(12);

    /// <summary>Absolute path of the folder.</summary>
    public static Task<string> Linux => LinuxBuild.Value;

    /// <inheritdoc cref="Linux"/>
    public static Task<string> Windows => WindowsBuild.Value;

    private static async Task<string> Make(string runtime)
    {
        // scripts/test.sh has it made before, for all of the lab to run.
        var made = Path.Combine(Programs.Repository, "artifacts", runtime);
        return Environment.GetEnvironmentVariable("FABRIC_LAB_PROGRAMS") == made ? made
            : (await Command.Run([Path.Combine(Programs.Repository, "scripts", "publish.sh"), runtime], Limit)).Checked().Output.Trim();
    }
}
