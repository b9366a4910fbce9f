using System.Net;
using Fabric.Gateway.Dns;
using Fabric.Protocol.Dns;
using static Fabric.Gateway.Tests.Dns.DnsFixtures;

namespace Fabric.Gateway.Tests.Dns;

public class DnsResponderTests
{
    private const string Web = "web.shop.svc.clusterset.local";
    private static readonly DnsZone TheZone = Zone();

    [Fact]
    public void BADVERS_has_no_data_and_our_version()
    {
        var response = TheZone.Ask(Query(Web, DnsType.Soa) with { Additionals = [Opt with { Ttl = 100 << 16 }] });
        Assert.Equal(DnsRcode.BadVers, response.Rcode);
        Assert.Empty(response.Answers);
        Assert.Empty(response.Authorities);
        Assert.Equal(0u, response.Opt!.Ttl >> 16 & 0xFF);
    }

    [Fact]
    public void OPT_repeats_DO_and_nothing_else()
    {
        var option = new DnsOpt([new DnsOption(100, [1, 2, 3])]);
        var response = TheZone.Ask(Query(Web, DnsType.A) with { Additionals = [Opt with { Ttl = 0xFFFF, Data = option }] });
        Assert.Equal(DnsRcode.NoError, response.Rcode);
        Assert.Equal(((DnsClass)1232, 0x8000u), (response.Opt!.Class, response.Opt.Ttl));
        Assert.Empty(Assert.IsType<DnsOpt>(response.Opt.Data).Options);
        Assert.Single(response.Answers);
    }

    [Fact]
    public void Other_opcodes_are_NOTIMP_and_other_classes_REFUSED()
    {
        Assert.Equal(DnsRcode.NotImp, TheZone.Ask(Query(Web, DnsType.A) with { Opcode = DnsOpcode.Notify }).Rcode);
        var unassigned = Query(Web, DnsType.A) with { Opcode = (DnsOpcode)15, Additionals = [Opt] };
        Assert.Equal(DnsRcode.NotImp, TheZone.Ask(unassigned).Rcode);
        var chaos = new DnsQuestion(DnsName.Parse("version.bind"), DnsType.Txt, DnsClass.Chaos);
        Assert.Equal(DnsRcode.Refused, TheZone.Ask(Query(Web, DnsType.A) with { Questions = [chaos] }).Rcode);
        Assert.Equal(DnsRcode.Refused, TheZone.Ask("clusterset.local", DnsType.Axfr).Rcode);
    }

    [Fact]
    public void ANY_gets_HINFO_where_there_is_data_and_unknown_types_none()
    {
        foreach (var name in new[] { Web, "clusterset.local", "9.3.64.127.in-addr.arpa", "64.127.in-addr.arpa" })
        {
            var any = Assert.Single(TheZone.Ask(name, DnsType.Any).Answers);
            Assert.Equal("\x07RFC8482\0"u8, Assert.IsType<DnsOpaque>(any.Data).Bytes.AsSpan());
            Assert.Equal((DnsType.Hinfo, DnsName.Parse(name)), (any.Type, any.Name));
        }

        Assert.Empty(TheZone.Ask("shop.svc.clusterset.local", DnsType.Any).Answers);
        Assert.Empty(TheZone.Ask("idle.shop.svc.clusterset.local", DnsType.Any).Answers);
        Assert.Equal(DnsRcode.NxDomain, TheZone.Ask("no." + Web, DnsType.Any).Rcode);
        var unknown = TheZone.Ask(Web, (DnsType)65399);
        Assert.Equal((DnsRcode.NoError, 0, 1), (unknown.Rcode, unknown.Answers.Length, unknown.Authorities.Length));
    }

    [Fact]
    public void RD_and_CD_are_repeated_and_no_other_flag()
    {
        var all = DnsFlags.RecursionDesired | DnsFlags.CheckingDisabled | DnsFlags.AuthenticData | DnsFlags.Truncated;
        var response = TheZone.Ask(Query(Web, DnsType.A) with { Flags = all });
        Assert.Equal(
            DnsFlags.Response | DnsFlags.Authoritative | DnsFlags.RecursionDesired | DnsFlags.CheckingDisabled, response.Flags);
    }

    [Fact]
    public void Responses_and_scraps_are_never_answered()
    {
        var response = new byte[DnsResponder.UdpBuffer];
        var echo = (Query(Web, DnsType.A) with { Flags = DnsFlags.Response }).Bytes();
        Assert.Equal(0, DnsResponder.Respond(TheZone, echo, response, new DnsAsker(DnsTransport.Udp), out _));
        Assert.Equal(0, DnsResponder.Respond(TheZone, new byte[11], response, new DnsAsker(DnsTransport.Udp), out _));
        Assert.Equal(0, DnsResponder.ServFail(new byte[11], response));
    }

    [Fact]
    public void A_malformed_query_gets_FORMERR_with_its_id()
    {
        var scrap = Query(Web, DnsType.A).Bytes()[..20];
        var response = new byte[DnsResponder.UdpBuffer];
        var length = DnsResponder.Respond(TheZone, scrap, response, new DnsAsker(DnsTransport.Udp), out _);
        var message = Read(response.AsSpan(0, length));
        Assert.Equal((12, 0xABCD, DnsRcode.FormErr), (length, message.Id, message.Rcode));
    }

    [Theory]
    [InlineData(0, 512)]
    [InlineData(100, 512)]
    [InlineData(800, 800)]
    [InlineData(4096, 1232)]
    public void Over_UDP_the_clients_size_is_the_limit(int offered, int limit)
    {
        // 60 services on one address: their names do not fit into a datagram.
        var zone = Zone(Enumerable.Range(0, 60).Select(
            i => new DnsService($"service-number-{i}", "shop", IPAddress.Loopback, [], true)));
        var query = Query("1.0.0.127.in-addr.arpa", DnsType.Ptr);
        query = offered == 0 ? query : query with { Additionals = [Opt with { Class = (DnsClass)offered }] };
        var udp = zone.Ask(query);
        Assert.True((udp.Flags & DnsFlags.Truncated) != 0);
        Assert.True(udp.Bytes().Length <= limit);
        var tcp = zone.Ask(query, DnsTransport.Tcp);
        Assert.Equal((60, DnsFlags.None), (tcp.Answers.Length, tcp.Flags & DnsFlags.Truncated));
    }

    [Fact]
    public void Additional_records_give_way_without_TC()
    {
        var label = new string('a', 63);
        var zone = Zone([new DnsService(label, label, IPAddress.Parse("fd00::1"), [new(new string('p', 60), 1, true)], true)]);
        var name = $"_{new string('p', 60)}._tcp.{label}.{label}.svc.clusterset.local";
        var query = Query(name, DnsType.Srv) with { Additionals = [Opt] };
        Assert.Equal(2, zone.Ask(query).Additionals.Length);

        var buffer = new byte[DnsResponder.UdpBuffer];
        var length = DnsResponder.Respond(zone, query.Bytes(), buffer, new DnsAsker(DnsTransport.Udp), out _);
        var shorter = DnsResponder.Respond(zone, query.Bytes(), buffer.AsSpan(0, length - 1), new DnsAsker(DnsTransport.Udp), out _);
        var message = Read(buffer.AsSpan(0, shorter));
        Assert.Equal((1, 1), (message.Answers.Length, message.Additionals.Length));
        Assert.Equal(DnsFlags.None, message.Flags & DnsFlags.Truncated);
    }

    [Fact]
    public void The_longest_question_is_answered_in_512_bytes()
    {
        var label = new string('a', 63);
        var longest = $"{label}.{label}.{label}.{new string('b', 44)}.clusterset.local";
        Assert.Equal(255, DnsName.Parse(longest).Wire.Length);
        var response = TheZone.Ask(Query(longest, DnsType.A) with { Additionals = [Opt with { Class = (DnsClass)512 }] });
        Assert.Equal((DnsRcode.NxDomain, 1), (response.Rcode, response.Authorities.Length));
    }

    [Fact]
    public void Answering_allocates_nothing()
    {
        byte[][] queries =
        [
            .. new[]
            {
                Query(Web, DnsType.A), Query("_http._tcp." + Web, DnsType.Srv), Query("no." + Web, DnsType.A),
                Query("shop.svc.clusterset.local", DnsType.A),
                Query("example.com", DnsType.A) with { Additionals = [Opt] },
                Query("9.3.64.127.in-addr.arpa", DnsType.Ptr), Query("8.3.64.127.in-addr.arpa", DnsType.Ptr), Query(Web, DnsType.Any),
                Query("idle.shop.svc.clusterset.local", DnsType.A) with { Additionals = [Opt] },
                Query(Web, DnsType.A) with { Additionals = [Opt with { Data = new DnsOpt([new DnsOption(10, [1, 2, 3, 4, 5, 6, 7, 8]), new DnsOption(3, [])]) }] },
            }.Select(q => q.Bytes()),
        ];
        var response = new byte[DnsResponder.UdpBuffer];
        var guard = new DnsGuard("paris-1", 50_000, TimeProvider.System);
        foreach (var measured in new[] { false, true })
        {
            var before = GC.GetAllocatedBytesForCurrentThread();
            for (var i = 0; i < 1000; i++)
            {
                DnsResponder.Respond(TheZone, queries[i % queries.Length], response, new DnsAsker(DnsTransport.Udp, [192, 0, 2, 1], guard), out _);
            }

            Assert.True(!measured || GC.GetAllocatedBytesForCurrentThread() == before);
        }
    }

    [Fact]
    public void Mutated_queries_get_well_formed_answers_or_none()
    {
        var random = new Random(3);
        var seed = (Query("_http._tcp." + Web, DnsType.Srv) with { Additionals = [Opt] }).Bytes();
        var response = new byte[DnsResponder.UdpBuffer];
        var rcodes = new HashSet<DnsRcode>();
        for (var i = 0; i < 50_000; i++)
        {
            var query = seed[..(random.Next(5) == 0 ? random.Next(seed.Length) : seed.Length)];
            for (var m = random.Next(1, 5); m > 0 && query.Length > 0; m--)
            {
                query[random.Next(query.Length)] = (byte)random.Next(256);
            }

            var length = DnsResponder.Respond(TheZone, query, response, new DnsAsker(DnsTransport.Udp), out var rcode);
            if (length > 0)
            {
                var message = Read(response.AsSpan(0, length));
                Assert.Equal(rcode, message.Rcode);
                Assert.Equal(query.AsSpan(0, 2), response.AsSpan(0, 2));
                rcodes.Add(rcode);
            }
        }

        Assert.Superset(
            new HashSet<DnsRcode>
            {
                DnsRcode.NoError, DnsRcode.FormErr, DnsRcode.NxDomain, DnsRcode.NotImp, DnsRcode.Refused, DnsRcode.BadVers,
            },
            rcodes);
    }
}
