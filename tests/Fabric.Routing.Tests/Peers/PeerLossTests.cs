using Fabric.Routing.Peers;

namespace Fabric.Routing.Tests.Peers;

/// <summary>The last lane ended at 100 s; the grace is 30 s, and 5 s while the site is reached.</summary>
public class PeerLossTests
{
    private static readonly TimeSpan Alone = At(100);
    private readonly PeerLoss _loss = new(new PeerLossOptions());

    private static TimeSpan At(double seconds) => TimeSpan.FromSeconds(seconds);

    private void Refused(string link, params double[] seconds)
    {
        foreach (var at in seconds)
        {
            _loss.Refused(link, At(at));
        }
    }

    [Fact]
    public void Silence_is_given_the_grace() => Assert.Equal(new PeerVerdict(At(30), "no lane for 30 s"), _loss.Decide(Alone));

    [Fact]
    public void Silence_is_given_less_while_the_site_is_reached_otherwise()
    {
        _loss.SiteReachable = true;
        Assert.Equal(new PeerVerdict(At(5), "no lane for 5 s, while other gateways of its site are reached"), _loss.Decide(Alone));
        Assert.Equal(At(1), new PeerLoss(new PeerLossOptions { Grace = At(1) }) { SiteReachable = true }.Decide(Alone).Keep);
    }

    [Fact]
    public void Goodbye_needs_no_proof()
    {
        _loss.SaidGoodbye = true;
        Assert.Equal(new PeerVerdict(TimeSpan.Zero, "the gateway stopped"), _loss.Decide(Alone));
        _loss.Reached("dx");
        Assert.Equal(At(30), _loss.Decide(Alone).Keep);
    }

    [Fact]
    public void A_port_that_refuses_for_half_a_second_is_nobodys()
    {
        Refused("dx", 100.1, 100.35);
        Assert.Equal(At(30), _loss.Decide(Alone).Keep);
        Refused("dx", 100.6);
        Assert.Equal(new PeerVerdict(TimeSpan.Zero, "the gateway is gone: its port is closed over dx"), _loss.Decide(Alone));
    }

    [Fact]
    public void Every_link_that_answers_has_to_say_so()
    {
        Refused("dx", 100.1, 100.7);
        Refused("vpn", 100.4);
        Assert.Equal(At(30), _loss.Decide(Alone).Keep);
        Refused("vpn", 100.9);
        Assert.Equal("the gateway is gone: its port is closed over dx and vpn", _loss.Decide(Alone).Reason);

        _loss.Accepted("vpn", At(101));
        Assert.Equal(At(30), _loss.Decide(Alone).Keep);
        _loss.Silent("vpn");
        Assert.Equal(TimeSpan.Zero, _loss.Decide(Alone).Keep);
    }

    [Fact]
    public void An_answer_in_between_begins_the_refusals_anew()
    {
        Refused("dx", 100.1, 100.4);
        _loss.Accepted("dx", At(100.5));
        Refused("dx", 100.6, 101);
        Assert.Equal(At(30), _loss.Decide(Alone).Keep);
        _loss.Silent("dx");
        Refused("dx", 101.2, 101.5);
        Assert.Equal(At(30), _loss.Decide(Alone).Keep);
        Refused("dx", 101.7);
        Assert.Equal(TimeSpan.Zero, _loss.Decide(Alone).Keep);
    }

    [Fact]
    public void A_link_that_always_refused_is_no_witness()
    {
        Refused("dx", 10, 15, 20, 100.1, 105);
        Assert.Equal(At(30), _loss.Decide(Alone).Keep);

        // Nor after another link had a lane for a while.
        _loss.Reached("vpn");
        Refused("dx", 110, 115);
        Assert.Equal(At(30), _loss.Decide(At(112)).Keep);
        Refused("vpn", 112.1, 112.7);
        Assert.Equal("the gateway is gone: its port is closed over vpn", _loss.Decide(At(112)).Reason);
    }

    [Fact]
    public void Refusals_from_before_the_last_lane_ended_count_only_with_one_after_it()
    {
        Refused("dx", 99, 99.9);
        Assert.Equal(At(30), _loss.Decide(Alone).Keep);
        Refused("dx", 100.1);
        Assert.Equal(TimeSpan.Zero, _loss.Decide(Alone).Keep);
    }
}
