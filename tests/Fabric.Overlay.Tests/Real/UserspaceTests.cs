using Fabric.Overlay.Keys;
using Fabric.Overlay.Tests.Host;
using Fabric.Testing;

namespace Fabric.Overlay.Tests.Real;

/// <summary>The userspace driver with the real wireguard-go, checked by <c>wg</c>, <c>ip</c> and <c>ping</c>.</summary>
public sealed class UserspaceTests
{
    [RequiresFact("root", "wireguard-go", "wg", "ip", "ping")]
    public async Task Two_sites_pass_full_size_packets_and_a_change_disturbs_no_peer()
    {
        await using var sites = await TwoSites.CreateAsync();
        var a = await sites.StartAsync(sites.A);
        var b = await sites.StartAsync(sites.B);
        await b.ReconcileAsync(sites.PlanB());
        await a.ReconcileAsync(sites.PlanA());

        var device = await sites.WgDumpAsync(sites.A, sites.InterfaceA);
        Assert.Equal([TwoSites.Secret(sites.KeyA), sites.KeyA.PublicKey.ToBase64(), "51820", "off"], device[0]);
        Assert.Equal([sites.KeyB.PublicKey.ToBase64(), "(none)", "10.77.0.2:51820", "fd77::2/128"], device[1][..4]);

        await sites.InAsync(sites.A, "ping -6 -c 2 -W 5 fd77::2");
        // 1,440 = 40 IPv6 + 8 ICMP + 1,392: the largest packet, which may not be fragmented; one byte more does not go.
        await sites.InAsync(sites.A, "ping -6 -c 1 -W 5 -M do -s 1392 fd77::2");
        await sites.InAsync(sites.B, "ping -6 -c 1 -W 5 -M do -s 1392 fd77::1");
        await Assert.ThrowsAsync<InvalidOperationException>(() =>
            sites.InAsync(sites.A, "ping -6 -c 1 -W 2 -M do -s 1393 fd77::2"));

        var route = await sites.InAsync(sites.A, "ip -6 route show fd77::2");
        Assert.Contains("mtu 1440", route);
        Assert.Contains("advmss 1380", route);
        Assert.Contains("mtu 1440", await sites.InAsync(sites.A, "ip -6 route get fd77::2"));
        Assert.Contains("mtu 1440", await sites.InAsync(sites.A, $"ip link show {sites.InterfaceA}"));
        Assert.Contains($"alias fabric {sites.A}", await sites.InAsync(sites.A, $"ip link show {sites.InterfaceA}"));
        Assert.DoesNotContain("fe80", await sites.InAsync(sites.A, $"ip addr show {sites.InterfaceA}"));

        // The same again, then a peer more, then less: the handshake and the port learned by B stay as they are.
        var before = (await sites.WgDumpAsync(sites.B, sites.InterfaceB))[1];
        Assert.Equal("10.77.0.1:51820", before[2]);
        await b.ReconcileAsync(sites.PlanB());
        using var other = WireGuardKey.Generate();
        var third = new HostPeer(other.PublicKey.ToBase64(), "10.77.0.9:51820", ["fd77::9/128"], 25);
        await b.ReconcileAsync(sites.PlanB(more: third));
        var three = await sites.WgDumpAsync(sites.B, sites.InterfaceB);
        Assert.Contains(three, l => l[0] == third.Key && l[3] == "fd77::9/128" && l[7] == "25");
        Assert.Contains("fd77::9", await sites.InAsync(sites.B, "ip -6 route show fd77::9"));
        await b.ReconcileAsync(sites.PlanB());
        var after = await sites.WgDumpAsync(sites.B, sites.InterfaceB);
        Assert.Equal(2, after.Length);
        Assert.Equal(before[..5], after[1][..5]);
        Assert.Empty(await sites.InAsync(sites.B, "ip -6 route show fd77::9"));
        Assert.Single((await b.AskAsync(new("status"))).Handshakes, h => h != "never");

        await a.AskAsync(new("dispose"));
        await AssertGoneAsync(sites, sites.A, sites.InterfaceA);
    }

    [RequiresFact("root", "wireguard-go", "wg", "ip", "ping")]
    public async Task A_host_that_was_killed_finds_its_interface_again_with_the_session_intact()
    {
        await using var sites = await TwoSites.CreateAsync();
        var a = await sites.StartAsync(sites.A);
        var b = await sites.StartAsync(sites.B);
        await b.ReconcileAsync(sites.PlanB());
        await a.ReconcileAsync(sites.PlanA());
        await sites.InAsync(sites.A, "ping -6 -c 1 -W 5 fd77::2");
        var before = (await sites.WgDumpAsync(sites.A, sites.InterfaceA))[1];

        await a.KillAsync();
        await sites.InAsync(sites.A, "ping -6 -c 1 -W 5 fd77::2");
        var again = await sites.StartAsync(sites.A);
        await again.ReconcileAsync(sites.PlanA());

        Assert.Contains("adopted", again.Log);
        Assert.Equal(before[..5], (await sites.WgDumpAsync(sites.A, sites.InterfaceA))[1][..5]);
        await sites.InAsync(sites.A, "ping -6 -c 1 -W 5 fd77::2");

        // An adopted process ends with its device, like one that was started.
        await again.AskAsync(new("dispose"));
        await AssertGoneAsync(sites, sites.A, sites.InterfaceA);
    }

    [RequiresFact("root", "wireguard-go", "wg", "ip", "ping")]
    public async Task A_process_that_is_killed_is_started_again_and_configured_as_before()
    {
        await using var sites = await TwoSites.CreateAsync();
        var a = await sites.StartAsync(sites.A);
        var b = await sites.StartAsync(sites.B);
        await b.ReconcileAsync(sites.PlanB());
        await a.ReconcileAsync(sites.PlanA());
        await sites.InAsync(sites.A, "ping -6 -c 1 -W 5 fd77::2");

        await Shell.RunAsync($"kill -9 {await ProcessOfAsync(sites.A, sites.InterfaceA)}");
        await Shell.UntilAsync(async () => (await Shell.TryAsync($"ip netns exec {sites.A} ping -6 -c 1 -W 1 fd77::2")).Code == 0,
            "the overlay works again");
        Assert.Contains("next start in 0.1 s", a.Log);
        Assert.Contains("advmss 1380", await sites.InAsync(sites.A, "ip -6 route show fd77::2"));
    }

    [RequiresFact("root", "wireguard-go", "wg", "ip")]
    public async Task Host_and_process_killed_leave_a_socket_that_stops_nobody()
    {
        await using var sites = await TwoSites.CreateAsync();
        var a = await sites.StartAsync(sites.A);
        await a.ReconcileAsync(sites.PlanA());
        await a.KillAsync();
        await Shell.RunAsync($"kill -9 {await ProcessOfAsync(sites.A, sites.InterfaceA)}");
        await Shell.UntilAsync(async () => (await Shell.TryAsync($"ip -n {sites.A} link show {sites.InterfaceA}")).Code != 0,
            "the interface is gone");
        Assert.True(File.Exists($"/var/run/wireguard/{sites.InterfaceA}.sock"));

        var again = await sites.StartAsync(sites.A);
        await again.ReconcileAsync(sites.PlanA());
        Assert.DoesNotContain("adopted", again.Log);
        Assert.Equal("51820", (await sites.WgDumpAsync(sites.A, sites.InterfaceA))[0][2]);
    }

    [RequiresFact("root", "wireguard-go", "wg", "ip")]
    public async Task Detach_leaves_it_working_and_the_next_plan_removes_what_it_does_not_name()
    {
        await using var sites = await TwoSites.CreateAsync();
        var a = await sites.StartAsync(sites.A);
        await a.ReconcileAsync(sites.PlanA());
        await a.DetachAsync();
        Assert.Equal("51820", (await sites.WgDumpAsync(sites.A, sites.InterfaceA))[0][2]);

        // Another owner neither takes it nor removes it.
        var stranger = await sites.StartAsync(sites.A, owner: "stranger");
        var refused = await stranger.AskAsync(new("reconcile") { Interfaces = [sites.PlanA()] });
        Assert.Contains($"belongs to 'fabric {sites.A}'", Assert.Single(refused.Faults));

        var again = await sites.StartAsync(sites.A);
        await again.ReconcileAsync();
        await AssertGoneAsync(sites, sites.A, sites.InterfaceA);
    }

    [RequiresFact("root", "wireguard-go", "ip")]
    public async Task An_interface_of_another_kind_is_refused_with_a_hint()
    {
        await using var sites = await TwoSites.CreateAsync();
        await Shell.RunAsync($"ip -n {sites.A} link add {sites.InterfaceA} type veth peer name far");
        var a = await sites.StartAsync(sites.A);
        var answer = await a.AskAsync(new("reconcile") { Interfaces = [sites.PlanA()] });
        var fault = Assert.Single(answer.Faults);
        Assert.Contains("is of kind 'veth', not 'tun'", fault);
        Assert.Contains($"ip link delete {sites.InterfaceA}", fault);
        Assert.Contains("veth", await Shell.RunAsync($"ip -n {sites.A} -d link show {sites.InterfaceA}"));
    }

    /// <summary>The WireGuard process of an interface, found among those of its namespace.</summary>
    private static async Task<string> ProcessOfAsync(string site, string name) => (await Shell.RunAsync(
        $"for p in $(ip netns pids {site}); do tr '\\0' ' ' </proc/$p/cmdline | grep -q '^wireguard-go -f {name}' && echo $p; done; true")).Trim();

    private static async Task AssertGoneAsync(TwoSites sites, string site, string name)
    {
        // A process that lost its interface ends by itself, a moment later.
        await Shell.UntilAsync(async () => (await ProcessOfAsync(site, name)).Length == 0, "the process has ended");
        Assert.NotEqual(0, (await Shell.TryAsync($"ip -n {site} link show {name}")).Code);
        await Shell.UntilAsync(() => Task.FromResult(!File.Exists($"/var/run/wireguard/{name}.sock")), "the socket is gone");
        Assert.NotEmpty(sites.A);
    }
}
