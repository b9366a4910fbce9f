using Fabric.Lab.Demo;
using Fabric.Lab.Gateways;
using Fabric.Lab.Measurement;
using Fabric.Lab.Processes;
using Fabric.Lab.Workloads;
using Fabric.Testing;
using Xunit.Abstractions;

namespace Fabric.Lab;

/// <summary>The line goes dark, again and again, and no client notices more than a pause.</summary>
[Trait("Lane", "apart")]
public sealed class SilentCutTests(ITestOutputHelper output)
{
    private const int Cuts = 20;

    /// <summary>A link that falls a third time within a minute is held back (flap damping); a gateway that starts again forgets.</summary>
    private const int CutsPerStart = 2;

    /// <summary>What was cut is taken back sooner than by default: twenty times is long.</summary>
    private const string Sooner = "fabric: 1\nprobes: { holdDown: 500ms }\n";

    [RequiresFact("root", "ip", "nft", "wg", "nginx", "redis-server", "redis-cli", "curl")]
    public async Task Twenty_silent_cuts_lose_no_byte_and_drop_no_connection()
    {
        // At a GiB a second, what is on its way must outlast the moment that it takes to cut.
        await using var fabric = await LabFabric.Start("namespaces", payloadBytes: 256 << 20, Sooner);
        var random = new Random(20);
        var (stalls, limits) = (new List<double>(), new List<double>());
        for (var i = 0; i < Cuts; i++)
        {
            if (i > 0 && i % CutsPerStart == 0)
            {
                await fabric.Restart();
            }

            await using var session = await fabric.OpenRedis();
            using var lateness = new Lateness();
            var cut = await SilentCuts.Run(fabric, _ => { }, at: 0.05 + random.NextDouble() * 0.2, heals: true);
            output.WriteLine($"{i + 1}: cut at {cut.CutAt:N0}, noticed after {cut.DetectedMs:0} ms: {cut.Download}");
            Assert.True(cut.Download.Held, BothEnds.Of($"cut {i + 1}: {cut.Download}", fabric.Tails()));
            Assert.True(await session.Holds(), BothEnds.Of($"cut {i + 1}: the redis-cli session did not hold", fabric.Tails()));
            Assert.InRange(cut.Download.LongestPause, TimeSpan.Zero, lateness.Allowed(TimeSpan.FromSeconds(2)));
            stalls.Add(cut.Download.LongestPause.TotalMilliseconds);
            limits.Add(lateness.Allowed(TimeSpan.FromSeconds(1)).TotalMilliseconds);
        }

        stalls.Sort();
        limits.Sort();
        output.WriteLine($"longest pause over {Cuts} cuts, ms: median {stalls[Cuts / 2]:0}, worst {stalls[^1]:0}");
        Assert.InRange(stalls[Cuts / 2], 0, limits[Cuts / 2]);
    }
}
