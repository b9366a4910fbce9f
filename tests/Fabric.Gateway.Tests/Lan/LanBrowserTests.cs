using System.Net;
using Fabric.Gateway.Lan;
using Fabric.Protocol.Dns;
using static Fabric.Gateway.Tests.Lan.LanBus;

namespace Fabric.Gateway.Tests.Lan;

/// <summary>What is found on a network of strangers, and for how long.</summary>
public sealed class LanBrowserTests
{
    private const string Http = "_http._tcp";
    private static readonly DnsClass _own = Mdns.WithTopBit(DnsClass.Internet);

    [Fact]
    public void One_gateway_finds_another_and_loses_it_at_its_goodbye()
    {
        var bus = new LanBus();
        var first = bus.Join("10.0.0.1", Named("edge-1"), "_fabric._tcp");
        bus.Advance(5);
        var second = bus.Join("10.0.0.2", Named("edge-2"), "_fabric._tcp");
        bus.Advance(5);
        var found = Assert.Single(first.Found);
        Assert.Equal(("edge-2", "_fabric._tcp", "fabric-edge-2.local", 7443), (found.Instance, found.Type, found.Host, found.Port));
        Assert.Equal("10.0.0.2", Assert.Single(found.Addresses).ToString());
        Assert.Equal(("edge", "edge-2", null), (found["site"], found["GATEWAY"], found["nothing"]));
        // Who came later asks, and is told; nobody finds himself.
        Assert.Equal("edge-1", Assert.Single(second.Found).Instance);

        second.Goodbye();
        bus.Leave(second);
        bus.Advance(0.5);
        Assert.Single(first.Found);
        bus.Advance(1);
        Assert.Empty(first.Found);
    }

    [Fact]
    public void One_who_is_silent_is_forgotten_at_its_time_and_not_before_it_was_asked_again()
    {
        var bus = new LanBus();
        var first = bus.Join("10.0.0.1", null, "_fabric._tcp");
        var second = bus.Join("10.0.0.2", Named("edge-2"));
        bus.Advance(3600 * 3);
        // It answers each time that it is asked, before its time is over.
        Assert.Single(first.Found);
        bus.Leave(second);
        bus.Sent.Clear();
        bus.Advance(130);
        Assert.Empty(first.Found);
        Assert.InRange(bus.Sent.Count(s => s.Message.Questions.Any(q => q.Type == DnsType.Srv)), 3, 12);
    }

    [Fact]
    public void It_asks_ever_more_seldom_and_says_what_it_knows()
    {
        var bus = new LanBus();
        bus.Join("10.0.0.1", null, Http);
        bus.Advance(0.5);
        bus.Send(Whole("Camera 1", "10.0.0.7"), "10.0.0.7");
        bus.Advance(60);
        var asked = bus.Sent.Where(s => s.Message.Questions.Any(q => q.Type == DnsType.Ptr)).ToList();
        Assert.Equal([1, 2, 4, 8, 16], asked.Zip(asked.Skip(1), (a, b) => (int)Math.Round((b.At - a.At).TotalSeconds)).Take(5));
        Assert.Empty(asked[0].Message.Answers);
        Assert.All(asked[1..], a => Assert.Equal("Camera\\0321._http._tcp.local.", ((DnsTarget)Assert.Single(a.Message.Answers).Data).Name.ToString()));
    }

    [Fact]
    public void What_another_asks_all_for_is_not_asked_again_but_for_every_second_time()
    {
        var bus = new LanBus();
        bus.Join("10.0.0.1", null, Http);
        bus.Advance(0.5);
        int Asked() => bus.Sent.Count(s => s.From.Address.ToString() == "10.0.0.1" && s.Message.Questions.Any(q => q.Type == DnsType.Ptr));
        Assert.Equal(1, Asked());
        var question = new DnsMessage { Questions = [new DnsQuestion(Mdns.TypeName(Http), DnsType.Ptr, DnsClass.Internet)] };
        bus.Send(question, "10.0.0.9");
        // Without it, a second and a third by now.
        bus.Advance(1.9);
        Assert.Equal(1, Asked());
        bus.Send(question, "10.0.0.9");
        bus.Advance(2);
        Assert.Equal(2, Asked());
    }

    [Theory]
    [InlineData("who asks for himself", true, false, false, "10.0.0.9", 5353)]
    [InlineData("who will say more of what he knows", false, true, false, "10.0.0.9", 5353)]
    [InlineData("who knows what is not known here", false, false, true, "10.0.0.9", 5353)]
    [InlineData("a plain client", false, false, false, "10.0.0.9", 5400)]
    [InlineData("itself", false, false, false, "10.0.0.1", 5353)]
    [InlineData("a stranger", false, false, false, "192.0.2.9", 5353)]
    public void A_question_that_brings_no_answer_here_does_not_count_as_asked(string who, bool alone, bool truncated, bool knows, string from, int port)
    {
        var bus = new LanBus();
        bus.Join("10.0.0.1", null, Http);
        bus.Advance(0.5);
        bus.Send(
            new DnsMessage
            {
                Flags = truncated ? DnsFlags.Truncated : DnsFlags.None,
                Questions = [new DnsQuestion(Mdns.TypeName(Http), DnsType.Ptr, alone ? _own : DnsClass.Internet)],
                Answers = knows ? [Whole("Camera 1", "10.0.0.7").Answers[0]] : [],
            },
            from, port);
        var before = bus.Sent.Count;
        bus.Advance(1);
        Assert.True(bus.Sent.Skip(before).Any(s => s.Message.Questions.Length > 0), who);
    }

    [Fact]
    public void Pieces_are_put_together_in_any_order_and_what_lacks_is_asked_for()
    {
        var bus = new LanBus();
        var edge = bus.Join("10.0.0.1", null, Http);
        bus.Advance(0.2);
        var whole = Whole("Camera 1", "10.0.0.7");
        bus.Send(whole with { Answers = [whole.Answers[0]], Additionals = [] }, "10.0.0.7");
        bus.Advance(0.1);
        Assert.Equal([DnsType.Srv, DnsType.Txt], bus.Sent[^1].Message.Questions.Select(q => q.Type));
        bus.Send(whole with { Answers = [whole.Answers[1]], Additionals = [] }, "10.0.0.7");
        bus.Advance(0.1);
        Assert.Equal((DnsType.A, "camera-1.local."), (bus.Sent[^1].Message.Questions[0].Type, bus.Sent[^1].Message.Questions[0].Name.ToString()));
        Assert.Empty(edge.Found);
        bus.Send(whole with { Answers = [whole.Answers[3]], Additionals = [] }, "10.0.0.7");
        Assert.Equal("Camera 1", Assert.Single(edge.Found).Instance);

        var other = Whole("Camera 2", "10.0.0.8");
        bus.Send(other with { Answers = [], Additionals = [.. other.Answers.Reverse()] }, "10.0.0.8");
        Assert.Equal(["Camera 1", "Camera 2"], edge.Found.Select(f => f.Instance));
    }

    [Theory]
    [InlineData("address of another network", "10.0.1.7", "camera-1.local", "_http._tcp.local")]
    [InlineData("address that all have", "10.0.0.255", "camera-1.local", "_http._tcp.local")]
    [InlineData("loopback", "127.0.0.1", "camera-1.local", "_http._tcp.local")]
    [InlineData("where clouds give out credentials", "169.254.169.254", "camera-1.local", "_http._tcp.local")]
    [InlineData("own address", "10.0.0.1", "camera-1.local", "_http._tcp.local")]
    [InlineData("host that is not of the network", "10.0.0.7", "camera-1.example", "_http._tcp.local")]
    [InlineData("host below a host", "10.0.0.7", "www.camera-1.local", "_http._tcp.local")]
    [InlineData("host of the fabric", "10.0.0.7", "web.shop.svc.clusterset.local", "_http._tcp.local")]
    [InlineData("another type", "10.0.0.7", "camera-1.local", "_ssh._tcp.local")]
    public void What_cannot_be_a_service_of_this_network_is_not_found(string why, string address, string host, string type)
    {
        var bus = new LanBus();
        var edge = bus.Join("10.0.0.1", null, Http);
        bus.Advance(0.2);
        bus.Send(Whole("Camera 1", address, host, type), "10.0.0.7");
        bus.Advance(2);
        Assert.True(edge.Found.IsEmpty, why);
    }

    [Fact]
    public void A_port_of_zero_and_a_message_of_a_stranger_are_nothing()
    {
        var bus = new LanBus();
        var edge = bus.Join("10.0.0.1", null, Http);
        bus.Advance(0.2);
        bus.Send(Whole("Camera 1", "10.0.0.7", port: 0), "10.0.0.7");
        bus.Send(Whole("Camera 2", "10.0.0.7"), "192.0.2.7");
        // Only who has the port of multicast DNS speaks it.
        bus.Send(Whole("Camera 3", "10.0.0.7"), "10.0.0.7", port: 5354);
        bus.Send(Whole("Camera 4", "10.0.0.7") with { Rcode = DnsRcode.NxDomain }, "10.0.0.7");
        bus.Send(Whole("Camera 5", "10.0.0.7") with { Flags = DnsFlags.None }, "10.0.0.7");
        Assert.Empty(edge.Found);
    }

    [Fact]
    public void A_host_that_has_moved_has_its_new_address_alone()
    {
        var bus = new LanBus();
        var edge = bus.Join("10.0.0.1", null, Http);
        bus.Send(Whole("Camera 1", "10.0.0.7"), "10.0.0.7");
        bus.Advance(5);
        bus.Send(Whole("Camera 1", "10.0.0.8"), "10.0.0.8");
        Assert.Equal(2, edge.Found[0].Addresses.Length);
        bus.Advance(1.1);
        Assert.Equal("10.0.0.8", Assert.Single(edge.Found[0].Addresses).ToString());
    }

    [Fact]
    public void Numbers_are_bounded_and_one_that_is_no_service_makes_room()
    {
        var bus = new LanBus();
        var edge = bus.Join("10.0.0.1", null, Http);
        bus.Advance(0.2);
        // A flood of names that lead nowhere.
        for (var i = 0; i < 1000; i++)
        {
            bus.Send(
                new DnsMessage { Flags = DnsFlags.Response, Answers = [Pointer($"junk {i}")] }, "10.0.0.66");
            bus.Advance(0.005);
        }

        Assert.True(edge.Dropped >= 900);
        bus.Send(Whole("Camera 1", "10.0.0.7"), "10.0.0.7");
        Assert.Empty(edge.Found);
        bus.Advance(11);
        for (var i = 0; i < LanBrowser.MaxInstances + 20; i++)
        {
            bus.Send(Whole($"Camera {i}", $"10.0.0.{i + 10}", $"camera-{i}.local"), "10.0.0.7");
            bus.Advance(0.01);
        }

        Assert.Equal(LanBrowser.MaxInstances, edge.Found.Length);
        bus.Send(Whole("Camera late", "10.0.0.200", "late.local"), "10.0.0.7");
        Assert.DoesNotContain(edge.Found, f => f.Instance == "Camera late");
        // Many addresses of one host, and much text.
        Assert.All(edge.Found, f => Assert.InRange(f.Addresses.Length, 1, LanBrowser.MaxAddresses));
    }

    [Fact]
    public void A_flood_of_messages_is_not_read_and_of_names_not_asked_for()
    {
        var bus = new LanBus();
        var edge = bus.Join("10.0.0.1", null, Http);
        bus.Advance(0.2);
        bus.Sent.Clear();
        for (var i = 0; i < 2000; i++)
        {
            // Each takes back the one before.
            bus.Send(new DnsMessage { Flags = DnsFlags.Response, Answers = [Pointer($"junk {i}"), Pointer($"junk {i - 1}") with { Ttl = 0 }] }, "10.0.0.66");
        }

        Assert.True(edge.Dropped >= 2000 - LanSpeaker.MaxPerSecond, $"{edge.Dropped}");
        bus.Advance(3);
        Assert.InRange(bus.Sent.Where(s => s.From.Address.ToString() == "10.0.0.1").Sum(s => s.Message.Questions.Length), 1, 4 * LanBrowser.MaxQuestions);
    }

    [Fact]
    public void Known_answers_that_do_not_fit_follow_in_more_messages()
    {
        var bus = new LanBus();
        var edge = bus.Join("10.0.0.1", null, Http);
        bus.Advance(0.2);
        for (var i = 0; i < 40; i++)
        {
            bus.Send(Whole($"Camera {i}", $"10.0.0.{i + 10}", $"camera-{i}.local"), "10.0.0.7");
        }

        bus.Sent.Clear();
        bus.Advance(20);
        var first = bus.Sent.FindIndex(s => s.Message.Questions.Any(q => q.Type == DnsType.Ptr));
        var known = 0;
        for (var i = first; ; i++)
        {
            known += bus.Sent[i].Message.Answers.Length;
            Assert.InRange(Length(bus.Sent[i].Message), 12, Mdns.MaxSent);
            if ((bus.Sent[i].Message.Flags & DnsFlags.Truncated) == 0)
            {
                break;
            }

            Assert.Empty(bus.Sent[i + 1].Message.Questions);
        }

        Assert.Equal(40, known);
        Assert.Equal(40, edge.Found.Length);
    }

    [Fact]
    public void Long_text_is_cut_and_any_bytes_are_a_name()
    {
        var bus = new LanBus();
        var edge = bus.Join("10.0.0.1", null, Http);
        var whole = Whole("Kamera \u00e4\u001b[31m", "10.0.0.7");
        var text = new DnsTxt([.. Enumerable.Range(0, 30).Select(i => $"{i}={new string('x', 200)}")]);
        bus.Send(whole with { Answers = [.. whole.Answers.Select(r => r.Type == DnsType.Txt ? r with { Data = text } : r)] }, "10.0.0.7");
        var found = Assert.Single(edge.Found);
        Assert.InRange(found.Text.Sum(t => t.Length), 1, LanBrowser.MaxTextBytes);
        Assert.InRange(found.Text.Length, 1, LanBrowser.MaxText);
        Assert.StartsWith("Kamera ", found.Instance);
    }

    private static int Length(DnsMessage message) => message.Write(new byte[9000]);

    private static DnsName Instance(string instance, string type = "_http._tcp.local")
    {
        var label = System.Text.Encoding.UTF8.GetBytes(instance);
        return DnsName.FromWire([(byte)label.Length, .. label, .. DnsName.Parse(type).Wire]);
    }

    private static DnsRecord Pointer(string instance, string type = "_http._tcp.local") =>
        new(DnsName.Parse(type), DnsClass.Internet, 4500, new DnsTarget(DnsType.Ptr, Instance(instance, type)));

    /// <summary>PTR, SRV, TXT and A.</summary>
    private static DnsMessage Whole(string instance, string address, string host = "camera-1.local", string type = "_http._tcp.local", int port = 8080) => new()
    {
        Flags = DnsFlags.Response | DnsFlags.Authoritative,
        Answers =
        [
            Pointer(instance, type),
            new(Instance(instance, type), _own, 120, new DnsSrv(0, 0, (ushort)port, DnsName.Parse(host))),
            new(Instance(instance, type), _own, 4500, new DnsTxt(["path=/"])),
            new(DnsName.Parse(host), _own, 120, new DnsAddress(IPAddress.Parse(address))),
        ],
    };
}
