using Fabric.Gateway.Trust;
using Fabric.Identity.Trust;
using Fabric.Protocol.Proto;
using Fabric.Testing;
using Google.Protobuf;

namespace Fabric.Gateway.Tests.Trust;

/// <summary>Which reports are kept and handed on; what a good signature is, <c>SignedReportTests</c> say.</summary>
public sealed class GatewayReportsTests
{
    private readonly ManualTime _time = new();
    private readonly GatewayReports _reports;
    private int _checks;

    public GatewayReportsTests() => _reports = new GatewayReports("self-1", _time, (_, _) => _checks++);

    [Fact]
    public void The_later_report_counts_and_each_watcher_hears_it_once()
    {
        long told = 0;
        Assert.True(_reports.Put(Report("paris-1", 10, version: 1)));
        Assert.True(_reports.Put(Report("rome-1", 10, version: 1)));
        Assert.Equal(["paris-1", "rome-1"], Told(ref told).Select(r => r.Gateway));
        Assert.Empty(Told(ref told));

        // Replayed: it is not asked who signed it.
        Assert.False(_reports.Put(Report("paris-1", 9, version: 9)));
        Assert.False(_reports.Put(Report("paris-1", 10, version: 9)));
        Assert.Equal(2, _checks);
        Assert.Empty(Told(ref told));
        Assert.True(_reports.Put(Report("paris-1", 11, version: 2)));
        Assert.Equal(2u, Assert.Single(Told(ref told)).Version);
        Assert.Equal(2u, _reports.Of("paris-1")!.Version);
    }

    [Fact]
    public void What_its_gateway_has_not_signed_is_not_kept()
    {
        var reports = new GatewayReports("self-1", _time, (_, report) => throw new TrustRefusedException($"{report.Gateway} has not signed it"));
        Assert.Equal("paris-1 has not signed it", Assert.Throws<TrustRefusedException>(() => reports.Put(Report("paris-1", 10, 1))).Message);
        Assert.Empty(reports.All);
    }

    [Fact]
    public void Nobody_else_says_what_this_gateway_goes_by()
    {
        var own = Report("self-1", 10, 1);
        _reports.PutOwn(SignedReports.Read(own), own);
        Assert.False(_reports.Put(Report("self-1", 20, 2)));
        Assert.Equal(1u, _reports.Of("self-1")!.Version);
    }

    [Fact]
    public void What_cannot_be_a_report_is_none()
    {
        var now = _time.GetUtcNow().ToUnixTimeSeconds();
        foreach (var bad in new[] { Report("ahead-1", now + 301, 1), Report("ahead-2", long.MaxValue, 1), Report("", now, 1), Report("a b", now, 1), new SignedReport() })
        {
            Assert.Throws<TrustRefusedException>(() => _reports.Put(bad));
        }

        Assert.True(_reports.Put(Report("near-1", now + 299, 1)));
        Assert.Equal(["near-1"], _reports.All.Select(r => r.Gateway));
    }

    [Fact]
    public void What_nobody_would_believe_any_more_is_not_handed_on()
    {
        long told = 0;
        _reports.Put(Report("withdrawn-1", 10, 1, root: 7));
        _reports.Put(Report("ended-1", 10, 1, expires: _time.GetUtcNow().ToUnixTimeSeconds()));
        _reports.Put(Report("good-1", 10, 1));
        Assert.Equal(["good-1"], Told(ref told).Select(r => r.Gateway));
        Assert.Equal(3, _reports.All.Length);
    }

    [Fact]
    public void There_is_a_most_of_them_and_of_those_in_a_message_and_those_who_left_make_room()
    {
        for (var i = 0; i < GatewayReports.Max; i++)
        {
            Assert.True(_reports.Put(Report($"g{i}", 1, 1)));
        }

        Assert.False(_reports.Put(Report("one-more", 1, 1)));
        Assert.Equal(GatewayReports.Max, _reports.All.Length);
        Assert.Null(_reports.Of("one-more"));
        long told = 0;
        Assert.Equal(GatewayReports.MaxTold, Told(ref told).Count);
        _reports.Put(Report("g0", 2, 2));
        var rest = Enumerable.Range(0, 20).SelectMany(_ => Told(ref told)).ToList();
        Assert.Equal(GatewayReports.Max - GatewayReports.MaxTold + 1, rest.Count);
        Assert.Equal(("g0", 2UL), (rest[^1].Gateway, rest[^1].Version));

        _reports.Keep(new HashSet<(string, string)> { ("site", "g7"), ("site", "new") });
        Assert.True(_reports.Put(Report("new", 1, 1)));
        Assert.False(_reports.Put(Report("stranger", 1, 1)));
        Assert.Equal(["g7", "new"], _reports.All.Select(r => r.Gateway));
    }

    private List<GatewayTrust> Told(ref long number) => [.. _reports.Since(ref number, root => root == "07").Select(SignedReports.Read)];

    private SignedReport Report(string gateway, long reported, ulong version, byte root = 1, long? expires = null) => new()
    {
        Chain = { ByteString.Empty },
        Statement = new GatewayTrust
        {
            Site = "site",
            Gateway = gateway,
            Reported = reported,
            Version = version,
            LeafRoot = ByteString.CopyFrom(root),
            LeafExpires = expires ?? _time.GetUtcNow().ToUnixTimeSeconds() + 60,
        }.ToByteString(),
    };
}
