using System.Text.RegularExpressions;

using Fabric.Lab.Gateways;
using Fabric.Lab.Networks;
using Fabric.Lab.Processes;

namespace Fabric.Lab.Documents;

/// <summary>
/// What README.md tells a newcomer to type works as it stands there, line by line. Two hosts share this machine: each has folders of
/// its own for /etc/fabric, /var/lib/fabric and /run/fabric, and an address of its own in 127.0.0.0/8.
/// </summary>
public sealed partial class ReadmeTests
{
    private const string Section = "## A fabric of your own";

    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(30);

    private static readonly string Readme = File.ReadAllText(Path.Combine(Programs.Repository, "README.md"));

    [Fact]
    public async Task A_fabric_of_your_own()
    {
        var blocks = Blocks(Section);
        Assert.Equal(3, blocks.Count);
        await using var work = await WorkFolder.Take();
        await using var paris = new Host(work, "paris");
        await using var virginia = new Host(work, "virginia");

        await paris.Type(blocks[0]);
        var topology = Path.Combine(paris.Etc, "topology", "fabric.yaml");
        await File.WriteAllTextAsync(topology, WithTrueAddresses(await File.ReadAllTextAsync(topology)));
        await paris.Type(blocks[1]);
        // The third block is for the other gateway, but for the line that says where it is typed.
        await paris.Type(blocks[2].Where(l => l.Contains("token create", StringComparison.Ordinal)));
        await virginia.Type(blocks[2].Where(l => !l.Contains("token create", StringComparison.Ordinal) && l != "fabric status"));
        await Poll.Until("the two to be linked", Limit, async () => (await virginia.Output("fabric status")).Contains("connected"),
            () => paris.Tail() + virginia.Tail());
        var status = await virginia.Output("fabric status");
        Assert.Contains("virginia-1 of site virginia in acme.example", status);
        Assert.Contains("paris-1", status);
        Assert.True(File.Exists(Path.Combine(virginia.Etc, "topology", "fabric.yaml")), "joining brought no topology");
    }

    /// <summary>Every other block names scripts that are there.</summary>
    [Fact]
    public void Its_scripts_and_links_exist()
    {
        var scripts = ScriptName().Matches(Readme).Select(m => m.Value).Concat(LinkTarget().Matches(Readme).Select(m => m.Groups[1].Value))
            .Where(t => !t.Contains("://", StringComparison.Ordinal)).ToArray();
        Assert.NotEmpty(scripts);
        Assert.All(scripts, path => Assert.True(Path.Exists(Path.Combine(Programs.Repository, path)), $"README.md names {path}, which does not exist"));
    }

    /// <summary>The fenced sh blocks of a section, as lines; empty ones and comments left out.</summary>
    private static IReadOnlyList<string[]> Blocks(string heading)
    {
        var start = Readme.IndexOf($"\n{heading}\n", StringComparison.Ordinal);
        Assert.True(start >= 0, $"README.md has no section '{heading}'");
        var end = Readme.IndexOf("\n## ", start + heading.Length, StringComparison.Ordinal);
        return [.. ShellBlock().Matches(Readme[start..end])
            .Select(m => m.Groups[1].Value.Split('\n').Select(l => l.Split("   #")[0].Trim()).Where(l => l.Length > 0 && !l.StartsWith('#')).ToArray())];
    }

    // What "put the true addresses into it" means on this machine: the template's are for documentation (RFC 5737).
    private static string WithTrueAddresses(string template)
    {
        var text = template;
        foreach (var (site, address, range) in new[] { ("paris", "127.83.0.1", "127.83.1.0/24"), ("virginia", "127.83.0.2", "127.83.2.0/24") })
        {
            text = Regex.Replace(text, $"(gateway: {site}-1, address: )192\\.0\\.2\\.[0-9]+", $"${{1}}{address}");
            text = text.Replace($"      - name: {site}-1\n", $"      - name: {site}-1\n        listen: [{address}]\n        dns: {address}:15353\n"
                + $"        metrics: {address}:19440\n        dashboard: off\n");
            text = text.Replace($"  - name: {site}\n", $"  - name: {site}\n    serviceAddresses: {range}\n");
        }

        Assert.DoesNotContain("address: 192.0.2.", text);
        return text;
    }

    [GeneratedRegex("```sh\n(.*?)```", RegexOptions.Singleline)]
    private static partial Regex ShellBlock();

    [GeneratedRegex(@"scripts/[a-z]+\.sh")]
    private static partial Regex ScriptName();

    [GeneratedRegex(@"\]\(([^)#]+)\)")]
    private static partial Regex LinkTarget();

    /// <summary>One host of the story, and who types at it.</summary>
    private sealed class Host(WorkFolder work, string name) : IAsyncDisposable
    {
        private static readonly Programs Programs = Programs.Find();

        private Daemon? _fabricd;

        public string Etc => work.Of(name, "etc");

        private Dictionary<string, string> Environment => new(Programs.Environment)
        {
            ["FABRIC_STATE"] = work.Of(name, "state"),
            ["FABRIC_TOPOLOGY"] = Path.Combine(Etc, "topology"),
            ["FABRIC_CA"] = Path.Combine(Etc, "ca"),
            ["FABRIC_SOCKET"] = work.Of(name, "fabricd.sock"),
            ["FABRIC_WIREGUARD"] = "off",
            ["FABRIC_DRAIN_SECONDS"] = "1",
            ["PATH"] = $"{Path.GetDirectoryName(Programs.Fabric)}:{Path.GetDirectoryName(Programs.Fabricd)}:/usr/bin:/bin",
        };

        public async Task Type(IEnumerable<string> lines)
        {
            foreach (var line in lines)
            {
                if (line == "systemctl enable --now fabricd")
                {
                    // No systemd here: the unit exists, and does what this does.
                    Assert.True(File.Exists(Path.Combine(Programs.Repository, "scripts/systemd/fabricd.service")));
                    await Start();
                }
                else
                {
                    Assert.StartsWith("fabric ", line);
                    await Output(line);
                }
            }
        }

        /// <summary>What the line prints, /etc/fabric being this host's.</summary>
        public async Task<string> Output(string line) =>
            (await Command.Run(["env", "-C", work.Folder(), .. Environment.Select(e => $"{e.Key}={e.Value}"), "sh", "-ec", line.Replace("/etc/fabric", Etc)]))
            .Checked().Output;

        public string Tail() => _fabricd?.Tail() ?? "";

        public async ValueTask DisposeAsync()
        {
            if (_fabricd is not null)
            {
                await _fabricd.DisposeAsync();
            }
        }

        private async Task Start()
        {
            work.Folder(name);
            var environment = Environment;
            if (!Directory.Exists(environment["FABRIC_CA"]))
            {
                environment.Remove("FABRIC_CA");
            }

            _fabricd = Daemon.Start(work, $"{name}/fabricd", [Programs.Fabricd], environment);
            await Poll.Until($"fabricd of {name}", Limit, async () =>
            {
                Assert.True(_fabricd.IsAlive, _fabricd.Tail());
                return File.Exists(environment["FABRIC_SOCKET"]) && (await Output("fabric status")).Length > 0;
            }, () => _fabricd.Tail());
        }
    }
}
