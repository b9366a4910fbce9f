using System.Collections.Concurrent;
using System.Collections.Immutable;
using System.Net;
using Fabric.Gateway.Probing;
using Fabric.Routing.Health;
using Fabric.Testing;
using Fabric.Testing.Links;
using Fabric.Topology.Model;

namespace Fabric.Gateway.Tests.Probing;

/// <summary>What only a real kernel shows: DF, EMSGSIZE, an MTU that shrinks on the way, an interface that goes.</summary>
public class ProberKernelTests
{
    [RequiresFact("root", "ip")]
    public void A_link_follows_what_its_network_really_carries()
    {
        using var namespaces = new NamespacePair();
        var (aAddress, bAddress) = (new IPEndPoint(IPAddress.Parse("10.99.0.1"), 7443), new IPEndPoint(IPAddress.Parse("10.99.0.2"), 7443));
        // A is bound to its address, B to all of both families, as by default.
        using var a = NetworkNamespace.Inside(NamespacePair.A, () => Make("gw-a", aAddress));
        using var b = NetworkNamespace.Inside(NamespacePair.B, () => Make("gw-b", new IPEndPoint(IPAddress.IPv6Any, 7443)));
        using var changes = new BlockingCollection<LinkHealthSnapshot>();
        a.Changed += changes.Add;
        ImmutableArray<byte> one = [.. Enumerable.Repeat((byte)1, 32)], two = [.. Enumerable.Repeat((byte)2, 32)];
        a.Reconcile([new ProbeTarget("gw-b", "dx", null, bAddress, 1420)]);
        b.Reconcile([new ProbeTarget("gw-a", "dx", null, aAddress, 1420)]);
        a.SetActive("gw-b", "dx", true);
        a.SetKeys("gw-b", one, two);
        b.SetKeys("gw-a", two, one);
        Assert.Equal(1420, Until(LinkState.Up).Mtu);

        // 1. The way there carries less: the far end drops it without a word, and nothing is fragmented to fit.
        NamespacePair.Ip($"-n {NamespacePair.B} link set probe0 mtu 1380");
        Assert.Equal("full-size packets do not pass (mtu 1420)", Until(LinkState.Down).Health.Reason);
        NamespacePair.Ip($"-n {NamespacePair.B} link set probe0 mtu 1500");
        Until(LinkState.Up);

        // 2. The own interface carries less: EMSGSIZE.
        NamespacePair.Ip($"-n {NamespacePair.A} link set probe0 mtu 1380");
        Assert.Equal("full-size packets do not pass (mtu 1420)", Until(LinkState.Down).Health.Reason);
        Assert.True(a.Counters.Unsent > 0);
        NamespacePair.Ip($"-n {NamespacePair.A} link set probe0 mtu 1500");
        Until(LinkState.Up);

        // 3. The far interface goes: silence.
        NamespacePair.Ip($"-n {NamespacePair.B} link set probe0 down");
        var down = Until(LinkState.Down);
        Assert.InRange(down.Health.Detected.TotalMilliseconds, 100, 5_000);
        NamespacePair.Ip($"-n {NamespacePair.B} link set probe0 up");
        Until(LinkState.Up);

        // 4. The own one goes: the kernel says so at once.
        NamespacePair.Ip($"-n {NamespacePair.A} link set probe0 down");
        Assert.StartsWith("probes cannot be sent: ", Until(LinkState.Down).Health.Reason);

        LinkHealthSnapshot Until(LinkState state)
        {
            using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(20), TimeProvider.System);
            while (true)
            {
                var change = changes.Take(limit.Token);
                if (change.State == state)
                {
                    return change;
                }
            }
        }
    }

    private static Prober Make(string name, IPEndPoint listen) => new(
        new ProberOptions
        {
            Gateway = name,
            Listen = [listen],
            Settings = new ProbeSettings { HoldDown = TimeSpan.FromMilliseconds(300) },
            // Four falls in a row are the test, and not a flapping link.
            Health = new LinkHealthOptions { Damping = new FlapDampingOptions { Suppress = 1e9 } },
        },
        TimeProvider.System);
}
