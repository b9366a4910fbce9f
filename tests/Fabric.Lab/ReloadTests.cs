using Fabric.Lab.Gateways;
using Fabric.Lab.Processes;
using Fabric.Testing;

namespace Fabric.Lab;

/// <summary>A change of the topology reaches the running daemon, whole or not at all, and touches no stream that it is not about.</summary>
public sealed class ReloadTests
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(30);

    private const string More = """
        fabric: 1
        services:
          - name: more
            namespace: shop
            ports: [{port: 9999}]
            exports:
              - {site: virginia, endpoints: ["127.72.1.99:9999"]}

        """;

    [RequiresFact("nginx", "redis-server", "redis-cli", "curl", "kdig")]
    public async Task A_changed_file_and_SIGHUP_reload_and_the_stream_goes_on()
    {
        await using var fabric = await LabFabric.Start("loopback", payloadBytes: 1 << 20);
        await using var session = await fabric.OpenRedis();
        Assert.True(await session.Holds());
        var first = (await fabric.Paris.Status()).TopologyRevision;
        var file = Path.Combine(fabric.Paris.TopologyFolder, "more.yaml");

        // A file that comes.
        await File.WriteAllTextAsync(file, More);
        var second = await fabric.Paris.Until("the new service", Limit, s => s.Services.Any(x => x.Name == "more.shop"));
        Assert.NotEqual(first, second.TopologyRevision);
        Assert.True(await session.Holds());

        // A bad one is refused whole: the revision stays, and status says why.
        await File.WriteAllTextAsync(file, More.Replace("site: virginia", "site: virginja"));
        fabric.Paris.Signal(Posix.SIGHUP);
        var refused = await fabric.Paris.Until("the refusal", Limit, s => s.TopologyError.Length > 0);
        Assert.Contains("virginja", refused.TopologyError);
        Assert.Equal(second.TopologyRevision, refused.TopologyRevision);
        Assert.True(await session.Holds());

        // Gone again, by SIGHUP.
        File.Delete(file);
        fabric.Paris.Signal(Posix.SIGHUP);
        var last = await fabric.Paris.Until("the service to go", Limit, s => s.Services.All(x => x.Name != "more.shop"));
        Assert.Equal(first, last.TopologyRevision);
        Assert.Empty(last.TopologyError);
        Assert.True(await session.Holds());
        Assert.Equal(0, session.Dropped);
        Assert.True(fabric.Paris.IsAlive);
    }
}
