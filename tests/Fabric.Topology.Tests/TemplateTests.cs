namespace Fabric.Topology.Tests;

public class TemplateTests
{
    [Theory]
    [InlineData("acme.example", "paris")]
    [InlineData("acme.example", "paris,virginia,factory")]
    [InlineData("1.1", "no,off,1e3,0x1f,007,null,y")]
    public void A_first_topology_loads_without_a_finding(string trustDomain, string sites)
    {
        string yaml = TopologyTemplate.Create(trustDomain, sites.Split(','));

        var topology = Samples.Accept(yaml);
        Assert.Equal(trustDomain, topology.TrustDomain);
        Assert.Equal(sites.Split(','), topology.Sites.Select(s => s.Name));
    }

    [Fact]
    public void So_it_does_with_its_comments_taken_at_their_word()
    {
        string yaml = TopologyTemplate.Create("acme.example", ["paris", "virginia"]);
        string[] lines = yaml.Split('\n');
        int services = Array.IndexOf(lines, "# services:");

        IEnumerable<string> uncommented = lines.Skip(services).Select(l => l.Length < 2 ? "" : l[2..]);
        var topology = Samples.Accept(string.Join('\n', lines.Take(services).Concat(uncommented)));
        Assert.Equal("web.shop", topology.Services.Single().FullName);
        Assert.Single(topology.Policies);
    }

    [Fact]
    public void As_many_sites_as_it_takes_load() =>
        Samples.Accept(TopologyTemplate.Create(
            "acme.example", [.. Enumerable.Range(0, TopologyTemplate.MaxSites).Select(i => $"s{i}")]));

    [Theory]
    [InlineData("Acme", "paris", "'Acme' is not a SPIFFE trust domain")]
    [InlineData("acme.example", "Paris", "'Paris' is not a name")]
    [InlineData("acme.example", "paris,paris", "2 were given")]
    [InlineData("acme.example", "a123456789b123456789c123456789d123456789e123456789f123456789g12", "is not a name")]
    [InlineData("acme.example", "x\nevil: 1", "is not a name")]
    public void What_no_topology_may_have_is_refused(string trustDomain, string sites, string message) =>
        Assert.Contains(message, Assert.Throws<ArgumentException>(
            () => TopologyTemplate.Create(trustDomain, sites.Split(','))).Message);
}
