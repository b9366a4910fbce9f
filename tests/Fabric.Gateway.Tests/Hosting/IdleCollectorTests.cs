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
        using var collector = new IdleCollector(time, () => 0, () => allocated, () => collected++);
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
        using var collector = new IdleCollector(time, () => 0, () => allocated, () => collected++);
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
        using var collector = new IdleCollector(time, () => carried, () => allocated, () => collected++);
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

    /// <summary>What is let go of at a collection is what was seen in an earlier period; nothing is looked at while the gateway starts, or carries something.</summary>
    [Fact]
    public void It_looks_once_in_a_quiet_period_before_it_collects()
    {
        var time = new ManualTime();
        var (allocated, carried, done) = (0L, 0L, "");
        using var collector = new IdleCollector(time, () => carried, () => allocated, () => done += " collected", () => done += " looked");
        Assert.Equal("", done);

        carried += IdleCollector.Nothing;
        time.Advance(IdleCollector.Period);
        Assert.Equal("", done);
        time.Advance(IdleCollector.Period);
        Assert.Equal(" looked", done);
        time.Advance(IdleCollector.Period);
        Assert.Equal(" looked collected", done);
        allocated += IdleCollector.Much;
        time.Advance(2 * IdleCollector.Period);
        Assert.Equal(" looked collected collected", done);
    }
}
