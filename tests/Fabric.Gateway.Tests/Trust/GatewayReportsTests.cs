using Fabric.Gateway.Trust;
using Fabric.Protocol.Proto;
using Fabric.Testing;

namespace Fabric.Gateway.Tests.Trust;

public sealed class GatewayReportsTests
{
    private readonly ManualTime _time = new();

    [Fact]
    public void The_later_report_counts_and_each_watcher_hears_it_once()
    {
        var reports = new GatewayReports(_time);
        long told = 0;
        reports.Put(Report("paris-1", 10, version: 1));
        reports.Put(Report("rome-1", 10, version: 1));
        Assert.Equal(["paris-1", "rome-1"], reports.Since(ref told).Select(r => r.Gateway));
        Assert.Empty(reports.Since(ref told));

        reports.Put(Report("paris-1", 9, version: 9));
        reports.Put(Report("paris-1", 10, version: 9));
        Assert.Empty(reports.Since(ref told));
        reports.Put(Report("paris-1", 11, version: 2));
        Assert.Equal(2u, Assert.Single(reports.Since(ref told)).Version);
        Assert.Equal(2u, reports.Of("paris-1")!.Version);
    }

    [Fact]
    public void What_cannot_be_a_report_is_none()
    {
        var reports = new GatewayReports(_time);
        var now = _time.GetUtcNow().ToUnixTimeSeconds();
        reports.Put(Report("ahead-1", now + 301, 1));
        reports.Put(Report("ahead-2", long.MaxValue, 1));
        reports.Put(Report("", now, 1));
        reports.Put(Report(new string('x', 256), now, 1));
        reports.Put(Report("near-1", now + 299, 1));
        Assert.Equal(["near-1"], reports.All.Select(r => r.Gateway));
    }

    [Fact]
    public void There_is_a_most_of_them_and_those_who_left_make_room()
    {
        var reports = new GatewayReports(_time);
        for (var i = 0; i <= GatewayReports.Max; i++)
        {
            reports.Put(Report($"g{i}", 1, 1));
        }

        Assert.Equal(GatewayReports.Max, reports.All.Length);
        Assert.Null(reports.Of($"g{GatewayReports.Max}"));
        reports.Keep(new HashSet<(string, string)> { ("site", "g7"), ("site", "new") });
        reports.Put(Report("new", 1, 1));
        reports.Put(Report("stranger", 1, 1));
        Assert.Equal(["g7", "new"], reports.All.Select(r => r.Gateway));
    }

    private static GatewayTrust Report(string gateway, long reported, ulong version) =>
        new() { Site = "site", Gateway = gateway, Reported = reported, Version = version };
}
