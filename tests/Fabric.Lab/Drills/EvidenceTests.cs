using Fabric.Drills.Reports;
using Fabric.Testing;
using Xunit.Abstractions;

namespace Fabric.Lab.Drills;

/// <summary>What a drill says that applications saw is what the packets of its own connections show.</summary>
public sealed class EvidenceTests(DrillFabric drills, ITestOutputHelper output) : IClassFixture<DrillFabric>
{
    private const double WithinMs = 10;

    /// <summary>A machine that lets a reader wait for a core disturbs the comparison, and not each time; a probe that measures wrong does.</summary>
    private const int Tries = 4;

    private const string Drill = """
        drill: 1
        name: evidence
        owner: network team
        reason: What is measured is what was.
        steady: { before: 3s, after: 90s, linksUp: [ dx, wan ], services: [ echo.shop, web.shop ], successPercentMin: 90 }
        actions: [ { id: cut, kind: link-blackhole, gateway: virginia-1, link: dx, duration: 3s } ]
        probes:
          - { name: sessions, kind: live, service: echo.shop, perSecond: 200 }
          - { name: export, kind: bulk, service: echo.shop, bytes: 8MiB }
          - { name: visitors, kind: connect, service: web.shop }
          - { name: cache, kind: connect, service: cache.shop }
          - { name: pages, kind: http, service: web.shop }
          - { name: names, kind: dns, service: web.shop }
        expect: { connectionsDroppedMax: 0, bytesLostMax: 0 }

        """;

    [RequiresFact("root", "nginx", "redis-server", "setsid", "tcpdump")]
    public async Task The_pause_is_as_long_as_the_packets_show_and_nothing_else_failed()
    {
        await File.WriteAllTextAsync(await DrillFile(), Drill);
        for (var left = Tries; ; left--)
        {
            var (record, gapBegan, gap) = await Run();
            Assert.All(record.Probes, p => Assert.True(p is { Attempts: > 20, ConnectionsDropped: 0, BytesLost: 0, HashesWrong: 0 }, $"{p}"));
            var seen = record.Probes.Where(p => p.Kind is "live" or "bulk").MaxBy(p => p.LongestPauseMs)!;
            Assert.Equal(record.PauseMs, seen.LongestPauseMs);
            output.WriteLine($"{seen.Probe}: {seen.LongestPauseMs:0.0} ms from {seen.PauseBegan:HH:mm:ss.fff}; the capture: {gap.TotalMilliseconds:0.0} ms from {gapBegan:HH:mm:ss.fff}");
            foreach (var probe in record.Probes)
            {
                output.WriteLine($"  {probe.Probe}: {probe.Failed} of {probe.Attempts} failed {string.Join("; ", probe.Failures!)}, longest {probe.LongestPauseMs:0} ms, median {probe.MedianMs:0.0} ms");
            }

            if (Math.Abs(seen.LongestPauseMs - gap.TotalMilliseconds) <= WithinMs && Math.Abs((seen.PauseBegan!.Value - gapBegan).TotalMilliseconds) <= WithinMs)
            {
                return;
            }

            Assert.True(left > 1, "they never agreed");
        }
    }

    /// <summary>Where the drill lies, once there is a fabric.</summary>
    private async Task<string> DrillFile()
    {
        await drills.Ready();
        return drills.Lab.Work.Of("evidence.yaml");
    }

    /// <summary>One run, and the longest time from its fault on in which one of its connections to echo.shop got no packet.</summary>
    private async Task<(DrillRecord Record, DateTimeOffset GapBegan, TimeSpan Gap)> Run()
    {
        var (file, report) = (await DrillFile(), drills.Lab.Work.Of("evidence-report"));
        using var capture = await PacketCapture.Start("tcp src port 7000 and src net 127.81.0.0/16");
        var run = await drills.Run("drill", "run", file, "--report", report, "--history", drills.History, "--topology", drills.Lab.Paris.TopologyFolder,
            "--socket", drills.Lab.Paris.Socket);
        Assert.True(run.ExitCode == 0, $"{drills.Lab.Tails()}{run}");
        var record = DrillRecordJson.Read(await File.ReadAllTextAsync(Path.Combine(report, DrillReports.JsonName)), DrillReports.JsonName);
        var from = record.Actions.Single().Applied!.Value;
        var (began, gap) = PacketCapture.LongestGap((await capture.Stop()).Where(p => p.At >= from && p.At <= record.Ended));
        return (record, began, gap);
    }
}
