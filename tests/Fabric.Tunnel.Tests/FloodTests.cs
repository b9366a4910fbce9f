using Fabric.Protocol.Tunnel;
using Fabric.Testing;

namespace Fabric.Tunnel.Tests;

/// <summary>Frames that are each allowed, and too many: the lane is closed with the reason, and the honest session goes on.</summary>
public abstract class FloodTests(TunnelDriver driver) : IDisposable
{
    private static readonly TunnelLimits _limits = new() { Grace = TimeSpan.FromMilliseconds(500), MaxPendingOpens = 100, MaxStreams = 100_000 };

    private readonly TestAuthority _authority = new();

    public void Dispose() => _authority.Dispose();

    private static byte[] Many(int count, Func<int, byte[]> frame) => [.. Enumerable.Range(0, count).SelectMany(frame)];

    private static readonly byte[] _reset = new ReasonFrame(1, "").ToPayload();

    private static readonly byte[] _open = new OpenFrame("web.shop", 80, "", "").ToPayload();

    private static readonly byte[] _byteAgain = Many(2_000, _ => EvilPeer.Frame(FrameType.Data, 2, 0, [1]));

    private static readonly Dictionary<string, (Func<int, byte[]> Frames, string Reason)> _floods = new()
    {
        ["PING"] = (round => Many(500, i => EvilPeer.Frame(FrameType.Ping, 0, round * 500 + i)), "PING and PONG"),
        ["PONG"] = (_ => Many(500, i => EvilPeer.Frame(FrameType.Pong, 0, i)), "PING and PONG"),
        ["FENCE"] = (round => Many(100, i => EvilPeer.Frame(FrameType.Fence, 0, 1_000 + round * 100 + i)), "FENCE"),
        ["GOAWAY"] = (_ => Many(10, _ => EvilPeer.Frame(FrameType.GoAway)), "GOAWAY"),
        ["ACK"] = (_ => Many(2_000, _ => EvilPeer.Frame(FrameType.Ack, 2, 0, new byte[8])), "ACK"),
        ["DATA of one byte"] = (_ => _byteAgain, "DATA of less than 256 bytes"),
        ["FIN over and over"] = (_ => Many(2_000, _ => EvilPeer.Frame(FrameType.Fin, 2, 0)), "OPENED and FIN"),
        ["OPEN and RESET"] = (round => Many(200, i =>
        {
            var id = (uint)(4 + (round * 200 + i) * 2);
            return [.. EvilPeer.Frame(FrameType.Open, id, 100, _open), .. EvilPeer.Frame(FrameType.Reset, id, 0, _reset)];
        }), "more than 10000 a second"),
        ["RESET of a stream that is gone"] = (_ => Many(200, _ => EvilPeer.Frame(FrameType.Reset, 2, 0, _reset)), "RESET"),
    };

    public static TheoryData<string> Floods => [.. _floods.Keys];

    [Theory]
    [MemberData(nameof(Floods))]
    public async Task A_flood_closes_the_lane_with_its_reason_and_harms_nobody_else(string name)
    {
        var (frames, expected) = _floods[name];
        await using var siege = await Siege.LayAsync(_authority, driver, _limits);
        var evil = await siege.JoinAsync();
        await evil.OpenAsync(2);
        await evil.NextAsync(FrameType.Opened);
        var close = await evil.FloodAsync(frames);
        Assert.Equal((byte)StreamCode.LimitReached, close.Code);
        Assert.Contains("flood of", close.Reason);
        Assert.Contains(expected, close.Reason);
        await Pair.Until(() => siege.LastError()?.Contains(expected) == true, "the reason in the status");
        await Pair.Until(() => siege.Refused(Refusal.Flood) == 1, "it is counted");
        await siege.HonestAsync();
        await siege.NothingLeftAsync();
    }

    [Fact]
    public async Task Opens_that_are_reset_at_once_count_until_their_dial_is_over()
    {
        var decisions = 0;
        var decide = new TaskCompletionSource<EgressVerdict>();
        await using var siege = await Siege.LayAsync(_authority, driver, _limits);
        var honest = siege.Victim.Decide;
        siege.Victim.DecideLater = (peer, open) =>
        {
            if (peer == "alpha")
            {
                return new(honest(peer, open));
            }

            Interlocked.Increment(ref decisions);
            return new(decide.Task);
        };
        var evil = await siege.JoinAsync();
        for (var i = 0u; i < 300; i++)
        {
            await evil.OpenAsync(2 + i * 2);
            await evil.SendAsync(FrameType.Reset, 2 + i * 2, 0, _reset);
        }

        await evil.OpenAsync(1_000);
        await evil.NextAsync(FrameType.Reset);
        Assert.Contains("100 opens wait for their decision", evil.Reason!.Reason);
        await Pair.Until(() => siege.Refused(Refusal.OpenLimit) == 201, "the others are refused");
        await Pair.Until(() => Volatile.Read(ref decisions) == 100, "no more and no fewer are being decided");

        // An honest peer's opens are its own.
        var (client, server) = await siege.Pair.ConnectAsync();
        client.Dispose();
        server.Dispose();
        decide.SetResult(new EgressVerdict.Refuse(StreamCode.PolicyDenied, "no"));
        await Pair.Until(() => siege.Victim.EgressEnded.Count(s => s.Peer == "evil-0") == 100, "all are decided");
        await evil.OpenAsync(1_002);
        while ((await evil.NextAsync(FrameType.Reset)).Stream != 1_002)
        {
        }

        Assert.Equal("no", evil.Reason!.Reason);
        await siege.HonestAsync();
        await siege.NothingLeftAsync();
    }

    [Fact]
    public async Task A_dial_ends_with_the_stream_that_it_is_for()
    {
        using var silent = new SilentPort();
        await using var siege = await Siege.LayAsync(_authority, driver, _limits);
        var honest = siege.Victim.Decide;
        siege.Victim.Decide = (peer, open) => peer == "alpha" ? honest(peer, open)
            : new EgressVerdict.Dial([silent.Address], TimeSpan.FromMinutes(5));
        var evil = await siege.JoinAsync();
        await evil.OpenAsync(2);
        await evil.SendAsync(FrameType.Reset, 2, 0, _reset);
        await Pair.Until(() => siege.Victim.EgressEnded.Any(s => s.Peer == "evil-0"), "the dial is given up");
        await siege.HonestAsync();
        await siege.NothingLeftAsync();
    }
}

public sealed class PortableFloodTests() : FloodTests(TunnelDriver.Portable);

public sealed class LinuxFloodTests() : FloodTests(TunnelDriver.Linux);
