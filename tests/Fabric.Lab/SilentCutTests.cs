using Fabric.Lab.Demo;
using Fabric.Lab.Gateways;
using Fabric.Lab.Workloads;
using Fabric.Testing;
using Xunit.Abstractions;

namespace Fabric.Lab;

/// <summary>The line goes dark, again and again, and no client notices more than a pause.</summary>
public sealed class SilentCutTests(ITestOutputHelper output)
{
    private const int Cuts = 20;

    /// <summary>A link that falls a third time within a minute is held back (flap damping); a gateway that starts again forgets.</summary>
    private const int CutsPerStart = 2;

    [RequiresFact("root", "ip", "nft", "wg", "nginx", "redis-server", "redis-cli", "curl")]
    public async Task Twenty_silent_cuts_lose_no_byte_and_drop_no_connection()
    {
        // At a GiB a second, what is on its way must outlast the cut itself, which takes a tenth of a second.
        await using var fabric = await LabFabric.Start("namespaces", payloadBytes: 512 << 20);
        var random = new Random(20);
        var stalls = new List<double>();
        for (var i = 0; i < Cuts; i++)
        {
            if (i > 0 && i % CutsPerStart == 0)
            {
                await fabric.Restart();
            }

            await fabric.ActiveLink("dx");
            await using var session = await fabric.OpenRedis();
            var cut = await SilentCuts.Run(fabric, _ => { }, at: 0.05 + random.NextDouble() * 0.2, heals: true);
            output.WriteLine($"{i + 1}: cut at {cut.CutAt:N0}, noticed after {cut.DetectedMs:0} ms: {cut.Download}");
            Assert.True(cut.Download.Held, $"cut {i + 1}: {cut.Download}\n{fabric.Tails()}");
            Assert.True(await session.Holds(), $"cut {i + 1}: the redis-cli session did not hold\n{fabric.Tails()}");
            Assert.InRange(cut.Download.LongestPause.TotalMilliseconds, 0, 2_000);
            stalls.Add(cut.Download.LongestPause.TotalMilliseconds);
        }

        stalls.Sort();
        output.WriteLine($"longest pause over {Cuts} cuts, ms: median {stalls[Cuts / 2]:0}, worst {stalls[^1]:0}");
        Assert.InRange(stalls[Cuts / 2], 0, 1_000);
    }
}
