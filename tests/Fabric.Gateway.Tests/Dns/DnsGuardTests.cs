using System.Buffers.Binary;
using Fabric.Gateway.Dns;
using Fabric.Protocol.Dns;
using Fabric.Testing;
using static Fabric.Gateway.Tests.Dns.DnsFixtures;

namespace Fabric.Gateway.Tests.Dns;

/// <summary>Cookies, limits and identifiers; and that nobody gains by asking in another's name.</summary>
public class DnsGuardTests
{
    private const string Web = "web.shop.svc.clusterset.local";
    private static readonly DnsZone TheZone = Zone();
    private static readonly byte[] ClientCookie = [1, 2, 3, 4, 5, 6, 7, 8];

    [Fact]
    public void A_client_learns_a_cookie_and_every_answer_has_a_fresh_one()
    {
        var (time, guard) = Guard();
        var first = Option(TheZone.Ask(With(10, ClientCookie), guard: guard), 10)!;
        Assert.Equal(24, first.Length);
        Assert.Equal(ClientCookie, first[..8]);
        time.Advance(TimeSpan.FromMinutes(40));
        var next = Option(TheZone.Ask(With(10, first), guard: guard), 10)!;
        Assert.NotEqual(first, next);
        Assert.Equal(40 * 60, BinaryPrimitives.ReadInt32BigEndian(next.AsSpan(12)) - BinaryPrimitives.ReadInt32BigEndian(first.AsSpan(12)));
        Assert.Equal(DnsCookieState.Valid, guard.Check(next, [192, 0, 2, 1]));
        Assert.Equal(DnsCookieState.Client, guard.Check(next, [192, 0, 2, 2]));
    }

    [Fact]
    public void A_cookie_outlives_the_roll_of_the_secret_as_long_as_it_lives_itself()
    {
        var (time, guard) = Guard();
        time.Advance(TimeSpan.FromHours(23.9));
        var cookie = Option(TheZone.Ask(With(10, ClientCookie), guard: guard), 10)!;
        time.Advance(TimeSpan.FromMinutes(30));
        Assert.Equal(DnsCookieState.Valid, guard.Check(cookie, [192, 0, 2, 1]));
        var renewed = Option(TheZone.Ask(With(10, cookie), guard: guard), 10)!;
        time.Advance(TimeSpan.FromMinutes(31));
        Assert.Equal(DnsCookieState.Client, guard.Check(cookie, [192, 0, 2, 1]));
        Assert.Equal(DnsCookieState.Valid, guard.Check(renewed, [192, 0, 2, 1]));
    }

    [Fact]
    public void A_question_is_not_needed_to_get_a_cookie()
    {
        var (_, guard) = Guard();
        var answer = TheZone.Ask(With(10, ClientCookie) with { Questions = [] }, guard: guard);
        Assert.Equal((DnsRcode.NoError, 0, 24), (answer.Rcode, answer.Questions.Length, Option(answer, 10)!.Length));
    }

    [Fact]
    public void Above_the_limit_every_second_answer_says_to_come_over_TCP_and_the_others_are_missing()
    {
        var (time, guard) = Guard(limit: 10);
        Assert.Equal((10, 5, 5), Flood(guard, Query(Web, DnsType.A), 20));

        // Another name, another network, the next second: each counts by itself; TCP does not count.
        Assert.Equal((5, 0, 0), Flood(guard, Query("dns-version.clusterset.local", DnsType.Txt), 5));
        Assert.Equal((10, 0, 0), Flood(guard, Query(Web, DnsType.A), 10, [198, 51, 100, 1]));
        Assert.Equal((100, 0, 0), Flood(guard, Query(Web, DnsType.A), 100, [127, 0, 0, 1]));
        Assert.Equal((20, 0, 0), Flood(guard, Query(Web, DnsType.A), 20, transport: DnsTransport.Tcp));
        time.Advance(TimeSpan.FromSeconds(1));
        Assert.Equal((10, 0, 0), Flood(guard, Query(Web, DnsType.A), 10));
    }

    [Fact]
    public void Names_that_do_not_exist_count_together()
    {
        var (_, guard) = Guard(limit: 10);
        var passed = 0;
        for (var i = 0; i < 100; i++)
        {
            passed += Flood(guard, Query($"x{i}.clusterset.local", DnsType.A), 1).Passed;
        }

        Assert.Equal(10, passed);
    }

    [Fact]
    public void Above_the_limit_a_client_with_a_cookie_of_its_own_is_told_to_use_ours_and_then_is_not_limited()
    {
        var (_, guard) = Guard(limit: 1);
        Flood(guard, With(10, ClientCookie), 2);
        DnsMessage? told = null;
        for (var i = 0; i < 2 && told is null; i++)
        {
            told = TryAsk(guard, With(10, ClientCookie), [192, 0, 2, 1], DnsTransport.Udp, out _);
        }

        Assert.Equal((DnsRcode.BadCookie, 0), (told!.Rcode, told.Answers.Length));
        Assert.Equal((50, 0, 0), Flood(guard, With(10, Option(told, 10)!), 50, [192, 0, 2, 1]));
    }

    [Fact]
    public void The_identifier_is_told_to_who_asks()
    {
        var (_, guard) = Guard();
        Assert.Equal("paris-1"u8, Option(TheZone.Ask(With(3, []), guard: guard), 3)!);
        Assert.Null(Option(TheZone.Ask(Query(Web, DnsType.A) with { Additionals = [Opt] }, guard: guard), 3));
    }

    [Theory]
    [InlineData("example.com", DnsType.A, false, false)]
    [InlineData("example.com", DnsType.A, true, false)]
    [InlineData("example.com", DnsType.Any, true, true)]
    [InlineData("clusterset.local", DnsType.Axfr, true, true)]
    [InlineData(".", DnsType.Ns, true, false)]
    public void A_refusal_over_UDP_is_no_longer_than_its_query(string name, DnsType type, bool opt, bool options)
    {
        var (_, guard) = Guard();
        var query = Query(name, type) with
        {
            Additionals = !opt ? [] : !options ? [Opt]
                : [Opt with { Data = new DnsOpt([new DnsOption(10, [.. ClientCookie]), new DnsOption(3, [])]) }],
        };
        var response = new byte[DnsResponder.UdpBuffer];
        foreach (var opcode in new[] { DnsOpcode.Query, DnsOpcode.Update })
        {
            var bytes = (query with { Opcode = opcode }).Bytes();
            var length = DnsResponder.Respond(TheZone, bytes, response, new DnsAsker(DnsTransport.Udp, [192, 0, 2, 1], guard), out var rcode);
            Assert.Equal(opcode == DnsOpcode.Query ? DnsRcode.Refused : DnsRcode.NotImp, rcode);
            Assert.InRange(length, 12, bytes.Length);
        }

        // Over TCP there is room for the reason.
        if (opt)
        {
            Assert.Equal([0, 20], Option(TheZone.Ask(query, DnsTransport.Tcp, guard), 15)!);
        }
    }

    [Fact]
    public void Over_TLS_a_padded_query_gets_a_padded_answer()
    {
        var answer = TheZone.Ask(With(12, new byte[10]), DnsTransport.Tls);
        Assert.Equal(468, answer.Bytes().Length);
        Assert.Null(Option(TheZone.Ask(With(12, new byte[10]), DnsTransport.Tcp), 12));
    }

    private static (ManualTime Time, DnsGuard Guard) Guard(int limit = 0)
    {
        var time = new ManualTime();
        return (time, new DnsGuard("paris-1", limit, time));
    }

    private static DnsMessage With(ushort option, byte[] data) =>
        Query(Web, DnsType.A) with { Additionals = [Opt with { Data = new DnsOpt([new DnsOption(option, [.. data])]) }] };

    private static byte[]? Option(DnsMessage message, ushort code) =>
        Assert.IsType<DnsOpt>(message.Opt!.Data).Options.FirstOrDefault(o => o.Code == code)?.Data.ToArray();

    private static (int Passed, int Truncated, int Dropped) Flood(
        DnsGuard guard, DnsMessage query, int times, byte[]? from = null, DnsTransport transport = DnsTransport.Udp)
    {
        var (passed, truncated, dropped) = (0, 0, 0);
        for (var i = 0; i < times; i++)
        {
            var answer = TryAsk(guard, query, from ?? [192, 0, 2, (byte)i], transport, out var length);
            Assert.True(answer is null || (answer.Flags & DnsFlags.Truncated) == 0 || length <= query.Bytes().Length);
            (passed, truncated, dropped) = answer is null ? (passed, truncated, dropped + 1)
                : (answer.Flags & DnsFlags.Truncated) != 0 ? (passed, truncated + 1, dropped)
                : (passed + 1, truncated, dropped);
        }

        return (passed, truncated, dropped);
    }

    private static DnsMessage? TryAsk(DnsGuard guard, DnsMessage query, byte[] from, DnsTransport transport, out int length)
    {
        var response = new byte[DnsLimits.Tcp];
        length = DnsResponder.Respond(TheZone, query.Bytes(), response, new DnsAsker(transport, from, guard), out _);
        return length == 0 ? null : Read(response.AsSpan(0, length));
    }
}
