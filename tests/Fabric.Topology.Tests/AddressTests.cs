using System.Collections.Immutable;
using System.Net;
using FsCheck;
using FsCheck.Fluent;
using Fabric.Topology.Model;

namespace Fabric.Topology.Tests;

public class AddressTests
{
    private static readonly ImmutableDictionary<string, IPAddress> Nothing = ImmutableDictionary<string, IPAddress>.Empty;
    private static readonly ImmutableHashSet<IPAddress> None = [];

    [Theory]
    [InlineData("10.201.0.0/16")]
    [InlineData("127.64.0.0/30")]
    [InlineData("fd00:7::/112")]
    [InlineData("2001:db8::/32")]
    public void A_pick_is_repeatable_and_inside(string text)
    {
        IPNetwork range = IPNetwork.Parse(text);
        for (int i = 0; i < 200; i++)
        {
            Assert.True(ServiceAddresses.TryPick(range, $"s{i}.shop", Nothing, None, out IPAddress address, out _));
            Assert.True(ServiceAddresses.TryPick(range, $"s{i}.shop", Nothing, None, out IPAddress again, out _));
            Assert.Equal(address, again);
            Assert.True(ServiceAddresses.IsUsable(range, address));
        }
    }

    [Fact]
    public void A_known_pick_stays_known()
    {
        // Gateways of one site, of any version, agree only as long as this does not change.
        IPNetwork range = IPNetwork.Parse("10.201.0.0/16");
        Assert.True(ServiceAddresses.TryPick(range, "web.shop", Nothing, None, out IPAddress address, out _));
        Assert.Equal("10.201.156.227", address.ToString());
        Assert.Equal("127.86.0.0/16", ServiceAddresses.DefaultRange("paris").ToString());
        Assert.Equal("fd54:667c:c7be::/48", OverlayAddresses.Prefix("acme.example").ToString());
        Assert.Equal(
            "fd54:667c:c7be:7b96:53d2:d98f:1309:e8f9", OverlayAddresses.Of("acme.example", "wan-547", "paris-1").ToString());
    }

    [Fact]
    public void What_was_assigned_stays_whatever_comes_and_goes()
    {
        IPNetwork range = IPNetwork.Parse("10.0.0.0/28");
        var assigned = new Dictionary<string, IPAddress>();
        for (int i = 0; i < 14; i++)
        {
            Assert.True(ServiceAddresses.TryPick(range, $"s{i}.shop", assigned, None, out IPAddress address, out _));
            assigned.Add($"s{i}.shop", address);
        }

        Assert.Equal(14, assigned.Values.Distinct().Count());
        Assert.False(ServiceAddresses.TryPick(range, "late.shop", assigned, None, out _, out string? error));
        Assert.Equal("the service addresses 10.0.0.0/28 are exhausted: all 14 are taken, none is left for late.shop", error);
        foreach ((string name, IPAddress address) in assigned)
        {
            Assert.True(ServiceAddresses.TryPick(range, name, assigned, None, out IPAddress again, out _));
            Assert.Equal(address, again);
        }

        IPAddress freed = assigned["s3.shop"];
        assigned.Remove("s3.shop");
        Assert.True(ServiceAddresses.TryPick(range, "late.shop", assigned, None, out IPAddress last, out _));
        Assert.Equal(freed, last);
    }

    [Fact]
    public void A_reserved_address_and_one_out_of_the_range_are_given_up()
    {
        IPNetwork range = IPNetwork.Parse("10.0.0.0/24");
        var assigned = new Dictionary<string, IPAddress> { ["web.shop"] = IPAddress.Parse("10.0.0.7") };

        Assert.True(ServiceAddresses.TryPick(range, "web.shop", assigned, new HashSet<IPAddress> { IPAddress.Parse("10.0.0.7") },
            out IPAddress moved, out _));
        Assert.NotEqual(IPAddress.Parse("10.0.0.7"), moved);
        IPNetwork moveTo = IPNetwork.Parse("10.9.0.0/24");
        Assert.True(ServiceAddresses.TryPick(moveTo, "web.shop", assigned, None, out IPAddress other, out _));
        Assert.True(moveTo.Contains(other));
    }

    [Fact]
    public void Assign_reserves_the_dns_address_and_the_fixed_ones()
    {
        FabricTopology topology = Samples.Accept(Samples.TwoSites
            .Replace("gateways: [ { name: paris-1 } ]",
                "serviceAddresses: 10.9.0.0/29\n    gateways: [ { name: paris-1, dns: \"10.9.0.1:53\" } ]")
            .Replace("    ports: [ { port: 80 } ]", "    address: 10.9.0.2\n    ports: [ { port: 80 } ]")
            .Replace("policies:", string.Concat(Enumerable.Range(0, 4).Select(i =>
                $"  - name: s{i}\n    namespace: shop\n    ports: [ {{ port: 80 }} ]\n"
                + "    exports: [ { site: paris, endpoints: [ \"127.0.0.1:8080\" ] } ]\n")) + "policies:"));
        // web's old address is the gateway's, gone.shop is gone, s2's is kept.
        var kept = new Dictionary<string, IPAddress>
        {
            ["gone.shop"] = IPAddress.Parse("10.9.0.3"),
            ["s2.shop"] = IPAddress.Parse("10.9.0.5"),
            ["s0.shop"] = IPAddress.Parse("10.9.0.1"),
        };

        var assigned = ServiceAddresses.Assign(topology, topology.Sites[0].Gateways[0], kept, out ImmutableArray<string> errors);

        Assert.Empty(errors);
        Assert.Equal("10.9.0.2", assigned["web.shop"].ToString());
        Assert.Equal("10.9.0.5", assigned["s2.shop"].ToString());
        Assert.Equal(["10.9.0.2", "10.9.0.3", "10.9.0.4", "10.9.0.5", "10.9.0.6"],
            assigned.Values.Select(a => a.ToString()).Order(StringComparer.Ordinal));
        var again = ServiceAddresses.Assign(topology, topology.Sites[0].Gateways[0], assigned, out _);
        Assert.Equal(assigned.OrderBy(a => a.Key), again.OrderBy(a => a.Key));
    }

    [Fact]
    public void The_dns_address_takes_one_of_the_range()
    {
        string full = Samples.TwoSites.Replace("gateways: [ { name: paris-1 } ]",
            "serviceAddresses: 10.9.0.0/30\n    gateways: [ { name: paris-1, dns: \"10.9.0.1:53\" } ]")
            .Replace("policies:", "  - name: api\n    namespace: shop\n    ports: [ { port: 80 } ]\n"
                + "    exports: [ { site: paris, endpoints: [ \"127.0.0.1:8080\" ] } ]\npolicies:");

        Assert.Equal(DiagnosticCodes.RangeExhausted, Samples.Refuse(full).Code);
        Assert.Empty(Samples.Load(full.Replace("10.9.0.0/30", "10.9.0.0/29")).Diagnostics);
    }

    [Fact]
    public void Overlay_addresses_lie_in_the_prefix_and_share_the_links_subnet()
    {
        IPAddress paris = OverlayAddresses.Of("acme.example", "wan", "paris-1");
        IPAddress virginia = OverlayAddresses.Of("acme.example", "wan", "virginia-1");

        Assert.True(OverlayAddresses.Prefix("acme.example").Contains(paris));
        Assert.Equal(paris.GetAddressBytes()[..8], virginia.GetAddressBytes()[..8]);
        Assert.NotEqual(paris, virginia);
        Assert.NotEqual(OverlayAddresses.Prefix("acme.example"), OverlayAddresses.Prefix("other.example"));
    }

    [Fact]
    public void Addresses_are_numbers_and_back() => Check.One(
        Config.QuickThrowOnFailure.WithReplay(1, 3).WithMaxTest(500),
        Prop.ForAll(ArbMap.Default.ArbFor<byte[]>(), bytes =>
        {
            foreach (int length in new[] { 4, 16 })
            {
                var address = new IPAddress([.. bytes.Concat(new byte[16]).Take(length)]);
                Assert.Equal(address, Ip.FromNumber(Ip.ToNumber(address), length == 16));
                for (int prefix = 0; prefix <= length * 8; prefix += 7)
                {
                    var network = new IPNetwork(Ip.First(address, prefix), prefix);
                    Assert.True(network.Contains(address) && network.Contains(Ip.Last(network)));
                }
            }
        }));
}
