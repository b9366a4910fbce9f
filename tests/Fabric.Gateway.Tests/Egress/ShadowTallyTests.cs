using Fabric.Gateway.Egress;
using Fabric.Testing;
using Fabric.Topology.Model;

namespace Fabric.Gateway.Tests.Egress;

public sealed class ShadowTallyTests
{
    private readonly ManualTime _time = new();
    private readonly ShadowTally _tally;

    public ShadowTallyTests() => _tally = new ShadowTally(_time);

    private static FabricTopology With(int first, int count) => new()
    {
        TrustDomain = "acme.example",
        Revision = "0",
        Policies = [.. Enumerable.Range(first, count).Select(i => new Policy($"p{i}", PolicyAction.Deny, ["site/*"], ["*.shop"]) { Mode = PolicyMode.Shadow })],
    };

    [Fact]
    public void Each_is_told_once_a_second_and_counted_always()
    {
        var topology = With(0, 2);
        Assert.True(_tally.Count("p0", topology));
        Assert.False(_tally.Count("p0", topology));
        Assert.True(_tally.Count("p1", topology));
        _time.Advance(TimeSpan.FromMilliseconds(999));
        Assert.False(_tally.Count("p0", topology));
        _time.Advance(TimeSpan.FromMilliseconds(1));
        Assert.True(_tally.Count("p0", topology));
        Assert.Equal([("p0", 4L), ("p1", 1L)], _tally.Counts);
    }

    [Fact]
    public void More_than_a_hundred_are_counted_and_told_together()
    {
        var topology = With(0, 300);
        Assert.Equal(101, Enumerable.Range(0, 300).Count(i => _tally.Count($"p{i}", topology)));
        Assert.Equal(101, _tally.Counts.Count);
        Assert.Equal((ShadowTally.Others, 200L), _tally.Counts[0]);
    }

    [Fact]
    public void Those_that_are_gone_make_room()
    {
        var before = With(0, 100);
        foreach (var policy in before.Policies)
        {
            _tally.Count(policy.Name, before);
        }

        var after = With(50, 100);
        foreach (var policy in after.Policies)
        {
            _tally.Count(policy.Name, after);
        }

        Assert.Equal(after.Policies.Select(p => p.Name).Order(StringComparer.Ordinal), _tally.Counts.Select(c => c.Policy));
    }
}
