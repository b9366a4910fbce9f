using Fabric.Routing.Health;

namespace Fabric.Routing.Tests.Health;

public class LeafTests
{
    private static readonly TimeSpan Floor = TimeSpan.FromMilliseconds(60);

    [Fact]
    public void The_round_trip_follows_rfc_6298()
    {
        var rtt = new RttEstimator();
        rtt.Sample(TimeSpan.FromMilliseconds(100), Floor);
        Assert.Equal((100, 50), (rtt.Smoothed.TotalMilliseconds, rtt.Jitter.TotalMilliseconds));
        rtt.Sample(TimeSpan.FromMilliseconds(180), Floor);
        // RTTVAR = 3/4·50 + 1/4·|100 − 180| = 57.5; SRTT = 7/8·100 + 1/8·180 = 110.
        Assert.Equal((110, 57.5), (rtt.Smoothed.TotalMilliseconds, rtt.Jitter.TotalMilliseconds));
        Assert.Equal(450, rtt.Timeout.TotalMilliseconds);
    }

    [Fact]
    public void One_pause_of_the_peer_does_not_blind_the_link_and_a_slower_path_is_followed()
    {
        var rtt = new RttEstimator();
        for (var i = 0; i < 100; i++)
        {
            rtt.Sample(TimeSpan.FromMilliseconds(1), Floor);
        }

        rtt.Sample(TimeSpan.FromSeconds(5), Floor);
        Assert.InRange(rtt.Timeout.TotalMilliseconds, 60, 200);
        for (var i = 0; i < 100; i++)
        {
            rtt.Sample(TimeSpan.FromMilliseconds(300), Floor);
        }

        Assert.InRange(rtt.Smoothed.TotalMilliseconds, 295, 300);
    }

    [Fact]
    public void Whatever_is_sampled_the_estimate_stays_between_zero_and_the_largest_sample()
    {
        var random = new Random(1);
        for (var round = 0; round < 200; round++)
        {
            var rtt = new RttEstimator();
            var most = TimeSpan.Zero;
            for (var i = 0; i < 100; i++)
            {
                var sample = TimeSpan.FromMilliseconds(random.NextDouble() * Math.Pow(10, random.Next(0, 5)) - 1);
                most = sample > most ? sample : most;
                rtt.Sample(sample, Floor);
                Assert.InRange(rtt.Smoothed, TimeSpan.Zero, most);
                Assert.InRange(rtt.Jitter, TimeSpan.Zero, most);
            }
        }
    }

    [Fact]
    public void Loss_is_that_of_the_last_probes_exactly()
    {
        var random = new Random(2);
        var window = new LossWindow(100);
        Assert.Equal(0, window.Ratio);
        var all = new List<bool>();
        for (var i = 0; i < 1_000; i++)
        {
            all.Add(random.Next(4) == 0);
            window.Record(all[^1]);
            var last = all.TakeLast(100).ToArray();
            Assert.Equal((double)last.Count(l => l) / last.Length, window.Ratio, 10);
        }
    }

    [Theory]
    [InlineData(0.0, 0.0)]
    [InlineData(0.3, 0.0)]
    [InlineData(0.0, 0.3)]
    [InlineData(0.2, 0.4)]
    public void Loss_is_told_apart_by_direction(double lostOut, double lostBack)
    {
        var random = new Random(3);
        var loss = new OneWayLoss(1_000);
        var received = 0ul;
        for (var sequence = 1ul; sequence <= 5_000; sequence++)
        {
            if (random.NextDouble() < lostOut)
            {
                continue;
            }

            received++;
            if (random.NextDouble() >= lostBack)
            {
                loss.Record(sequence, received);
            }
        }

        Assert.Equal(lostOut, loss.Out, 0.05);
        Assert.Equal(lostBack, loss.Back, 0.05);
    }

    [Fact]
    public void A_peer_that_counts_anew_is_no_loss()
    {
        var loss = new OneWayLoss();
        loss.Record(1, 1_000);
        loss.Record(2, 1_001);
        loss.Record(3, 1);
        loss.Record(4, 2);
        loss.Record(2, 900);
        Assert.Equal((0, 0), (loss.Out, loss.Back));
    }

    [Fact]
    public void Damping_holds_the_third_fall_in_quick_succession_and_lets_go()
    {
        var damping = new FlapDamping(new FlapDampingOptions());
        damping.Fell(TimeSpan.Zero);
        damping.Fell(TimeSpan.FromSeconds(1));
        Assert.Equal(TimeSpan.Zero, damping.HoldFor(TimeSpan.FromSeconds(1)));
        damping.Fell(TimeSpan.FromSeconds(2));
        var hold = damping.HoldFor(TimeSpan.FromSeconds(2));
        Assert.InRange(hold.TotalSeconds, 25, 30);
        Assert.True(damping.HoldFor(TimeSpan.FromSeconds(2) + hold - TimeSpan.FromMilliseconds(10)) > TimeSpan.Zero);
        Assert.Equal(TimeSpan.Zero, damping.HoldFor(TimeSpan.FromSeconds(2) + hold + TimeSpan.FromMilliseconds(10)));
    }

    [Fact]
    public void Damping_never_holds_longer_than_its_bound_however_often_it_falls()
    {
        var random = new Random(4);
        for (var round = 0; round < 100; round++)
        {
            var options = new FlapDampingOptions
            {
                HalfLife = TimeSpan.FromSeconds(1 + random.Next(60)),
                MaxHold = TimeSpan.FromSeconds(1 + random.Next(300)),
            };
            var damping = new FlapDamping(options);
            var now = TimeSpan.Zero;
            for (var i = 0; i < 200; i++)
            {
                now += TimeSpan.FromSeconds(random.NextDouble() * random.Next(1, 20));
                damping.Fell(now);
                Assert.InRange(damping.HoldFor(now), TimeSpan.Zero, options.MaxHold + TimeSpan.FromMilliseconds(1));
            }

            Assert.Equal(TimeSpan.Zero, damping.HoldFor(now + options.MaxHold + TimeSpan.FromMilliseconds(1)));
        }
    }

    [Fact]
    public void Damping_falls_spread_out_are_never_held()
    {
        var damping = new FlapDamping(new FlapDampingOptions());
        for (var i = 0; i < 100; i++)
        {
            damping.Fell(TimeSpan.FromMinutes(i));
            Assert.Equal(TimeSpan.Zero, damping.HoldFor(TimeSpan.FromMinutes(i)));
        }
    }

    [Fact]
    public void Damping_with_senseless_figures_is_refused_with_the_rule() =>
        Assert.Contains("below suppress", Assert.Throws<ArgumentException>(
            () => new FlapDamping(new FlapDampingOptions { Reuse = 3_000 })).Message);
}
