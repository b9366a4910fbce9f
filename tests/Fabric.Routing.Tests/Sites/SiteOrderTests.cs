using Fabric.Routing.Sites;

namespace Fabric.Routing.Tests.Sites;

public class SiteOrderTests
{
    [Fact]
    public void The_own_site_comes_first_then_the_nearest() =>
        Assert.Equal(["paris", "virginia", "tokyo", "mars"], Follow([], ("mars", double.PositiveInfinity), ("tokyo", 200), ("virginia", 80), ("paris", 0)));

    [Theory]
    [InlineData(80, 79, "virginia tokyo")]
    [InlineData(80, 73, "virginia tokyo")]
    [InlineData(80, 71, "tokyo virginia")]
    [InlineData(4, 3, "virginia tokyo")]
    [InlineData(4, 1.9, "tokyo virginia")]
    [InlineData(double.PositiveInfinity, double.PositiveInfinity, "virginia tokyo")]
    [InlineData(double.PositiveInfinity, 500, "tokyo virginia")]
    public void One_overtakes_another_only_by_2_ms_and_10_percent(double virginia, double tokyo, string order) =>
        Assert.Equal(order.Split(' '), Follow(["virginia", "tokyo"], ("tokyo", tokyo), ("virginia", virginia)));

    [Fact]
    public void A_site_that_was_away_comes_back_behind_those_that_are_as_near()
    {
        Assert.Equal(["virginia"], Follow(["virginia", "tokyo"], ("virginia", 80)));
        Assert.Equal(["virginia", "tokyo", "lima"], Follow(["virginia", "lima"], ("tokyo", 79), ("lima", 200), ("virginia", 80)));
    }

    [Fact]
    public void Any_scores_end_in_an_order_that_stays()
    {
        var random = new Random(3);
        string[] order = [];
        for (var turn = 0; turn < 1_000; turn++)
        {
            (string, double)[] sites =
                [.. Enumerable.Range(0, random.Next(9)).Select(i => ($"s{i}", random.Next(10) == 0 ? double.PositiveInfinity : random.NextDouble() * 30))];
            order = Follow(order, sites);
            Assert.Equal(sites.Select(s => s.Item1).Order(), order.Order());
            Assert.Equal(order, Follow(order, sites));
        }
    }

    private static string[] Follow(string[] before, params (string Site, double Score)[] sites) =>
        [.. SiteOrder.Follow([.. before], [.. sites.Select(s => new SiteCandidate(s.Site, true, s.Site == "paris", [], [], s.Score, 1, 1, ""))])];
}
