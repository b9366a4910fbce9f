namespace Fabric.Lab.Soak;

public sealed class GrowthTests
{
    [Fact]
    public void Growth_is_the_last_quarter_against_the_second()
    {
        var growth = new Growth("gateway");
        for (var i = 0; i < 40; i++)
        {
            // The first quarter warms up; one sample in each is of a moment that is like no other.
            growth.Add(i % 10 == 5 ? new Holding(9e9, 9e9, 9e9) : i < 10 ? new Holding(1, 1, 1) : new Holding(100 + i / 10, 200, 50 + i / 10));
        }

        Assert.Equal((103.0 / 101, 1, 2), (growth.OfResident, growth.OfPrivate, growth.OfDescriptors));
        Assert.Equal(5, growth.Lines().Count());
    }

    [Fact]
    public void A_process_holds_something() =>
        Assert.True(Holding.Of(Environment.ProcessId) is { Resident: > 1_000, Private: > 1_000, Descriptors: > 3 } holding && holding.Private <= holding.Resident);
}
