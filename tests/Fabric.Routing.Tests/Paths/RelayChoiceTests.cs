using Fabric.Routing.Paths;

namespace Fabric.Routing.Tests.Paths;

public class RelayChoiceTests
{
    private static RelayCandidate Relay(string name, double ms, bool lane = false, string error = "") => new(name)
    {
        Rtt = TimeSpan.FromMilliseconds(ms),
        Score = ms,
        HasLane = lane,
        LaneError = error,
    };

    private static RelayCandidate Useless(string name, string why, bool lane = false) => new(name) { Unusable = why, HasLane = lane };

    private static TimeSpan At(double seconds) => TimeSpan.FromSeconds(seconds);

    [Fact]
    public void The_lowest_sum_of_both_legs_is_chosen()
    {
        var decision = new RelayChoice().Decide(0, [Relay("rho", 30), Relay("sigma", 12.5), Useless("tau", "it is draining")], At(0));
        Assert.Equal(("sigma", 12.5, true), (decision.Relay, decision.Score!.Value, decision.Changed));
        Assert.Equal(TimeSpan.FromMilliseconds(12.5), decision.Rtt);
        Assert.Equal(["sigma"], decision.Keep.ToArray());
        Assert.Equal("lowest sum of both legs 12.5 ms; rho 30 ms", decision.Reason);
    }

    [Theory]
    [InlineData(0, true)]
    [InlineData(1, true)]
    [InlineData(2, false)]
    [InlineData(3, false)]
    public void It_is_prepared_while_one_failure_could_leave_the_peer_without_a_link(int up, bool prepared)
    {
        var decision = new RelayChoice().Decide(up, [Relay("rho", 30)], At(0));
        Assert.Equal(prepared, decision.Relay is not null);
        Assert.Equal(prepared ? "only relay" : $"{up} direct links are up", decision.Reason);
    }

    [Fact]
    public void It_is_let_go_of_when_two_links_have_been_up_for_a_while()
    {
        var choice = new RelayChoice();
        Assert.Equal("rho", choice.Decide(1, [Relay("rho", 30)], At(0)).Relay);
        Assert.Equal("rho", choice.Decide(2, [Relay("rho", 30, lane: true)], At(10)).Relay);
        Assert.Equal("rho", choice.Decide(1, [Relay("rho", 30, lane: true)], At(39)).Relay);
        Assert.Equal("rho", choice.Decide(2, [Relay("rho", 30, lane: true)], At(41)).Relay);
        Assert.Equal("rho", choice.Decide(2, [Relay("rho", 30, lane: true)], At(70.9)).Relay);
        var gone = choice.Decide(2, [Relay("rho", 30, lane: true)], At(71));
        Assert.Equal((null, true), (gone.Relay, gone.Changed));
        Assert.Empty(gone.Keep);
    }

    [Theory]
    [InlineData(20, 18.5, false)]
    [InlineData(100, 95, false)]
    [InlineData(20, 17.9, true)]
    public void It_stays_unless_another_is_better_by_ten_percent_and_two_milliseconds_for_ten_seconds(double current, double other, bool moves)
    {
        var choice = new RelayChoice();
        choice.Decide(0, [Relay("rho", current)], At(0));
        var candidates = new[] { Relay("rho", current, lane: true), Relay("sigma", other) };
        Assert.Equal("rho", choice.Decide(0, candidates, At(1)).Relay);
        Assert.Equal("rho", choice.Decide(0, candidates, At(10.9)).Relay);
        Assert.Equal(moves ? "sigma" : "rho", choice.Decide(0, candidates, At(11)).Relay);
    }

    [Fact]
    public void A_break_begins_the_ten_seconds_anew()
    {
        var choice = new RelayChoice();
        choice.Decide(0, [Relay("rho", 30)], At(0));
        choice.Decide(0, [Relay("rho", 30, lane: true), Relay("sigma", 10)], At(1));
        choice.Decide(0, [Relay("rho", 30, lane: true), Relay("sigma", 29)], At(9));
        choice.Decide(0, [Relay("rho", 30, lane: true), Relay("sigma", 10)], At(10));
        Assert.Equal("rho", choice.Decide(0, [Relay("rho", 30, lane: true), Relay("sigma", 10)], At(19)).Relay);
        Assert.Equal("sigma", choice.Decide(0, [Relay("rho", 30, lane: true), Relay("sigma", 10)], At(20)).Relay);
    }

    [Fact]
    public void The_one_before_is_kept_until_its_successor_has_a_lane()
    {
        var choice = new RelayChoice();
        choice.Decide(0, [Relay("rho", 30)], At(0));
        var draining = Useless("rho", "it is draining", lane: true);
        Assert.Equal(["sigma", "rho"], choice.Decide(0, [draining, Relay("sigma", 40)], At(1)).Keep.ToArray());
        Assert.Equal(["sigma", "rho"], choice.Decide(0, [draining, Relay("sigma", 40)], At(2)).Keep.ToArray());
        Assert.Equal(["sigma"], choice.Decide(0, [draining, Relay("sigma", 40, lane: true)], At(3)).Keep.ToArray());
        Assert.Equal(["sigma"], choice.Decide(0, [draining, Relay("sigma", 40)], At(4)).Keep.ToArray());
    }

    [Fact]
    public void A_lane_that_works_is_not_given_up_for_what_a_catalog_says()
    {
        var choice = new RelayChoice();
        choice.Decide(0, [Relay("rho", 30)], At(0));
        var decision = choice.Decide(0, [Useless("rho", "what it said is 7 s old", lane: true)], At(1));
        Assert.Equal(("rho", "only relay left, though what it said is 7 s old"), (decision.Relay, decision.Reason));
    }

    [Fact]
    public void A_relay_that_refuses_or_does_not_answer_is_the_last_choice_for_a_while()
    {
        var choice = new RelayChoice();
        choice.Decide(0, [Relay("rho", 10), Relay("sigma", 40)], At(0));
        Assert.Equal("sigma", choice.Decide(0, [Relay("rho", 10, error: "refused"), Relay("sigma", 40)], At(1)).Relay);
        Assert.Equal("sigma", choice.Decide(0, [Relay("rho", 10), Relay("sigma", 40)], At(5.9)).Relay);
        // Both failed: the better one, which is tried until one serves.
        Assert.Equal("rho", choice.Decide(0, [Relay("rho", 10), Relay("sigma", 40)], At(6)).Relay);
        Assert.Equal("only relay left, though it failed lately", choice.Decide(0, [Relay("rho", 10), Relay("sigma", 40)], At(7)).Reason);
        Assert.Equal("sigma", choice.Decide(0, [Relay("rho", 10), Relay("sigma", 40, lane: true)], At(8)).Relay);
    }

    [Fact]
    public void What_failed_is_tried_again_after_a_while()
    {
        var choice = new RelayChoice();
        choice.Decide(0, [Relay("rho", 10), Relay("sigma", 40)], At(0));
        choice.Decide(0, [Relay("rho", 10, error: "refused"), Relay("sigma", 40)], At(1));
        RelayCandidate[] later = [Relay("rho", 10), Relay("sigma", 40, lane: true)];
        Assert.Equal("sigma", choice.Decide(0, later, At(30.9)).Relay);
        Assert.Equal("sigma", choice.Decide(0, later, At(31)).Relay);
        Assert.Equal("rho", choice.Decide(0, later, At(41)).Relay);
    }

    [Fact]
    public void Without_one_that_serves_it_says_why()
    {
        Assert.Equal("no gateway has a link to both", new RelayChoice().Decide(0, [], At(0)).Reason);
        Assert.Equal("rho does not serve: it is draining; sigma does not serve: it does not reach gamma", new RelayChoice().Decide(
            0, [Useless("rho", "it is draining"), Useless("sigma", "it does not reach gamma")], At(0)).Reason);
    }

    [Fact]
    public void Neighbours_are_told_at_once_and_figures_when_they_moved()
    {
        static Neighbour Near(string name, double? ms) => new(name, ms is { } m ? TimeSpan.FromMilliseconds(m) : null, ms);
        var report = new NeighbourReport();
        Assert.True(report.Update([Near("b", 100), Near("a", 3)]));
        Assert.Equal(["a", "b"], report.Told.Select(n => n.Gateway));
        var told = report.Told;

        Assert.False(report.Update([Near("b", 104.9), Near("a", 3.9)]));
        Assert.True(told == report.Told);
        Assert.False(report.Update([Near("b", 105.1), Near("a", 3.9)]));
        Assert.Equal([Near("a", 3), Near("b", 105.1)], report.Told.ToArray());
        Assert.False(report.Update([Near("b", 105.1), Near("a", null)]));
        Assert.Null(report.Told[0].Score);
        Assert.True(report.Update([Near("b", 105.1)]));
        Assert.Equal(["b"], report.Told.Select(n => n.Gateway));
    }
}
