using System.Buffers.Binary;
using System.Diagnostics;
using System.Net;

using Fabric.Drills.Measurement;
using Fabric.Testing;

namespace Fabric.Drills.Tests.Measurement;

/// <summary>What a probe says of a pause is what others see of it: the relay that made it, and a capture of its packets.</summary>
public sealed class PauseAgreementTests
{
    private const double WithinMs = 10;

    [Theory]
    [InlineData("live")]
    [InlineData("bulk")]
    public async Task The_relay_that_went_dark_measured_the_same_pause(string kind)
    {
        using var responder = new Responder(new IPEndPoint(IPAddress.Loopback, 0));
        using var relay = new CutRelay(responder.Address);
        var (figures, _) = await Cut(kind, relay);
        var (from, to) = relay.Longest;
        Assert.InRange(figures.LongestPauseMs, 700, 5000);
        Assert.InRange(figures.LongestPauseMs - Stopwatch.GetElapsedTime(from, to).TotalMilliseconds, -WithinMs, WithinMs);
    }

    [RequiresTheory("root", "tcpdump")]
    [InlineData("live")]
    [InlineData("bulk")]
    public async Task A_capture_of_the_packets_shows_the_same_pause_at_the_same_time(string kind)
    {
        using var responder = new Responder(new IPEndPoint(IPAddress.Loopback, 0));
        using var relay = new CutRelay(responder.Address);
        var file = Path.Combine(Path.GetTempPath(), $"fabric-pause-{Guid.NewGuid():N}.pcap");
        try
        {
            ProbeFigures figures;
            int connections;
            using (var capture = Process.Start(new ProcessStartInfo("tcpdump",
                ["-i", "lo", "-n", "-U", "--immediate-mode", "-B", "16384", "-s", "96", "-Z", "root", "--time-stamp-precision", "nano", "-w", file, $"tcp src port {relay.Address.Port}"])
            {
                RedirectStandardError = true,
            })!)
            {
                Assert.Contains("listening on", await capture.StandardError.ReadLineAsync());
                (figures, connections) = await Cut(kind, relay);
                // By SIGTERM it ends in order; what comes last is written at once, and the load went on for a while.
                using var kill = Process.Start("kill", [capture.Id.ToString()]);
                await capture.WaitForExitAsync().WaitAsync(TimeSpan.FromSeconds(20));
            }

            Assert.Equal(1, connections);
            var (began, length) = LongestGap(await File.ReadAllBytesAsync(file));
            Assert.InRange(figures.LongestPauseMs - length.TotalMilliseconds, -WithinMs, WithinMs);
            Assert.InRange((figures.PauseBegan!.Value - began).TotalMilliseconds, -WithinMs, WithinMs);
        }
        finally
        {
            File.Delete(file);
        }
    }

    /// <summary>A load over one connection, dark for 700 ms.</summary>
    private static async Task<(ProbeFigures Figures, int Connections)> Cut(string kind, CutRelay relay)
    {
        await using var probe = new Probe(Probe.Plan(kind, perSecond: 200, connections: 1, bytes: 1 << 30), relay.Address);
        await Wait.UntilAsync(() => probe.Now.Bytes > 5000, () => probe.Now.ToString());
        relay.Cut();
        await Task.Delay(700);
        var bytes = probe.Now.Bytes;
        relay.Heal();
        await Wait.UntilAsync(() => probe.Now.Bytes > bytes + 5000, () => probe.Now.ToString());
        var figures = await probe.Finish();
        return (figures, 1 + (int)figures.ConnectionsDropped);
    }

    /// <summary>Between two packets with payload, by the kernel's clock.</summary>
    private static (DateTimeOffset Began, TimeSpan Length) LongestGap(ReadOnlySpan<byte> pcap)
    {
        // https://www.ietf.org/archive/id/draft-ietf-opsawg-pcap-03.html, with nanoseconds; link type 1 is Ethernet.
        Assert.Equal(0xA1B23C4D, BinaryPrimitives.ReadUInt32LittleEndian(pcap));
        Assert.Equal(1u, BinaryPrimitives.ReadUInt32LittleEndian(pcap[20..]));
        var (began, length) = (0L, 0L);
        var last = 0L;
        for (var at = 24; at + 16 <= pcap.Length;)
        {
            var nanoseconds = BinaryPrimitives.ReadUInt32LittleEndian(pcap[at..]) * 1_000_000_000L + BinaryPrimitives.ReadUInt32LittleEndian(pcap[(at + 4)..]);
            var captured = BinaryPrimitives.ReadInt32LittleEndian(pcap[(at + 8)..]);
            if (at + 16 + captured > pcap.Length)
            {
                break;
            }

            var ip = pcap.Slice(at + 16 + 14, captured - 14);
            var header = (ip[0] & 15) * 4;
            var payload = BinaryPrimitives.ReadUInt16BigEndian(ip[2..]) - header - (ip[header + 12] >> 4) * 4;
            if (payload > 0)
            {
                if (last > 0 && nanoseconds - last > length)
                {
                    (began, length) = (last, nanoseconds - last);
                }

                last = nanoseconds;
            }

            at += 16 + captured;
        }

        return (DateTimeOffset.UnixEpoch.AddTicks(began / 100), TimeSpan.FromTicks(length / 100));
    }
}
