using System.Net;
using Fabric.Overlay.Tests.Host;
using Fabric.Testing;

namespace Fabric.Overlay.Tests.Real;

/// <summary>Local ranges on the real kernel, inside a namespace.</summary>
public sealed class LocalRoutesTests
{
    [RequiresTheory("root", "ip", "ping")]
    [InlineData("10.99.0.0/16", "10.99.3.4")]
    [InlineData("fd99::/64", "fd99::3:4")]
    public async Task Every_address_of_a_range_is_local_until_it_is_removed(string range, string address)
    {
        await using var sites = await TwoSites.CreateAsync();
        var host = await sites.StartAsync(sites.A);
        Assert.NotEqual(0, (await Shell.TryAsync($"ip netns exec {sites.A} ping -c 1 -W 1 {address}")).Code);

        var added = await host.AskAsync(new("local") { Range = range });
        Assert.Empty(added.Faults);
        Assert.Equal((true, 65536), (added.Changed, added.Loopback));
        Assert.False((await host.AskAsync(new("local") { Range = range })).Changed);
        await sites.InAsync(sites.A, $"ping -c 1 -W 2 {address}");
        Assert.StartsWith($"local {address}", await sites.InAsync(sites.A, $"ip route get {address}"));

        Assert.True((await host.AskAsync(new("local") { Range = range, Remove = true })).Changed);
        Assert.False((await host.AskAsync(new("local") { Range = range, Remove = true })).Changed);
        Assert.NotEqual(0, (await Shell.TryAsync($"ip netns exec {sites.A} ping -c 1 -W 1 {address}")).Code);
    }

    [RequiresFact("root", "ip")]
    public async Task A_range_that_an_operator_made_local_is_left_alone()
    {
        await using var sites = await TwoSites.CreateAsync();
        var host = await sites.StartAsync(sites.A);
        await sites.InAsync(sites.A, "ip route add local 10.98.0.0/16 dev lo");
        Assert.False((await host.AskAsync(new("local") { Range = "10.98.0.0/16" })).Changed);
        Assert.False((await host.AskAsync(new("local") { Range = "10.98.0.0/16", Remove = true })).Changed);
        Assert.Contains("10.98.0.0/16", await sites.InAsync(sites.A, "ip route show table local"));
        Assert.False((await host.AskAsync(new("local") { Range = "127.64.0.0/16" })).Changed);
    }

    [RequiresFact("root", "ip", "setpriv")]
    public async Task Without_the_privilege_the_error_says_so()
    {
        await using var sites = await TwoSites.CreateAsync();
        var host = await sites.StartAsync(sites.A, "", "setpriv", "--bounding-set=-net_admin");
        Assert.Contains("needs root or CAP_NET_ADMIN",
            Assert.Single((await host.AskAsync(new("local") { Range = "10.97.0.0/16" })).Faults));
        Assert.Contains("has no CAP_NET_ADMIN", Assert.Single((await host.AskAsync(new("reconcile"))).Faults));
    }

    [Fact]
    public async Task An_interface_is_found_by_anybody()
    {
        var routes = new LocalRoutes(new());
        Assert.Equal(("lo", 65536), await routes.FindInterfaceAsync("lo") is { } lo ? (lo.Name, lo.Mtu) : default);
        Assert.Null(await routes.FindInterfaceAsync("fab-nowhere"));
        await Assert.ThrowsAsync<OverlayException>(() => routes.FindInterfaceAsync("../etc"));
        Assert.False(await routes.AddLocalRangeAsync(IPNetwork.Parse("127.66.0.0/16")));
    }
}
