using Fabric.Overlay.Keys;
using Fabric.Overlay.Tests.Host;

namespace Fabric.Overlay.Tests.Real;

/// <summary>
/// The kernel driver on a kernel that has WireGuard, checked by <c>wg</c>, <c>ip</c> and <c>ping</c>. Throws at the first thing
/// that is not as it should be. Each step is told on standard output, as the machine may be slow.
/// </summary>
internal static class KernelCheck
{
    public static async Task RunAsync()
    {
        await using var sites = await TwoSites.CreateAsync("kernel");
        var a = await sites.StartAsync(sites.A);
        var b = await sites.StartAsync(sites.B);
        await b.ReconcileAsync(sites.PlanB());
        await a.ReconcileAsync(sites.PlanA());

        Tell("the configuration is what wg reads");
        var device = await sites.WgDumpAsync(sites.A, sites.InterfaceA);
        Assert.Equal([TwoSites.Secret(sites.KeyA), sites.KeyA.PublicKey.ToBase64(), "51820", "off"], device[0]);
        Assert.Equal([sites.KeyB.PublicKey.ToBase64(), "(none)", "10.77.0.2:51820", "fd77::2/128"], device[1][..4]);
        Assert.Contains("wireguard", await sites.InAsync(sites.A, $"ip -d link show {sites.InterfaceA}"));

        Tell("full-size packets pass, and the route clamps");
        await sites.InAsync(sites.A, "ping -6 -c 2 -W 10 fd77::2");
        await sites.InAsync(sites.A, "ping -6 -c 1 -W 10 -M do -s 1392 fd77::2");
        await sites.InAsync(sites.B, "ping -6 -c 1 -W 10 -M do -s 1392 fd77::1");
        var route = await sites.InAsync(sites.A, "ip -6 route show fd77::2");
        Assert.Contains("mtu 1440", route);
        Assert.Contains("advmss 1380", route);

        Tell("a large change arrives whole, and leaves the session alone");
        var before = await SettleAsync(sites);
        Assert.Equal("10.77.0.1:51820", before[2]);
        var many = Enumerable.Range(0, 150).Select(i => Peer(i, 1)).Append(Peer(150, 600)).ToArray();
        await b.ReconcileAsync(sites.PlanB(more: many));
        var status = await b.AskAsync(new("status"));
        Assert.Empty(status.Faults);
        Assert.Equal(152, status.Ranges.Length);
        Assert.Equal((151, 600), (status.Ranges.Count(r => r == 1), status.Ranges.Max()));
        var large = await sites.WgDumpAsync(sites.B, sites.InterfaceB);
        Assert.Equal(153, large.Length);
        Assert.Equal(before[..5], Assert.Single(large, l => l[0] == before[0])[..5]);

        Tell("the rest is removed, and the session is still the same");
        await b.ReconcileAsync(sites.PlanB());
        var after = await sites.WgDumpAsync(sites.B, sites.InterfaceB);
        Assert.Equal(2, after.Length);
        Assert.Equal(before[..5], after[1][..5]);
        Assert.Single((await b.AskAsync(new("status"))).Handshakes, h => h != "never");

        Tell("a killed host finds its interface again");
        await a.KillAsync();
        await sites.InAsync(sites.A, "ping -6 -c 1 -W 10 fd77::2");
        var session = await SettleAsync(sites);
        var again = await sites.StartAsync(sites.A);
        await again.ReconcileAsync(sites.PlanA());
        Assert.DoesNotContain("made", again.Log);
        Assert.Equal(session[..5], (await sites.WgDumpAsync(sites.B, sites.InterfaceB))[1][..5]);
        await sites.InAsync(sites.A, "ping -6 -c 1 -W 10 fd77::2");

        Tell("an interface that somebody removed is made again");
        await Shell.RunAsync($"ip -n {sites.A} link delete {sites.InterfaceA}");
        await again.ReconcileAsync(sites.PlanA());
        await sites.InAsync(sites.A, "ping -6 -c 1 -W 10 fd77::2");

        Tell("what is let go is gone, and what is not ours stays");
        Assert.Empty((await again.AskAsync(new("dispose"))).Faults);
        Assert.NotEqual(0, (await Shell.TryAsync($"ip -n {sites.A} link show {sites.InterfaceA}")).Code);
        await Shell.RunAsync($"ip -n {sites.A} link add {sites.InterfaceA} type veth peer name far");
        var refused = await again.AskAsync(new("reconcile") { Interfaces = [sites.PlanA()] });
        Assert.Contains("is of kind 'veth', not 'wireguard'", Assert.Single(refused.Faults));
        Tell("passed");
    }

    /// <summary>
    /// What B knows of A, once no handshake came for 7 s. On a slow machine an answer may miss WireGuard's retry of 5 s, and a
    /// second handshake follows by itself; after that only a change, or traffic two minutes later, makes another.
    /// </summary>
    private static async Task<string[]> SettleAsync(TwoSites sites)
    {
        string[] peer = [];
        var since = TimeProvider.System.GetTimestamp();
        await Shell.UntilAsync(async () =>
        {
            var now = (await sites.WgDumpAsync(sites.B, sites.InterfaceB)).Single(l => l[0] == sites.KeyA.PublicKey.ToBase64());
            if (peer.Length == 0 || now[4] != peer[4])
            {
                (peer, since) = (now, TimeProvider.System.GetTimestamp());
            }

            return TimeProvider.System.GetElapsedTime(since) > TimeSpan.FromSeconds(7);
        }, "no handshake for 7 s", seconds: 40);
        return peer;
    }

    private static HostPeer Peer(int number, int ranges)
    {
        using var key = WireGuardKey.Generate();
        return new(key.PublicKey.ToBase64(), $"10.77.0.{number % 200 + 50}:51820",
            [.. Enumerable.Range(0, ranges).Select(i => $"fd77:{number + 1:x}::{i:x}/128")], null);
    }

    private static void Tell(string step) => Console.WriteLine($"kernel-check: {step}");
}
