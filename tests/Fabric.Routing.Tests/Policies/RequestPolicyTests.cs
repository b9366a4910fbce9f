using Fabric.Routing.Policies;
using Fabric.Topology.Model;

namespace Fabric.Routing.Tests.Policies;

public class RequestPolicyTests
{
    private const string Shop = "spiffe://acme.example/site/paris/workload/shop";

    private static FabricTopology With(params Policy[] policies) => new()
    {
        TrustDomain = "acme.example",
        Revision = "0",
        Policies = [.. policies],
        Services =
        [
            new Service { Name = "web", Namespace = "shop", Ports = [new ServicePort("http", 80, ServiceProtocol.Http), new ServicePort("db", 5432, ServiceProtocol.Tcp)] },
            new Service { Name = "api", Namespace = "shop", Ports = [new ServicePort(null, 80, ServiceProtocol.Http)] },
        ],
    };

    private static Policy Rule(string name, PolicyAction action, string[] methods, string[] paths, string to = "web.shop", string from = "site/paris/*") =>
        new(name, action, [from], [to]) { Http = new HttpRequests([.. methods], [.. paths]) };

    private static Policy Allow(string name, string[] methods, params string[] paths) => Rule(name, PolicyAction.Allow, methods, paths);

    private static Policy Deny(string name, string[] methods, params string[] paths) => Rule(name, PolicyAction.Deny, methods, paths);

    [Theory]
    [InlineData("GET", "/api", "read")]
    [InlineData("GET", "/api/", "read")]
    [InlineData("GET", "/api/v1/x", "read")]
    [InlineData("GET", "/apis", null)]
    [InlineData("GET", "/API", null)]
    [InlineData("GET", "/", null)]
    [InlineData("GET", "/healthz", "health")]
    [InlineData("HEAD", "/healthz", "health")]
    [InlineData("GET", "/healthz/", null)]
    [InlineData("GET", "/healthz/x", null)]
    [InlineData("POST", "/api", null)]
    [InlineData("get", "/api", null)]
    [InlineData("GET", "/api/secret", "no-secret")]
    [InlineData("GET", "/api/secret/x", "no-secret")]
    [InlineData("GET", "/api/secrets", "read")]
    [InlineData("OPTIONS", "*", null)]
    [InlineData("DELETE", "/anything", "no-delete")]
    public void Method_and_path_decide(string method, string path, string? rule)
    {
        var policies = new PolicyEvaluator(With(
            Allow("read", ["GET"], "/api/*"), Allow("health", [], "/healthz"), Deny("no-secret", [], "/api/secret/*"), Deny("no-delete", ["DELETE"])));
        var verdict = policies.Evaluate("paris", Shop, "web.shop", 80, method, path);
        Assert.Equal((rule, rule is "read" or "health"), (verdict.RuleName, verdict.Allowed));
        Assert.Equal(rule is null ? $"no policy allows {Shop} to {method} {path} of web.shop:80"
            : $"policy {rule} {(verdict.Allowed ? "allows" : "denies")} {Shop} to {method} {path} of web.shop:80", verdict.Reason);
    }

    [Fact]
    public void A_connection_is_allowed_for_some_requests_and_denied_for_none()
    {
        var policies = new PolicyEvaluator(With(Allow("read", ["GET"]), Deny("no-post", ["POST"])));
        Assert.Equal((true, "read"), Of(policies.Evaluate("paris", Shop, "web.shop", 80)));
        Assert.Equal((false, "no-post"), Of(policies.Evaluate("paris", Shop, "web.shop", 80, "POST", "/")));
        Assert.Equal((false, null), Of(new PolicyEvaluator(With(Deny("no-post", ["POST"]))).Evaluate("paris", Shop, "web.shop", 80)));
        Assert.Equal((false, null), Of(policies.Evaluate("paris", Shop, "api.shop", 80)));
    }

    [Fact]
    public void Who_speaks_no_http_is_not_allowed_by_what_is_about_requests()
    {
        var policies = new PolicyEvaluator(With(Allow("read", ["GET"])));
        Assert.Equal((false, null), Of(policies.Evaluate("paris", Shop, "web.shop", 5432)));
        Assert.Equal((false, null), Of(policies.Evaluate("paris", Shop, "web.shop", 5432, "GET", "/")));
        Assert.True(policies.DecidesRequests("web.shop", 80));
        Assert.False(policies.DecidesRequests("web.shop", 5432));
        Assert.False(policies.DecidesRequests("api.shop", 80));
    }

    [Fact]
    public void Requests_are_decided_where_any_policy_says_so_also_one_that_is_tried()
    {
        Assert.True(new PolicyEvaluator(With(Rule("p", PolicyAction.Deny, ["GET"], [], "*.shop"))).DecidesRequests("api.shop", 80));
        Assert.True(new PolicyEvaluator(With(Allow("p", ["GET"]) with { Mode = PolicyMode.Shadow })).DecidesRequests("web.shop", 80));
        Assert.False(new PolicyEvaluator(With(Allow("p", ["GET"]) with { Ports = [81] })).DecidesRequests("web.shop", 80));
        Assert.False(new PolicyEvaluator(With(new Policy("p", PolicyAction.Allow, ["site/*"], ["web.shop"]))).DecidesRequests("web.shop", 80));
    }

    [Fact]
    public void What_allows_connections_allows_all_requests_and_what_denies_them_all()
    {
        var all = new Policy("all", PolicyAction.Allow, ["site/paris/*"], ["web.shop"]);
        Assert.Equal((true, "all"), Of(new PolicyEvaluator(With(all, Deny("no-post", ["POST"]))).Evaluate("paris", Shop, "web.shop", 80, "GET", "/x")));
        Assert.Equal((false, "no-post"), Of(new PolicyEvaluator(With(all, Deny("no-post", ["POST"]))).Evaluate("paris", Shop, "web.shop", 80, "POST", "/x")));
        Assert.Equal((false, "all"), Of(new PolicyEvaluator(With(all with { Action = PolicyAction.Deny }, Allow("read", ["GET"])))
            .Evaluate("paris", Shop, "web.shop", 80, "GET", "/x")));
    }

    [Fact]
    public void A_shadow_policy_about_requests_says_of_which_it_would_change_the_verdict()
    {
        var policies = new PolicyEvaluator(With(Allow("all", [], "/*"), Deny("try", ["PUT"], "/a/*") with { Mode = PolicyMode.Shadow }));
        Assert.Equal((true, "try"), (policies.Evaluate("paris", Shop, "web.shop", 80, "PUT", "/a/b") is var hit && hit.Allowed, hit.Shadow));
        Assert.Null(policies.Evaluate("paris", Shop, "web.shop", 80, "PUT", "/b").Shadow);
        Assert.Null(policies.Evaluate("paris", Shop, "web.shop", 80, "GET", "/a/b").Shadow);
    }

    [Fact]
    public void Of_policies_that_decide_alike_the_nearest_is_named()
    {
        Policy[] policies =
        [
            Allow("all", []) with { Http = null }, Allow("prefix", [], "/a/*"), Allow("longer", [], "/a/b/*"), Allow("exact", [], "/a/b/c"),
            Allow("method", ["GET"], "/a/b/c"),
        ];
        foreach (var nearest in new[] { "method", "exact", "longer", "prefix", "all" })
        {
            Assert.Equal(nearest, new PolicyEvaluator(With(policies)).Evaluate("paris", Shop, "web.shop", 80, "GET", "/a/b/c").RuleName);
            policies = [.. policies.Where(p => p.Name != nearest)];
        }
    }

    /// <summary>The index and a reader who goes through all policies, one after the other, decide alike.</summary>
    [Fact]
    public void Decides_as_one_who_reads_every_policy()
    {
        var random = new Random(20_261_127);
        string[] methods = ["GET", "POST", "PUT"];
        string[] segments = ["a", "b", "ab", "c"];
        string Path() => "/" + string.Join('/', Enumerable.Range(0, random.Next(1, 4)).Select(_ => segments[random.Next(segments.Length)]));
        string[] Some(Func<string> one) => [.. Enumerable.Range(0, random.Next(3)).Select(_ => one())];
        for (var i = 0; i < 300; i++)
        {
            Policy[] policies = [.. Enumerable.Range(0, random.Next(1, 12)).Select(n =>
                Rule($"p{n}", random.Next(3) == 0 ? PolicyAction.Deny : PolicyAction.Allow, Some(() => methods[random.Next(3)]),
                    Some(() => random.Next(2) == 0 ? Path() : random.Next(6) == 0 ? "/*" : Path() + "/*"),
                    random.Next(3) == 0 ? "*.shop" : "web.shop", random.Next(2) == 0 ? "site/paris/workload/shop" : "site/*"))];
            policies = [.. policies.Select(p => random.Next(8) == 0 ? p with { Http = null } : p)];
            var evaluator = new PolicyEvaluator(With(policies));
            for (var call = 0; call < 100; call++)
            {
                var (method, path) = (methods[random.Next(3)], random.Next(20) == 0 ? "/" : Path() + (random.Next(8) == 0 ? "/" : ""));
                var holding = policies.Where(p => Holds(p, method, path)).ToList();
                var allowed = holding.Exists(p => p.Action == PolicyAction.Allow) && !holding.Exists(p => p.Action == PolicyAction.Deny);
                var verdict = evaluator.Evaluate("paris", Shop, "web.shop", 80, method, path);
                Assert.True(allowed == verdict.Allowed, $"{method} {path}: {verdict.Reason}; {string.Join("; ", policies.Select(p => $"{p.Action} {string.Join(',', p.Http?.Methods ?? [])} {string.Join(',', p.Http?.Paths ?? [])}"))}");
                Assert.Equal(verdict.RuleName is not null, holding.Exists(p => p.Name == verdict.RuleName));
            }
        }
    }

    private static bool Holds(Policy policy, string method, string path) => policy.Http is not { } http
        || ((http.Methods.IsEmpty || http.Methods.Contains(method))
            && (http.Paths.IsEmpty || http.Paths.Any(p => p.EndsWith("/*", StringComparison.Ordinal) ? path == p[..^2] || path.StartsWith(p[..^1], StringComparison.Ordinal) : p == path)));

    [Fact]
    public void A_request_that_is_allowed_allocates_nothing()
    {
        var policies = new PolicyEvaluator(With([.. Enumerable.Range(0, 2000).Select(i => Allow($"p{i}", ["GET"], $"/p{i}/*"))]));
        policies.Evaluate("paris", Shop, "web.shop", 80, "GET", "/p7/x/y");
        var before = GC.GetAllocatedBytesForCurrentThread();
        for (var i = 0; i < 100; i++)
        {
            Assert.True(policies.Evaluate("paris", Shop, "web.shop", 80, "GET", "/p7/x/y").Allowed);
        }

        Assert.Equal(before, GC.GetAllocatedBytesForCurrentThread());
    }

    private static (bool Allowed, string? Rule) Of(Verdict verdict) => (verdict.Allowed, verdict.RuleName);
}
