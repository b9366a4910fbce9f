using Fabric.Gateway.Control;
using Fabric.Gateway.Hosting;
using Fabric.Gateway.Snapshot;
using Fabric.Topology;

namespace Fabric.Gateway.Tests.Hosting;

public sealed class TopologyReaderTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    private TopologySource Source => new(_folder["topology.yaml"], _folder["last"]);

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void Good_source_is_used()
    {
        _folder.Write("topology.yaml", Samples.TwoSites);

        var (topology, files, fallback) = TopologyReader.Start(Source, "paris-1", "paris");

        Assert.Null(fallback);
        Assert.Equal("acme.example", topology.TrustDomain);
        Assert.Single(files);
    }

    [Theory]
    [InlineData(null, "no topology at")]
    [InlineData("fabric: 2", "topology.yaml:1:")]
    [InlineData("", "topology.yaml")]
    public void Missing_or_bad_source_gives_way_to_the_last_good_one(string? text, string reason)
    {
        Source.Keep([new TopologyFile("topology.yaml", Samples.TwoSites)]);
        if (text is not null)
        {
            _folder.Write("topology.yaml", text);
        }

        var (topology, _, fallback) = TopologyReader.Start(Source, "paris-1", "paris");

        Assert.Equal(2, topology.Sites.Length);
        Assert.Contains(reason, fallback, StringComparison.Ordinal);
    }

    [Fact]
    public void Without_a_last_good_one_the_reason_is_the_source()
    {
        Assert.Throws<IOException>(() => TopologyReader.Start(Source, "paris-1", "paris"));
        _folder.Write("topology.yaml", "fabric: 1");
        Assert.Throws<TopologyRefusedException>(() => TopologyReader.Start(Source, "paris-1", "paris"));
    }

    [Fact]
    public void Every_error_is_told()
    {
        var text = Samples.TwoSites.Replace("site: virginia", "site: oslo", StringComparison.Ordinal)
            .Replace("192.0.2.1", "192.0.2", StringComparison.Ordinal);

        var refusal = Refused(text, "paris-1", "paris");

        Assert.True(refusal.Split('\n').Length >= 1);
        Assert.Contains("192.0.2", refusal, StringComparison.Ordinal);
    }

    [Fact]
    public void Gateway_that_is_missing_or_elsewhere_is_refused()
    {
        Assert.Contains("gateway oslo-1 is not in the topology, which has paris-1, virginia-1",
            Refused(Samples.TwoSites, "oslo-1", "oslo"), StringComparison.Ordinal);
        Assert.Contains("gateway paris-1 is in site paris here, and its certificate says virginia",
            Refused(Samples.TwoSites, "paris-1", "virginia"), StringComparison.Ordinal);
    }

    private static string Refused(string text, string gateway, string site) => Assert.Throws<TopologyRefusedException>(
        () => TopologyReader.Accept([new TopologyFile("topology.yaml", text)], gateway, site)).Message;
}
