using BenchmarkDotNet.Attributes;
using Fabric.Routing.Policies;
using Fabric.Topology.Model;

namespace Fabric.Benchmarks;

/// <summary>
/// What policies add to a new stream. The goal: 20 µs with 10,000 of them, and no allocation when it is allowed.
/// <c>dotnet run -c Release --project tests/Fabric.Benchmarks -- policy</c>.
/// </summary>
[InProcess]
[MemoryDiagnoser]
public class PolicyVerdicts
{
    /// <summary>Of one session and opening side: what a review goes through at most for it.</summary>
    private const int Streams = 16_384;

    private const int Sites = 50;

    private PolicyEvaluator _policies = null!;
    private PolicyEvaluator _requests = null!;
    private FabricTopology _topology = null!;
    private string[] _callers = null!;

    [Params(10, 10_000)]
    public int Policies { get; set; }

    /// <summary>How policies are spread: all for one service, or over services and namespaces.</summary>
    [Params(false, true)]
    public bool OneService { get; set; }

    [GlobalSetup]
    public void Load()
    {
        _topology = new FabricTopology
        {
            TrustDomain = "acme.example",
            Revision = "0",
            Policies =
            [
                .. Enumerable.Range(0, Policies).Select(i => new Policy(
                    $"p{i}", i % 10 == 9 ? PolicyAction.Deny : PolicyAction.Allow,
                    [$"site/site-{i % Sites}/workload/w{i}", $"site/site-{i % Sites}/team-{i % 97}/*"],
                    [OneService ? "web.shop" : i % 3 == 0 ? $"*.ns{i % 101}" : $"web.ns{i % 101}"])
                {
                    Ports = i % 2 == 0 ? [] : [80, 443],
                    Mode = i % 20 == 5 ? PolicyMode.Shadow : PolicyMode.Enforce,
                }),
                new Policy("shop", PolicyAction.Allow, ["site/site-0/*"], ["web.shop"]),
            ],
        };
        _policies = new PolicyEvaluator(_topology);
        _requests = new PolicyEvaluator(_topology with
        {
            Services = [new Service { Name = "web", Namespace = "shop", Ports = [new ServicePort(null, 80, ServiceProtocol.Http)] }],
            Policies = [.. Enumerable.Range(0, Policies).Select(i => new Policy(
                $"r{i}", i % 10 == 9 ? PolicyAction.Deny : PolicyAction.Allow, ["site/site-0/*"], [OneService ? "web.shop" : $"web.ns{i}"])
            {
                Http = new HttpRequests(i % 2 == 0 ? ["GET"] : [], [$"/api/{i}/*"]),
            }), new Policy("shop", PolicyAction.Allow, ["site/site-0/*"], ["web.shop"]) { Http = new HttpRequests(["GET"], ["/shop/*"]) }],
        });
        _callers = [.. Enumerable.Range(0, Streams).Select(i => $"spiffe://acme.example/site/site-0/workload/w{i * Sites}")];
    }

    /// <summary>One stream that is allowed.</summary>
    [Benchmark]
    public bool Allowed() => _policies.Evaluate("site-0", "spiffe://acme.example/site/site-0/workload/shop", "web.shop", 80).Allowed;

    /// <summary>One HTTP request that is allowed, among as many policies about requests.</summary>
    [Benchmark]
    public bool Request() =>
        _requests.Evaluate("site-0", "spiffe://acme.example/site/site-0/workload/shop", "web.shop", 80, "GET", "/shop/cart/1/items").Allowed;

    /// <summary>As many live streams as a session has at most, each with a caller of its own, decided again.</summary>
    [Benchmark]
    public int Review()
    {
        var allowed = 0;
        foreach (var caller in _callers)
        {
            allowed += _policies.Evaluate("site-0", caller, "web.shop", 80).Allowed ? 1 : 0;
        }

        return allowed;
    }

    /// <summary>A topology is accepted: the policies are compiled, on the state loop.</summary>
    [Benchmark]
    public object Compile() => new PolicyEvaluator(_topology);
}
