using System.Net;
using Fabric.Gateway.Probing;
using Fabric.Protocol.Probes;
using Fabric.Routing.Health;
using Fabric.Topology.Model;

namespace Fabric.Gateway.Tests.Probing;

public class ProbeEngineTests
{
    private static readonly TimeSpan Second = TimeSpan.FromSeconds(1);

    [Fact]
    public void A_link_is_up_after_the_first_full_size_answer()
    {
        var pair = new ProbePair();
        Assert.Equal(LinkState.Unknown, pair.A.State);
        var took = pair.Until(LinkState.Up, Second);

        Assert.InRange(took.TotalMilliseconds, 10, 13);
        var report = pair.A.Report;
        Assert.InRange(report.Rtt!.Value.TotalMilliseconds, 10, 12);
        Assert.True(report.MtuPasses);
        Assert.Equal(1392, pair.Sent.First(s => s.From == pair.A).Packet.Length);
        Assert.Equal(1420, pair.A.Engine.Snapshot(pair.Now).Single().Mtu);
    }

    [Theory]
    [InlineData(true, true)]
    [InlineData(true, false)]
    [InlineData(false, true)]
    public void A_silent_cut_is_suspect_and_then_down_within_200_ms(bool cutToB, bool cutToA)
    {
        for (var phase = 0; phase < 50; phase += 7)
        {
            var pair = new ProbePair();
            pair.Run(3_000 + phase);
            Assert.Equal(LinkState.Up, pair.A.State);

            (pair.CutToB, pair.CutToA) = (cutToB, cutToA);
            var suspect = pair.Until(LinkState.Suspect, Second);
            var down = suspect + pair.Until(LinkState.Down, Second);

            Assert.InRange(suspect.TotalMilliseconds, 40, 125);
            Assert.InRange(down.TotalMilliseconds, 120, 200);
            Assert.InRange(pair.A.Report.Detected.TotalMilliseconds, 140, 260);
            Assert.StartsWith("3 probes unanswered", pair.A.Report.Reason);
            // Only where the way to the peer is cut, and the way back is not, do its probes still arrive.
            Assert.Equal(cutToB && !cutToA, pair.A.Report.Reason.Contains("packets to it are lost", StringComparison.Ordinal));
        }
    }

    [Fact]
    public void An_idle_link_is_probed_slowly_and_still_judged_fast_once_a_probe_is_late()
    {
        var pair = new ProbePair();
        pair.Run(1_000);
        pair.A.Engine.SetActive("gw-b", "dx", false, pair.Now);
        pair.Run(200);
        var before = pair.A.Engine.Counters.Sent;
        pair.Run(10_000);
        Assert.InRange(pair.A.Engine.Counters.Sent - before, 9, 12);

        pair.CutToB = pair.CutToA = true;
        pair.Until(LinkState.Suspect, TimeSpan.FromMilliseconds(1_100));
        Assert.InRange(pair.Until(LinkState.Down, Second).TotalMilliseconds, 100, 130);
    }

    [Fact]
    public void Each_10_s_of_a_link_are_told_with_its_target_also_while_it_is_down()
    {
        var pair = new ProbePair();
        pair.A.Engine.Reconcile([pair.A.Target with { Capacity = 10_000_000 }], pair.Now);
        pair.Run(10_500);
        pair.CutToB = true;
        pair.Run(21_000);

        Assert.Equal(3, pair.A.Windows.Count);
        Assert.All(pair.A.Windows, w => Assert.Equal(("gw-b", "dx", 10_000_000), (w.Target.Peer, w.Target.Link, w.Target.Capacity)));
        Assert.Equal((0, true, true), (pair.A.Windows[0].Window.Loss, pair.A.Windows[0].Window.Passes, pair.A.Windows[0].Window.Jitter is not null));
        Assert.Equal((1, false, null), (pair.A.Windows[2].Window.Loss, pair.A.Windows[2].Window.Passes, pair.A.Windows[2].Window.Jitter));
    }

    [Fact]
    public void A_link_that_returns_is_up_after_its_hold_down()
    {
        var pair = new ProbePair();
        pair.Run(1_000);
        pair.CutToB = true;
        pair.Run(1_000);
        Assert.Equal(LinkState.Down, pair.A.State);
        Assert.Equal(LinkState.Down, pair.B.State);

        pair.CutToB = false;
        pair.Run(1_000);
        Assert.Equal(LinkState.Down, pair.A.State);
        Assert.True(pair.A.Report.Recovering);
        Assert.Contains("it answers again, and is used after 2.0 s", pair.A.Report.Reason);
        Assert.InRange(pair.Until(LinkState.Up, 2 * Second).TotalMilliseconds, 900, 1_200);
        Assert.Equal(
            [LinkState.Up, LinkState.Suspect, LinkState.Down, LinkState.Up],
            pair.A.Changes.Select(c => c.State).Where((s, i) => i == 0 || pair.A.Changes[i - 1].State != s));
    }

    [Fact]
    public void A_link_that_loses_its_mtu_is_down_while_small_packets_pass()
    {
        var pair = new ProbePair();
        pair.Run(1_000);
        pair.Mtu = 1_400;
        pair.Until(LinkState.Down, 2 * Second);
        Assert.Equal("full-size packets do not pass (mtu 1420)", pair.A.Report.Reason);
        Assert.Equal(0, pair.A.Engine.Snapshot(pair.Now).Single().Mtu);
        pair.Run(10_000);
        Assert.Equal(LinkState.Down, pair.A.State);

        pair.Mtu = 1_500;
        pair.Until(LinkState.Up, 5 * Second);
    }

    [Fact]
    public void A_path_that_was_never_wide_enough_never_comes_up()
    {
        var pair = new ProbePair { Mtu = 1_400 };
        pair.Until(LinkState.Down, 10 * Second);
        Assert.Equal("full-size packets do not pass (mtu 1420)", pair.A.Report.Reason);
    }

    [Fact]
    public void A_refusal_of_the_kernel_counts_as_missed_at_once()
    {
        var pair = new ProbePair();
        pair.Run(1_000);
        pair.A.InterfaceMtu = 1_400;
        pair.Until(LinkState.Down, 2 * Second);
        Assert.Equal("full-size packets do not pass (mtu 1420)", pair.A.Report.Reason);

        pair = new ProbePair();
        pair.Run(1_000);
        pair.A.InterfaceMtu = 0;
        Assert.InRange(pair.Until(LinkState.Down, Second).TotalMilliseconds, 1, 150);
        Assert.Equal("probes cannot be sent: Network is unreachable", pair.A.Report.Reason);
    }

    [Fact]
    public void A_closed_lane_is_suspect_at_once_and_down_after_one_missed_probe()
    {
        var pair = new ProbePair();
        pair.Run(1_000);
        pair.CutToA = pair.CutToB = true;
        pair.A.Engine.LaneClosed("gw-b", "dx", "reset by peer", pair.Now);
        Assert.Equal(LinkState.Suspect, pair.A.State);
        Assert.Equal("its lane was closed (reset by peer)", pair.A.Report.Reason);
        Assert.InRange(pair.Until(LinkState.Down, Second).TotalMilliseconds, 10, 70);
        Assert.StartsWith("its lane was closed (reset by peer) and 1 probe unanswered after it", pair.A.Report.Reason);

        // The same hint on a link that works is forgotten with the next answer.
        pair = new ProbePair();
        pair.Run(1_000);
        pair.A.Engine.LaneClosed("gw-b", "dx", "reset by peer", pair.Now);
        Assert.InRange(pair.Until(LinkState.Up, Second).TotalMilliseconds, 5, 20);
    }

    [Fact]
    public void A_stall_of_this_gateway_is_not_a_fault_of_the_link()
    {
        var pair = new ProbePair();
        pair.Run(2_000);
        var seen = pair.A.Changes.Count;
        pair.A.Stalled = true;
        pair.Run(700);
        pair.A.Stalled = false;
        pair.Run(2_000);

        Assert.Equal(seen, pair.A.Changes.Count);
        Assert.InRange(pair.A.Report.Rtt!.Value.TotalMilliseconds, 9, 15);
    }

    [Fact]
    public void A_link_that_died_during_a_stall_is_found_all_the_same()
    {
        var pair = new ProbePair();
        pair.Run(2_000);
        pair.A.Stalled = true;
        pair.CutToA = pair.CutToB = true;
        pair.Run(700);
        pair.A.Stalled = false;
        Assert.InRange(pair.Until(LinkState.Down, Second).TotalMilliseconds, 50, 300);
    }

    [Fact]
    public void An_address_behind_nat_is_learned_from_the_peers_own_probes()
    {
        var pair = new ProbePair(bHasAddress: false);
        Assert.Contains("not known until it probes", pair.A.Report.Reason);
        pair.Until(LinkState.Up, Second);
        Assert.Equal(pair.B.Address, pair.A.Engine.Snapshot(pair.Now).Single().Remote);
    }

    [Fact]
    public void A_replayed_request_earns_no_answer_and_moves_no_address()
    {
        var pair = new ProbePair(bHasAddress: false);
        pair.Run(1_000);
        var request = pair.Sent.First(s => s.From == pair.B && s.Packet[1] == (byte)ProbeKind.Request).Packet;
        var sent = pair.Sent.Count;
        var elsewhere = new IPEndPoint(IPAddress.Parse("203.0.113.9"), 9);
        pair.A.Engine.Received(request, 0, elsewhere.Serialize(), pair.Now);

        Assert.Equal(sent, pair.Sent.Count);
        Assert.Equal(1, pair.A.Engine.Counters.Replayed);
        Assert.Equal(pair.B.Address, pair.A.Engine.Snapshot(pair.Now).Single().Remote);
    }

    [Fact]
    public void Replayed_and_forged_answers_do_not_keep_a_dead_link_alive()
    {
        var pair = new ProbePair();
        pair.Run(1_000);
        var answers = pair.Sent.Where(s => s.From == pair.B && s.Packet[1] == (byte)ProbeKind.Reply).Select(s => s.Packet).ToArray();
        pair.CutToA = pair.CutToB = true;
        var random = new Random(5);
        for (var i = 0; i < 300; i++)
        {
            pair.Run(1);
            pair.A.Engine.Received(answers[random.Next(answers.Length)], 0, pair.B.Address.Serialize(), pair.Now);
            // The newest probe, turned into an answer without the key; then any bytes at all.
            var forged = pair.Sent.Last(s => s.From == pair.A).Packet.ToArray();
            forged[1] = (byte)ProbeKind.Reply;
            pair.A.Engine.Received(forged, 0, pair.B.Address.Serialize(), pair.Now);
            random.NextBytes(forged.AsSpan(8));
            pair.A.Engine.Received(forged, 0, pair.B.Address.Serialize(), pair.Now);
        }

        Assert.Equal(LinkState.Down, pair.A.State);
        Assert.True(pair.A.Engine.Counters.Replayed >= 295, pair.A.Engine.Counters.ToString());
        Assert.True(pair.A.Engine.Counters.Forged >= 295, pair.A.Engine.Counters.ToString());
    }

    [Fact]
    public void An_answer_is_never_larger_than_its_request()
    {
        var pair = new ProbePair();
        pair.Run(5_000);
        var requests = pair.Sent.Where(s => s.From == pair.A && s.Packet[1] == 1).ToDictionary(s => Sequence(s.Packet), s => s.Packet.Length);
        var replies = pair.Sent.Where(s => s.From == pair.B && s.Packet[1] == 2).ToArray();
        Assert.True(replies.Length > 90);
        Assert.All(replies, r => Assert.Equal(requests[Sequence(r.Packet)], r.Packet.Length));

        static ulong Sequence(byte[] packet)
        {
            Assert.True(ProbeCodec.TryReadUnverified(packet, out var probe));
            return probe.Sequence;
        }
    }

    [Fact]
    public void Steady_probing_allocates_nothing()
    {
        var wire = new SilentWire();
        var engine = new ProbeEngine(
            new ProberOptions { Gateway = "gw-a", Listen = [], Seed = 1 }, wire, new DateTimeOffset(2026, 1, 1, 0, 0, 0, TimeSpan.Zero));
        var now = TimeSpan.Zero;
        engine.Reconcile([new ProbeTarget("gw-b", "dx", null, new IPEndPoint(IPAddress.Loopback, 7443), 1420)], now);
        engine.SetActive("gw-b", "dx", true, now);
        engine.SetKeys("gw-b", new byte[32], new byte[32], now);
        var (from, reply, key) = (new IPEndPoint(IPAddress.Loopback, 7443).Serialize(), new byte[1392], new ProbeKey(new byte[32]));
        var received = 0ul;
        var allocated = 0L;
        for (var i = 0; i < 400; i++)
        {
            var before = GC.GetAllocatedBytesForCurrentThread();
            now = engine.NextDue!.Value;
            wire.Length = 0;
            engine.Run(now);
            if (wire.Length > 0)
            {
                Assert.True(ProbeCodec.TryReadUnverified(wire.Last.AsSpan(0, wire.Length), out var probe));
                ProbeCodec.Write(reply.AsSpan(0, wire.Length), probe with { Kind = ProbeKind.Reply, Received = ++received }, key);
                engine.Received(reply.AsSpan(0, wire.Length), 0, from, now + TimeSpan.FromMilliseconds(1));
                ProbeCodec.Write(reply.AsSpan(0, wire.Length), probe with { Sequence = received }, key);
                engine.Received(reply.AsSpan(0, wire.Length), 0, from, now + TimeSpan.FromMilliseconds(1));
            }

            // The first hundred fill tables and compile.
            allocated += i < 100 ? 0 : GC.GetAllocatedBytesForCurrentThread() - before;
        }

        Assert.Equal(LinkState.Up, engine.Snapshot(now).Single().State);
        Assert.True(engine.Counters.Replied > 300, engine.Counters.ToString());
        Assert.Equal(0, allocated);
    }

    private sealed class SilentWire : IProbeWire
    {
        public byte[] Last { get; } = new byte[ProbeCodec.MaxLength];
        public int Length { get; set; }

        public int Route(IPAddress? local, IPEndPoint remote, out SocketAddress address)
        {
            address = remote.Serialize();
            return 0;
        }

        public ProbeSend Send(int socket, SocketAddress to, ReadOnlySpan<byte> packet, out string? error)
        {
            packet.CopyTo(Last);
            (Length, error) = (packet.Length, null);
            return ProbeSend.Sent;
        }
    }

    [Fact]
    public void Without_keys_nothing_is_sent_and_with_new_ones_it_goes_on()
    {
        var pair = new ProbePair();
        pair.A.Engine.SetKeys("gw-b", [], [], pair.Now);
        pair.Run(1_000);
        Assert.Equal(0, pair.A.Engine.Counters.Sent);
        Assert.Equal("not probed until a lane has exchanged keys", pair.A.Report.Reason);
        Assert.True(pair.A.Engine.Counters.Unknown > 0);

        byte[] one = [.. Enumerable.Repeat((byte)1, 32)], two = [.. Enumerable.Repeat((byte)2, 32)];
        pair.A.Engine.SetKeys("gw-b", one, two, pair.Now);
        pair.B.Engine.SetKeys("gw-a", two, one, pair.Now);
        pair.Until(LinkState.Up, Second);
    }

    [Fact]
    public void Reconciling_keeps_the_verdict_of_what_stays_and_forgets_what_goes()
    {
        var pair = new ProbePair();
        pair.Run(1_000);
        var since = pair.A.Report.Since;
        pair.A.Engine.Reconcile([pair.A.Target, new ProbeTarget("gw-c", "dx", null, null, 1500)], pair.Now);
        var links = pair.A.Engine.Snapshot(pair.Now);
        Assert.Equal(2, links.Length);
        Assert.Equal((LinkState.Up, since), (links[0].State, links[0].Health.Since));

        pair.A.Engine.Reconcile([], pair.Now);
        Assert.Empty(pair.A.Engine.Snapshot(pair.Now));
        Assert.Null(pair.A.Engine.NextDue);
        var sent = pair.A.Engine.Counters.Sent;
        pair.Run(500);
        Assert.Equal(sent, pair.A.Engine.Counters.Sent);
    }

    [Fact]
    public void Every_setting_within_its_range_detects_within_interval_times_misses_plus_two_timeouts()
    {
        var random = new Random(11);
        for (var i = 0; i < 40; i++)
        {
            var settings = new ProbeSettings { Active = TimeSpan.FromMilliseconds(random.Next(10, 200)), Misses = random.Next(2, 8) };
            var pair = new ProbePair(settings) { Latency = TimeSpan.FromMilliseconds(random.Next(0, 80)) };
            pair.Run(5_000 + random.Next(200));
            Assert.Equal(LinkState.Up, pair.A.State);
            var timeout = Math.Max(60, 2 * pair.A.Report.Rtt!.Value.TotalMilliseconds + 4 * pair.A.Report.Jitter.TotalMilliseconds);
            pair.CutToB = true;
            var took = pair.Until(LinkState.Down, 10 * Second).TotalMilliseconds;
            Assert.InRange(took, timeout, settings.Misses * settings.Active.TotalMilliseconds + timeout + pair.Latency.TotalMilliseconds + 5);
        }
    }
}
