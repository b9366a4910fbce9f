using System.Text.Json;
using Fabric.Tunnel;

namespace Fabric.Gateway.Tests.Hosting;

/// <summary>The heap of the daemon has a limit without anybody setting one, and the tunnel's buffers fit in it.</summary>
public sealed class HeapLimitTests
{
    [Fact]
    public void Daemon_is_shipped_with_a_limit_of_half_the_memory_and_collects_in_small_steps()
    {
        using var config = JsonDocument.Parse(File.ReadAllText(Path.Combine(AppContext.BaseDirectory, "fabricd.runtimeconfig.json")));
        var properties = config.RootElement.GetProperty("runtimeOptions").GetProperty("configProperties");

        Assert.Equal(50, properties.GetProperty("System.GC.HeapHardLimitPercent").GetInt32());
        Assert.Equal(4 << 20, properties.GetProperty("System.GC.Gen0MaxBudget").GetInt32());
    }

    [Fact]
    public void Buffers_at_their_most_take_less_than_half_of_it()
    {
        // At a quarter more than the cap, every stream that is behind is reset.
        var most = new TunnelLimits().Memory * 5 / 4;

        Assert.InRange(most, 1, Math.Max(40L << 20, GC.GetGCMemoryInfo().TotalAvailableMemoryBytes / 2));
    }
}
