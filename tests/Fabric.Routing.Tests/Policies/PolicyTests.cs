using System.Net;
using Fabric.Routing.Policies;
using Fabric.Topology.Model;

namespace Fabric.Routing.Tests.Policies;

public class PolicyTests
{
    private const string Shop = "spiffe://acme.example/site/paris/workload/shop";

    private static FabricTopology With(params Policy[] policies) =>
        new() { TrustDomain = "acme.example", Revision = "0", Policies = [.. policies] };

    private static Policy Allow(string name, string from, string to, params int[] ports) =>
        new(name, PolicyAction.Allow, [from], [to]) { Ports = [.. ports] };

    private static Policy Deny(string name, string from, string to, params int[] ports) =>
        new(name, PolicyAction.Deny, [from], [to]) { Ports = [.. ports] };

    [Fact]
    public void Nothing_is_allowed_that_no_policy_allows()
    {
        var verdict = new PolicyEvaluator(With()).Evaluate("paris", "spiffe://acme.example/site/paris/workload/intruder", "web.shop", 80);
        Assert.False(verdict.Allowed);
        Assert.Null(verdict.RuleName);
        Assert.Equal("no policy allows spiffe://acme.example/site/paris/workload/intruder to call web.shop:80", verdict.Reason);
    }

    [Fact]
    public void The_deciding_policy_is_named()
    {
        var policies = new PolicyEvaluator(With(Allow("shops", "site/paris/workload/shop", "web.shop"), Deny("no-admin", "site/paris/*", "web.shop", 9000)));
        var (allowed, denied) = (policies.Evaluate("paris", Shop, "web.shop", 80), policies.Evaluate("paris", Shop, "web.shop", 9000));
        Assert.Equal(
            (true, "shops", $"policy shops allows {Shop} to call web.shop:80"), (allowed.Allowed, allowed.RuleName, allowed.Reason));
        Assert.Equal(
            (false, "no-admin", $"policy no-admin denies {Shop} to call web.shop:9000"), (denied.Allowed, denied.RuleName, denied.Reason));
    }

    [Fact]
    public void Of_policies_that_decide_alike_the_nearest_is_named()
    {
        Policy[] policies =
        [
            Allow("namespace", "site/paris/workload/shop", "*.shop"), Allow("site", "site/paris/*", "web.shop"),
            Allow("workloads", "site/paris/workload/*", "web.shop"), Allow("exact", "site/paris/workload/shop", "web.shop"),
            Allow("port", "site/paris/workload/shop", "web.shop", 80), Allow("later", "site/paris/workload/shop", "web.shop", 80),
        ];
        foreach (var nearest in new[] { "port", "later", "exact", "workloads", "site", "namespace" })
        {
            Assert.Equal(nearest, new PolicyEvaluator(With(policies)).Evaluate("paris", Shop, "web.shop", 80).RuleName);
            policies = [.. policies.Where(p => p.Name != nearest)];
        }
    }

    [Fact]
    public void A_name_of_a_service_may_be_as_long_as_dns_allows()
    {
        var service = $"{new string('w', 63)}.{new string('s', 63)}";
        Assert.True(new PolicyEvaluator(With(Allow("p", "site/*", service))).Evaluate("paris", Shop, service, 80).Allowed);
    }

    [Theory]
    [InlineData("", "deny:site/paris/*", false, null)] // denied by default already
    [InlineData("", "allow:site/paris/*", false, "s0")]
    [InlineData("", "allow:site/paris/* deny:site/*", false, null)] // the two together would deny
    [InlineData("allow:site/*", "deny:site/paris/*", true, "s0")]
    [InlineData("allow:site/*", "deny:site/tokyo/*", true, null)]
    [InlineData("allow:site/*", "allow:site/paris/*", true, null)]
    [InlineData("deny:site/*", "allow:site/paris/*", false, null)]
    public void A_shadow_policy_decides_nothing_and_is_named_where_it_would(string inForce, string shadow, bool allowed, string? named)
    {
        IEnumerable<Policy> Policies(string text, string name, PolicyMode mode) => text.Split(' ', StringSplitOptions.RemoveEmptyEntries).Select((p, i) =>
            new Policy($"{name}{i}", p.StartsWith("allow", StringComparison.Ordinal) ? PolicyAction.Allow : PolicyAction.Deny, [p.Split(':')[1]], ["web.shop"]) { Mode = mode });
        var verdict = new PolicyEvaluator(With([.. Policies(shadow, "s", PolicyMode.Shadow), .. Policies(inForce, "p", PolicyMode.Enforce)]))
            .Evaluate("paris", Shop, "web.shop", 80);
        Assert.Equal((allowed, inForce.Length > 0 ? "p0" : null, named), (verdict.Allowed, verdict.RuleName, verdict.Shadow));
    }

    [Fact]
    public void An_allowed_call_allocates_nothing_and_a_long_caller_costs_no_more_than_a_short_one()
    {
        var policies = new PolicyEvaluator(With([.. Enumerable.Range(0, 1_000).Select(i =>
            Allow($"p{i}", $"site/paris/workload/w{i}", i % 2 == 0 ? "web.shop" : "*.shop", 80 + (i % 3))), Allow("all", "site/paris/*", "*.shop")]));
        var longest = $"{Shop}{string.Concat(Enumerable.Repeat("/a", 900))}";
        Assert.True(policies.Evaluate("paris", Shop, "web.shop", 80).Allowed && policies.Evaluate("paris", longest, "web.shop", 80).Allowed);
        var before = GC.GetAllocatedBytesForCurrentThread();
        for (var i = 0; i < 1_000; i++)
        {
            policies.Evaluate("paris", Shop, "web.shop", 80);
            policies.Evaluate("paris", longest, "web.shop", 80);
        }

        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
    }

    [Theory]
    [InlineData("site/paris/workload/shop", "web.shop", true)]
    [InlineData("site/paris/*", "web.shop", true)]
    [InlineData("site/*", "*.shop", true)]
    [InlineData("site/paris/workload/*", "*.shop", true)]
    [InlineData("site/par/*", "web.shop", false)]
    [InlineData("site/paris/workload/sho", "web.shop", false)]
    [InlineData("site/paris/workload/shop/*", "web.shop", false)] // below it, not itself
    [InlineData("site/paris/workload/Shop", "web.shop", false)]
    [InlineData("site/paris", "web.shop", false)]
    [InlineData("site/paris/*", "*.hop", false)]
    [InlineData("site/paris/*", "web.sho", false)]
    [InlineData("site/paris/*", "xweb.shop", false)]
    public void Patterns_hold_whole_segments(string from, string to, bool allowed) =>
        Assert.Equal(allowed, new PolicyEvaluator(With(Allow("p", from, to))).Evaluate("paris", Shop, "web.shop", 80).Allowed);

    [Fact]
    public void A_site_whose_name_begins_like_another_is_another()
    {
        var policies = new PolicyEvaluator(With(Allow("p", "site/paris/*", "web.shop")));
        Assert.False(policies.Evaluate("paris-2", "spiffe://acme.example/site/paris-2/workload/shop", "web.shop", 80).Allowed);
    }

    [Theory]
    [InlineData("spiffe://evil.example/site/paris/workload/shop", "is of trust domain evil.example, not acme.example")]
    [InlineData("spiffe://acme.example/site/tokyo/workload/shop", "a gateway of site paris may not vouch for")]
    [InlineData("spiffe://acme.example/other/path", "a gateway of site paris may not vouch for")]
    [InlineData("spiffe://acme.example/site/paris", "a gateway of site paris may not vouch for")]
    [InlineData("spiffe://acme.example/site/paris/../paris/workload/shop", "is not a SPIFFE ID")]
    [InlineData("spiffe://acme.example/site/paris//workload/shop", "is not a SPIFFE ID")]
    [InlineData("spiffe://acme.example/site/paris/workload/shop/", "is not a SPIFFE ID")]
    [InlineData("spiffe://acme.example/site/paris/workload/sh%6fp", "is not a SPIFFE ID")]
    [InlineData("spiffe://acme.example/site/paris/workload/shop?x", "is not a SPIFFE ID")]
    [InlineData("spiffe://acme.example:1/site/paris/workload/shop", "is not a SPIFFE ID")]
    [InlineData("spiffe://ACME.example/site/paris/workload/shop", "is not a SPIFFE ID")]
    [InlineData("SPIFFE://acme.example/site/paris/workload/shop", "is not a SPIFFE ID")]
    [InlineData("https://acme.example/site/paris/workload/shop", "is not a SPIFFE ID")]
    [InlineData("spiffe://acme.example", "is not a SPIFFE ID")]
    [InlineData("spiffe:///site/paris/workload/shop", "is not a SPIFFE ID")]
    [InlineData("", "is not a SPIFFE ID")]
    public void Callers_that_are_not_what_they_should_be_are_denied_before_any_policy(string caller, string reason)
    {
        var verdict = new PolicyEvaluator(With(Allow("all", "site/*", "*.shop"))).Evaluate("paris", caller, "web.shop", 80);
        Assert.False(verdict.Allowed);
        Assert.Null(verdict.RuleName);
        Assert.Contains(reason, verdict.Reason);
    }

    [Theory]
    [InlineData("shop")]
    [InlineData(".shop")]
    [InlineData("")]
    [InlineData("web.shop\nallowed")]
    public void What_is_not_the_name_of_a_service_is_denied(string service)
    {
        var verdict = new PolicyEvaluator(With(Allow("all", "site/*", "*.shop"))).Evaluate("paris", Shop, service, 80);
        Assert.False(verdict.Allowed);
        Assert.EndsWith("is not the name of a service (name.namespace)", verdict.Reason);
        Assert.DoesNotContain('\n', verdict.Reason);
    }

    [Fact]
    public void A_reason_for_the_log_cannot_be_forged_by_the_caller()
    {
        var verdict = new PolicyEvaluator(With()).Evaluate("paris", "x\" allowed\r\n" + new string('y', 5_000), "web.shop", 80);
        Assert.True(verdict.Reason.Length < 200);
        Assert.DoesNotContain('\n', verdict.Reason);
    }

    [Theory]
    [InlineData("*", "web.shop")]
    [InlineData("site//x", "web.shop")]
    [InlineData("site/*/workload/shop", "web.shop")]
    [InlineData("/site/paris/*", "web.shop")]
    [InlineData("spiffe://acme.example/site/paris/*", "web.shop")]
    [InlineData("site/paris/*", "*")]
    [InlineData("site/paris/*", "web.*")]
    [InlineData("site/paris/*", "*.")]
    public void A_pattern_that_is_none_is_refused_and_not_guessed(string from, string to)
    {
        var error = Assert.Throws<ArgumentException>(() => new PolicyEvaluator(With(Allow("odd", from, to))));
        Assert.StartsWith("policy odd: ", error.Message);
    }

    [Fact]
    public void Whatever_the_order_deny_wins_and_the_verdict_is_that_of_the_definition()
    {
        var random = new Random(10);
        string[] froms = ["site/paris/*", "site/paris/workload/shop", "site/tokyo/*", "site/*", "site/paris/workload/*", "site/paris/workload/other"];
        string[] tos = ["web.shop", "*.shop", "api.shop", "db.data", "*.data"];
        for (var round = 0; round < 2_000; round++)
        {
            var rules = Enumerable.Range(0, random.Next(0, 6)).Select(i => new Policy(
                $"p{i}",
                random.Next(3) == 0 ? PolicyAction.Deny : PolicyAction.Allow,
                [froms[random.Next(froms.Length)], froms[random.Next(froms.Length)]],
                [tos[random.Next(tos.Length)]])
            {
                Ports = random.Next(2) == 0 ? [] : [80 + random.Next(2)],
            }).ToArray();

            bool Covers(Policy p) => (p.Ports.IsEmpty || p.Ports.Contains(80))
                && p.To.Any(t => t is "web.shop" or "*.shop")
                && p.From.Any(f => f is "site/paris/*" or "site/paris/workload/shop" or "site/*" or "site/paris/workload/*");
            var expected = rules.Any(p => Covers(p) && p.Action == PolicyAction.Allow)
                && !rules.Any(p => Covers(p) && p.Action == PolicyAction.Deny);

            Assert.Equal(expected, new PolicyEvaluator(With(rules)).Evaluate("paris", Shop, "web.shop", 80).Allowed);
            random.Shuffle(rules);
            var verdict = new PolicyEvaluator(With(rules)).Evaluate("paris", Shop, "web.shop", 80);
            Assert.Equal(expected, verdict.Allowed);
            Assert.True(verdict.RuleName is null || Covers(rules.Single(p => p.Name == verdict.RuleName)));
        }
    }

    [Fact]
    public void Random_callers_are_never_allowed_and_never_throw()
    {
        var policies = new PolicyEvaluator(With(Allow("all", "site/paris/*", "*.shop")));
        var random = new Random(12);
        for (var i = 0; i < 20_000; i++)
        {
            var caller = Shop.ToCharArray();
            for (var n = random.Next(1, 4); n > 0; n--)
            {
                // Anywhere in the trust domain, the site or a slash: never a name below the site.
                caller[random.Next(0, "spiffe://acme.example/site/paris/".Length)] = (char)random.Next(0, 0x250);
            }

            var id = new string(caller);
            Assert.True(id == Shop || !policies.Evaluate("paris", id, "web.shop", 80).Allowed, id);
        }
    }

    [Fact]
    public void The_longest_prefix_names_the_caller()
    {
        var topology = With() with
        {
            Workloads =
            [
                new Workload("wide", "paris", [IPNetwork.Parse("10.0.0.0/8")]),
                new Workload("shop", "paris", [IPNetwork.Parse("10.1.2.0/24"), IPNetwork.Parse("2001:db8::/64")]),
                new Workload("twin", "paris", [IPNetwork.Parse("10.1.2.0/24")]),
                new Workload("one", "paris", [IPNetwork.Parse("10.1.2.3/32")]),
                new Workload("else", "tokyo", [IPNetwork.Parse("10.1.2.4/32")]),
            ],
        };
        var callers = new CallerIdentity(topology, "paris");
        string Name(string address) => callers.Resolve(IPAddress.Parse(address));

        Assert.Equal("spiffe://acme.example/site/paris/workload/one", Name("10.1.2.3"));
        Assert.Equal("spiffe://acme.example/site/paris/workload/one", Name("::ffff:10.1.2.3"));
        Assert.Equal("spiffe://acme.example/site/paris/workload/shop", Name("10.1.2.4"));
        Assert.Equal("spiffe://acme.example/site/paris/workload/shop", Name("2001:db8::9"));
        Assert.Equal("spiffe://acme.example/site/paris/workload/wide", Name("10.200.0.1"));
        Assert.Equal("spiffe://acme.example/site/paris/unidentified", Name("192.168.0.1"));
        Assert.Equal("spiffe://acme.example/site/paris/unidentified", Name("2001:db9::9"));
        Assert.Equal("spiffe://acme.example/site/tokyo/workload/else", new CallerIdentity(topology, "tokyo").Resolve(IPAddress.Parse("10.1.2.4")));
    }

    [Fact]
    public void Of_random_prefixes_the_longest_that_holds_the_address_wins()
    {
        var random = new Random(13);
        for (var round = 0; round < 500; round++)
        {
            var networks = Enumerable.Range(0, 12).Select(_ => Network(random)).Distinct().ToArray();
            var topology = With() with { Workloads = [.. networks.Select((n, i) => new Workload($"w{i}", "paris", [n]))] };
            var callers = new CallerIdentity(topology, "paris");
            var address = new IPAddress([10, (byte)random.Next(4), (byte)random.Next(4), (byte)random.Next(256)]);
            var best = networks.Select((n, i) => (n, i)).Where(x => x.n.Contains(address)).OrderByDescending(x => x.n.PrefixLength).ToArray();
            var expected = best.Length == 0 ? "unidentified" : $"workload/w{best[0].i}";
            Assert.Equal($"spiffe://acme.example/site/paris/{expected}", callers.Resolve(address));
        }

        static IPNetwork Network(Random random)
        {
            var length = random.Next(8, 33);
            var bits = (10u << 24 | (uint)random.Next(4) << 16 | (uint)random.Next(4) << 8 | (uint)random.Next(256)) & uint.MaxValue << (32 - length);
            return new IPNetwork(new IPAddress([(byte)(bits >> 24), (byte)(bits >> 16), (byte)(bits >> 8), (byte)bits]), length);
        }
    }
}
