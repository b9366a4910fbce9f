using Fabric.Protocol.Tunnel;
using Fabric.Tunnel.Core;

namespace Fabric.Tunnel.Tests;

/// <summary>Which session a lane belongs to when one side gave it up, restarted, or comes late.</summary>
public sealed class PeerCoreTests
{
    private const string Link = "one";

    private static readonly TunnelLimits _limits = new() { Grace = TimeSpan.FromSeconds(10) };
    private static readonly StreamOpen _open = new("web.shop", 80, "spiffe://test.example/ns/a/sa/b");

    private readonly SlabPool _pool = new(64 * 1024 * 1024);
    private TimeSpan _now = TimeSpan.FromSeconds(1);

    [Fact]
    public void What_the_peer_gave_up_goes_over_into_its_next_session_on_the_first_lane()
    {
        var (dialler, acceptor) = (Peer("alpha", "beta"), Peer("beta", "alpha"));
        var (near, far) = Dial(dialler, acceptor);
        var old = dialler.Open(_open, null, _now);
        acceptor.Session!.EndLane(far!, "reset", _now);
        _now += 2 * _limits.Grace;
        Assert.True(acceptor.Advance(_now));
        Assert.NotNull(dialler.Session);
        dialler.Session.EndLane(near!, "reset", _now);

        (near, far) = Dial(dialler, acceptor);

        Assert.True(near is { IsLive: true } && far is { IsLive: true });
        Assert.True(old.IsReset);
        Assert.Equal(StreamCode.SessionLost, old.Code);
        // One session at both ends: what the acceptor opened before the dialler had joined counts.
        Assert.Equal(SessionOf(dialler), SessionOf(acceptor));
        Assert.False(acceptor.Open(_open, null, _now).IsReset);
    }

    [Fact]
    public void A_late_hello_of_a_session_that_was_given_up_is_refused_whether_there_is_one_or_not()
    {
        var (dialler, acceptor) = (Peer("alpha", "beta"), Peer("beta", "alpha"));
        var (_, far) = Dial(dialler, acceptor);
        var late = dialler.NewHello(Link, 0, _now);
        acceptor.Session!.EndLane(far!, "reset", _now);
        dialler.Session!.EndLane(dialler.Session.Lanes[0], "reset", _now);
        _now += 2 * _limits.Grace;
        Assert.True(dialler.Advance(_now));
        Dial(dialler, acceptor);

        Assert.Null(acceptor.Join(this, "site", late, null, _now, out _, out var reason));
        Assert.Equal("the lane belongs to a session that the peer gave up", reason);

        _now += 2 * _limits.Grace;
        acceptor.Session!.EndLane(acceptor.Session.Lanes[0], "reset", _now);
        _now += 2 * _limits.Grace;
        acceptor.Advance(_now);
        Assert.Null(acceptor.Session);
        Assert.Null(acceptor.Join(this, "site", late, null, _now, out _, out reason));
        Assert.Equal("the lane belongs to a session that the peer gave up", reason);
    }

    [Fact]
    public void A_restarted_acceptor_is_dialled_again_in_a_session_that_never_was()
    {
        var (dialler, acceptor) = (Peer("alpha", "beta"), Peer("beta", "alpha"));
        Dial(dialler, acceptor);
        var before = SessionOf(dialler);
        acceptor = Peer("beta", "alpha");

        var (near, _) = Dial(dialler, acceptor);

        Assert.Null(near);
        Assert.Null(dialler.Session);
        acceptor.Session!.EndLane(acceptor.Session.Lanes[0], "let go of", _now);
        (near, var far) = Dial(dialler, acceptor);
        Assert.True(near is { IsLive: true } && far is { IsLive: true });
        Assert.Equal(SessionOf(dialler), SessionOf(acceptor));
        Assert.NotEqual(before, SessionOf(dialler));
    }

    private PeerCore Peer(string self, string peer) => new(self, peer, Guid.NewGuid(), [.. new byte[HelloFrame.ProbeKeySize]], new SessionNotes(), _limits, _pool);

    /// <summary>HELLO goes both ways. A side that takes no lane has none.</summary>
    private (LaneCore? Near, LaneCore? Far) Dial(PeerCore dialler, PeerCore acceptor)
    {
        var hello = dialler.NewHello(Link, 0, _now);
        var answer = acceptor.Join(this, "site", hello, null, _now, out var far, out var reason);
        Assert.True(answer is not null, reason);
        dialler.Join(this, "site", answer, hello, _now, out var near, out _);
        return (near, far);
    }

    private static Guid SessionOf(PeerCore core) => core.Status([], _ => null).SessionId;
}
