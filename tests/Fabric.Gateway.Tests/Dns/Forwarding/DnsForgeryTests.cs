using System.Net;
using System.Net.Sockets;
using Fabric.Gateway.Dns.Forwarding;
using Fabric.Protocol.Dns;
using Fabric.Testing;
using static Fabric.Gateway.Tests.Dns.DnsFixtures;
using static Fabric.Gateway.Tests.Dns.Forwarding.FakeUpstream;
using static Fabric.Gateway.Tests.Dns.Forwarding.ForwardingServer;

namespace Fabric.Gateway.Tests.Dns.Forwarding;

/// <summary>Who floods the right port with guesses changes no entry of the cache, and does not keep the true answer away.</summary>
public sealed class DnsForgeryTests
{
    private const int Guesses = 65_000;
    private const string Name = "www.a-name-with-many-letters.example.org";

    /// <summary>At the right port from the server's own address, before the true answer: what a forger can do who sees the port and no more.</summary>
    [Theory]
    [InlineData("ids")]
    [InlineData("names")]
    [InlineData("case")]
    [InlineData("malformed")]
    public async Task Guesses_from_the_servers_address_change_nothing(string what)
    {
        await using var upstream = new FakeUpstream((q, _) => Address(q, "192.0.2.1"));
        upstream.BeforeAnswer = (socket, to, bytes) => Flood(socket, to, what, Read(bytes));
        await using var server = new ForwardingServer(To(upstream.EndPoint), new DnsForwarderOptions { Deadline = TimeSpan.FromSeconds(15) });
        var answer = await server.AskAsync(Name);
        Assert.Equal("192.0.2.1", Assert.IsType<DnsAddress>(answer.Answers.Single().Data).Address.ToString());
        upstream.BeforeAnswer = null;
        var again = await server.AskAsync(Name);
        Assert.Equal("192.0.2.1", Assert.IsType<DnsAddress>(again.Answers.Single().Data).Address.ToString());
        Assert.Equal((1, 1, 1), (server.Forwarder.Statistics.Questions, server.Forwarder.Statistics.Hits, server.Forwarder.Statistics.Entries));
        // Where the flood begins the question goes by TCP, which cannot be guessed into.
        Assert.Contains(upstream.Queries, q => q.Tcp);
    }

    /// <summary>From another address even the right id and letters are nothing: the socket takes datagrams of the server alone.</summary>
    [Fact]
    public async Task From_another_address_even_what_is_right_is_nothing()
    {
        await using var upstream = new FakeUpstream((q, _) => Address(q, "192.0.2.1"));
        using var forger = new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp);
        forger.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        upstream.BeforeAnswer = (_, to, bytes) => forger.SendTo(Address(Read(bytes), "203.0.113.66").Bytes(), to);
        await using var server = new ForwardingServer(To(upstream.EndPoint));
        for (var i = 0; i < 50; i++)
        {
            var answer = await server.AskAsync($"n{i}.example.org");
            Assert.Equal("192.0.2.1", Assert.IsType<DnsAddress>(answer.Answers.Single().Data).Address.ToString());
        }
    }

    private static void Flood(Socket socket, EndPoint to, string what, DnsMessage query)
    {
        var forged = Address(query, "203.0.113.66");
        var question = query.Questions[0];
        var name = question.Name.ToString();
        for (var i = 0; i < Guesses; i++)
        {
            var guess = what switch
            {
                "ids" => forged with { Id = (ushort)(query.Id + 1 + i) },
                "names" => forged with { Questions = [question with { Name = DnsName.Parse($"n{i}.example.org") }] },
                // Every id, the right one as well; the letters as somebody writes them who does not know.
                "case" => forged with { Id = (ushort)i, Questions = [question with { Name = DnsName.Parse(name.ToUpperInvariant()) }] },
                _ => forged with { Answers = [forged.Answers[0] with { Name = DnsName.Parse("other.example") }] },
            };
            socket.SendTo(guess.Bytes(), to);
        }
    }
}
