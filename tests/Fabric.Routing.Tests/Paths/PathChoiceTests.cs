using Fabric.Routing.Health;
using Fabric.Routing.Paths;

namespace Fabric.Routing.Tests.Paths;

public class PathChoiceTests
{
    private static PathCandidate Up(string name, double rtt, int cost = 0, double loss = 0, double jitter = 0) => new(name, LinkState.Up)
    {
        Rtt = TimeSpan.FromMilliseconds(rtt),
        Jitter = TimeSpan.FromMilliseconds(jitter),
        Cost = cost,
        Loss = loss,
        HasLane = true,
    };

    private static PathCandidate Down(string name, string reason = "3 probes unanswered") => new(name, LinkState.Down) { StateReason = reason };

    private static TimeSpan At(double seconds) => TimeSpan.FromSeconds(seconds);

    [Fact]
    public void The_score_is_latency_jitter_loss_and_cost_in_milliseconds() =>
        Assert.Equal(10 + 2 * 3 + 20 + 5, new PathChoice().Score(Up("dx", 10, cost: 5, loss: 0.02, jitter: 3))!.Value, 6);

    [Fact]
    public void The_lowest_score_is_active_and_the_others_stand_by_in_order()
    {
        var decision = new PathChoice().Decide([Up("vpn", 1.4, cost: 20), Up("lte", 80), Up("dx", 1.2)], At(0));
        Assert.Equal("dx", decision.Active);
        Assert.Equal(["vpn", "lte"], decision.Standbys.ToArray());
        Assert.Equal(["dx", "vpn", "lte"], decision.Preferred.ToArray());
        Assert.Empty(decision.Down);
        Assert.True(decision.Changed);
        Assert.Equal(1.2, decision.Score);
        Assert.Equal("lowest score 1.2 ms; vpn 21.4 ms, lte 80 ms", decision.Reason);
    }

    [Fact]
    public void A_down_active_is_left_at_once_and_says_why()
    {
        var choice = new PathChoice();
        choice.Decide([Up("dx", 1), Up("vpn", 20)], At(0));
        var decision = choice.Decide([Down("dx"), Up("vpn", 20)], At(0.1));
        Assert.Equal(("vpn", true), (decision.Active, decision.Changed));
        Assert.Equal(["dx"], decision.Down.ToArray());
        Assert.Equal("dx is down: 3 probes unanswered; only link up", decision.Reason);
        Assert.Equal("only link up", choice.Decide([Down("dx"), Up("vpn", 20)], At(0.2)).Reason);
    }

    [Fact]
    public void An_active_link_without_a_lane_is_left_at_once()
    {
        var choice = new PathChoice();
        choice.Decide([Up("dx", 1), Up("vpn", 20)], At(0));
        var decision = choice.Decide([Up("dx", 1) with { HasLane = false }, Up("vpn", 20)], At(1));
        Assert.Equal("vpn", decision.Active);
        Assert.Equal("dx has no lane; only link up", decision.Reason);
        // It stays in the list, last: the tunnel takes it as soon as its lane is open and the others are gone.
        Assert.Equal(["dx"], decision.Standbys.ToArray());
        Assert.Empty(decision.Down);
    }

    [Fact]
    public void A_suspect_link_is_not_left_for_it_and_not_chosen_either()
    {
        var choice = new PathChoice();
        var suspect = Up("dx", 1) with { State = LinkState.Suspect, StateReason = "1 probe unanswered for 61 ms" };
        choice.Decide([Up("dx", 1), Up("vpn", 20)], At(0));
        Assert.Equal("dx", choice.Decide([suspect, Up("vpn", 20)], At(0.1)).Active);

        Assert.Equal("vpn", new PathChoice().Decide([suspect, Up("vpn", 20)], At(0)).Active);
        var only = new PathChoice().Decide([suspect, Down("vpn")], At(0));
        Assert.Equal(("dx", "no link is up; dx is suspect: 1 probe unanswered for 61 ms"), (only.Active, only.Reason));
    }

    [Fact]
    public void When_nothing_is_up_a_link_that_answers_again_is_better_than_none()
    {
        var decision = new PathChoice().Decide(
            [Down("dx"), Down("vpn") with { Recovering = true, HasLane = true, Rtt = TimeSpan.FromMilliseconds(5) }], At(0));
        Assert.Equal("vpn", decision.Active);
        Assert.Equal(["dx"], decision.Down.ToArray());
        Assert.Equal("no link is up; vpn answers again and has a lane, before its hold-down is over", decision.Reason);

        var none = new PathChoice().Decide([Down("dx"), Down("vpn", "full-size packets do not pass (mtu 1420)")], At(0));
        Assert.Null(none.Active);
        Assert.Null(none.Score);
        Assert.Equal("dx is down: 3 probes unanswered; vpn is down: full-size packets do not pass (mtu 1420)", none.Reason);
        Assert.Equal("no link is declared", new PathChoice().Decide([], At(0)).Reason);
    }

    [Fact]
    public void Latency_switches_after_ten_seconds_of_being_better_by_ten_percent_and_two_ms()
    {
        var choice = new PathChoice();
        choice.Decide([Up("a", 50), Up("b", 60)], At(0));
        for (var t = 0.0; t < 10; t += 0.5)
        {
            var waiting = choice.Decide([Up("a", 50), Up("b", 30)], At(t));
            Assert.Equal("a", waiting.Active);
            Assert.StartsWith("stays: b 30 ms is better than a 50 ms for ", waiting.Reason);
        }

        var decision = choice.Decide([Up("a", 50), Up("b", 30)], At(10));
        Assert.Equal("b", decision.Active);
        Assert.Equal("lowest score 30 ms; a 50 ms; better for 10.0 s", decision.Reason);
    }

    [Theory]
    [InlineData(100, 91)] // not 10 %
    [InlineData(10, 8.5)] // not 2 ms
    [InlineData(1.5, 0.1)]
    public void Too_little_better_is_no_reason_to_move(double active, double other)
    {
        var choice = new PathChoice();
        choice.Decide([Up("a", active), Up("b", active + 10)], At(0));
        for (var t = 0; t < 100; t++)
        {
            Assert.Equal("a", choice.Decide([Up("a", active), Up("b", other)], At(t)).Active);
        }
    }

    [Fact]
    public void A_break_in_being_better_starts_the_ten_seconds_again()
    {
        var choice = new PathChoice();
        choice.Decide([Up("a", 50), Up("b", 60)], At(0));
        for (var t = 0; t < 100; t++)
        {
            Assert.Equal("a", choice.Decide([Up("a", 50), Up("b", t % 9 == 0 ? 49 : 30)], At(t)).Active);
        }
    }

    [Fact]
    public void A_cheaper_link_that_is_up_again_is_returned_to_at_once()
    {
        var choice = new PathChoice();
        choice.Decide([Up("dx", 1.2), Up("vpn", 1.4, cost: 20)], At(0));
        choice.Decide([Down("dx"), Up("vpn", 1.4, cost: 20)], At(1));
        var back = choice.Decide([Up("dx", 1.2), Up("vpn", 1.4, cost: 20)], At(4));
        Assert.Equal("dx", back.Active);
        Assert.Equal("lowest score 1.2 ms; vpn 21.4 ms; lower cost than vpn", back.Reason);
    }

    [Fact]
    public void Capacity_and_then_the_name_decide_between_equals()
    {
        Assert.Equal("b", new PathChoice().Decide([Up("a", 1), Up("b", 1) with { Capacity = 1_000 }], At(0)).Active);
        Assert.Equal("a", new PathChoice().Decide([Up("b", 1), Up("a", 1)], At(0)).Active);
    }

    [Fact]
    public void Links_that_stay_as_they_are_never_make_it_move_a_second_time()
    {
        for (var seed = 0; seed < 300; seed++)
        {
            var random = new Random(seed);
            var links = Enumerable.Range(0, random.Next(1, 6)).Select(i => Random(random, $"link-{i}")).ToArray();
            var choice = new PathChoice();
            choice.Decide([.. links.Select(_ => Random(random, _.Link))], At(0));
            var moves = 0;
            for (var t = 1; t < 60; t++)
            {
                moves += choice.Decide(links, At(t)).Changed ? 1 : 0;
            }

            Assert.InRange(moves, 0, 2);
            for (var t = 60; t < 1_000; t += 7)
            {
                Assert.False(choice.Decide(links, At(t)).Changed);
            }
        }
    }

    [Fact]
    public void Noise_within_the_margin_never_makes_it_move()
    {
        for (var seed = 0; seed < 50; seed++)
        {
            var random = new Random(seed);
            var rtt = random.Next(1, 200);
            var choice = new PathChoice();
            choice.Decide([Up("a", rtt), Up("b", rtt + 1)], At(0));
            for (var t = 0.5; t < 200; t += 0.5)
            {
                double Noisy() => rtt * (0.95 + 0.1 * random.NextDouble());
                Assert.Equal("a", choice.Decide([Up("a", Noisy()), Up("b", Noisy())], At(t)).Active);
            }
        }
    }

    [Fact]
    public void Links_that_get_worse_under_load_are_not_exchanged_for_ever()
    {
        // Whichever is active queues, so the other one always looks better.
        var choice = new PathChoice();
        var active = choice.Decide([Up("a", 10), Up("b", 10)], At(0)).Active;
        var moves = 0;
        for (var t = 1; t < 3_600; t++)
        {
            var decision = choice.Decide([Up("a", active == "a" ? 40 : 10), Up("b", active == "b" ? 40 : 10)], At(t));
            moves += decision.Changed ? 1 : 0;
            active = decision.Active;
        }

        // Without damping: one each 10 s, 359.
        Assert.InRange(moves, 2, 30);
    }

    [Fact]
    public void The_active_link_always_has_a_lane_and_is_not_down_and_every_link_appears_once()
    {
        var random = new Random(9);
        var choice = new PathChoice();
        for (var i = 0; i < 5_000; i++)
        {
            var links = Enumerable.Range(0, random.Next(0, 6)).Select(n => Random(random, $"link-{n}")).ToArray();
            var decision = choice.Decide(links, At(i * 0.3));
            var active = links.SingleOrDefault(l => l.Link == decision.Active);
            Assert.True(active is null || active.HasLane && (active.State != LinkState.Down || active.Recovering));
            Assert.Equal(active is null, !links.Any(l => l.HasLane && (l.State != LinkState.Down || l.Recovering)));
            Assert.True(active is null || active.State != LinkState.Unknown || !links.Any(l => l.HasLane && l.State == LinkState.Up));
            Assert.Equal(links.Select(l => l.Link).Order(), decision.Preferred.Concat(decision.Down).Order());
            Assert.NotEmpty(decision.Reason);
        }
    }

    private static PathCandidate Random(Random random, string name) => new(name, (LinkState)random.Next(4))
    {
        Rtt = random.Next(5) == 0 ? null : TimeSpan.FromMilliseconds(random.NextDouble() * 100),
        Jitter = TimeSpan.FromMilliseconds(random.NextDouble()),
        Loss = random.Next(3) == 0 ? random.NextDouble() : 0,
        Cost = random.Next(3) * 10,
        HasLane = random.Next(4) > 0,
        Recovering = random.Next(2) == 0,
        StateReason = "because",
    };

    [Fact]
    public void A_drained_link_is_left_at_once_and_returned_to_when_it_is_the_cheaper_one()
    {
        var choice = new PathChoice();
        choice.Decide([Up("dx", 1), Up("vpn", 20, cost: 5)], At(0));
        var decision = choice.Decide([Up("dx", 1) with { Drained = "by paris-1" }, Up("vpn", 20, cost: 5)], At(1));
        Assert.Equal(("vpn", "only link up; dx is drained by paris-1"), (decision.Active, decision.Reason));
        Assert.Equal("dx", Assert.Single(decision.Standbys));
        Assert.Empty(decision.Down);

        Assert.Equal("vpn", choice.Decide([Up("dx", 1) with { Drained = "by paris-1" }, Up("vpn", 20, cost: 5)], At(100)).Active);
        Assert.Equal("dx", choice.Decide([Up("dx", 1), Up("vpn", 20, cost: 5)], At(101)).Active);
    }

    [Fact]
    public void From_one_drained_link_to_another_there_is_no_way()
    {
        var choice = new PathChoice();
        PathCandidate[] both = [Up("dx", 1) with { Drained = "by a" }, Up("vpn", 20) with { Drained = "by b" }];
        choice.Decide([both[0], Up("vpn", 20)], At(0));
        foreach (var at in new[] { 1, 100 })
        {
            var decision = choice.Decide(both, At(at));
            Assert.Equal(("vpn", "no other link is left; vpn is drained by b"), (decision.Active, decision.Reason));
        }
    }

    [Theory]
    [InlineData(LinkState.Up, false)]
    [InlineData(LinkState.Suspect, false)]
    [InlineData(LinkState.Unknown, false)]
    [InlineData(LinkState.Down, true)]
    public void A_drained_link_ranks_below_all_that_work(LinkState other, bool recovering)
    {
        var drained = Up("dx", 1) with { Drained = "by paris-1" };
        var decision = new PathChoice().Decide([drained, Up("vpn", 90) with { State = other, Recovering = recovering }], At(0));
        Assert.Equal(("vpn", "dx"), (decision.Active, Assert.Single(decision.Standbys)));
    }

    [Fact]
    public void A_drained_link_is_used_when_nothing_else_is_left()
    {
        var drained = Up("dx", 1) with { Drained = "by virginia-1" };
        foreach (var other in new[] { Down("vpn"), Up("vpn", 5) with { HasLane = false } })
        {
            var decision = new PathChoice().Decide([drained, other], At(0));
            Assert.Equal(("dx", "no other link is left; dx is drained by virginia-1"), (decision.Active, decision.Reason));
        }

        Assert.Equal(["dx"], new PathChoice().Decide([Down("dx") with { Drained = "by paris-1", HasLane = true }], At(0)).Down.ToArray());
    }

    private static PathCandidate Via(string relay, double rtt) => Up("via:" + relay, rtt) with { Relayed = true, StateReason = "only relay" };

    [Fact]
    public void A_relay_comes_after_every_direct_link_that_works_and_before_those_that_do_not()
    {
        var suspect = Up("dx", 80) with { State = LinkState.Suspect };
        var recovering = Down("lte") with { Recovering = true, HasLane = true, Rtt = At(0.001) };
        var decision = new PathChoice().Decide([Via("rho", 1), recovering, Up("vpn", 90), suspect], At(0));
        Assert.Equal(["vpn", "dx", "via:rho", "lte"], decision.Preferred.ToArray());
        Assert.Equal("dx", new PathChoice().Decide([Via("rho", 1), suspect], At(0)).Active);
    }

    [Fact]
    public void A_relay_is_taken_when_the_last_link_is_down_and_left_when_one_is_back()
    {
        var choice = new PathChoice();
        choice.Decide([Up("dx", 10), Via("rho", 30)], At(0));
        var taken = choice.Decide([Down("dx"), Via("rho", 30)], At(1));
        Assert.Equal("via:rho", taken.Active);
        Assert.Equal("dx is down: 3 probes unanswered; via:rho leads there in 30 ms: only relay", taken.Reason);
        Assert.Equal(30, taken.Score);

        Assert.Equal(taken.Reason, choice.Decide([Down("dx"), Via("rho", 30)], At(1.5)).Reason);
        Assert.StartsWith("no link is declared; via:rho leads", new PathChoice().Decide([Via("rho", 30)], At(0)).Reason, StringComparison.Ordinal);
        var recovering = Down("dx") with { Recovering = true, HasLane = true, Rtt = At(0.01) };
        Assert.Equal("via:rho", choice.Decide([recovering, Via("rho", 30)], At(2)).Active);
        var suspect = Up("dx", 10) with { State = LinkState.Suspect, StateReason = "1 probe unanswered" };
        var stays = choice.Decide([suspect, Via("rho", 30)], At(3));
        Assert.Equal(("via:rho", "stays: via:rho 30 ms works, and dx is suspect: 1 probe unanswered"), (stays.Active, stays.Reason));
        Assert.Equal("dx", choice.Decide([Up("dx", 10), Via("rho", 30)], At(4)).Active);
    }

    [Fact]
    public void A_relay_whose_lane_ended_is_left_at_once_for_whatever_there_is()
    {
        var choice = new PathChoice();
        choice.Decide([Down("dx"), Via("rho", 30)], At(0));
        Assert.Equal("via:sigma", choice.Decide([Down("dx"), Via("rho", 30) with { HasLane = false }, Via("sigma", 90)], At(1)).Active);
        Assert.Null(choice.Decide([Down("dx")], At(2)).Active);
    }
}
