using Fabric.Gateway.Hosting;
using Fabric.Testing;

namespace Fabric.Gateway.Tests.Hosting;

/// <summary>Memory is given back once, after a load, and never in the middle of one.</summary>
public sealed class IdleCollectorTests
{
    [Fact]
    public void A_load_is_followed_by_one_collection_when_it_is_over()
    {
        var time = new ManualTime();
        var (allocated, collected) = (0L, 0);
        using var collector = new IdleCollector(time, () => 0, () => allocated, () => collected++, () => { });
        for (var i = 0; i < 5; i++)
        {
            allocated += IdleCollector.Much;
            time.Advance(IdleCollector.Period);
        }

        Assert.Equal(0, collected);
        allocated += IdleCollector.Little - 1;
        time.Advance(IdleCollector.Period);
        Assert.Equal(1, collected);
        for (var i = 0; i < IdleCollector.Much / IdleCollector.Little; i++)
        {
            allocated += IdleCollector.Little - 1;
            time.Advance(IdleCollector.Period);
        }

        Assert.Equal(1, collected);
        allocated += IdleCollector.Little - 1;
        time.Advance(IdleCollector.Period);
        Assert.Equal(2, collected);
    }

    [Fact]
    public void What_the_start_left_is_collected_when_the_start_is_over()
    {
        var time = new ManualTime();
        var (allocated, collected) = (5L, 0);
        using var collector = new IdleCollector(time, () => 0, () => allocated, () => collected++, () => { });
        allocated += IdleCollector.Little;
        time.Advance(IdleCollector.Period);
        Assert.Equal(0, collected);
        time.Advance(10 * IdleCollector.Period);
        Assert.Equal(1, collected);
    }

    [Fact]
    public void Streams_that_carry_something_are_not_stopped_for_it()
    {
        var time = new ManualTime();
        var (carried, allocated, collected) = (0L, 0L, 0);
        using var collector = new IdleCollector(time, () => carried, () => allocated, () => collected++, () => { });
        allocated += IdleCollector.Much;
        time.Advance(IdleCollector.Period);
        for (var i = 0; i < 5; i++)
        {
            carried += IdleCollector.Nothing;
            time.Advance(IdleCollector.Period);
        }

        Assert.Equal(0, collected);
        carried += IdleCollector.Nothing - 1;
        time.Advance(IdleCollector.Period);
        Assert.Equal(1, collected);
    }

    [Fact]
    public void What_a_load_s_end_used_is_let_go_of_again_ever_more_rarely()
    {
        var time = new ManualTime();
        var (allocated, carried, collected) = (0L, 0L, 0);
        var again = new List<int>();
        var period = 0;
        using var collector = new IdleCollector(time, () => carried, () => allocated, () => (collected, period) = (collected + 1, 0), () => again.Add(period));
        void Quiet(int periods)
        {
            for (var i = 0; i < periods; i++)
            {
                period++;
                time.Advance(IdleCollector.Period);
            }
        }

        Quiet(1 + 1 + 2 + 4 + 8 + 16 + 32 + 32);
        Assert.Equal(1, collected);
        Assert.Equal([1, 3, 7, 15, 31, 63, 95], again);

        // Not while something is carried.
        again.Clear();
        for (var i = 0; i < 2 * IdleCollector.Longest; i++)
        {
            carried += IdleCollector.Nothing;
            Quiet(1);
        }

        Assert.Empty(again);

        // The next load's end begins anew.
        allocated += IdleCollector.Much;
        Quiet(1 + 1 + 1 + 2);
        Assert.Equal(2, collected);
        Assert.Equal([1, 3], again);
    }
}
