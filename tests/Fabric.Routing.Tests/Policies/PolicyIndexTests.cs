using Fabric.Routing.Policies;
using Fabric.Topology.Model;

namespace Fabric.Routing.Tests.Policies;

/// <summary>The index against the definition: every policy looked at, one after the other.</summary>
public class PolicyIndexTests
{
    private static readonly string[] _segments = ["site", "paris", "paris-2", "workload", "shop", "a"];

    /// <summary>The definition. What holds the call, in the order of declaration.</summary>
    private sealed class Naive(FabricTopology topology)
    {
        public (bool Allowed, HashSet<string> Rules, HashSet<string> Shadows) Evaluate(string path, string service, int port)
        {
            var holding = topology.Policies.Where(p => Holds(p, path, service, port)).ToArray();
            var allowed = Verdict(holding.Where(p => p.Mode == PolicyMode.Enforce), out var rules);
            var would = Verdict(holding, out var all);
            return (allowed, rules, would == allowed ? [] : [.. all.Where(n => topology.Policies.Single(p => p.Name == n).Mode == PolicyMode.Shadow)]);
        }

        private static bool Verdict(IEnumerable<Policy> policies, out HashSet<string> deciding)
        {
            var of = policies.ToLookup(p => p.Action, p => p.Name);
            var allowed = !of[PolicyAction.Deny].Any() && of[PolicyAction.Allow].Any();
            deciding = [.. of[allowed ? PolicyAction.Allow : PolicyAction.Deny]];
            return allowed;
        }

        private static bool Holds(Policy policy, string path, string service, int port) =>
            (policy.Ports.IsEmpty || policy.Ports.Contains(port))
            && policy.To.Any(t => t == service || (t.StartsWith("*.", StringComparison.Ordinal) && service.Split('.', 2)[1] == t[2..]))
            && policy.From.Any(f => f.EndsWith("/*", StringComparison.Ordinal)
                ? path.Split('/') is var segments && f[..^2].Split('/') is var prefix && segments.Length > prefix.Length && segments.Take(prefix.Length).SequenceEqual(prefix)
                : f == path);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    public void Of_drawn_policies_the_verdict_is_that_of_the_definition(int seed)
    {
        var random = new Random(seed);
        string Draw(params string[] words) => words[random.Next(words.Length)];
        string Path(int least) => string.Join('/', Enumerable.Range(0, random.Next(least, 5)).Select(_ => Draw(_segments)));
        string From() => random.Next(3) switch { 0 => Path(1), 1 => "site/" + Path(1), _ => "site/paris/" + Path(1) } + Draw("", "/*");
        var (shadows, allowed) = (0, 0);
        for (var round = 0; round < 400; round++)
        {
            var topology = new FabricTopology
            {
                TrustDomain = "acme.example",
                Revision = "0",
                Policies =
                [
                    .. Enumerable.Range(0, random.Next(0, 40)).Select(i => new Policy(
                        $"p{i}", random.Next(4) == 0 ? PolicyAction.Deny : PolicyAction.Allow,
                        [.. Enumerable.Range(0, random.Next(1, 4)).Select(_ => From())],
                        [.. Enumerable.Range(0, random.Next(1, 3)).Select(_ => Draw("web.shop", "*.shop", "api.shop", "web.data", "*.data"))])
                    {
                        Ports = [.. Enumerable.Range(0, Math.Max(0, random.Next(-2, 3))).Select(_ => 80 + random.Next(3))],
                        Mode = random.Next(4) == 0 ? PolicyMode.Shadow : PolicyMode.Enforce,
                    }),
                ],
            };
            var (index, naive) = (new PolicyEvaluator(topology), new Naive(topology));
            for (var call = 0; call < 50; call++)
            {
                var site = Draw("paris", "paris-2");
                var (path, service, port) = ($"site/{site}/{Path(1)}", Draw("web.shop", "api.shop", "web.data", "db.other"), 80 + random.Next(3));
                var verdict = index.Evaluate(site, $"spiffe://acme.example/{path}", service, port);
                var expected = naive.Evaluate(path, service, port);
                Assert.Equal(expected.Allowed, verdict.Allowed);
                Assert.True(verdict.RuleName is { } rule ? expected.Rules.Contains(rule) : expected.Rules.Count == 0, verdict.Reason);
                Assert.True(verdict.Shadow is { } shadow ? expected.Shadows.Contains(shadow) : expected.Shadows.Count == 0, verdict.Reason);
                (shadows, allowed) = (shadows + (verdict.Shadow is null ? 0 : 1), allowed + (verdict.Allowed ? 1 : 0));
            }
        }

        // Not the same answer to all of them.
        Assert.InRange(shadows, 200, 10_000);
        Assert.InRange(allowed, 1_000, 15_000);
    }
}
