using Fabric.Gateway.Telemetry.Metrics;
using Fabric.Protocol.Proto;
using Fabric.Testing;
using OpenTelemetry;
using OpenTelemetry.Metrics;

namespace Fabric.Gateway.Tests.Telemetry;

/// <summary>What is exported of things that are gone, by the SDK as it is used: nothing, from the next export on.</summary>
public sealed class GoneSeriesTests
{
    /// <summary>
    /// Other tests have meters of that name as well, in one process: ask for peers that no other test has. The SDK takes meters of one name and version for one, and none of
    /// its instruments is exported any more once one of them is disposed: so the version is no other test's either.
    /// </summary>
    [Fact]
    public void A_site_that_is_gone_is_exported_no_more_and_one_that_comes_back_is()
    {
        var status = new Status();
        var time = new ManualTime();
        using var meter = new GatewayMeter(new StateReading("gone", () => status, () => new DaemonCounters(), time));
        var exported = new Exported();
        using var provider = Sdk.CreateMeterProviderBuilder().AddMeter(GatewayMeter.MeterName).AddReader(new BaseExportingMetricReader(exported)).Build();

        HashSet<string> After(Action change)
        {
            change();
            time.Advance(TimeSpan.FromSeconds(2));
            exported.Series.Clear();
            Assert.True(provider.ForceFlush(10_000));
            return [.. exported.Series.Where(s => s.Contains("gone-", StringComparison.Ordinal))];
        }

        var both = After(() => Fill(status, "gone-1", "gone-2"));
        Assert.Contains("fabric.link.up gone-1", both);
        Assert.Contains("fabric.peer.sent gone-1", both);
        Assert.Contains("fabric.peer.streams gone-1", both);
        Assert.Contains("fabric.service.chosen gone-1", both);

        Assert.Equal(both.Where(s => s.EndsWith("gone-2", StringComparison.Ordinal)).Order(), After(() => Fill(status, "gone-2")).Order());
        Assert.Equal(both.Order(), After(() => Fill(status, "gone-2", "gone-1")).Order());
    }

    private static void Fill(Status status, params string[] peers)
    {
        status.Links.Clear();
        status.Sites.Clear();
        status.Services.Clear();
        status.Links.Add(peers.Select(p => new LinkStatus { Name = "dx", Peer = p, Kind = "vpn", State = "up" }));
        status.Sites.Add(peers.Select(p => new SiteStatus { Name = p, Gateways = { new GatewayStatus { Name = p, State = "connected", BytesSent = 1 } } }));
        status.Services.Add(new ServiceStatus { Name = "web.shop", Sites = { peers.Select(p => new ServiceSiteStatus { Site = p }) } });
    }

    /// <summary>Name, and the peer or site that it is of.</summary>
    private sealed class Exported : BaseExporter<Metric>
    {
        public List<string> Series { get; } = [];

        public override ExportResult Export(in Batch<Metric> batch)
        {
            foreach (var metric in batch)
            {
                foreach (ref readonly var point in metric.GetMetricPoints())
                {
                    foreach (var (key, value) in point.Tags)
                    {
                        if (key is "peer" or "site")
                        {
                            Series.Add($"{metric.Name} {value}");
                        }
                    }
                }
            }

            return ExportResult.Success;
        }
    }
}
