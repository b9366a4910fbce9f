using Fabric.Gateway.Control;
using Fabric.Gateway.Hosting;
using Fabric.Gateway.Snapshot;
using Fabric.Identity;
using Fabric.Topology;

namespace Fabric.Gateway.Tests.Hosting;

public sealed class TopologyReaderTests : IDisposable
{
    private static readonly GatewayId Paris = new("acme.example", "paris", "paris-1");

    private readonly TemporaryFolder _folder = new();

    private TopologySource Source => new(_folder["topology.yaml"], _folder["last"]);

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void Good_source_is_used()
    {
        _folder.Write("topology.yaml", Samples.TwoSites);

        var (topology, files, fallback) = TopologyReader.Start(Source, Paris);

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

        var (topology, _, fallback) = TopologyReader.Start(Source, Paris);

        Assert.Equal(2, topology.Sites.Length);
        Assert.Contains(reason, fallback, StringComparison.Ordinal);
    }

    [Fact]
    public void Without_a_last_good_one_the_reason_is_the_source()
    {
        Assert.Throws<IOException>(() => TopologyReader.Start(Source, Paris));
        _folder.Write("topology.yaml", "fabric: 1");
        Assert.Throws<TopologyRefusedException>(() => TopologyReader.Start(Source, Paris));
    }

    [Fact]
    public void Every_error_is_told()
    {
        var text = Samples.TwoSites.Replace("cost: 3", "cost: cheap", StringComparison.Ordinal)
            .Replace("192.0.2.1", "192.0.2", StringComparison.Ordinal);

        var lines = Refused(text, Paris).Split('\n');

        Assert.Equal(2, lines.Length);
        Assert.All(lines, l => Assert.Matches("^topology.yaml:[0-9]+:[0-9]+: error FAB[0-9]{4}: ", l));
        Assert.Contains(lines, l => l.Contains("cheap", StringComparison.Ordinal));
    }

    [Fact]
    public void Gateway_that_is_missing_or_elsewhere_is_refused()
    {
        Assert.Contains("gateway oslo-1 is not in the topology, which has paris-1, virginia-1",
            Refused(Samples.TwoSites, new GatewayId("acme.example", "oslo", "oslo-1")), StringComparison.Ordinal);
        Assert.Contains("gateway paris-1 is in site paris here, and its certificate says virginia",
            Refused(Samples.TwoSites, Paris with { Site = "virginia" }), StringComparison.Ordinal);
    }

    [Fact]
    public void Topology_of_another_trust_domain_is_refused() => Assert.Contains(
        "the topology is of trust domain acme.example, and this gateway's certificate of other.example",
        Refused(Samples.TwoSites, Paris with { TrustDomain = "other.example" }), StringComparison.Ordinal);

    private static string Refused(string text, GatewayId self) => Assert.Throws<TopologyRefusedException>(
        () => TopologyReader.Accept([new TopologyFile("topology.yaml", text)], self)).Message;
}
