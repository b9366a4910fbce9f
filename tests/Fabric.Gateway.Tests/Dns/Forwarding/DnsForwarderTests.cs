using System.Net;
using Fabric.Gateway.Dns;
using Fabric.Gateway.Dns.Forwarding;
using Fabric.Protocol.Dns;
using Fabric.Testing;
using static Fabric.Gateway.Tests.Dns.DnsFixtures;
using static Fabric.Gateway.Tests.Dns.Forwarding.FakeUpstream;
using static Fabric.Gateway.Tests.Dns.Forwarding.ForwardingServer;

namespace Fabric.Gateway.Tests.Dns.Forwarding;

/// <summary>What is kept, for how long, and for whom.</summary>
public sealed class DnsForwarderTests
{
    [Fact]
    public async Task An_answer_is_kept_for_its_TTL_counted_down_whatever_the_case_of_letters()
    {
        var time = new ManualTime();
        await using var upstream = new FakeUpstream((q, _) => Address(q));
        await using var server = new ForwardingServer(To(upstream.EndPoint), time: time);
        var first = await server.AskAsync("www.example.org");
        Assert.Equal((DnsRcode.NoError, 300u), (first.Rcode, first.Answers.Single().Ttl));
        Assert.Equal(DnsFlags.Response | DnsFlags.RecursionDesired | DnsFlags.RecursionAvailable, first.Flags);

        time.Advance(TimeSpan.FromSeconds(100));
        var second = await server.AskAsync("wWw.exAMple.ORG", edns: false);
        Assert.Equal(200u, second.Answers.Single().Ttl);
        // The client's own letters, and no OPT for who sent none.
        Assert.Equal("wWw.exAMple.ORG.", second.Questions.Single().Name.ToString());
        Assert.Equal("wWw.exAMple.ORG.", second.Answers.Single().Name.ToString());
        Assert.Null(second.Opt);
        Assert.Single(upstream.Queries);
        Assert.Equal(1, server.Forwarder.Statistics.Hits);

        time.Advance(TimeSpan.FromSeconds(201));
        Assert.Equal(300u, (await server.AskAsync("www.example.org")).Answers.Single().Ttl);
        Assert.Equal(2, upstream.Queries.Count);
    }

    [Fact]
    public async Task Own_names_are_answered_here_and_RD_0_is_refused()
    {
        await using var upstream = new FakeUpstream((q, _) => Address(q));
        await using var server = new ForwardingServer(To(upstream.EndPoint));
        var own = await server.AskAsync("web.shop.svc.clusterset.local");
        Assert.True(own.Flags.HasFlag(DnsFlags.Authoritative));
        Assert.Equal(DnsRcode.NxDomain, (await server.AskAsync("no.svc.clusterset.local")).Rcode);
        Assert.Equal(DnsRcode.Refused, (await server.AskAsync(Query("www.example.org", DnsType.A) with { Flags = DnsFlags.None })).Rcode);
        Assert.Empty(upstream.Queries);
    }

    [Fact]
    public async Task Queries_upstream_come_from_random_ports_with_random_ids_and_letters()
    {
        await using var upstream = new FakeUpstream((q, _) => Address(q));
        await using var server = new ForwardingServer(To(upstream.EndPoint), time: new ManualTime());
        for (var i = 0; i < 64; i++)
        {
            Assert.Single((await server.AskAsync($"n{i}.a-long-enough-name.example.org")).Answers);
        }

        var seen = upstream.Queries.Select(q => (q.Query.Id, q.Port, Name: q.Query.Questions[0].Name.ToString())).ToList();
        Assert.InRange(seen.Select(s => s.Port).Distinct().Count(), 50, 64);
        Assert.InRange(seen.Select(s => s.Id).Distinct().Count(), 60, 64);
        Assert.InRange(seen.Select(s => s.Name[(s.Name.IndexOf('.') + 1)..]).Distinct().Count(), 60, 64);
        Assert.All(upstream.Queries, q => Assert.Equal(1232, (int)q.Query.Opt!.Class));
    }

    [Fact]
    public async Task DO_and_CD_are_kept_apart_and_passed_on()
    {
        await using var upstream = new FakeUpstream((q, _) => Address(q));
        await using var server = new ForwardingServer(To(upstream.EndPoint));
        var plain = Query("www.example.org", DnsType.A) with { Additionals = [Opt] };
        var signed = plain with { Additionals = [Opt with { Ttl = DnsOpt.DnssecOk }] };
        var unchecked1 = plain with { Flags = DnsFlags.RecursionDesired | DnsFlags.CheckingDisabled };
        foreach (var query in new[] { plain, signed, unchecked1, plain, signed, unchecked1 })
        {
            await server.AskAsync(query);
        }

        // On a busy machine an answer may be late, and its question asked once more.
        Assert.Equal(
            [(false, false), (true, false), (false, true)],
            upstream.Queries.Select(q => (q.Query.Opt!.Ttl != 0, q.Query.Flags.HasFlag(DnsFlags.CheckingDisabled))).Distinct());
    }

    [Theory]
    [InlineData(DnsRcode.NxDomain, 600, 20, 20)]
    [InlineData(DnsRcode.NoError, 15, 600, 15)]
    [InlineData(DnsRcode.NoError, 90_000, 90_000, 3600)]
    public async Task What_is_not_there_is_kept_as_its_SOA_record_says(DnsRcode rcode, uint ttl, uint minimum, uint kept)
    {
        var time = new ManualTime();
        await using var upstream = new FakeUpstream((q, _) => Negative(q, rcode, ttl, minimum));
        await using var server = new ForwardingServer(To(upstream.EndPoint), time: time);
        Assert.Equal(rcode, (await server.AskAsync("no.example")).Rcode);
        time.Advance(TimeSpan.FromSeconds(kept - 1));
        var still = await server.AskAsync("no.example");
        Assert.Equal((rcode, 1u), (still.Rcode, still.Authorities.Single().Ttl));
        Assert.Single(upstream.Queries);
        time.Advance(TimeSpan.FromSeconds(1));
        await server.AskAsync("no.example");
        Assert.Equal(2, upstream.Queries.Count);
    }

    [Fact]
    public async Task An_answer_that_must_not_be_kept_is_not()
    {
        // NXDOMAIN without a SOA record (RFC 2308 §5), and a TTL of 0.
        await using var upstream = new FakeUpstream((q, _) => q.Questions[0].Name.LabelCount == 1
            ? Reply(q) with { Rcode = DnsRcode.NxDomain } : Address(q, ttl: 0));
        // No answer is late by its clock, so that no question is asked once more.
        await using var server = new ForwardingServer(To(upstream.EndPoint), time: new ManualTime());
        foreach (var name in new[] { "example", "example", "www.example", "www.example" })
        {
            await server.AskAsync(name);
        }

        Assert.Equal(4, upstream.Queries.Count);
    }

    [Fact]
    public async Task A_chain_of_aliases_is_kept_as_answered_and_what_is_not_of_it_is_no_answer()
    {
        DnsRecord Alias(string from, string to) => new(
            DnsName.Parse(from), DnsClass.Internet, 60, new DnsTarget(DnsType.Cname, DnsName.Parse(to)));
        DnsRecord Host(string name) => new(DnsName.Parse(name), DnsClass.Internet, 30, new DnsAddress(IPAddress.Parse("192.0.2.7")));
        await using var upstream = new FakeUpstream((q, _) => Reply(q) with
        {
            Answers = q.Questions[0].Name.Equals(DnsName.Parse("www.example"))
                ? [Alias("www.example", "a.example.net"), Alias("a.example.net", "b.example.com"), Host("b.example.com")]
                : [Host("evil.example"), Host("victim.example.com")],
        });
        await using var server = new ForwardingServer(To(upstream.EndPoint));
        var chain = await server.AskAsync("www.example");
        Assert.Equal([DnsType.Cname, DnsType.Cname, DnsType.A], chain.Answers.Select(r => r.Type));
        Assert.Equal(chain.Answers.AsEnumerable(), (await server.AskAsync("www.example")).Answers.AsEnumerable());

        var evil = await server.AskAsync("evil.example");
        Assert.Equal(DnsRcode.ServFail, evil.Rcode);
        Assert.Contains("not asked", Reason(evil)!.Value.Text);
        // Neither it nor a name within an answer answers for itself.
        var before = upstream.Queries.Count;
        await server.AskAsync("victim.example.com");
        await server.AskAsync("b.example.com");
        Assert.True(upstream.Queries.Count >= before + 2);
    }

    [Fact]
    public async Task Same_questions_share_one_query_and_the_limit_is_answered_at_once()
    {
        using var gate = new ManualResetEventSlim();
        await using var upstream = new FakeUpstream((q, _) =>
        {
            gate.Wait();
            return Address(q);
        });
        await using var server = new ForwardingServer(To(upstream.EndPoint), new DnsForwarderOptions { Questions = 1, Deadline = Wait.Limit });
        var many = Enumerable.Range(0, 20).Select(_ => server.AskAsync("www.example.org")).ToArray();
        await Wait.UntilAsync(() => server.Forwarder.Statistics.Joined == 19, () => $"{server.Forwarder.Statistics}");
        var other = await server.AskAsync("other.example.org");
        Assert.Equal(DnsRcode.ServFail, other.Rcode);
        Assert.Contains("1 questions are under way", Reason(other)!.Value.Text);
        // Own names do not wait for others'.
        Assert.Single((await server.AskAsync("web.shop.svc.clusterset.local")).Answers);
        gate.Set();
        Assert.All(await Task.WhenAll(many), a => Assert.Single(a.Answers));
        Assert.Equal(1, server.Forwarder.Statistics.Questions);
        Assert.Equal(1, server.Forwarder.Statistics.Limited);
    }

    [Fact]
    public async Task What_is_popular_is_renewed_before_its_end()
    {
        var time = new ManualTime();
        await using var upstream = new FakeUpstream((q, _) => Address(q));
        await using var server = new ForwardingServer(To(upstream.EndPoint), time: time);
        await server.AskAsync("www.example.org");
        await server.AskAsync("www.example.org");
        time.Advance(TimeSpan.FromSeconds(275));
        Assert.Equal(25u, (await server.AskAsync("www.example.org")).Answers.Single().Ttl);
        await Wait.UntilAsync(() => upstream.Queries.Count == 2 && server.Forwarder.Statistics.UnderWay == 0, () => "no renewal");
        Assert.Equal(300u, (await server.AskAsync("www.example.org")).Answers.Single().Ttl);
        Assert.Equal(2, upstream.Queries.Count);
    }

    [Fact]
    public void The_cache_keeps_to_its_limits()
    {
        var cache = new DnsForwardCache(100, 20_000);
        for (var i = 0; i < 1000; i++)
        {
            cache.Put([.. BitConverter.GetBytes(i)], Entry(i), cache.Generation);
            Assert.InRange(cache.Count, 1, 100);
            Assert.InRange(cache.Bytes, 1, 20_000);
            // Who is asked for stays.
            Assert.NotNull(cache.Find(BitConverter.GetBytes(0)));
        }

        Assert.Null(cache.Find(BitConverter.GetBytes(1)));
        Assert.NotNull(cache.Find(BitConverter.GetBytes(999)));
        Assert.Equal(1000 - cache.Count, cache.Evicted);
        var before = cache.Generation;
        cache.Clear();
        cache.Put([1], Entry(1), before);
        Assert.Equal((0, 0L), (cache.Count, cache.Bytes));

        static DnsCacheEntry Entry(int i) => new()
        {
            Response = Parse(Address(Query($"n{i}.example", DnsType.A))),
            Arrived = 0,
            Ttl = 1,
            Server = new IPEndPoint(IPAddress.Loopback, 53),
            RoundTrip = default,
        };
    }

    [Fact]
    public async Task An_answer_leaves_from_the_address_that_was_asked_also_when_it_comes_later()
    {
        await using var upstream = new FakeUpstream((q, _) => Address(q));
        await using var server = new ForwardingServer(To(upstream.EndPoint), listen: new IPEndPoint(IPAddress.Any, 0), time: new ManualTime());
        // The asker's socket takes datagrams of that address alone.
        foreach (var address in new[] { "127.0.0.2", "127.0.0.3" })
        {
            var asked = new IPEndPoint(IPAddress.Parse(address), server.EndPoint.Port);
            Assert.Single((await ForwardingServer.AskAsync(asked, Query($"{address}.example", DnsType.A))).Answers);
        }

        Assert.Equal(2, upstream.Queries.Count);
    }

    [Fact]
    public async Task Plain_sockets_as_on_other_systems_do_the_same()
    {
        await using var upstream = new FakeUpstream((q, _) => Address(q));
        await using var server = new ForwardingServer(To(upstream.EndPoint), portable: true);
        var answers = await Task.WhenAll(Enumerable.Range(0, 20).Select(i => server.AskAsync($"n{i}.example.org")));
        Assert.All(answers.Select((a, i) => (a, i)), x => Assert.Equal($"n{x.i}.example.org.", x.a.Answers.Single().Name.ToString()));
    }

    [Fact]
    public async Task An_answer_out_of_the_cache_allocates_nothing()
    {
        await using var upstream = new FakeUpstream((q, _) => Address(q, ttl: 86_400));
        await using var server = new ForwardingServer(To(upstream.EndPoint));
        var query = (Query("www.example.org", DnsType.A) with { Additionals = [Opt] }).Bytes();
        await server.AskAsync("www.example.org");
        var response = new byte[DnsLimits.Udp];
        int Ask() => server.Forwarder.TryAnswer(query, response, new DnsAsker(DnsTransport.Udp));
        for (var i = 0; i < 100; i++)
        {
            Assert.True(Ask() > 0);
        }

        var before = GC.GetAllocatedBytesForCurrentThread();
        for (var i = 0; i < 1000; i++)
        {
            Ask();
        }

        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
    }

    [Fact]
    public async Task Strangers_get_no_more_than_they_sent_and_no_reason()
    {
        await using var upstream = new FakeUpstream((q, _) => Address(q));
        await using var server = new ForwardingServer(To(upstream.EndPoint) with { Clients = [IPNetwork.Parse("192.0.2.0/24")] });
        var query = Query("www.example.org", DnsType.A) with { Additionals = [Opt with { Data = new DnsOpt([new DnsOption(10, [.. new byte[8]]), new DnsOption(12, [.. new byte[100]])]) }] };
        var answer = await server.AskAsync(query);
        Assert.Equal(DnsRcode.Refused, answer.Rcode);
        Assert.InRange(answer.Bytes().Length, 12, query.Bytes().Length);
        Assert.DoesNotContain(((DnsOpt)answer.Opt!.Data).Options, o => o.Code == (ushort)DnsOptionCode.ExtendedError);
        Assert.Empty(upstream.Queries);
        Assert.Equal(1, server.Server.Statistics.Answers(DnsRcode.Refused));
    }

    private static DnsResponse Parse(DnsMessage message)
    {
        Assert.True(DnsResponse.TryRead(message.Bytes(), message.Questions[0].Name.Wire.Length + 4, out var response));
        return response;
    }
}
