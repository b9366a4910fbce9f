using Fabric.Testing;

namespace Fabric.Cli.Tests;

public class ScriptTests
{
    public static TheoryData<string> Scripts { get; } =
        [.. Directory.EnumerateFiles(Folder, "*.script").Select(f => Path.GetFileNameWithoutExtension(f)).Order()];

    private static string Folder => Path.Combine(AppContext.BaseDirectory, "Scripts");

    [Theory]
    [MemberData(nameof(Scripts))]
    public async Task Runs(string name)
    {
        var dir = Directory.CreateTempSubdirectory("fabric-cli-").FullName;
        try
        {
            var time = new ManualTime();
            var script = File.ReadAllText(Path.Combine(Folder, name + ".script"));
            await using var admin = script.StartsWith("# with a gateway", StringComparison.Ordinal)
                ? await FakeGateway.StartAsync(Path.Combine(dir, "fabricd.sock")) : null;
            await new CliScript(dir, time).RunAsync(script);
        }
        finally
        {
            Directory.Delete(dir, recursive: true);
        }
    }

    /// <summary>A script that expects what is not so must fail, or the scripts prove nothing.</summary>
    [Theory]
    [InlineData("$ fabric version\nfabric 9.9.9\n")]
    [InlineData("$ fabric version\n")]
    [InlineData("$ fabric version\nfabric 0.1.0\n[1]\n")]
    [InlineData("$ fabric version\n! fabric 0.1.0\n")]
    [InlineData("what is this\n")]
    public Task A_wrong_script_fails(string script) =>
        Assert.ThrowsAnyAsync<Xunit.Sdk.XunitException>(() => new CliScript("/nowhere", new ManualTime()).RunAsync(script));
}
