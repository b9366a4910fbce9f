using System.Text.Json;

using Fabric.Lab.Gateways;
using Fabric.Lab.Processes;
using Fabric.Testing;

namespace Fabric.Lab;

/// <summary>The main journey, as a newcomer starts it.</summary>
public sealed class DemoTests
{
    private const int Nobody = 65534;
    private static readonly TimeSpan Limit = TimeSpan.FromMinutes(7);

    [RequiresFact("root", "ip", "nft", "wg", "nginx", "redis-server", "redis-cli", "curl", "kdig")]
    public async Task In_namespaces_every_step_holds()
    {
        var json = Path.GetTempFileName();
        try
        {
            var demo = await Command.Run(["env", "-u", "FABRIC_LAB_PROGRAMS", Path.Combine(Programs.Repository, "scripts", "demo.sh"), "--json", json], Limit);
            AssertHeld(demo, await File.ReadAllTextAsync(json), "namespaces");
            await NetworksTests.AssertNothingIsLeft();
        }
        finally
        {
            File.Delete(json);
        }
    }

    [RequiresFact("nginx", "redis-server", "redis-cli", "curl", "kdig", "setpriv")]
    public async Task On_loopback_every_step_holds_for_an_unprivileged_user()
    {
        // A home of its own, with copies of the programs: a checkout may be closed to others.
        var home = Directory.CreateTempSubdirectory("fabric-home-");
        try
        {
            var programs = Programs.Find();
            var copies = Path.Combine(home.FullName, "programs");
            await Command.Do("cp", "-r", Path.GetDirectoryName(programs.Fabricd)!, copies);
            await Command.Do("cp", "-r", $"{Path.GetDirectoryName(programs.Fabric)}/.", copies);
            await Command.Do("cp", "-r", AppContext.BaseDirectory, Path.Combine(home.FullName, "lab"));
            string[] user = [];
            if (Environment.IsPrivilegedProcess)
            {
                await Command.Do("chown", "-R", $"{Nobody}:{Nobody}", home.FullName);
                user = ["setpriv", $"--reuid={Nobody}", $"--regid={Nobody}", "--clear-groups"];
            }

            var json = Path.Combine(home.FullName, "results.json");
            var demo = await Command.Run([.. user, "env", $"HOME={home.FullName}", $"TMPDIR={home.FullName}", $"FABRIC_LAB_PROGRAMS={copies}",
                $"DOTNET_ROOT={Programs.Environment["DOTNET_ROOT"]}", Path.Combine(Programs.Environment["DOTNET_ROOT"], "dotnet"),
                Path.Combine(home.FullName, "lab", "Fabric.Lab.dll"), "demo", "--mode", "loopback", "--json", json], Limit);
            AssertHeld(demo, File.Exists(json) ? await File.ReadAllTextAsync(json) : "", "loopback");
            Assert.Empty(home.GetDirectories("fabric-lab-*"));
        }
        finally
        {
            home.Delete(recursive: true);
        }
    }

    [Theory]
    [InlineData("--no-such-option")]
    [InlineData("--json")]
    public async Task A_wrong_command_line_ends_with_2_and_says_why(string option)
    {
        var demo = await Command.Run([Path.Combine(Programs.Repository, "scripts", "demo.sh"), option]);
        Assert.Equal(2, demo.ExitCode);
        Assert.Contains(option, demo.Error);
        Assert.Contains("usage: scripts/demo.sh", demo.Error);
    }

    private static void AssertHeld(CommandResult demo, string json, string mode)
    {
        // It ends with which steps failed, and why.
        Assert.True(demo.ExitCode == 0, demo.ToString());
        var results = JsonDocument.Parse(json).RootElement;
        Assert.Equal(["ok", "mode", "steps", "failover"], results.EnumerateObject().Select(p => p.Name));
        Assert.True(results.GetProperty("ok").GetBoolean());
        Assert.Equal(mode, results.GetProperty("mode").GetString());

        var steps = results.GetProperty("steps").EnumerateArray().ToArray();
        Assert.Equal(10, steps.Length);
        Assert.All(steps, step =>
        {
            Assert.Equal(["name", "ok", "milliseconds", "details"], step.EnumerateObject().Select(p => p.Name));
            Assert.True(step.GetProperty("ok").GetBoolean(), step.ToString());
            Assert.NotEmpty(step.GetProperty("details").GetString()!);
        });

        var failover = results.GetProperty("failover");
        Assert.Equal(["detectedMs", "stallMs", "bytesLost", "connectionsDropped"], failover.EnumerateObject().Select(p => p.Name));
        Assert.InRange(failover.GetProperty("detectedMs").GetDouble(), 1, 20_000);
        // How long it may be on this machine, the step itself has judged.
        Assert.True(failover.GetProperty("stallMs").GetDouble() > 0, failover.ToString());
        Assert.Equal(0, failover.GetProperty("bytesLost").GetInt64());
        Assert.Equal(0, failover.GetProperty("connectionsDropped").GetInt32());

        // In a pipe the story is plain lines.
        Assert.DoesNotContain('\e', demo.Output);
        Assert.Contains("Every step held.", demo.Output);

        // It ends with where the drill's report is, which is there still.
        var report = demo.Output.Split("The drill's report: ")[1].Split('\n')[0].Trim();
        Assert.Contains("<h1>cut-dx", File.ReadAllText(report));
        Directory.Delete(Path.GetDirectoryName(report)!, recursive: true);
    }
}
