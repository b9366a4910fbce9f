using Fabric.Lab.Gateways;
using Fabric.Lab.Networks;
using Fabric.Lab.Processes;
using Fabric.Lab.Workloads;
using Fabric.Testing;

namespace Fabric.Lab;

/// <summary>SIGKILL at any moment leaves nothing that the next start stumbles over.</summary>
[Trait("Lane", "apart")]
public sealed class KillTests
{
    private const int Kills = 24;

    [RequiresFact("root", "ip", "nft", "wg", "nginx", "redis-server", "curl")]
    public async Task SIGKILLs_of_all_gateways_at_random_moments_leave_a_state_that_it_starts_from()
    {
        await using var fabric = await LabFabric.Start("namespaces", payloadBytes: 64 << 20);
        // Bytes are on their way while it happens; what becomes of them is no matter here.
        await using var load = await Download.Start(fabric.Work, fabric.Network, fabric.Payload, times: 100);
        await Task.WhenAll(fabric.Gateways.Select((gateway, seed) => KillAgainAndAgain(gateway, new Random(seed))));
        await fabric.LinksUp();
        await fabric.ServicesUp();
        Assert.Equal(Nginx.Greeting(fabric.Network.Virginia), (await fabric.Curl()).Checked().Output.Trim());
        foreach (var site in fabric.Network.Sites)
        {
            // Two vpn links or one for all peers: as many as it has peers at most, each with the process that serves it, and no more.
            var devices = (await Command.Do(fabric.Network.Inside(site, "ip", "-br", "link"))).Split('\n')
                .Count(l => l.StartsWith(fabric.Network.InterfacePrefix(site), StringComparison.Ordinal));
            Assert.InRange(devices, 1, 2);
            Assert.InRange(await UserspaceDrivers(site), 0, devices);
        }
    }

    private static async Task KillAgainAndAgain(GatewayProcess gateway, Random random)
    {
        for (var kill = 0; kill < Kills / 3; kill += 2)
        {
            // In the middle of its work ...
            await gateway.Kill();
            gateway.Start();
            // ... and in the middle of its start.
            await Task.Delay(random.Next(1_000));
            await gateway.Kill();
            gateway.Start();
            await gateway.Ready(TimeSpan.FromSeconds(60));
            await Task.Delay(random.Next(500));
        }
    }

    private static async Task<int> UserspaceDrivers(LabSite site)
    {
        var pids = (await Command.Do("ip", "netns", "pids", NamespaceNetwork.NamespaceOf(site))).Split('\n', StringSplitOptions.RemoveEmptyEntries);
        return pids.Count(pid => File.Exists($"/proc/{pid}/comm") && File.ReadAllText($"/proc/{pid}/comm").StartsWith("wireguard", StringComparison.Ordinal));
    }
}
