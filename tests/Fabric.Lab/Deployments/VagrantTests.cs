using System.Text.RegularExpressions;

using Fabric.Lab.Gateways;
using Fabric.Lab.Processes;
using Fabric.Testing;
using Fabric.Topology;

namespace Fabric.Lab.Deployments;

/// <summary>The Vagrantfile, and its agreement with the topology of its machines. What its script does is tested on a machine.</summary>
public sealed partial class VagrantTests : IDisposable
{
    private static readonly string Vagrantfile = Path.Combine(Programs.Repository, "Vagrantfile");

    private readonly string _folder = Directory.CreateTempSubdirectory("fabric-vagrant-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [RequiresFact("ruby")]
    public async Task Ruby_can_read_it()
    {
        (await Command.Run(["ruby", "-c", Vagrantfile])).Checked();
    }

    [RequiresFact("vagrant")]
    public async Task Vagrant_finds_it_valid()
    {
        // Without a provider on this machine the configuration of providers cannot be asked about.
        (await Command.Run(["env", $"VAGRANT_HOME={_folder}", $"VAGRANT_DOTFILE_PATH={_folder}/dot", $"VAGRANT_CWD={Programs.Repository}",
            "vagrant", "validate", "--ignore-provider"], TimeSpan.FromSeconds(90))).Checked();
    }

    [Fact]
    public async Task Its_machines_are_the_sites_of_the_topology()
    {
        var file = Path.Combine(Programs.Repository, "topologies/vagrant.yaml");
        var loaded = TopologyLoader.Load([new TopologyFile(file, await File.ReadAllTextAsync(file))]);
        Assert.Empty(loaded.Diagnostics);
        var machines = MachineLine().Matches(await File.ReadAllTextAsync(Vagrantfile))
            .ToDictionary(m => m.Groups[1].Value, m => AddressPart().Matches(m.Groups[2].Value).Select(a => a.Groups[1].Value).ToArray());
        Assert.Equal(["factory", "paris", "virginia"], machines.Keys.Order());
        Assert.Equal(machines.Keys.Order(), loaded.Topology!.Sites.Select(s => s.Name).Order());

        // An address of a link is one of the machine of that site.
        foreach (var end in loaded.Topology.Links.SelectMany(l => new[] { l.A, l.B }).Where(e => e.Address is not null))
        {
            var site = loaded.Topology.Sites.Single(s => s.Gateways.Any(g => g.Name == end.Gateway)).Name;
            Assert.Contains(end.Address!.ToString(), machines[site]);
        }
    }

    [RequiresFact("shellcheck")]
    public async Task Shellcheck_finds_nothing_in_the_scripts()
    {
        var scripts = Directory.GetFiles(Path.Combine(Programs.Repository, "scripts"), "*.sh");
        Assert.NotEmpty(scripts);
        (await Command.Run(["shellcheck", "-x", "-P", Programs.Repository, .. scripts])).Checked();
        Assert.All(scripts, s => Assert.True(s.EndsWith("lib.sh", StringComparison.Ordinal)
            || File.GetUnixFileMode(s).HasFlag(UnixFileMode.UserExecute), $"{s} cannot be executed"));
    }

    [RequiresFact("shellcheck")]
    public async Task Shellcheck_finds_a_planted_mistake()
    {
        var script = Path.Combine(_folder, "planted.sh");
        await File.WriteAllTextAsync(script, "#!/usr/bin/env bash\nrm -r $1\n");
        Assert.Contains("SC2086", (await Command.Run(["shellcheck", script])).Output);
    }

    [GeneratedRegex("""^\s*"([a-z]+)"\s*=>\s*\{(.*)\}""", RegexOptions.Multiline)]
    private static partial Regex MachineLine();

    [GeneratedRegex("\"([0-9.]+)\"")]
    private static partial Regex AddressPart();
}
