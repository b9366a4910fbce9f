using Fabric.Lab.Gateways;
using Fabric.Lab.Processes;
using Fabric.Testing;

namespace Fabric.Lab.Trust;

/// <summary>What <c>fabric bugreport</c> brings out of gateways that have everything: certificates, an authority, join tokens, WireGuard.</summary>
public sealed class BugReportTests
{
    [RequiresFact("root", "ip", "nft", "wg", "nginx", "redis-server", "curl", "kdig")]
    public async Task It_tells_what_each_gateway_sees_and_none_of_its_keys()
    {
        await using var fabric = await LabFabric.Start("namespaces", payloadBytes: 1 << 20);
        (await fabric.Curl()).Checked();
        // A token that is still good, where somebody has put it for the moment.
        var token = (await fabric.Fabric("token", "create", "factory/factory-1", "--ca", fabric.Paris.Ca!, "--topology", fabric.Paris.TopologyFolder)).Trim().Split('\n')[^1];
        await File.AppendAllTextAsync(Directory.GetFiles(fabric.Paris.TopologyFolder, "*.yaml")[0], $"\n# {token}\n");

        var secrets = fabric.Gateways.SelectMany(g => Secrets.Below(g.State)).Concat(Secrets.Below(fabric.Paris.Ca!)).ToList();
        Assert.True(secrets.Count >= 8, $"only {secrets.Count} keys: three of certificates, three of WireGuard, the root's and the sites'");
        var shapes = secrets.SelectMany(Secrets.Shapes).Append(token["fab1.".Length..]).ToList();

        foreach (var gateway in fabric.Gateways)
        {
            var file = fabric.Work.Of($"{gateway.Name}.tar.gz");
            (await Command.Run(gateway.Inside(fabric.FabricCommand("bugreport", "--file", file, "--socket", gateway.Socket, "--state", gateway.State,
                "--topology", gateway.TopologyFolder)))).Checked();
            var parts = TarGz.Read(file);
            Assert.Contains($"\"gateway\": \"{gateway.Name}\"", parts["status.json"]);
            Assert.Contains("fabric_", parts["metrics.txt"]);
            Assert.Contains("web", parts["topology.yaml"]);
            Assert.Contains("interface: ", parts["wireguard.txt"]);
            Assert.Contains("inet", parts["addresses.txt"]);
            Assert.All(parts, p => Assert.DoesNotContain(shapes, s => p.Value.Contains(s, StringComparison.OrdinalIgnoreCase)));

            // Nor does what the daemon writes by itself.
            Assert.DoesNotContain(shapes, s => File.ReadAllText(gateway.Log).Contains(s, StringComparison.OrdinalIgnoreCase));
        }

        // And the search finds what it looks for.
        Assert.Contains(shapes, s => $"x {Convert.ToBase64String(secrets[0])} y".Contains(s, StringComparison.OrdinalIgnoreCase));
    }
}
