using System.Diagnostics;
using System.Net;
using Fabric.Gateway.Dns.Forwarding;
using Fabric.Protocol.Dns;
using Fabric.Testing;
using static Fabric.Gateway.Tests.Dns.DnsFixtures;
using static Fabric.Gateway.Tests.Dns.Forwarding.FakeUpstream;
using static Fabric.Gateway.Tests.Dns.Forwarding.ForwardingServer;

namespace Fabric.Gateway.Tests.Dns.Forwarding;

/// <summary>Whom the forwarder asks, and what it does when they do not answer.</summary>
public sealed class DnsUpstreamTests
{
    [Fact]
    public async Task A_truncated_answer_is_asked_for_again_by_TCP()
    {
        var text = new DnsTxt([.. Enumerable.Repeat(new string('x', 250), 12)]);
        await using var upstream = new FakeUpstream((q, tcp) => tcp
            ? Reply(q) with { Answers = [new DnsRecord(q.Questions[0].Name, DnsClass.Internet, 60, text)] }
            : Reply(q) with { Flags = DnsFlags.Response | DnsFlags.Truncated });
        // No answer is late by its clock, so that no question is asked once more.
        await using var server = new ForwardingServer(To(upstream.EndPoint), time: new ManualTime());
        var query = Query("big.example", DnsType.Txt) with { Additionals = [Opt] };
        var whole = await server.AskTcpAsync(query);
        Assert.Equal(12, Assert.IsType<DnsTxt>(whole.Answers.Single().Data).Strings.Length);
        Assert.Equal([false, true], upstream.Queries.Select(q => q.Tcp));
        // Our own client over UDP is sent the same way, out of the cache.
        var cut = await server.AskAsync(query);
        Assert.True(cut.Flags.HasFlag(DnsFlags.Truncated));
        Assert.Empty(cut.Answers);
        Assert.Equal(2, upstream.Queries.Count);
    }

    [Theory]
    [InlineData("silent")]
    [InlineData("servfail")]
    [InlineData("gone")]
    public async Task When_one_fails_the_next_answers_and_it_comes_back(string how)
    {
        var dead = false;
        var first = new FakeUpstream((q, _) => !Volatile.Read(ref dead) ? Address(q, "192.0.2.1", 0)
            : how == "servfail" ? Reply(q) with { Rcode = DnsRcode.ServFail } : null);
        await using var second = new FakeUpstream((q, _) => Address(q, "192.0.2.2", 0));
        await using var server = new ForwardingServer(To(first.EndPoint, second.EndPoint));
        var port = first.EndPoint.Port;
        Assert.Single((await server.AskAsync("www.example.org")).Answers);
        Volatile.Write(ref dead, true);
        if (how == "gone")
        {
            await first.DisposeAsync();
        }

        var took = new List<TimeSpan>();
        for (var i = 0; i < 10; i++)
        {
            var since = Stopwatch.StartNew();
            var answer = await server.AskAsync($"n{i}.example.org");
            Assert.Equal("192.0.2.2", Assert.IsType<DnsAddress>(answer.Answers.Single().Data).Address.ToString());
            took.Add(since.Elapsed);
        }

        // Most of them: a busy machine may be late with some.
        Assert.InRange(took.Order().ElementAt(took.Count / 2), TimeSpan.Zero, TimeSpan.FromSeconds(1));
        Volatile.Write(ref dead, false);
        if (how == "gone")
        {
            first = new FakeUpstream((q, _) => Address(q, "192.0.2.1", 0), port);
        }

        await Wait.UntilAsync(
            () => server.Forwarder.Upstreams.All(u => u.Upstream.State == "up"), () => string.Join(", ", server.Forwarder.Upstreams));
        var before = first.Queries.Count;
        for (var since = Stopwatch.StartNew(); first.Queries.Count == before; await server.AskAsync($"{Guid.NewGuid()}.example.org"))
        {
            Assert.True(since.Elapsed < Wait.Limit, "the one that came back is never asked");
        }

        await first.DisposeAsync();
    }

    [Fact]
    public async Task When_all_are_dead_what_is_stale_is_served_and_says_so()
    {
        var time = new SkewedTime();
        var answers = new StrongBox(true);
        await using var upstream = new FakeUpstream((q, _) => !answers.Value ? null
            : q.Questions[0].Name.LabelCount == 1 ? Negative(q, DnsRcode.NxDomain, 30, 30) : Address(q, ttl: 60));
        await using var server = new ForwardingServer(
            To(upstream.EndPoint), new DnsForwarderOptions
            {
                StaleAfter = TimeSpan.FromMilliseconds(300),
                Deadline = TimeSpan.FromSeconds(5),
                FailureTtl = TimeSpan.FromSeconds(15),
            },
            time);
        await server.AskAsync("www.example.org");
        await server.AskAsync("example");
        answers.Value = false;
        time.Skew = TimeSpan.FromSeconds(61);

        var since = Stopwatch.StartNew();
        var stale = await server.AskAsync("www.example.org");
        Assert.Equal((DnsRcode.NoError, 30u), (stale.Rcode, stale.Answers.Single().Ttl));
        Assert.Equal(DnsExtendedError.StaleAnswer, Reason(stale)!.Value.Code);
        Assert.InRange(since.ElapsedMilliseconds, 290, 4900);
        Assert.Equal(DnsExtendedError.StaleNxDomain, Reason(await server.AskAsync("example"))!.Value.Code);
        // What was never known is a failure, and is told why.
        var unknown = await server.AskAsync("other.example.org");
        Assert.Equal(DnsRcode.ServFail, unknown.Rcode);
        Assert.Equal(DnsExtendedError.NoReachableAuthority, Reason(unknown)!.Value.Code);
        Assert.Equal(2, server.Forwarder.Statistics.Stale);

        // The failure is remembered: the stale answer comes at once.
        await Wait.UntilAsync(() => server.Forwarder.Statistics.UnderWay == 0, () => "questions are under way");
        time.Skew += TimeSpan.FromMilliseconds(1);
        // A server that is down is asked something now and then, to see whether it is back.
        int Asked() => upstream.Queries.Count(q => q.Query.Questions[0].Name.Equals(DnsName.Parse("other.example.org")));
        var asked = Asked();
        await server.AskAsync("other.example.org");
        Assert.Equal(asked, Asked());

        answers.Value = true;
        time.Skew += TimeSpan.FromSeconds(16);
        for (since.Restart(); (await server.AskAsync("www.example.org")).Answers.Single().Ttl != 60; await Task.Delay(50))
        {
            Assert.True(since.Elapsed < Wait.Limit, "still stale");
        }

        // A day later it is no longer served.
        answers.Value = false;
        time.Skew += TimeSpan.FromSeconds(86_400 + 61);
        Assert.Equal(DnsRcode.ServFail, (await server.AskAsync("www.example.org")).Rcode);
    }

    [Fact]
    public async Task The_longest_zone_decides_and_a_reload_drops_no_query()
    {
        await using var all = new FakeUpstream((q, _) => Address(q, "192.0.2.1"));
        await using var corp = new FakeUpstream((q, _) => Address(q, "192.0.2.2"));
        await using var lab = new FakeUpstream((q, _) => Address(q, "192.0.2.3"));
        var rules = new DnsForwardRules
        {
            Zones =
            [
                new(DnsName.Parse("corp.example"), [corp.EndPoint]), new(DnsName.Root, [all.EndPoint]),
                new(DnsName.Parse("lab.corp.example"), [lab.EndPoint]),
            ],
        };
        await using var server = new ForwardingServer(rules);
        Assert.Equal("192.0.2.1", await AddressAsync(server, "example"));
        Assert.Equal("192.0.2.2", await AddressAsync(server, "corp.EXAMPLE"));
        Assert.Equal("192.0.2.2", await AddressAsync(server, "xlab.corp.example"));
        Assert.Equal("192.0.2.3", await AddressAsync(server, "a.b.Lab.corp.example"));

        using var stop = new CancellationTokenSource();
        var asked = 0;
        var asking = Enumerable.Range(0, 4).Select(n => Task.Run(async () =>
        {
            while (!stop.IsCancellationRequested)
            {
                Assert.StartsWith("192.0.2.", await AddressAsync(server, $"n{Interlocked.Increment(ref asked)}.example"));
            }
        })).ToArray();
        for (var i = 0; i < 20; i++)
        {
            server.Forwarder.Follow(To(i % 2 == 0 ? corp.EndPoint : all.EndPoint));
            await Task.Delay(20);
        }

        await stop.CancelAsync();
        await Task.WhenAll(asking).WaitAsync(Wait.Limit);
        Assert.Equal("192.0.2.1", await AddressAsync(server, "corp.example"));
        server.Forwarder.Follow(new DnsForwardRules());
        Assert.Equal(DnsRcode.Refused, (await server.AskAsync("example")).Rcode);
        Assert.Equal(0, server.Server.Statistics.Dropped);
    }

    [Fact]
    public async Task Who_leads_back_here_is_found_out_and_asked_no_more()
    {
        // Two servers that forward to each other: neither is the other's own address.
        await using var one = new ForwardingServer(new DnsForwardRules());
        await using var two = new ForwardingServer(To(one.EndPoint));
        one.Forwarder.Follow(To(two.EndPoint));
        Assert.Equal(DnsRcode.ServFail, (await one.AskAsync("www.example.org")).Rcode);
        await Wait.UntilAsync(
            () => one.Forwarder.Upstreams.Concat(two.Forwarder.Upstreams).Any(u => u.Upstream.State == "loop"),
            () => string.Join(", ", one.Forwarder.Upstreams.Concat(two.Forwarder.Upstreams)));
        // Its own address is not asked at all.
        two.Forwarder.Follow(To(two.EndPoint) with { Own = [two.EndPoint] });
        Assert.Empty(two.Forwarder.Upstreams);
        var answer = await two.AskAsync("www.example.org");
        Assert.Contains("no server to ask", Reason(answer)!.Value.Text);
    }

    [Fact]
    public async Task The_machines_own_servers_are_read_again_when_they_change()
    {
        using var folder = new TemporaryFolder();
        var path = Path.Combine(folder.Root, "resolv.conf");
        await File.WriteAllTextAsync(path, "# none\nsearch example\nnameserver\nnameserver nonsense\n\tnameserver 192.0.2.1 # one\nnameserver fe80::1\n");
        Assert.Equal(["192.0.2.1:53", "[fe80::1]:53"], ResolvConf.Read(path).Select(s => s.ToString()));
        Assert.Empty(ResolvConf.Read(path + ".none"));
        Assert.Equal(
            ResolvConf.MaxServers, ResolvConf.Parse(string.Concat(Enumerable.Range(1, 99).Select(i => $"nameserver 192.0.2.{i}\n"))).Length);

        await using var forwarder = new DnsForwarder(new DnsForwarderOptions(), TimeProvider.System);
        forwarder.Follow(new DnsForwardRules { ResolvConf = path });
        Assert.Equal(2, forwarder.Upstreams.Length);
        await File.WriteAllTextAsync(path, "nameserver 192.0.2.9\n");
        await Wait.UntilAsync(
            () => forwarder.Upstreams.Select(u => u.Upstream.Server.ToString()).SequenceEqual(["192.0.2.9:53"]), () => "the file is not read again");
    }

    private static async Task<string> AddressAsync(ForwardingServer server, string name)
    {
        var answer = await server.AskAsync(name);
        return answer.Answers is [{ Data: DnsAddress address }] ? address.Address.ToString() : $"{answer.Rcode} {Reason(answer)}";
    }

    private sealed class StrongBox(bool value)
    {
        public volatile bool Value = value;
    }

    /// <summary>The true clock, so that timers run, and so much ahead.</summary>
    private sealed class SkewedTime : TimeProvider
    {
        private long _skew;

        public TimeSpan Skew
        {
            get => TimeSpan.FromTicks(Interlocked.Read(ref _skew));
            set => Interlocked.Exchange(ref _skew, value.Ticks);
        }

        public override long TimestampFrequency => TimeSpan.TicksPerSecond;

        public override long GetTimestamp() => Stopwatch.GetElapsedTime(0).Ticks + Skew.Ticks;
    }
}
