using System.Net;
using Fabric.Gateway.Dns;
using Fabric.Gateway.Dns.Forwarding;
using Fabric.Protocol.Dns;
using static Fabric.Gateway.Tests.Dns.DnsFixtures;
using static Fabric.Gateway.Tests.Dns.Forwarding.FakeUpstream;

namespace Fabric.Gateway.Tests.Dns.Forwarding;

/// <summary>Whatever an upstream says: it is no answer, or one that a client can read whole.</summary>
public sealed class DnsForwardFuzzTests
{
    private const int Inputs = 200_000;

    [Fact]
    public void Mutations_of_answers_are_refused_or_readable()
    {
        var query = Query("www.shop.example", DnsType.A) with { Additionals = [Opt] };
        var corpus = Corpus(query).Select(m => m.Bytes()).ToArray();
        var bytes = query.Bytes();
        var length = query.Questions[0].Name.Wire.Length + 4;
        var (read, shown) = (0, 0);
        Parallel.For(0, 4, part =>
        {
            var random = new Random(part);
            var response = new byte[DnsLimits.Tcp];
            for (var i = 0; i < Inputs / 4; i++)
            {
                var message = corpus[i % corpus.Length].ToArray();
                for (var m = i < corpus.Length ? 0 : random.Next(1, 5); m > 0; m--)
                {
                    Mutate(random, ref message);
                }

                var match = DnsResponse.Match(message, query.Id, bytes.AsSpan(DnsLimits.Header, length));
                if (!DnsResponse.TryRead(message, length, out var found))
                {
                    continue;
                }

                Interlocked.Increment(ref read);
                if (match == DnsMatch.None || found.Rcode is not (DnsRcode.NoError or DnsRcode.NxDomain) || found.IsTruncated)
                {
                    continue;
                }

                var transport = (DnsTransport)random.Next(3);
                var stale = random.Next(3) == 0 ? 30u : (uint?)null;
                var written = DnsForwardReply.Write(
                    DnsQuery.Read(bytes), new DnsAsker(transport), response, found, (uint)random.Next(100), 86_400, stale);
                var hex = Convert.ToHexString(message);
                Assert.True(transport != DnsTransport.Udp || written <= DnsLimits.Udp, hex);
                Assert.True(DnsResponse.TryRead(response.AsSpan(0, written), length, out var ours), hex);
                Assert.Equal(DnsMatch.Answer, DnsResponse.Match(response.AsSpan(0, written), query.Id, bytes.AsSpan(DnsLimits.Header, length)));
                Assert.True(ours.Rcode == found.Rcode && (ours.IsTruncated || ours.Answers == found.Answers), hex);
                Interlocked.Increment(ref shown);
            }
        });
        Assert.InRange(read, Inputs / 100, Inputs);
        Assert.InRange(shown, Inputs / 200, Inputs);
    }

    private static DnsMessage[] Corpus(DnsMessage query)
    {
        var name = query.Questions[0].Name;
        var alias = DnsName.Parse("a.shop.example");
        DnsRecord Of(DnsName owner, DnsData data) => new(owner, DnsClass.Internet, 300, data);
        return
        [
            Address(query), Negative(query, DnsRcode.NxDomain, 30, 60), Negative(query, DnsRcode.NoError, 30, 60),
            Reply(query) with { Flags = DnsFlags.Response | DnsFlags.Truncated },
            Reply(query) with { Rcode = DnsRcode.ServFail },
            Reply(query) with
            {
                Answers =
                [
                    Of(name, new DnsTarget(DnsType.Cname, alias)), Of(alias, new DnsAddress(IPAddress.Parse("192.0.2.1"))),
                    Of(alias, new DnsAddress(IPAddress.Parse("192.0.2.2"))),
                ],
                Authorities = [Of(DnsName.Parse("example"), new DnsTarget(DnsType.Ns, DnsName.Parse("ns.example")))],
            },
            Reply(query) with { Answers = [Of(DnsName.Parse("example"), new DnsOpaque((DnsType)39, [0])), Of(name, new DnsTarget(DnsType.Cname, alias))] },
            Reply(query) with { Answers = [.. Enumerable.Range(0, 100).Select(i => Of(name, new DnsAddress(new IPAddress([192, 0, 2, (byte)i]))))] },
        ];
    }

    private static void Mutate(Random random, ref byte[] message)
    {
        var at = random.Next(Math.Max(1, message.Length));
        switch (random.Next(6))
        {
            case 0 when message.Length > 0:
                message[at] = (byte)random.Next(256);
                break;
            case 1 when message.Length > 0:
                message[at] ^= (byte)(1 << random.Next(8));
                break;
            case 2:
                message = message[..at];
                break;
            case 3:
                message = [.. message[..at], .. message[random.Next(Math.Max(1, message.Length))..]];
                break;
            case 4 when at + 1 < message.Length:
                // A pointer, to somewhere.
                (message[at], message[at + 1]) = ((byte)(0xC0 | random.Next(2)), (byte)random.Next(256));
                break;
            default:
                message = [.. message, (byte)random.Next(256)];
                break;
        }
    }
}
