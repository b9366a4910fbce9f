using System.Buffers.Binary;
using System.Text;
using Fabric.Protocol.Tunnel;
using Fabric.Testing;

namespace Fabric.Tunnel.Tests;

/// <summary>
/// Every rule under "Violations" of the protocol, broken over a real lane: the lane is closed and the reason told to the peer and in
/// the status, the honest session does not notice, and nothing is left of it.
/// </summary>
public abstract class ViolationTests(TunnelDriver driver) : IDisposable
{
    private static readonly TunnelLimits _limits = new() { Grace = TimeSpan.FromMilliseconds(500), InitialWindow = 64 * 1024 };

    private readonly TestAuthority _authority = new();

    public void Dispose() => _authority.Dispose();

    private static byte[] Raw(string hex) => Convert.FromHexString(hex);

    private static byte[] Credit(long credit)
    {
        var bytes = new byte[8];
        BinaryPrimitives.WriteInt64LittleEndian(bytes, credit);
        return bytes;
    }

    /// <summary>What is done on a lane where stream 2 is open, and what the reason says.</summary>
    private static readonly Dictionary<string, (Func<EvilPeer, Task> Do, string Reason)> _violations = new()
    {
        ["unknown type"] = (e => e.SendRawAsync(Raw("0E000000000000000000000000000000")), "frame type 14"),
        ["flag"] = (e => e.SendRawAsync(Raw("09010000000000000000000000000000")), "flags 0x01"),
        ["length of a control frame"] = (e => e.SendRawAsync(Raw("05000100020000000000000000000000")), "payload of 1 bytes"),
        ["length of an ACK"] = (e => e.SendAsync(FrameType.Ack, 2, 0, new byte[7]), "payload of 7 bytes"),
        ["DATA without bytes"] = (e => e.SendAsync(FrameType.Data, 2), "payload of 0 bytes"),
        ["DATA that is too long"] = (e => e.SendRawAsync(Raw("0400F1FF020000000000000000000000")), "payload of 65521 bytes"),
        ["OPEN that is too long"] = (e => e.SendAsync(FrameType.Open, 4, 0, new byte[4_097]), "payload of 4097 bytes"),
        ["stream frame of the lane"] = (e => e.SendAsync(FrameType.Data, 0, 0, [1]), "stream 0"),
        ["lane frame of a stream"] = (e => e.SendAsync(FrameType.Ping, 2), "of the lane"),
        ["offset past 2^62"] = (e => e.SendRawAsync(Raw("05000000020000000100000000000040")), "at most 2^62"),
        ["OPEN cut short"] = (e => e.SendAsync(FrameType.Open, 4, 0, [0, 80]), "OPEN ends inside its port"),
        ["OPEN with more than its fields"] = (e => e.SendAsync(
            FrameType.Open, 4, 0, [.. new OpenFrame("a.b", 1, "", "").ToPayload(), 0]), "1 bytes after its last field"),
        ["OPEN with unknown flags"] = (e => e.SendAsync(FrameType.Open, 4, 0, [0x80, 1, 0, 0, 0, 0, 0, 0, 0]), "flags 0x80"),
        ["OPEN with a service that is too long"] = (e => e.SendAsync(FrameType.Open, 4, 0, [0, 1, 0, 0, 1, .. new byte[256], 0, 0, 0, 0]), "256 bytes"),
        ["OPEN that is not UTF-8"] = (e => e.SendAsync(FrameType.Open, 4, 0, [0, 1, 0, 1, 0, 0xFF, 0, 0, 0, 0]), "not UTF-8"),
        ["RESET that is not UTF-8"] = (e => e.SendAsync(FrameType.Reset, 2, 0, [1, 1, 0, 0xC3]), "not UTF-8"),
        ["OPEN with this side's parity"] = (e => e.OpenAsync(3), "this side's"),
        ["OPEN that jumps too far"] = (e => e.OpenAsync(2_000_000), "may be pending"),
        ["OPENED for its own stream"] = (e => e.SendAsync(FrameType.Opened, 2, 100), "which the peer itself opened"),
        ["OPENED for a stream that never was"] = (e => e.SendAsync(FrameType.Opened, 1, 100), "never opened"),
        ["DATA for a stream that never was"] = (e => e.SendAsync(FrameType.Data, 4, 0, [1]), "never opened"),
        ["FIN for a stream that never was"] = (e => e.SendAsync(FrameType.Fin, 1), "never opened"),
        ["RESET for a stream that never was"] = (e => e.SendAsync(FrameType.Reset, 1, 0, new ReasonFrame(1, "x").ToPayload()), "never opened"),
        ["ACK for a stream that never was"] = (e => e.SendAsync(FrameType.Ack, 1, 0, Credit(1)), "never opened"),
        ["DATA past the credit"] = (e => e.SendAsync(FrameType.Data, 2, _limits.InitialWindow, [1]), "the credit ends at"),
        ["DATA past the FIN"] = (async e =>
        {
            await e.SendAsync(FrameType.Fin, 2, 10);
            await e.SendAsync(FrameType.Data, 2, 10, [1]);
        }, "FIN was at 10"),
        ["FIN before bytes that came"] = (async e =>
        {
            await e.SendAsync(FrameType.Data, 2, 0, new byte[20]);
            await e.SendAsync(FrameType.Fin, 2, 10);
        }, "bytes after it have arrived"),
        ["FIN at two offsets"] = (async e =>
        {
            await e.SendAsync(FrameType.Fin, 2, 10);
            await e.SendAsync(FrameType.Fin, 2, 11);
        }, "it was at 10"),
        ["ACK of what was not sent"] = (e => e.SendAsync(FrameType.Ack, 2, 1, Credit(100)), "0 were sent"),
        ["257 gaps"] = (async e =>
        {
            for (var i = 1; i <= 257; i++)
            {
                await e.SendAsync(FrameType.Data, 2, i * 2, [1]);
            }
        }, "more than 256 gaps"),
        ["FENCE of lane 0"] = (e => e.SendAsync(FrameType.Fence), "epochs are 1 to"),
        ["FENCE past the last lane"] = (e => e.SendAsync(FrameType.Fence, 0, 1L << 32), "epochs are 1 to"),
        ["HELLO on a lane that is up"] = (e => e.HelloAsync(), "after the handshake"),
    };

    public static TheoryData<string> Violations => [.. _violations.Keys];

    [Theory]
    [MemberData(nameof(Violations))]
    public async Task A_violation_closes_the_lane_with_its_reason_and_harms_nobody_else(string name)
    {
        var (violate, expected) = _violations[name];
        await using var siege = await Siege.LayAsync(_authority, driver, _limits);
        var evil = await siege.JoinAsync();
        await evil.OpenAsync(2);
        await evil.NextAsync(FrameType.Opened);
        await violate(evil);
        var close = await evil.ClosedAsync();
        Assert.Equal((byte)StreamCode.ProtocolError, close.Code);
        Assert.Contains(expected, close.Reason);
        await Pair.Until(() => siege.LastError()?.Contains(expected) == true, "the reason in the status");
        await Pair.Until(() => siege.Refused(Refusal.ProtocolError) == 1, "it is counted");
        await siege.HonestAsync();
        await siege.NothingLeftAsync();
    }

    [Fact]
    public async Task A_lane_of_another_protocol_version_is_told_so()
    {
        await using var siege = await Siege.LayAsync(_authority, driver, _limits);
        await using var evil = await EvilPeer.DialAsync(siege.Identity(), siege.Port);
        await evil.SendAsync(FrameType.Hello, payload: [9, 0, 0, 0]);
        Assert.Contains("version 9", (await evil.ClosedAsync()).Reason);
        await using var rude = await EvilPeer.DialAsync(siege.Identity(), siege.Port);
        await rude.SendAsync(FrameType.Ping);
        Assert.Contains("before HELLO", (await rude.ClosedAsync()).Reason);
        await Pair.Until(() => siege.Refused(Refusal.HandshakeFailed) == 2, "both are counted");
        await siege.HonestAsync();
        await siege.NothingLeftAsync();
    }

    [Fact]
    public async Task A_session_survives_a_lane_that_was_closed_for_a_violation()
    {
        await using var siege = await Siege.LayAsync(_authority, driver);
        var session = Guid.NewGuid();
        var one = await siege.JoinAsync(session: session);
        var two = await siege.JoinAsync(link: "two", epoch: 4, session: session);
        await one.OpenAsync(2);
        await one.NextAsync(FrameType.Opened);
        await one.SendRawAsync(Raw("0E000000000000000000000000000000"));
        await one.ClosedAsync();
        Assert.Equal(2, (await two.NextAsync(FrameType.Fence)).Offset);
        await two.SendAsync(FrameType.Data, 2, 0, Encoding.ASCII.GetBytes("still here"));
        while ((await two.NextAsync(FrameType.Ack)) is { Offset: < 10 })
        {
        }

        await siege.HonestAsync();
    }

    [Fact]
    public async Task Who_breaks_the_protocol_again_and_again_is_refused_for_a_while()
    {
        await using var siege = await Siege.LayAsync(_authority, driver, _limits);
        for (var i = 1u; i <= 4; i++)
        {
            await (await siege.JoinAsync(epoch: i * 2)).SendRawAsync(Raw("0E000000000000000000000000000000"));
            await Pair.Until(() => siege.Refused(Refusal.ProtocolError) == i, "the lane is closed");
        }

        var refused = await Assert.ThrowsAsync<IOException>(() => siege.JoinAsync(epoch: 20));
        Assert.Contains("broke the protocol 4 times, lastly: protocol error: frame type 14", refused.Message);
        Assert.InRange(siege.Refused(Refusal.Penalty), 1, 100);

        // Not for ever, and not another.
        await siege.JoinAsync(peer: 1);
        EvilPeer? again = null;
        for (var began = Environment.TickCount64; again is null && Environment.TickCount64 - began < Pair.Limit.TotalMilliseconds;)
        {
            await Task.Delay(100);
            again = await Record.ExceptionAsync(async () => again = await siege.JoinAsync(epoch: 30)) is null ? again : null;
        }

        Assert.NotNull(again);
        await siege.HonestAsync();
    }
}

public sealed class PortableViolationTests() : ViolationTests(TunnelDriver.Portable);

public sealed class LinuxViolationTests() : ViolationTests(TunnelDriver.Linux);
