using System.Collections.Concurrent;
using System.Collections.Immutable;
using System.Net;
using System.Net.Sockets;
using Fabric.Gateway.Probing;
using Fabric.Routing.Health;
using Fabric.Topology.Model;

namespace Fabric.Gateway.Tests.Probing;

/// <summary>The prober with real sockets on loopback, and real time: bounds are generous, exact ones are in ProbeEngineTests.</summary>
public class ProberTests
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(20);
    private static readonly ImmutableArray<byte> KeyForA = [.. Enumerable.Repeat((byte)1, 32)];
    private static readonly ImmutableArray<byte> KeyForB = [.. Enumerable.Repeat((byte)2, 32)];

    private sealed class Pair : IDisposable
    {
        public volatile bool DropIn;
        public volatile bool DropOut;
        private readonly BlockingCollection<LinkHealthSnapshot> _changes = [];

        public Pair(string address = "127.0.0.1", string dial = "127.0.0.1", ProbeSettings? settings = null)
        {
            settings ??= new ProbeSettings();
            A = Make("gw-a", address, settings, (_, _) => new ProbeFault(DropIn, DropOut));
            B = Make("gw-b", address, settings, null);
            A.Changed += c => _changes.Add(c);
            A.Reconcile([new ProbeTarget("gw-b", "dx", null, new IPEndPoint(IPAddress.Parse(dial), B.Bound[0].Port), 1420)]);
            B.Reconcile([new ProbeTarget("gw-a", "dx", null, new IPEndPoint(IPAddress.Parse(dial), A.Bound[0].Port), 1420)]);
            A.SetActive("gw-b", "dx", true);
            B.SetActive("gw-a", "dx", true);
            A.SetKeys("gw-b", KeyForA, KeyForB);
            B.SetKeys("gw-a", KeyForB, KeyForA);
        }

        public Prober A { get; }
        public Prober B { get; }

        public LinkHealthSnapshot Until(LinkState state)
        {
            using var limit = new CancellationTokenSource(Limit, TimeProvider.System);
            while (true)
            {
                var change = _changes.Take(limit.Token);
                if (change.State == state)
                {
                    return change;
                }
            }
        }

        public void Dispose()
        {
            A.Dispose();
            B.Dispose();
            _changes.Dispose();
        }

        private static Prober Make(string name, string address, ProbeSettings settings, Func<string, string, ProbeFault>? fault) => new(
            new ProberOptions
            {
                Gateway = name,
                Listen = [new IPEndPoint(IPAddress.Parse(address), 0)],
                Settings = settings with { HoldDown = TimeSpan.FromMilliseconds(300) },
                Fault = fault,
            },
            TimeProvider.System);
    }

    [Theory]
    [InlineData("127.0.0.1", "127.0.0.1")]
    [InlineData("::1", "::1")]
    [InlineData("::", "127.0.0.1")]
    [InlineData("::", "::1")]
    public void Two_gateways_find_their_link_up(string listen, string dial)
    {
        using var pair = new Pair(listen, dial);
        var up = pair.Until(LinkState.Up);
        Assert.Equal(1420, up.Mtu);
        Assert.InRange(up.Health.Rtt!.Value.TotalMilliseconds, 0.001, 1_000);
        Assert.Equal(("gw-b", "dx", true), (up.Peer, up.Link, up.Active));
    }

    [Theory]
    [InlineData(true, false)]
    [InlineData(false, true)]
    [InlineData(true, true)]
    public void A_silent_drop_is_found_and_the_return_as_well(bool dropIn, bool dropOut)
    {
        using var pair = new Pair();
        pair.Until(LinkState.Up);
        for (var round = 0; round < 2; round++)
        {
            (pair.DropIn, pair.DropOut) = (dropIn, dropOut);
            pair.Until(LinkState.Suspect);
            var down = pair.Until(LinkState.Down);
            // 140 to 200 ms on an idle machine.
            Assert.InRange(down.Health.Detected.TotalMilliseconds, 120, 5_000);

            (pair.DropIn, pair.DropOut) = (false, false);
            pair.Until(LinkState.Up);
        }
    }

    [Fact]
    public void Strangers_datagrams_are_counted_and_change_nothing()
    {
        // Not down for the time that this machine may stand still.
        using var pair = new Pair(settings: new ProbeSettings { Misses = 1_000 });
        pair.Until(LinkState.Up);
        using var stranger = new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp);
        stranger.Connect(pair.A.Bound[0]);
        var random = new Random(3);
        for (var i = 0; i < 500; i++)
        {
            var bytes = new byte[random.Next(0, 2_000)];
            random.NextBytes(bytes);
            stranger.Send(bytes);
        }

        Wait(() => pair.A.Counters.Malformed > 0);
        Assert.False(stranger.Poll(0, SelectMode.SelectRead), "a stranger got an answer");
        Assert.Equal(LinkState.Up, pair.A.Snapshot().Single().State);
    }

    [Fact]
    public void A_datagram_larger_than_any_probe_is_dropped()
    {
        using var pair = new Pair();
        using var stranger = new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp);
        for (var i = 0; i < 20; i++)
        {
            stranger.SendTo(new byte[20_000], pair.A.Bound[0]);
        }

        Assert.Equal(1420, pair.Until(LinkState.Up).Mtu);
    }

    [Fact]
    public void An_address_in_use_is_named()
    {
        using var pair = new Pair();
        var error = Assert.Throws<IOException>(() => new Prober(
            new ProberOptions { Gateway = "gw-c", Listen = [pair.A.Bound[0]] }, TimeProvider.System));
        Assert.StartsWith($"cannot receive probes on {pair.A.Bound[0]}/udp: ", error.Message);
    }

    [Fact]
    public void Links_of_a_hundred_peers_are_probed_by_one_thread()
    {
        using var pair = new Pair();
        var port = pair.B.Bound[0].Port;
        ImmutableArray<string> links = [.. Enumerable.Range(0, 100).Select(i => $"link-{i}")];
        var remoteA = new IPEndPoint(IPAddress.Loopback, pair.A.Bound[0].Port);
        pair.B.Reconcile([.. links.Select(l => new ProbeTarget("gw-a", l, null, remoteA, 1420))]);
        pair.A.Reconcile([.. links.Select(l => new ProbeTarget("gw-b", l, null, new IPEndPoint(IPAddress.Loopback, port), 1420))]);
        foreach (var link in links)
        {
            pair.A.SetActive("gw-b", link, true);
        }

        Wait(() => pair.A.Snapshot().All(s => s.State == LinkState.Up));
    }

    [Fact]
    public void A_failing_handler_does_not_stop_probing()
    {
        using var pair = new Pair();
        using var failed = new ManualResetEventSlim();
        pair.A.HandlerFailed += _ => failed.Set();
        pair.A.Changed += _ => throw new InvalidOperationException("no");
        pair.Until(LinkState.Up);
        pair.DropIn = true;
        pair.Until(LinkState.Down);
        Assert.True(failed.Wait(Limit));
    }

    [Fact]
    public void Disposing_ends_the_thread_at_once_and_twice_is_harmless()
    {
        var prober = new Prober(
            new ProberOptions { Gateway = "gw-a", Listen = [new IPEndPoint(IPAddress.Loopback, 0)] }, TimeProvider.System);
        var bound = prober.Bound[0];
        prober.Dispose();
        prober.Dispose();
        using var again = new Prober(new ProberOptions { Gateway = "gw-a", Listen = [bound] }, TimeProvider.System);
    }

    private static void Wait(Func<bool> condition)
    {
        Assert.True(SpinWait.SpinUntil(condition, Limit), "the condition did not come true");
    }
}
