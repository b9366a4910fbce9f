using Fabric.Routing.Health;

namespace Fabric.Routing.Tests.Health;

public class LinkHealthTests
{
    private static readonly LinkHealthOptions Options = new() { Mtu = 1420 };

    /// <summary>Probes every 50 ms over a path with 4 ms round trip; <paramref name="answers"/> says which probes are answered.</summary>
    private sealed class Drive(LinkHealthOptions? options = null)
    {
        public LinkHealth Health { get; } = new(options ?? Options, TimeSpan.Zero);
        public TimeSpan Now { get; private set; }
        public List<(TimeSpan At, LinkState State)> Changes { get; } = [];

        public LinkReport Report => Health.Report(Now);

        public void Run(double seconds, Func<bool, bool> answers)
        {
            for (var end = Now + TimeSpan.FromSeconds(seconds); Now < end;)
            {
                var fullSize = Health.WantsFullSize(Now);
                var sequence = Health.ProbeSent(fullSize, Now);
                Pass(4);
                if (answers(fullSize))
                {
                    Note(Health.Answered(sequence, sequence, Now, TimeSpan.Zero, out var accepted));
                    Assert.True(accepted);
                    Health.Answered(sequence, sequence, Now, TimeSpan.Zero, out accepted);
                    Assert.False(accepted);
                }

                Pass(46);
            }
        }

        private void Pass(int milliseconds)
        {
            for (var i = 0; i < milliseconds; i++)
            {
                Now += TimeSpan.FromMilliseconds(1);
                if (Health.NextDue <= Now)
                {
                    Note(Health.Tick(Now, TimeSpan.Zero));
                }
            }
        }

        private void Note(bool changed)
        {
            if (changed)
            {
                Changes.Add((Now, Health.State));
            }
        }
    }

    [Fact]
    public void ALinkThatHasJustComeUpIsMeasuredQuicklyUntilItsFiguresSettle()
    {
        var drive = new Drive();
        drive.Run(0.1, _ => true);
        Assert.Equal((LinkState.Up, true), (drive.Health.State, drive.Health.Urgent));
        drive.Run(1, _ => true);
        Assert.Equal((LinkState.Up, false), (drive.Health.State, drive.Health.Urgent));
    }

    [Fact]
    public void AnOutageIsNotLossOnceTheLinkIsBack()
    {
        var drive = new Drive();
        drive.Run(2, _ => true);
        drive.Run(3, _ => false);
        Assert.Equal(LinkState.Down, drive.Report.State);
        Assert.True(drive.Report.Loss > 0.3);
        drive.Run(3, _ => true);
        Assert.Equal(LinkState.Up, drive.Report.State);
        Assert.Equal(0, drive.Report.Loss);
    }

    [Fact]
    public void Every_state_says_why()
    {
        var drive = new Drive();
        Assert.Equal((LinkState.Unknown, "not probed yet"), (drive.Report.State, drive.Report.Reason));
        drive.Run(1, _ => true);
        Assert.Equal((LinkState.Up, "full-size packets pass (mtu 1420), answers take 4 ms"), (drive.Report.State, drive.Report.Reason));
        drive.Run(0.1, _ => false);
        Assert.Equal(LinkState.Suspect, drive.Report.State);
        Assert.Equal("1 probe unanswered for 100 ms", drive.Report.Reason);
        drive.Run(0.1, _ => false);
        Assert.Equal((LinkState.Down, "3 probes unanswered"), (drive.Report.State, drive.Report.Reason));
        // From the last good answer at 954 ms to the third overdue one, sent at 1100 ms.
        Assert.Equal(206, drive.Report.Detected.TotalMilliseconds);
        drive.Run(0.5, _ => true);
        Assert.Equal("3 probes unanswered; it answers again, and is used after 2.0 s of that (0.5 s so far)", drive.Report.Reason);
    }

    [Fact]
    public void A_link_that_was_never_up_needs_no_hold_down()
    {
        var drive = new Drive();
        drive.Run(5, _ => false);
        Assert.Equal(LinkState.Down, drive.Report.State);
        Assert.StartsWith("no probe was ever answered", drive.Report.Reason);
        drive.Run(0.1, _ => true);
        Assert.Equal(LinkState.Up, drive.Report.State);
    }

    [Fact]
    public void Small_answers_alone_never_bring_a_link_up()
    {
        var drive = new Drive();
        drive.Run(5, fullSize => !fullSize);
        Assert.Equal(LinkState.Down, drive.Report.State);
        Assert.Equal("full-size packets do not pass (mtu 1420)", drive.Report.Reason);
        Assert.False(drive.Report.MtuPasses);
        Assert.False(drive.Report.Recovering);
    }

    [Fact]
    public void A_lost_mtu_is_found_within_two_seconds_of_probing()
    {
        var drive = new Drive();
        drive.Run(3, _ => true);
        var at = drive.Now;
        drive.Run(2, fullSize => !fullSize);
        var (when, state) = drive.Changes.First(c => c.State == LinkState.Down);
        Assert.Equal("full-size packets do not pass (mtu 1420)", drive.Report.Reason);
        // The next full-size probe is up to 1 s away, and three of them go out every other interval.
        Assert.InRange((when - at).TotalMilliseconds, 200, 1_400);
    }

    [Fact]
    public void Hold_down_starts_again_at_each_silence()
    {
        var drive = new Drive();
        drive.Run(1, _ => true);
        drive.Run(0.5, _ => false);
        for (var i = 0; i < 5; i++)
        {
            drive.Run(1.5, _ => true);
            drive.Run(0.25, _ => false);
        }

        Assert.Equal(LinkState.Down, drive.Report.State);
        drive.Run(2.3, _ => true);
        Assert.Equal(LinkState.Up, drive.Report.State);
    }

    /// <summary>What would not bring it down does not keep it there.</summary>
    [Fact]
    public void A_lossy_link_is_back_after_the_hold_down()
    {
        var drive = new Drive();
        drive.Run(1, _ => true);
        drive.Run(0.5, _ => false);
        for (var i = 0; i < 4; i++)
        {
            drive.Run(0.5, _ => true);
            drive.Run(0.05, _ => false);
        }

        drive.Run(0.5, _ => true);
        Assert.Equal(LinkState.Up, drive.Report.State);
    }

    [Fact]
    public void A_link_that_goes_dark_within_the_hold_down_does_not_come_up()
    {
        var drive = new Drive();
        drive.Run(1, _ => true);
        drive.Run(0.5, _ => false);
        drive.Run(1.95, _ => true);
        drive.Run(0.5, _ => false);
        Assert.DoesNotContain(drive.Changes.Skip(1), c => c.State == LinkState.Up);
    }

    [Fact]
    public void A_link_that_flaps_is_held_and_says_so()
    {
        var drive = new Drive();
        drive.Run(1, _ => true);
        for (var i = 0; i < 3; i++)
        {
            drive.Run(0.3, _ => false);
            drive.Run(2.3, _ => true);
        }

        Assert.Equal(LinkState.Down, drive.Report.State);
        Assert.Matches(@"^3 probes unanswered; it answers again, and is held for 2\d\.\d s because it fell 3 times$", drive.Report.Reason);
        Assert.True(drive.Report.Recovering);
        drive.Run(60, _ => true);
        Assert.Equal(LinkState.Up, drive.Report.State);
    }

    [Fact]
    public void However_a_link_flaps_it_is_up_again_within_the_longest_hold_of_steady_answers()
    {
        for (var seed = 0; seed < 30; seed++)
        {
            var random = new Random(seed);
            var drive = new Drive();
            for (var i = 0; i < 20; i++)
            {
                drive.Run(random.NextDouble() * 4, _ => true);
                drive.Run(random.NextDouble() * 2, _ => random.Next(3) == 0);
            }

            var before = drive.Changes.Count;
            drive.Run(60.5, _ => true);
            Assert.Equal(LinkState.Up, drive.Report.State);
            // Steady answers: one change at most for suspicion that ends, one for the return, and never a fall.
            Assert.DoesNotContain(drive.Changes.Skip(before), c => c.State == LinkState.Down && c.At > drive.Now - TimeSpan.FromSeconds(60));
        }
    }

    [Fact]
    public void A_steady_path_of_any_round_trip_never_leaves_up()
    {
        var random = new Random(6);
        for (var round = 0; round < 60; round++)
        {
            var rtt = TimeSpan.FromMilliseconds(random.Next(0, 800));
            var jitter = rtt * 0.2;
            var health = new LinkHealth(Options, TimeSpan.Zero);
            var flying = new PriorityQueue<ulong, TimeSpan>();
            var changes = new List<LinkState>();
            for (var now = TimeSpan.Zero; now < TimeSpan.FromSeconds(20); now += TimeSpan.FromMilliseconds(5))
            {
                while (flying.TryPeek(out var sequence, out var at) && at <= now)
                {
                    flying.Dequeue();
                    if (health.Answered(sequence, sequence, now, TimeSpan.Zero, out _))
                    {
                        changes.Add(health.State);
                    }
                }

                if (health.Tick(now, TimeSpan.Zero))
                {
                    changes.Add(health.State);
                }

                if (now.TotalMilliseconds % 50 == 0)
                {
                    flying.Enqueue(health.ProbeSent(health.WantsFullSize(now), now), now + rtt + jitter * random.NextDouble());
                }
            }

            Assert.Equal([LinkState.Up], changes);
        }
    }

    [Fact]
    public void A_late_timer_excuses_each_probe_once()
    {
        var health = new LinkHealth(Options, TimeSpan.Zero);
        var now = TimeSpan.Zero;
        health.Answered(health.ProbeSent(true, now), 1, now, TimeSpan.Zero, out _);
        Assert.Equal(LinkState.Up, health.State);
        for (var i = 0; i < 3; i++)
        {
            health.ProbeSent(false, now);
        }

        now += TimeSpan.FromSeconds(1);
        Assert.False(health.Tick(now, TimeSpan.FromMilliseconds(900)));
        Assert.Equal(LinkState.Up, health.State);
        // An always late host finds it at the next look.
        now += TimeSpan.FromSeconds(1);
        Assert.True(health.Tick(now, TimeSpan.FromMilliseconds(900)));
        Assert.Equal(LinkState.Down, health.State);
    }

    [Fact]
    public void A_late_answer_ends_suspicion_and_teaches_the_timeout()
    {
        var health = new LinkHealth(Options, TimeSpan.Zero);
        health.Answered(health.ProbeSent(true, TimeSpan.Zero), 1, TimeSpan.FromMilliseconds(1), TimeSpan.Zero, out _);
        Assert.Equal(60, health.Timeout.TotalMilliseconds);
        var late = health.ProbeSent(true, TimeSpan.FromMilliseconds(100));
        Assert.True(health.Tick(TimeSpan.FromMilliseconds(161), TimeSpan.Zero));
        Assert.Equal(LinkState.Suspect, health.State);
        Assert.True(health.Answered(late, 2, TimeSpan.FromMilliseconds(210), TimeSpan.Zero, out var accepted));
        Assert.True(accepted);
        Assert.Equal(LinkState.Up, health.State);
        Assert.InRange(health.Timeout.TotalMilliseconds, 100, 250);
    }

    [Fact]
    public void One_lost_packet_among_answered_ones_is_loss_and_no_suspicion()
    {
        var drive = new Drive();
        var probe = 0;
        drive.Run(1, _ => true);
        drive.Run(10, fullSize => fullSize || ++probe % 3 != 0);
        Assert.Equal([LinkState.Up], drive.Changes.Select(c => c.State));
        Assert.InRange(drive.Report.Loss, 0.25, 0.35);
    }

    [Fact]
    public void Invented_and_ancient_answers_are_ignored()
    {
        var health = new LinkHealth(Options, TimeSpan.Zero, firstSequence: 1_000);
        var first = health.ProbeSent(true, TimeSpan.Zero);
        Assert.Equal(1_000ul, first);
        for (var i = 0; i < 300; i++)
        {
            health.ProbeSent(false, TimeSpan.Zero);
        }

        foreach (var sequence in new ulong[] { 0, 1, 999, first, 1_301, ulong.MaxValue })
        {
            Assert.False(health.Answered(sequence, 1, TimeSpan.Zero, TimeSpan.Zero, out var accepted));
            Assert.False(accepted, sequence.ToString());
        }
    }

    [Fact]
    public void Any_order_of_events_keeps_the_machine_whole()
    {
        for (var seed = 0; seed < 300; seed++)
        {
            var random = new Random(seed);
            var health = new LinkHealth(Options, TimeSpan.Zero);
            var now = TimeSpan.Zero;
            var newest = 0ul;
            var fullSizeAnswered = false;
            var full = new HashSet<ulong>();
            for (var i = 0; i < 400; i++)
            {
                now += TimeSpan.FromMilliseconds(random.Next(0, 80));
                var before = health.State;
                var sequence = (ulong)random.NextInt64(0, (long)newest + 2);
                var changed = false;
                switch (random.Next(6))
                {
                    case 0 or 1:
                        var wants = health.WantsFullSize(now);
                        newest = health.ProbeSent(wants, now);
                        _ = wants && full.Add(newest);
                        break;
                    case 2:
                        changed = health.Answered(sequence, sequence, now, TimeSpan.FromMilliseconds(random.Next(30)), out var accepted);
                        fullSizeAnswered |= accepted && full.Contains(sequence);
                        break;
                    case 3:
                        changed = health.Tick(now, TimeSpan.FromMilliseconds(random.Next(30)));
                        break;
                    case 4:
                        changed = health.Refused(sequence, random.Next(2) == 0, "no route", now);
                        break;
                    default:
                        changed = random.Next(10) == 0 && health.LaneClosed("reset", now);
                        health.PeerProbed(now);
                        break;
                }

                Assert.Equal(before != health.State, changed);
                Assert.False(before == LinkState.Down && health.State == LinkState.Suspect);
                Assert.False(before == LinkState.Unknown && health.State == LinkState.Suspect);
                Assert.True(health.State is LinkState.Unknown or LinkState.Down || fullSizeAnswered, "up without a full-size answer");
                var report = health.Report(now);
                Assert.NotEmpty(report.Reason);
                Assert.InRange(report.Loss, 0, 1);
                Assert.True(report.Since <= now);
                Assert.True(report.Detected >= TimeSpan.Zero);
            }
        }
    }

    [Fact]
    public void Bytes_that_arrive_keep_a_link_from_being_called_down_for_lost_probes()
    {
        var drive = new Drive();
        drive.Run(1, _ => true);
        for (var i = 0; i < 20; i++)
        {
            drive.Run(0.05, _ => false);
            drive.Health.Carried(drive.Now - TimeSpan.FromMilliseconds(3), drive.Now, fullSize: true, drive.Now);
        }

        Assert.DoesNotContain(drive.Changes, c => c.State == LinkState.Down);
        drive.Run(0.3, _ => false);
        Assert.Equal(LinkState.Down, drive.Report.State);
    }

    [Fact]
    public void Bytes_that_left_before_the_silence_prove_nothing()
    {
        var drive = new Drive();
        drive.Run(1, _ => true);
        var before = drive.Now - TimeSpan.FromMilliseconds(1);
        drive.Run(0.12, _ => false);
        Assert.False(drive.Health.Carried(before, drive.Now, true, drive.Now));
        drive.Run(0.2, _ => false);
        Assert.Equal(LinkState.Down, drive.Report.State);
        Assert.False(drive.Health.Carried(drive.Now, drive.Now, true, drive.Now));
        Assert.Equal(LinkState.Down, drive.Report.State);
    }

    [Fact]
    public void Bytes_that_arrive_are_no_excuse_for_a_way_back_that_is_dark()
    {
        // Acknowledged over another link, while nothing comes back over this one.
        var drive = new Drive();
        drive.Run(1, _ => true);
        var dark = drive.Now;
        for (var i = 0; i < 6; i++)
        {
            drive.Run(0.05, _ => false);
            drive.Health.Carried(drive.Now - TimeSpan.FromMilliseconds(3), dark, fullSize: true, drive.Now);
        }

        Assert.Equal(LinkState.Down, drive.Report.State);
    }

    [Fact]
    public void Small_bytes_say_nothing_of_packets_of_full_size_and_bulk_does()
    {
        foreach (var bulk in new[] { false, true })
        {
            var drive = new Drive();
            drive.Run(1, _ => true);
            for (var i = 0; i < 20; i++)
            {
                drive.Run(0.05, fullSize => !fullSize);
                drive.Health.Carried(drive.Now - TimeSpan.FromMilliseconds(3), drive.Now, bulk, drive.Now);
            }

            Assert.Equal(bulk, drive.Changes.All(c => c.State != LinkState.Down));
        }
    }
}
