using System.Net;
using Fabric.Gateway.Lan;
using Fabric.Protocol.Dns;
using static Fabric.Gateway.Tests.Lan.LanBus;

namespace Fabric.Gateway.Tests.Lan;

/// <summary>IPv6 beside IPv4, and alone.</summary>
public sealed class LanSixTests
{
    private static readonly DnsClass _own = Mdns.WithTopBit(DnsClass.Internet);
    private static readonly DnsName _camera = DnsName.Parse("camera-1.local");
    private static readonly LanNetworks _both = new(7,
    [
        (IPAddress.Parse("10.0.0.1"), IPNetwork.Parse("10.0.0.0/24")), (IPAddress.Parse("fd77::1"), IPNetwork.Parse("fd77::/64")),
        (IPAddress.Parse("fe80::1"), IPNetwork.Parse("fe80::/64")),
    ]);

    [Theory]
    [InlineData("fd77::7", true, true)]
    [InlineData("fd77::ffff:ffff:ffff:ffff", true, true)]
    [InlineData("fe80::7", true, false)]
    [InlineData("fe80::7%3", true, false)]
    [InlineData("fd77::1", false, false)]
    [InlineData("fe80::1%3", false, false)]
    [InlineData("fd77::", false, false)]
    [InlineData("fd78::7", false, false)]
    [InlineData("::ffff:10.0.0.7", false, false)]
    [InlineData("10.0.0.7", true, true)]
    public void A_network_holds_its_hosts_of_either_family_and_an_endpoint_is_at_an_address_that_needs_no_interface(string address, bool other, bool endpoint)
    {
        Assert.Equal((other, endpoint), (_both.HoldsOther(IPAddress.Parse(address)), _both.IsEndpoint(IPAddress.Parse(address))));
        Assert.Equal(new LanNetworks(7, [.. _both.Own]), _both);
    }

    [Fact]
    public void A_gateway_tells_its_addresses_of_both_families_and_that_it_has_no_others()
    {
        var bus = new LanBus();
        bus.Join(_both, Named());
        bus.Advance(5);
        var told = bus.Sent[^1].Message.Answers;
        Assert.Equal(["10.0.0.1", "fd77::1", "fe80::1"], told.Where(r => r.Data is DnsAddress).Select(r => $"{((DnsAddress)r.Data).Address}"));
        Assert.Equal([DnsType.A, DnsType.Aaaa, DnsType.Aaaa], told.Where(r => r.Data is DnsAddress).Select(r => r.Type));
        var only = told.Single(r => r.Type == Mdns.Nsec && r.Name.ToString() == "fabric-edge-1.local.");
        Assert.Equal(Mdns.Only(only.Name, 120, DnsType.A, DnsType.Aaaa).Data, only.Data, Mdns.SameData);

        bus.Sent.Clear();
        bus.Send(new DnsMessage { Questions = [new DnsQuestion(DnsName.Parse("fabric-edge-1.local"), DnsType.Aaaa, DnsClass.Internet)] }, "fe80::9%7");
        Assert.Equal([DnsType.Aaaa, DnsType.Aaaa], bus.Sent[^1].Message.Answers.Select(r => r.Type));
    }

    [Fact]
    public void A_host_is_asked_for_addresses_of_both_families_and_the_one_to_dial_is_its_first_of_IPv4()
    {
        var bus = new LanBus();
        var edge = bus.Join(_both, null, "_http._tcp");
        bus.Advance(0.2);
        bus.Send(Said(new DnsRecord(Mdns.TypeName("_http._tcp"), DnsClass.Internet, 4500, new DnsTarget(DnsType.Ptr, Mdns.TypeName("_http._tcp").Prepend("camera"))),
            new DnsRecord(Mdns.TypeName("_http._tcp").Prepend("camera"), _own, 120, new DnsSrv(0, 0, 80, _camera))), "fe80::7%7");
        bus.Advance(0.1);
        Assert.Equal([DnsType.A, DnsType.Aaaa], bus.Sent.SelectMany(s => s.Message.Questions).Where(q => q.Name.Equals(_camera)).Select(q => q.Type));
        Assert.Empty(edge.Found);

        bus.Send(Said(At("fe80::7")), "fe80::7%7");
        Assert.Empty(edge.Found);
        bus.Send(Said(At("fd77::7"), At("fe80::7")), "fe80::7%7");
        Assert.Equal(["fd77::7"], Assert.Single(edge.Found).Addresses.Select(a => $"{a}"));
        bus.Advance(5);

        // That these are all of IPv4 says nothing of IPv6 (RFC 6762 §10.2).
        bus.Send(Said(At("10.0.0.7")), "10.0.0.7");
        bus.Advance(5);
        Assert.Equal(["10.0.0.7", "fd77::7"], Assert.Single(edge.Found).Addresses.Select(a => $"{a}"));
        bus.Send(Said(At("fd77::8")), "10.0.0.7");
        bus.Advance(5);
        Assert.Equal(["10.0.0.7", "fd77::8"], Assert.Single(edge.Found).Addresses.Select(a => $"{a}"));
    }

    private static DnsRecord At(string address) => new(_camera, _own, 120, new DnsAddress(IPAddress.Parse(address)));

    private static DnsMessage Said(params DnsRecord[] records) => new() { Flags = DnsFlags.Response | DnsFlags.Authoritative, Answers = [.. records] };
}
