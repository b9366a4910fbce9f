using System.Net;
using Fabric.Gateway.Dns;
using Fabric.Protocol.Dns;
using Fabric.Topology.Model;
using static Fabric.Gateway.Tests.Dns.DnsFixtures;

namespace Fabric.Gateway.Tests.Dns;

/// <summary>What a zone answers for services that are absent, and after changes.</summary>
public class DnsChangeTests
{
    private const string Idle = "idle.shop.svc.clusterset.local";

    [Theory]
    [InlineData(AbsentAnswer.NoData, DnsRcode.NoError, DnsRcode.NoError)]
    [InlineData(AbsentAnswer.NxDomain, DnsRcode.NxDomain, DnsRcode.NxDomain)]
    [InlineData(AbsentAnswer.ServFail, DnsRcode.ServFail, DnsRcode.ServFail)]
    public void An_absent_service_answers_as_chosen_and_says_why(AbsentAnswer absent, DnsRcode own, DnsRcode port)
    {
        var zone = Zone(options: new DnsZoneOptions { Absent = absent, ReverseRanges = [IPNetwork.Parse("127.64.0.0/16")] });
        foreach (var (name, type, rcode) in new[] { (Idle, DnsType.A, own), ("_http._tcp." + Idle, DnsType.Srv, port) })
        {
            var answer = zone.Ask(Query(name, type) with { Additionals = [Opt] });
            Assert.Equal(rcode, answer.Rcode);
            Assert.Empty(answer.Answers);
            Assert.Equal(rcode == DnsRcode.ServFail ? 0 : 1, answer.Authorities.Length);
            Assert.Equal(rcode != DnsRcode.ServFail, (answer.Flags & DnsFlags.Authoritative) != 0);
            var error = Assert.Single(Assert.IsType<DnsOpt>(answer.Opt!.Data).Options);
            Assert.Equal([0, 0, .. "no site can serve idle.shop: paris has no healthy endpoint"u8], error.Data.ToArray());
            Assert.Equal(rcode, zone.Ask(name, type).Rcode);
        }

        Assert.Equal(DnsRcode.NxDomain, zone.Ask("no." + Idle, DnsType.A).Rcode);
        Assert.Single(zone.Ask("10.3.64.127.in-addr.arpa", DnsType.Ptr).Answers);
        Assert.Single(zone.Ask("web.shop.svc.clusterset.local", DnsType.A).Answers);
        Assert.Equal(DnsRcode.NoError, zone.Ask("shop.svc.clusterset.local", DnsType.A).Rcode);
    }

    [Fact]
    public void What_is_too_old_is_not_answered_as_live()
    {
        var stale = Zone().Stale;
        foreach (var name in new[] { "web.shop.svc.clusterset.local", "nothing.clusterset.local", "9.3.64.127.in-addr.arpa" })
        {
            var answer = stale.Ask(Query(name, DnsType.A) with { Additionals = [Opt] });
            Assert.Equal((DnsRcode.ServFail, 0), (answer.Rcode, answer.Answers.Length));
            Assert.Equal([0, 14], Assert.IsType<DnsOpt>(answer.Opt!.Data).Options.Single().Data.AsSpan()[..2].ToArray());
        }

        Assert.Equal(DnsRcode.Refused, stale.Ask("example.com", DnsType.A).Rcode);
    }

    [Fact]
    public void After_any_changes_a_zone_answers_like_one_that_was_built_so()
    {
        var random = new Random(7);
        var options = new DnsZoneOptions
        {
            ReverseRanges = [IPNetwork.Parse("127.64.0.0/16"), IPNetwork.Parse("fd00::/112")],
            ServerAddresses = [IPAddress.Parse("127.0.0.5")],
        };
        var now = new Dictionary<string, DnsService>();
        var zone = DnsZone.Build(Domain, [], 0, options);
        for (uint turn = 1; turn <= 120; turn++)
        {
            var changed = Enumerable.Range(0, random.Next(1, turn % 10 == 0 ? 200 : 4)).Select(_ => Any(random))
                .DistinctBy(s => s.Name + s.Namespace).ToList();
            var removed = now.Values.Where(s => random.Next(8) == 0 && !changed.Exists(c => (c.Name, c.Namespace) == (s.Name, s.Namespace)))
                .ToList();
            removed.ForEach(s => now.Remove($"{s.Name}.{s.Namespace}"));
            changed.ForEach(s => now[$"{s.Name}.{s.Namespace}"] = s);
            zone = zone.With(changed, removed, turn);
            var built = DnsZone.Build(Domain, now.Values, turn, options);
            Assert.Equal(built.Count, zone.Count);
            foreach (var service in changed.Concat(removed).Concat(now.Values.Take(20)))
            {
                AssertSame(built, zone, service);
            }
        }
    }

    private static DnsService Any(Random random)
    {
        var address = random.Next(4) == 0 ? IPAddress.Parse($"fd00::{random.Next(1, 300):x}")
            : new IPAddress([127, (byte)random.Next(64, 66), (byte)random.Next(3), (byte)random.Next(256)]);
        return new DnsService(
            $"s{random.Next(60)}", $"ns{random.Next(5)}", address,
            [new("http", random.Next(1, 9000), true), new("dns", 53, false), new("web", 443, true) { Alpn = ["h2"] }], random.Next(3) > 0)
        {
            Why = "no reason",
        };
    }

    private static void AssertSame(DnsZone expected, DnsZone actual, DnsService service)
    {
        var name = $"{service.Name}.{service.Namespace}.{Domain}";
        var reverse = Reverse(service.ServiceAddress!);
        foreach (var (asked, type) in new[]
        {
            (name, DnsType.A), (name, DnsType.Aaaa), (name, DnsType.Https), ($"_web.{name}", DnsType.Svcb), ($"_443._web.{name}", DnsType.Svcb), ($"_http._tcp.{name}", DnsType.Srv), ($"_udp.{name}", DnsType.A),
            ($"no.{name}", DnsType.A), ($"{service.Namespace}.{Domain}", DnsType.A), (reverse, DnsType.Ptr), (reverse, DnsType.Soa),
            (reverse[(reverse.IndexOf('.') + 1)..], DnsType.Ptr), ("clusterset.local", DnsType.Soa),
        })
        {
            var (left, right) = (expected.Ask(asked, type), actual.Ask(asked, type));

            // Those of one address come in no order.
            Assert.Equal(left.Rcode, right.Rcode);
            Assert.Equal(left.Answers.Order(ByText).Select(r => r.ToString()), right.Answers.Order(ByText).Select(r => r.ToString()));
            Assert.Equal(left.Authorities.Select(r => r.ToString()), right.Authorities.Select(r => r.ToString()));
            Assert.Equal(left.Additionals.Select(r => r.ToString()), right.Additionals.Select(r => r.ToString()));
        }
    }

    private static readonly Comparer<DnsRecord> ByText = Comparer<DnsRecord>.Create((a, b) => string.CompareOrdinal(a.ToString(), b.ToString()));

    private static string Reverse(IPAddress address) => address.GetAddressBytes() is { Length: 4 } four
        ? string.Join('.', Enumerable.Reverse(four)) + ".in-addr.arpa"
        : string.Join('.', address.GetAddressBytes().SelectMany(b => new[] { $"{b >> 4:x}", $"{b & 15:x}" }).Reverse()) + ".ip6.arpa";
}
