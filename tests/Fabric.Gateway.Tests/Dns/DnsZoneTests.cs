using System.Collections.Immutable;
using System.Net;
using Fabric.Gateway.Dns;
using Fabric.Protocol.Dns;
using static Fabric.Gateway.Tests.Dns.DnsFixtures;

namespace Fabric.Gateway.Tests.Dns;

public class DnsZoneTests
{
    private static readonly DnsZone TheZone = Zone();

    [Fact]
    public void A_name_resolves_by_the_family_of_its_address()
    {
        var web = TheZone.Ask("web.shop.svc.clusterset.local", DnsType.A);
        Assert.Equal(DnsRcode.NoError, web.Rcode);
        Assert.Equal(DnsFlags.Response | DnsFlags.Authoritative | DnsFlags.RecursionDesired, web.Flags);
        Assert.Equal([(5u, (DnsData)new DnsAddress(IPAddress.Parse("127.64.3.9")))], web.Answers.Select(r => (r.Ttl, r.Data)));
        AssertNoData(TheZone.Ask("web.shop.svc.clusterset.local", DnsType.Aaaa));

        var db = TheZone.Ask("db.shop.svc.clusterset.local", DnsType.Aaaa);
        Assert.Equal([new DnsAddress(IPAddress.Parse("fd00::7"))], db.Answers.Select(r => r.Data));
        AssertNoData(TheZone.Ask("db.shop.svc.clusterset.local", DnsType.A));
    }

    [Fact]
    public void The_case_of_the_question_comes_back()
    {
        var response = TheZone.Ask("wEB.shoP.svc.ClusterSet.local", DnsType.A);
        Assert.Equal("wEB.shoP.svc.ClusterSet.local.", response.Questions[0].Name.ToString());
        Assert.Equal("wEB.shoP.svc.ClusterSet.local.", response.Answers[0].Name.ToString());
    }

    [Theory]
    [InlineData("_http._tcp", 80)]
    [InlineData("_https._tcp", 443)]
    [InlineData("_dns._udp", 53)]
    public void Named_ports_have_SRV_with_the_address_beside(string prefix, int port)
    {
        var response = TheZone.Ask($"{prefix}.web.shop.svc.clusterset.local", DnsType.Srv);
        var web = DnsName.Parse("web.shop.svc.clusterset.local");
        Assert.Equal([new DnsSrv(0, 0, (ushort)port, web)], response.Answers.Select(r => r.Data));
        var address = Assert.Single(response.Additionals);
        Assert.Equal((web, (DnsData)new DnsAddress(IPAddress.Parse("127.64.3.9"))), (address.Name, address.Data));
    }

    [Theory]
    [InlineData("_5432._tcp.db.shop.svc.clusterset.local")]
    [InlineData("_http._udp.web.shop.svc.clusterset.local")]
    [InlineData("nothing.shop.svc.clusterset.local")]
    [InlineData("a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.svc.clusterset.local")]
    [InlineData("paris.web.shop.svc.clusterset.local")]
    [InlineData("nothing.clusterset.local")]
    [InlineData("99.3.64.127.in-addr.arpa")]
    public void What_is_not_there_is_NXDOMAIN_with_SOA(string name)
    {
        var response = TheZone.Ask(name, DnsType.A);
        Assert.Equal(DnsRcode.NxDomain, response.Rcode);
        AssertNegative(response);
    }

    [Theory]
    [InlineData("svc.clusterset.local")]
    [InlineData("shop.svc.clusterset.local")]
    [InlineData("_tcp.web.shop.svc.clusterset.local")]
    [InlineData("clusterset.local")]
    [InlineData("3.64.127.in-addr.arpa")]
    public void What_only_stands_between_has_no_data(string name) => AssertNoData(TheZone.Ask(name, DnsType.A));

    [Theory]
    [InlineData("local")]
    [InlineData(".")]
    [InlineData("example.com")]
    [InlineData("xclusterset.local")]
    [InlineData("web.shop.svc.cluster.local")]
    [InlineData("1.0.65.127.in-addr.arpa")]
    public void Outside_is_REFUSED(string name)
    {
        var response = TheZone.Ask(name, DnsType.A);
        Assert.Equal((DnsRcode.Refused, DnsFlags.Response | DnsFlags.RecursionDesired), (response.Rcode, response.Flags));
        Assert.Empty(response.Authorities);
        Assert.Equal(DnsRcode.Refused, DnsZone.Empty.Ask(name, DnsType.A).Rcode);
    }

    [Fact]
    public void A_service_that_no_site_can_serve_keeps_its_names_and_has_no_data()
    {
        AssertNoData(TheZone.Ask("idle.shop.svc.clusterset.local", DnsType.A));
        AssertNoData(TheZone.Ask("_http._tcp.idle.shop.svc.clusterset.local", DnsType.Srv));
        Assert.Single(TheZone.Ask("10.3.64.127.in-addr.arpa", DnsType.Ptr).Answers);

        var ready = Zone(Services.Select(s => s with { Ready = true }));
        Assert.Single(ready.Ask("idle.shop.svc.clusterset.local", DnsType.A).Answers);
        Assert.Equal(TheZone.Count, ready.Count);
    }

    [Fact]
    public void The_apex_has_SOA_and_NS_and_the_version_of_the_specification()
    {
        var soa = Assert.IsType<DnsSoa>(Assert.Single(TheZone.Ask("clusterset.local", DnsType.Soa).Answers).Data);
        Assert.Equal((42u, 1u), (soa.Serial, soa.Minimum));
        var ns = TheZone.Ask("clusterset.local", DnsType.Ns);
        Assert.Equal([new DnsTarget(DnsType.Ns, DnsName.Parse("ns.clusterset.local"))], ns.Answers.Select(r => r.Data));
        Assert.Equal([new DnsAddress(IPAddress.Parse("127.0.0.5"))], ns.Additionals.Select(r => r.Data));
        var version = Assert.Single(TheZone.Ask("dns-version.clusterset.local", DnsType.Txt).Answers);
        Assert.Equal(28800u, version.Ttl);
        Assert.Equal(["1.0.0"], Assert.IsType<DnsTxt>(version.Data).Strings.AsEnumerable());
    }

    [Fact]
    public void A_domain_of_its_own_is_the_zone()
    {
        var zone = DnsZone.Build("mesh.example", Services, 1, new DnsZoneOptions());
        Assert.Single(zone.Ask("mesh.example", DnsType.Soa).Answers);
        Assert.Single(zone.Ask("web.shop.mesh.example", DnsType.A).Answers);
        Assert.Single(zone.Ask("dns-version.mesh.example", DnsType.Txt).Answers);
        Assert.Equal(DnsRcode.Refused, zone.Ask("example", DnsType.Soa).Rcode);
        Assert.Single(DnsZone.Build("svc", Services, 1, new DnsZoneOptions()).Ask("svc", DnsType.Soa).Answers);
    }

    [Fact]
    public void Addresses_name_their_service_within_a_range_or_without()
    {
        var ptr = TheZone.Ask("9.3.64.127.in-addr.arpa", DnsType.Ptr);
        Assert.Equal(new DnsTarget(DnsType.Ptr, DnsName.Parse("web.shop.svc.clusterset.local")), Assert.Single(ptr.Answers).Data);
        Assert.Single(TheZone.Ask("64.127.in-addr.arpa", DnsType.Soa).Answers);

        const string Six = "7.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa";
        Assert.Single(TheZone.Ask(Six, DnsType.Ptr).Answers);
        Assert.Single(TheZone.Ask(Six, DnsType.Soa).Answers);
        Assert.Equal(DnsRcode.Refused, TheZone.Ask("8" + Six[1..], DnsType.Ptr).Rcode);
    }

    [Theory]
    [InlineData("10.0.0.0/9", "0.10.in-addr.arpa", "127.10.in-addr.arpa", "128.10.in-addr.arpa")]
    [InlineData("10.64.0.0/10", "64.10.in-addr.arpa", "127.10.in-addr.arpa", "128.10.in-addr.arpa")]
    [InlineData("10.1.2.4/30", "4.2.1.10.in-addr.arpa", "7.2.1.10.in-addr.arpa", "8.2.1.10.in-addr.arpa")]
    [InlineData("fd00::/9", "0.d.f.ip6.arpa", "7.d.f.ip6.arpa", "8.d.f.ip6.arpa")]
    [InlineData("fd00::/8", "d.f.ip6.arpa", "8.d.f.ip6.arpa", "e.f.ip6.arpa")]
    public void A_range_between_labels_is_several_zones(string range, string first, string last, string outside)
    {
        var zone = Zone([], new DnsZoneOptions { ReverseRanges = [IPNetwork.Parse(range)] });
        Assert.NotEqual(DnsRcode.Refused, zone.Ask(first, DnsType.Soa).Rcode);
        Assert.NotEqual(DnsRcode.Refused, zone.Ask(last, DnsType.Soa).Rcode);
        Assert.Equal(DnsRcode.Refused, zone.Ask(outside, DnsType.Soa).Rcode);
    }

    [Fact]
    public void Negative_answers_live_no_longer_than_positive_ones()
    {
        var zone = Zone(options: new DnsZoneOptions { Ttl = 3, NegativeTtl = 60 });
        Assert.Equal(3u, zone.Ask("x.clusterset.local", DnsType.A).Authorities[0].Ttl);
        Assert.Equal(1u, TheZone.Ask("x.clusterset.local", DnsType.A).Authorities[0].Ttl);
    }

    [Fact]
    public void Every_error_is_told_at_once()
    {
        var e = Assert.Throws<FormatException>(() => Zone(
            [
                .. Services,
                new("WEB", "shop", IPAddress.Loopback, [], true),
                new(new string('a', 64), "shop", IPAddress.Loopback, [], true),
                new("p", "shop", IPAddress.Loopback, [new("http", 70000, true)], true),
                new("q", "shop", IPAddress.Loopback, [new("http", 1, true), new("http", 2, true)], true),
            ],
            new DnsZoneOptions { ReverseRanges = [IPNetwork.Parse("0.0.0.0/0")] }));
        Assert.Contains("WEB.shop is there twice", e.Message);
        Assert.Contains("63", e.Message);
        Assert.Contains("70000", e.Message);
        Assert.Contains("port name http is there twice", e.Message);
        Assert.Contains("0.0.0.0/0", e.Message);
        Assert.Throws<FormatException>(() => DnsZone.Build("a..b", [], 1, new DnsZoneOptions()));
    }

    [Fact]
    public void Ten_thousand_services_compile_and_answer()
    {
        var services = Enumerable.Range(0, 10_000).Select(i => new DnsService(
            $"s{i}", $"ns{i % 50}", new IPAddress([127, 64, (byte)(i >> 8), (byte)i]), [new("http", 80, true)], true));
        var zone = Zone(services.ToImmutableArray());
        var answer = Assert.Single(zone.Ask("s9999.ns49.svc.clusterset.local", DnsType.A).Answers);
        Assert.Equal(new DnsAddress(IPAddress.Parse("127.64.39.15")), answer.Data);
    }

    private static void AssertNoData(DnsMessage response)
    {
        Assert.Equal(DnsRcode.NoError, response.Rcode);
        AssertNegative(response);
    }

    private static void AssertNegative(DnsMessage response)
    {
        Assert.Empty(response.Answers);
        Assert.True((response.Flags & DnsFlags.Authoritative) != 0);
        var soa = Assert.Single(response.Authorities);
        Assert.Equal((DnsType.Soa, 1u), (soa.Type, soa.Ttl));
        Assert.True(response.Questions[0].Name.IsAtOrBelow(soa.Name));
    }
}
