using System.Net;
using Fabric.Gateway.Hosting;
using Fabric.Gateway.Snapshot;

namespace Fabric.Gateway.Tests.Snapshot;

public sealed class ServiceAddressBookTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public async Task Address_stays_when_others_come_and_go_and_after_a_restart()
    {
        var web = await AssignAsync("web");
        var all = await AssignAsync("web", "api", "db");
        Assert.Equal(3, all.Values.Distinct().Count());
        Assert.Equal(web["web.shop"], all["web.shop"]);
        Assert.Equal(all["db.shop"], (await AssignAsync("db"))["db.shop"]);
        Assert.Equal(all, await AssignAsync("db", "api", "web"));
    }

    [Fact]
    public async Task Kept_address_goes_before_the_one_that_the_name_gives()
    {
        _folder.Write("state/service-addresses.json", """{ "web.shop": "127.65.9.9", "gone.shop": "127.65.9.8" }""");

        Assert.Equal(IPAddress.Parse("127.65.9.9"), (await AssignAsync("web"))["web.shop"]);
        Assert.Equal(IPAddress.Parse("127.65.9.8"), (await AssignAsync("gone"))["gone.shop"]);
    }

    [Theory]
    [InlineData("")]
    [InlineData("{")]
    [InlineData("[1]")]
    [InlineData("null")]
    [InlineData("""{ "web.shop": "not an address" }""")]
    [InlineData("""{ "web.shop": null }""")]
    [InlineData("""{ "web.shop": "10.0.0.1" }""")]
    public async Task Damaged_book_gives_the_addresses_of_the_names(string text)
    {
        var fresh = await AssignAsync("web");
        _folder.Write("state/service-addresses.json", text);

        Assert.Equal(fresh, await AssignAsync("web"));
    }

    [Fact]
    public async Task Exhausted_range_is_a_problem_of_the_service_that_has_none()
    {
        await using var state = new StateFolder(_folder["state"]);
        // The loader refuses such a topology as a whole; the book does not rely on it.
        var topology = Samples.Accept(Text("web", "api", "db"));
        topology = topology with { Sites = [topology.Sites[0] with { ServiceAddresses = IPNetwork.Parse("127.65.0.0/30") }] };

        var (addresses, problems) = new ServiceAddressBook(state).Assign(topology, topology.Gateway("paris-1"));

        Assert.Equal(2, addresses.Count);
        Assert.Contains("exhausted", Assert.Single(problems), StringComparison.Ordinal);
    }

    private static string Text(params string[] services) => """
        fabric: 1
        trustDomain: acme.example
        sites:
          - { name: paris, serviceAddresses: 127.65.0.0/16, gateways: [ { name: paris-1 } ] }
        services:

        """ + string.Concat(services.Select(s => $$"""
          - { name: {{s}}, namespace: shop, ports: [ { port: 80 } ], exports: [ { site: paris, endpoints: [ "127.0.0.1:80" ] } ] }

        """));

    /// <summary>One run of the daemon.</summary>
    private async Task<Dictionary<string, IPAddress>> AssignAsync(params string[] services)
    {
        await using var state = new StateFolder(_folder["state"]);
        var topology = Samples.Accept(Text(services));
        var (addresses, problems) = new ServiceAddressBook(state).Assign(topology, topology.Gateway("paris-1"));
        Assert.Empty(problems);
        return addresses.ToDictionary();
    }
}
