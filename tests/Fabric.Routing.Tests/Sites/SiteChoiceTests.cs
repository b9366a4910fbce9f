using System.Collections.Immutable;
using Fabric.Routing.Sites;

namespace Fabric.Routing.Tests.Sites;

public class SiteChoiceTests
{
    private static readonly SiteQuestion Question = new("web.shop", 80, "paris") { Exports = ["paris", "virginia", "tokyo"] };

    private static GatewayView Gateway(string name, string site, double score, int healthy = 2) => new(name, site)
    {
        Reachable = true,
        PathScore = score,
        CatalogAge = TimeSpan.FromSeconds(1),
        Health = new PortHealth(2, healthy),
    };

    private static IEnumerable<string> Order(SiteChoice choice) => choice.Candidates.Where(c => c.Usable).Select(c => c.Site);

    [Fact]
    public void The_own_site_is_first_while_it_has_a_healthy_endpoint()
    {
        var question = Question with { Local = new PortHealth(3, 1), Gateways = [Gateway("gw-v", "virginia", 80), Gateway("gw-t", "tokyo", 20)] };
        var choice = SiteChoice.Rank(question);
        Assert.Equal(["paris", "tokyo", "virginia"], Order(choice));
        Assert.Equal(("paris", "paris is the own site, 1 of 3 endpoints healthy"), (choice.Chosen, choice.Reason));

        choice = SiteChoice.Rank(question with { Local = new PortHealth(3, 0) });
        Assert.Equal(["tokyo", "virginia"], Order(choice));
        Assert.Equal("tokyo by gw-t, path 20 ms, 2 of 2 endpoints healthy; paris: none of 3 endpoints is healthy", choice.Reason);
    }

    [Fact]
    public void Equal_paths_keep_the_order_of_declaration()
    {
        var question = Question with { Gateways = [Gateway("gw-t", "tokyo", 20), Gateway("gw-v", "virginia", 20)] };
        Assert.Equal(["virginia", "tokyo"], Order(SiteChoice.Rank(question)));
    }

    public static TheoryData<string, string> Faults => new()
    {
        { "unreachable", "virginia: gw-v cannot be reached (dx is down)" },
        { "never heard", "virginia: nothing is known from gw-v yet" },
        { "stale", "virginia: what gw-v said is 5.1 s old, and believed for 5 s" },
        { "draining", "virginia: gw-v is draining" },
        { "no port", "virginia: gw-v exports no endpoint behind port 80" },
        { "unhealthy", "virginia: none of 2 endpoints behind gw-v is healthy" },
        { "no gateway", "virginia has no gateway" },
    };

    [Theory]
    [MemberData(nameof(Faults))]
    public void What_is_not_used_says_why(string fault, string reason)
    {
        var good = Gateway("gw-v", "virginia", 20);
        var gateway = fault switch
        {
            "unreachable" => good with { Reachable = false, PathReason = "dx is down" },
            "never heard" => good with { CatalogAge = null },
            "stale" => good with { CatalogAge = TimeSpan.FromSeconds(5.1) },
            "draining" => good with { Draining = true },
            "no port" => good with { Health = null },
            "unhealthy" => Gateway("gw-v", "virginia", 20, healthy: 0),
            _ => good with { Site = "elsewhere" },
        };
        var choice = SiteChoice.Rank(new SiteQuestion("web.shop", 80, "paris") { Exports = ["virginia"], Gateways = [gateway] });
        Assert.Null(choice.Chosen);
        Assert.Equal(reason, choice.Reason);
        Assert.False(choice.Candidates.Single().Usable);
        Assert.Empty(choice.Routes(_ => 0, new Random(1)));
    }

    [Fact]
    public void A_service_is_lost_when_its_last_site_is()
    {
        SiteChoice? choice = null;
        TimeSpan? LostAt(double seconds, bool reachable)
        {
            choice = SiteChoice.Rank(new SiteQuestion("web.shop", 80, "paris")
            {
                Exports = ["virginia"],
                Gateways = [Gateway("gw-v", "virginia", 20) with { Reachable = reachable }],
                Before = choice,
                Now = TimeSpan.FromSeconds(seconds),
            });
            return choice.LostAt;
        }

        // What never had a site has lost none.
        Assert.Null(LostAt(1, false));
        Assert.Null(LostAt(2, true));
        Assert.Equal(TimeSpan.FromSeconds(3), LostAt(3, false));
        Assert.Equal(TimeSpan.FromSeconds(3), LostAt(4, false));
        Assert.Null(LostAt(5, true));
        Assert.Equal(TimeSpan.FromSeconds(6), LostAt(6, false));
    }

    [Fact]
    public void A_service_that_nobody_exports_says_so() =>
        Assert.Equal("no site exports web.shop", SiteChoice.Rank(new SiteQuestion("web.shop", 80, "paris")).Reason);

    [Fact]
    public void Near_gateways_share_the_load_and_far_ones_come_after()
    {
        var question = new SiteQuestion("web.shop", 80, "paris")
        {
            Exports = ["virginia"],
            Gateways = [Gateway("far", "virginia", 90), Gateway("v1", "virginia", 20), Gateway("v2", "virginia", 21.9), Gateway("v3", "virginia", 20.5)],
        };
        var choice = SiteChoice.Rank(question);
        Assert.Equal(["v1", "v3", "v2"], choice.Candidates[0].Near.ToArray());
        Assert.Equal(["far"], choice.Candidates[0].Far.ToArray());

        // Sequential arrivals that never end: the loads stay within a few of each other, and nobody is left out.
        var load = new Dictionary<string, int> { ["v1"] = 0, ["v2"] = 0, ["v3"] = 0, ["far"] = 0 };
        var random = new Random(7);
        for (var i = 0; i < 3_000; i++)
        {
            var routes = choice.Routes(g => load[g], random);
            Assert.Equal(4, routes.Select(r => r.Gateway).Distinct().Count());
            Assert.Equal("far", routes[^1].Gateway);
            load[routes[0].Gateway!]++;
        }

        Assert.Equal(0, load["far"]);
        Assert.InRange(load["v1"] - load["v2"], -15, 15);
        Assert.InRange(load["v1"] - load["v3"], -15, 15);
    }

    [Fact]
    public void The_same_seed_gives_the_same_routes()
    {
        var choice = SiteChoice.Rank(Question with
        {
            Local = new PortHealth(1, 1),
            Gateways = [.. Enumerable.Range(0, 9).Select(i => Gateway($"v{i}", "virginia", 20))],
        });
        ImmutableArray<SiteRoute>[] Draw(int seed)
        {
            var random = new Random(seed);
            return [.. Enumerable.Range(0, 20).Select(_ => choice.Routes(_ => 0, random))];
        }

        Assert.Equal(Draw(3).SelectMany(r => r), Draw(3).SelectMany(r => r));
        Assert.NotEqual(Draw(3).SelectMany(r => r), Draw(4).SelectMany(r => r));
        Assert.All(Draw(3), r => Assert.Equal(new SiteRoute("paris", null), r[0]));
    }

    [Fact]
    public void Whatever_is_known_a_route_leads_only_to_what_is_fresh_reachable_and_healthy()
    {
        var random = new Random(8);
        for (var round = 0; round < 2_000; round++)
        {
            ImmutableArray<GatewayView> gateways = [.. Enumerable.Range(0, random.Next(0, 8)).Select(i =>
                new GatewayView($"gw-{i}", random.Next(2) == 0 ? "virginia" : "tokyo")
                {
                    Reachable = random.Next(4) > 0,
                    PathScore = random.Next(4) == 0 ? null : random.NextDouble() * 50,
                    CatalogAge = random.Next(4) == 0 ? null : TimeSpan.FromSeconds(random.Next(0, 8)),
                    Draining = random.Next(4) == 0,
                    Health = random.Next(4) == 0 ? null : new PortHealth(2, random.Next(0, 3)),
                })];
            var question = Question with { Gateways = gateways, Local = random.Next(2) == 0 ? null : new PortHealth(1, random.Next(0, 2)) };
            var choice = SiteChoice.Rank(question);
            var routes = choice.Routes(g => g.Length, random);
            Assert.Equal(3, choice.Candidates.Length);
            Assert.Equal(choice.Chosen, routes.IsEmpty ? null : routes[0].Site);
            Assert.All(choice.Candidates, c => Assert.NotEmpty(c.Reason));
            var expected = gateways.Where(g => g is { Reachable: true, Draining: false, Health.Healthy: > 0 }
                && g.CatalogAge <= question.StaleAfter).Select(g => g.Gateway).Order();
            Assert.Equal(expected, routes.Where(r => r.Gateway is not null).Select(r => r.Gateway!).Order());
        }
    }
}
