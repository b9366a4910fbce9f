using System.Diagnostics;
using Fabric.Tunnel.Core;

namespace Fabric.Tunnel.Tests;

/// <summary>What is told when streams go on on another lane, by what the old one did.</summary>
public sealed class MoveTests
{
    private static readonly StreamOpen _open = new("web.shop", 80, "spiffe://test.example/ns/a/sa/b");

    private readonly SlabPool _pool = new(64 * 1024 * 1024);

    /// <summary>A link has two lanes, and which one came up first is nobody's business.</summary>
    [Theory]
    [InlineData(0, 1)]
    [InlineData(1, 0)]
    public void A_link_that_is_down_is_told_as_a_failover_whichever_of_its_lanes_is_older(int first, int second)
    {
        var ends = new SessionEnds(_pool);
        (LaneCore Left, LaneCore Right)[] lanes = [ends.Lane("dx", first), ends.Lane("dx", second), ends.Lane("vpn"), ends.Lane("vpn", 1)];
        ends.Left.SetPaths(new LinkPaths(["dx", "vpn"], [], []), TimeSpan.Zero);
        using var span = new Activity("tunnel").Start();
        var left = ends.Left.Open(_open with { Span = span }, null, TimeSpan.Zero);
        Assert.Empty(ends.LeftNotes.Moves);

        ends.Left.SetPaths(new LinkPaths(["vpn"], [], ["dx"]), TimeSpan.FromSeconds(1));

        Assert.Equal([("dx", "vpn", "its link is down", 1)], ends.LeftNotes.Moves);
        Assert.Equal("its link is down", Assert.Single(span.Events).Tags.Single(t => t.Key == "fabric.cause").Value);
        Assert.False(left.IsReset);
        Assert.All(lanes[..2], l => Assert.False(l.Left.IsLive));
    }

    [Fact]
    public void A_better_link_is_no_failover()
    {
        var ends = new SessionEnds(_pool);
        ends.Lane("vpn");
        ends.Left.Open(_open, null, TimeSpan.Zero);
        ends.Lane("dx");
        ends.Left.SetPaths(new LinkPaths(["dx", "vpn"], [], []), TimeSpan.FromSeconds(1));
        Assert.Equal("dx", ends.Left.Active!.Link);
        Assert.Empty(ends.LeftNotes.Moves);
    }
}
