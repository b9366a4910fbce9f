using System.Diagnostics;
using System.Net;

using Fabric.Lab.Networks;
using Fabric.Lab.Processes;
using Fabric.Lab.Workloads;
using Fabric.Testing;
using Fabric.Topology;
using Fabric.Topology.Model;

[assembly: CollectionBehavior(DisableTestParallelization = true)]

namespace Fabric.Lab;

/// <summary>The lab's own ground: what the demo and the other tests stand on, without a gateway in it.</summary>
public sealed class NetworksTests
{
    [Fact]
    public void Both_topologies_are_accepted_without_a_warning()
    {
        foreach (LabNetwork network in new LabNetwork[] { new NamespaceNetwork(), new LoopbackNetwork(_ => Task.CompletedTask) })
        {
            var result = TopologyLoader.Load([new TopologyFile("lab.yaml", network.Topology)]);
            Assert.Empty(result.Diagnostics);
            Assert.Equal(network.Sites.Select(s => s.Gateway), result.Topology!.Sites.Select(s => s.Gateways.Single().Name));
            // Where the lab starts its programs is where the topology says that they are.
            Assert.Equal(network.Virginia.Web, Endpoint(result.Topology, "web", "virginia"));
            Assert.Equal(network.Factory.Web, Endpoint(result.Topology, "web", "factory"));
            Assert.Equal(network.Virginia.Cache, Endpoint(result.Topology, "cache", "virginia"));
        }
    }

    [RequiresFact("root", "ip", "nft", "ping")]
    public async Task Sites_reach_each_other_as_drawn_and_nothing_gets_in_behind_the_NAT()
    {
        await using var network = new NamespaceNetwork();
        await network.Build();

        Assert.True(await Pings(network, network.Paris, "10.10.0.2"), "paris to virginia over dx");
        Assert.True(await Pings(network, network.Paris, "203.0.113.6"), "paris to virginia over the internet");
        Assert.True(await Pings(network, network.Factory, "203.0.113.2"), "factory to paris");
        Assert.True(await Pings(network, network.Factory, "203.0.113.6"), "factory to virginia");
        Assert.False(await Pings(network, network.Paris, "192.168.77.2"), "paris must not get in to factory");
    }

    [RequiresFact("root", "ip", "nft", "redis-server", "redis-cli")]
    public async Task A_cut_is_silent_and_heals()
    {
        await using var work = await WorkFolder.Take();
        await using var network = new NamespaceNetwork();
        await network.Build();

        await using var redis = new RedisServer(work, network, network.Virginia);
        await redis.Start();
        // Straight over dx, with no gateway: the LAN of virginia is routed for the moment.
        await Command.Do("ip", "-n", NamespaceNetwork.NamespaceOf(network.Paris), "route", "add", "10.20.0.63", "via", "10.10.0.2");
        await using var session = await RedisSession.Open(work, network.Inside(network.Paris, "redis-cli", "-h", "10.20.0.63", "-p", "6379"));
        Assert.True(await session.Holds());

        await network.CutDx();
        Assert.False(await Pings(network, network.Paris, "10.10.0.2"));
        var links = await Command.Do(network.Inside(network.Paris, "ip", "-br", "link", "show", "dx0"));
        Assert.Contains("UP", links.Split(' ', StringSplitOptions.RemoveEmptyEntries)[1]);

        // No RST and no ICMP: the connection waits for as long as TCP does, and goes on afterwards.
        var held = session.Holds();
        Assert.NotSame(held, await Task.WhenAny(held, Task.Delay(TimeSpan.FromSeconds(2))));
        // A new one neither opens nor is refused.
        var connect = await Command.Run(network.Inside(network.Paris, "curl", "-sS", "-m", "1", "telnet://10.10.0.2:6379"));
        Assert.Equal(28, connect.ExitCode);

        await network.HealDx();
        Assert.True(await held);
        Assert.Equal(0, session.Dropped);
    }

    [RequiresFact("root", "ip", "curl", "nginx")]
    public async Task Nginx_serves_its_site_and_nothing_is_left_afterwards()
    {
        await using (var work = await WorkFolder.Take())
        await using (var network = new NamespaceNetwork())
        {
            await network.Build();
            var payload = await Payload.Write(work.Of("payload"), 1 << 20);
            await using var nginx = new Nginx(work, network, network.Virginia, payload);
            await nginx.Start();
            Assert.Equal(Nginx.Greeting(network.Virginia), (await Command.Do(network.Inside(network.Virginia, "curl", "-s", "http://10.20.0.80/"))).Trim());
            Assert.Contains(payload.Sha256, await Command.Do(network.Inside(network.Virginia, "sh", "-c", "curl -s http://10.20.0.80/big | sha256sum")));
        }

        await AssertNothingIsLeft();
    }

    [RequiresFact("root", "ip")]
    public async Task Leftovers_of_a_killed_run_are_removed_and_nothing_else()
    {
        var work = await WorkFolder.Take();
        await using var network = new NamespaceNetwork();
        await network.Build();
        var ours = Daemon.Start(work, "inside", network.Inside(network.Paris, "sleep", "600"));
        var outside = Daemon.Start(work, "outside", ["sleep", "600"]);
        var stranger = Process.Start("sleep", "600");
        try
        {
            // As after SIGKILL: nothing was disposed. The owner in the folder is this very process, which may take it again.
            await using (await WorkFolder.Take())
            await using (var next = new NamespaceNetwork())
            {
                await next.Build();
                Assert.False(ours.IsAlive);
                Assert.False(outside.IsAlive);
                Assert.False(stranger.HasExited);
            }
        }
        finally
        {
            stranger.Kill();
        }

        await AssertNothingIsLeft();
    }

    [Fact]
    public async Task A_lab_that_is_alive_keeps_its_folder()
    {
        await using var work = await WorkFolder.Take();
        using var other = Process.Start(Command.Info(["sleep", "600"]))!;
        await File.WriteAllTextAsync(work.Of("owner"), ProcessStamp.Of(other.Id)!.ToString());
        try
        {
            var refused = await Assert.ThrowsAsync<LabException>(WorkFolder.Take);
            Assert.Contains($"process {other.Id}", refused.Message);
        }
        finally
        {
            other.Kill();
            await other.WaitForExitAsync();
        }
    }

    private static IPEndPoint Endpoint(FabricTopology topology, string service, string site)
    {
        var endpoint = topology.Services.Single(s => s.Name == service).Exports.Single(e => e.Site == site).Endpoints.Single();
        return new IPEndPoint(endpoint.Address, endpoint.Port);
    }

    /// <summary>No namespace, no folder, no file of the lab.</summary>
    internal static async Task AssertNothingIsLeft()
    {
        Assert.DoesNotContain(NamespaceNetwork.Prefix, await Command.Do("ip", "netns", "list"));
        Assert.Empty(Directory.Exists("/etc/netns") ? Directory.GetDirectories("/etc/netns", NamespaceNetwork.Prefix + "*") : []);
        Assert.False(Directory.Exists(Path.Combine(Path.GetTempPath(), $"fabric-lab-{Posix.getuid()}")));
    }

    private static async Task<bool> Pings(LabNetwork network, LabSite from, string to) =>
        (await Command.Run(network.Inside(from, "ping", "-c", "1", "-W", "1", to))).ExitCode == 0;
}
