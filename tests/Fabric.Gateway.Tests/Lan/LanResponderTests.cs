using System.Net;
using Fabric.Gateway.Lan;
using Fabric.Protocol.Dns;
using static Fabric.Gateway.Tests.Lan.LanBus;

namespace Fabric.Gateway.Tests.Lan;

/// <summary>What a gateway tells of itself, by the rules of RFC 6762.</summary>
public sealed class LanResponderTests
{
    private const DnsClass In = DnsClass.Internet;
    private static readonly DnsName _instance = DnsName.Parse("edge-1._fabric._tcp.local");
    private static readonly DnsName _host = DnsName.Parse("fabric-edge-1.local");
    private static readonly DnsClass _own = Mdns.WithTopBit(In);

    [Fact]
    public void It_probes_three_times_then_announces_twice_and_then_is_silent()
    {
        var bus = new LanBus();
        var start = bus.Now;
        var edge = bus.Join("10.0.0.1", Named());
        bus.Advance(0.6);
        Assert.Equal("", edge.AnnouncedAs);
        bus.Advance(10);
        Assert.Equal("edge-1", edge.AnnouncedAs);
        Assert.Equal(5, bus.Sent.Count);

        var probes = bus.Sent[..3];
        Assert.InRange(probes[0].At - start, TimeSpan.Zero, TimeSpan.FromMilliseconds(250));
        Assert.Equal([250, 250], new[] { probes[1].At - probes[0].At, probes[2].At - probes[1].At }.Select(t => t.TotalMilliseconds));
        Assert.All(probes, p => Assert.Equal([(_instance, DnsType.Any, _own), (_host, DnsType.Any, _own)], p.Message.Questions.Select(q => (q.Name, q.Type, q.Class))));
        Assert.All(probes, p => Assert.Equal([DnsType.Srv, DnsType.Txt, DnsType.A], p.Message.Authorities.Select(r => r.Type)));

        var told = bus.Sent[3].Message;
        Assert.Equal(1, (bus.Sent[4].At - bus.Sent[3].At).TotalSeconds);
        Assert.Equal(DnsFlags.Response | DnsFlags.Authoritative, told.Flags);
        Assert.Equal(
            [
                ("_fabric._tcp.local.", DnsType.Ptr, 4500, In), ("_services._dns-sd._udp.local.", DnsType.Ptr, 4500, In),
                ("edge-1._fabric._tcp.local.", DnsType.Srv, 120, _own), ("edge-1._fabric._tcp.local.", DnsType.Txt, 4500, _own),
                ("fabric-edge-1.local.", DnsType.A, 120, _own),
            ],
            told.Answers.Where(r => r.Type != Mdns.Nsec).Select(r => (r.Name.ToString(), r.Type, (int)r.Ttl, r.Class)));
        Assert.Equal(new DnsSrv(0, 0, 7443, _host), told.Answers[2].Data);
        Assert.Equal(["txtvers=1", "gateway=edge-1", "site=edge", "td=acme.example"], ((DnsTxt)told.Answers[3].Data).Strings.ToArray());
        Assert.All(bus.Sent, s => Assert.Equal("224.0.0.251:5353", s.To.ToString()));
    }

    [Fact]
    public void It_answers_soon_what_is_its_own_and_a_little_later_what_others_may_answer_too()
    {
        var bus = Established();
        bus.Send(Ask(_instance, DnsType.Srv), "10.0.0.9");
        var srv = Assert.Single(bus.Sent[1..]).Message;
        Assert.Equal((DnsType.Srv, _host), (Assert.Single(srv.Answers).Type, srv.Additionals.Single(r => r.Type == DnsType.A).Name));

        bus.Sent.Clear();
        bus.Send(Ask(Mdns.Fabric, DnsType.Ptr), "10.0.0.9");
        Assert.Single(bus.Sent);
        var asked = bus.Now;
        bus.Advance(0.2);
        var (at, message, _, _) = bus.Sent[1];
        Assert.InRange((at - asked).TotalMilliseconds, 20, 120);
        Assert.Equal(_instance, ((DnsTarget)Assert.Single(message.Answers).Data).Name);
        Assert.Equal([DnsType.Srv, DnsType.Txt, DnsType.A], message.Additionals.Select(r => r.Type).Where(t => t != Mdns.Nsec));
    }

    [Theory]
    [InlineData("edge-1._fabric._tcp.local", DnsType.Any, 2)]
    [InlineData("EDGE-1._Fabric._TCP.Local", DnsType.Txt, 1)]
    [InlineData("fabric-edge-1.local", DnsType.A, 1)]
    [InlineData("fabric-edge-1.local", DnsType.Aaaa, 0)]
    [InlineData("edge-2._fabric._tcp.local", DnsType.Srv, 0)]
    [InlineData("_http._tcp.local", DnsType.Ptr, 0)]
    [InlineData("web.shop.svc.clusterset.local", DnsType.A, 0)]
    public void Only_its_own_names_are_answered(string name, DnsType type, int records)
    {
        var bus = Established();
        bus.Send(Ask(DnsName.Parse(name), type), "10.0.0.9");
        bus.Advance(1);
        Assert.Equal(records, bus.Sent[1..].Sum(s => s.Message.Answers.Length));
    }

    [Fact]
    public void What_the_asker_knows_is_not_told_unless_its_time_is_half_over()
    {
        var bus = Established();
        var pointer = new DnsRecord(Mdns.Fabric, In, 4500, new DnsTarget(DnsType.Ptr, _instance));
        bus.Send(Ask(Mdns.Fabric, DnsType.Ptr) with { Answers = [pointer] }, "10.0.0.9");
        bus.Advance(1);
        Assert.Single(bus.Sent);
        bus.Send(Ask(Mdns.Fabric, DnsType.Ptr) with { Answers = [pointer with { Ttl = 2249 }] }, "10.0.0.9");
        bus.Advance(1);
        Assert.Equal(3, bus.Sent.Count);
    }

    [Fact]
    public void Known_answers_that_follow_in_another_message_count_too()
    {
        var bus = Established();
        var pointer = new DnsRecord(Mdns.Fabric, In, 4500, new DnsTarget(DnsType.Ptr, _instance));
        bus.Send(Ask(Mdns.Fabric, DnsType.Ptr) with { Flags = DnsFlags.Truncated }, "10.0.0.9");
        bus.Advance(0.3);
        Assert.Single(bus.Sent);
        bus.Send(new DnsMessage { Answers = [pointer] }, "10.0.0.9");
        bus.Advance(1);
        Assert.Equal(2, bus.Sent.Count);

        // Of another host they do not count for the one that asked.
        bus.Send(Ask(Mdns.Fabric, DnsType.Ptr) with { Flags = DnsFlags.Truncated }, "10.0.0.9");
        bus.Send(new DnsMessage { Answers = [pointer] }, "10.0.0.8");
        bus.Advance(1);
        Assert.Contains(bus.Sent, s => s.Message.Answers.Any(r => r.Type == DnsType.Ptr) && s.From.Address.ToString() == "10.0.0.1");
    }

    [Fact]
    public void A_record_goes_to_all_once_a_second_however_often_it_is_asked_for()
    {
        var bus = Established();
        for (var i = 0; i < 200; i++)
        {
            bus.Send(Ask(_host, DnsType.A), $"10.0.0.{9 + i % 200}");
            bus.Advance(0.01);
        }

        Assert.InRange(bus.Sent.Count(s => s.From.Address.ToString() == "10.0.0.1"), 2, 3);
    }

    [Fact]
    public void Another_that_says_it_is_enough()
    {
        var bus = Established();
        bus.Send(Ask(Mdns.Fabric, DnsType.Ptr), "10.0.0.9");
        bus.Send(
            new DnsMessage { Flags = DnsFlags.Response, Answers = [new DnsRecord(Mdns.Fabric, In, 4500, new DnsTarget(DnsType.Ptr, _instance))] }, "10.0.0.8");
        bus.Advance(1);
        Assert.Equal(2, bus.Sent.Count);
    }

    [Fact]
    public void Who_wants_to_be_told_alone_is_told_alone_once_all_have_heard_it()
    {
        var bus = Established();
        var alone = new DnsMessage { Questions = [new DnsQuestion(_host, DnsType.A, _own)] };
        bus.Send(alone, "10.0.0.9");
        Assert.Equal("10.0.0.9:5353", bus.Sent[^1].To.ToString());
        // A quarter of its time after all heard it, all hear it again.
        bus.Advance(31);
        bus.Send(alone, "10.0.0.9");
        Assert.Equal("224.0.0.251:5353", bus.Sent[^1].To.ToString());
    }

    [Fact]
    public void A_plain_DNS_client_gets_a_plain_answer()
    {
        var bus = Established();
        bus.Send(Ask(_host, DnsType.A) with { Id = 77 }, "10.0.0.9", port: 40_000);
        var (_, message, _, to) = bus.Sent[^1];
        Assert.Equal(("10.0.0.9:40000", 77), (to.ToString(), message.Id));
        Assert.Equal(_host, Assert.Single(message.Questions).Name);
        var answer = Assert.Single(message.Answers);
        Assert.Equal((10u, In), (answer.Ttl, answer.Class));
    }

    [Fact]
    public void Who_is_of_another_network_is_not_heard()
    {
        var bus = Established();
        foreach (var from in new[] { "10.0.1.9", "192.0.2.1", "10.0.0.255", "10.0.0.0" })
        {
            bus.Send(Ask(_host, DnsType.A), from);
            bus.Send(new DnsMessage { Flags = DnsFlags.Response, Answers = [new DnsRecord(_host, _own, 120, new DnsAddress(IPAddress.Parse("10.0.0.66")))] }, from);
        }

        bus.Advance(3);
        Assert.Equal(8, bus.Sent.Count);
    }

    [Fact]
    public void A_name_that_another_has_is_left_to_it()
    {
        var bus = new LanBus();
        var first = bus.Join("10.0.0.1", Named());
        bus.Advance(5);
        var second = bus.Join("10.0.0.2", Named());
        bus.Advance(5);
        Assert.Equal(("edge-1", "edge-1-2"), (first.AnnouncedAs, second.AnnouncedAs));
        var third = bus.Join("10.0.0.3", Named());
        bus.Advance(5);
        Assert.Equal("edge-1-3", third.AnnouncedAs);
        Assert.Equal("edge-1", first.AnnouncedAs);
    }

    [Fact]
    public void Of_two_who_probe_at_once_one_gives_way()
    {
        for (var seed = 1; seed < 20; seed++)
        {
            var bus = new LanBus();
            bus.Advance(seed * 0.01);
            var speakers = Enumerable.Range(1, 2 + seed % 3).Select(i => bus.Join($"10.0.0.{i}", Named())).ToList();
            bus.Advance(20);
            var names = speakers.Select(s => s.AnnouncedAs).ToList();
            Assert.Equal(Enumerable.Range(1, speakers.Count).Select(n => n == 1 ? "edge-1" : $"edge-1-{n}"), names.Order());
        }
    }

    [Fact]
    public void One_in_use_that_is_contradicted_is_probed_again_and_kept_where_nobody_defends_it()
    {
        var bus = new LanBus();
        var edge = bus.Join("10.0.0.1", Named());
        bus.Advance(5);
        var lie = new DnsMessage { Flags = DnsFlags.Response, Answers = [new DnsRecord(_instance, _own, 120, new DnsSrv(0, 0, 1, DnsName.Parse("evil.local")))] };
        bus.Send(lie, "10.0.0.9");
        Assert.Equal("", edge.AnnouncedAs);
        bus.Advance(5);
        Assert.Equal("edge-1", edge.AnnouncedAs);

        // Again while it is probed: then it is another's.
        bus.Send(lie, "10.0.0.9");
        bus.Advance(0.3);
        bus.Send(lie, "10.0.0.9");
        bus.Advance(5);
        Assert.Equal("edge-1-2", edge.AnnouncedAs);
    }

    [Fact]
    public void One_who_contradicts_always_does_not_make_it_a_flood()
    {
        var bus = new LanBus();
        bus.Join("10.0.0.1", Named());
        bus.Advance(5);
        bus.Sent.Clear();
        for (var i = 0; i < 600; i++)
        {
            var names = bus.Sent.LastOrDefault(s => !s.Message.Authorities.IsEmpty).Message?.Questions.Select(q => q.Name) ?? [_instance];
            bus.Send(new DnsMessage { Flags = DnsFlags.Response, Answers = [.. names.Select(n => new DnsRecord(n, _own, 120, new DnsSrv(0, 0, 1, DnsName.Parse("evil.local"))))] }, "10.0.0.9");
            bus.Advance(0.1);
        }

        // In a minute: fifteen quick ones, then one each five seconds, with its probes.
        Assert.InRange(bus.Sent.Count(s => s.From.Address.ToString() == "10.0.0.1"), 10, 80);
    }

    [Fact]
    public void Its_goodbye_takes_back_what_it_said()
    {
        var bus = new LanBus();
        var edge = bus.Join("10.0.0.1", Named());
        bus.Advance(5);
        edge.Goodbye();
        var message = bus.Sent[^1].Message;
        Assert.All(message.Answers, r => Assert.Equal(0u, r.Ttl));
        Assert.Equal([DnsType.Ptr, DnsType.Srv, DnsType.Txt, DnsType.A], message.Answers.Select(r => r.Type));
        Assert.Equal("", edge.AnnouncedAs);
    }

    [Fact]
    public void A_long_name_is_cut_for_its_host_and_its_number()
    {
        var name = new string('g', 63);
        var bus = new LanBus();
        bus.Join("10.0.0.1", Named(name));
        bus.Advance(5);
        var second = bus.Join("10.0.0.2", Named(name));
        bus.Advance(5);
        Assert.Equal(name[..61] + "-2", second.AnnouncedAs);
    }

    private static DnsMessage Ask(DnsName name, DnsType type) => new() { Questions = [new DnsQuestion(name, type, In)] };

    /// <summary>With a gateway at 10.0.0.1 that is established for long, and nothing sent since.</summary>
    private static LanBus Established()
    {
        var bus = new LanBus();
        bus.Join("10.0.0.1", Named());
        bus.Advance(10);
        bus.Sent.Clear();
        return bus;
    }
}
