using System.Diagnostics;
using System.Net;
using Fabric.Drills.Measurement;
using Fabric.Testing;

namespace Fabric.Drills.Tests.Measurement;

/// <summary>
/// What a probe says of a pause is what others see of it: the relay that made it, and a capture of its packets. By themselves, and up to
/// ten times: a machine that lets one of both wait for a core disturbs the comparison, and does not do so each time; a load that
/// measures wrong does.
/// </summary>
[Collection(nameof(Alone))]
public sealed class PauseAgreementTests
{
    private const double WithinMs = 10;
    private const int Tries = 10;

    [Theory]
    [InlineData("live")]
    [InlineData("bulk")]
    public async Task The_relay_that_went_dark_measured_the_same_pause(string kind) => await Agree(async () =>
    {
        using var responder = new Responder(new IPEndPoint(IPAddress.Loopback, 0));
        using var relay = new CutRelay(responder.Address);
        var (figures, _) = await Cut(kind, relay);
        var (from, to) = relay.Longest;
        Assert.True(figures.LongestPauseMs >= 500, figures.ToString());
        return figures.LongestPauseMs - Stopwatch.GetElapsedTime(from, to).TotalMilliseconds;
    });

    [RequiresTheory("root", "tcpdump")]
    [InlineData("live")]
    [InlineData("bulk")]
    public async Task A_capture_of_the_packets_shows_the_same_pause_at_the_same_time(string kind) => await Agree(async () =>
    {
        using var responder = new Responder(new IPEndPoint(IPAddress.Loopback, 0));
        using var relay = new CutRelay(responder.Address);
        using var capture = await PacketCapture.Start($"tcp src port {relay.Address.Port}");
        var (figures, cut) = await Cut(kind, relay);
        var (began, length) = PacketCapture.LongestGap((await capture.Stop()).Where(p => p.At >= cut));
        var later = (figures.PauseBegan!.Value - began).TotalMilliseconds;
        return Math.Abs(later) > WithinMs ? later : figures.LongestPauseMs - length.TotalMilliseconds;
    });

    /// <summary>Until both agree once.</summary>
    private static async Task Agree(Func<Task<double>> difference)
    {
        var differences = new List<double>();
        while (differences.Count < Tries)
        {
            differences.Add(await difference());
            if (Math.Abs(differences[^1]) <= WithinMs)
            {
                return;
            }
        }

        Assert.Fail($"they differ by {string.Join(", ", differences.Select(d => $"{d:0.0} ms"))}");
    }

    /// <summary>A load over one connection, dark for 700 ms; what came of it from shortly before the cut on.</summary>
    private static async Task<(ProbeFigures Figures, DateTimeOffset From)> Cut(string kind, CutRelay relay)
    {
        await using var probe = new Probe(Probe.Plan(kind, perSecond: 200, connections: 1, bytes: 1 << 30), relay.Address);
        await Wait.UntilAsync(() => probe.Now.Bytes > 5000, () => probe.Now.ToString());
        var from = DateTimeOffset.UtcNow;
        await Task.Delay(50);
        relay.Cut();
        await Task.Delay(700);
        var bytes = probe.Now.Bytes;
        relay.Heal();
        await Wait.UntilAsync(() => probe.Now.Bytes > bytes + 5000, () => probe.Now.ToString());
        await probe.Finish();
        var figures = probe.Collector.Figures(from, DateTimeOffset.MaxValue)[0];
        Assert.Equal(0, figures.ConnectionsDropped);
        return (figures, from);
    }
}

/// <summary>Tests that measure run while no others do.</summary>
[CollectionDefinition(nameof(Alone), DisableParallelization = true)]
public sealed class Alone;
