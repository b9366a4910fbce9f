using Fabric.Gateway.Dns;
using Fabric.Protocol.Dns;
using static Fabric.Gateway.Tests.Dns.DnsFixtures;

namespace Fabric.Gateway.Tests.Dns;

/// <summary>Whatever comes in: an answer that reads as one, or none.</summary>
public class DnsFuzzTests
{
    private const int Inputs = 200_000;

    [Fact]
    public void Mutations_of_the_corpus_get_well_formed_answers_or_none()
    {
        var zone = Zone();
        var guard = new DnsGuard("paris-1", 0, TimeProvider.System);
        var rcodes = new HashSet<DnsRcode>();
        var lengths = new int[4];
        Parallel.For(0, 4, part =>
        {
            var random = new Random(part);
            var response = new byte[DnsLimits.Tcp];
            for (var i = 0; i < Inputs / 4; i++)
            {
                // The corpus itself first.
                var query = i < DnsCorpus.Queries.Length ? DnsCorpus.Queries[i] : Mutate(random);
                var transport = (DnsTransport)random.Next(3);
                var asker = new DnsAsker(transport, [192, 0, 2, 1], guard);
                var length = DnsResponder.Respond(zone, query, response, asker, out var rcode);
                if (length == 0)
                {
                    continue;
                }

                lengths[part]++;
                var hex = Convert.ToHexString(query);
                Assert.True(DnsMessage.TryRead(response.AsSpan(0, length), out var message), hex);
                Assert.True(rcode == message.Rcode && message.Id == (query[0] << 8 | query[1]), hex);
                Assert.True((message.Flags & DnsFlags.Response) != 0 && message.Questions.Length <= 1, hex);
                Assert.True(transport != DnsTransport.Udp || length <= DnsLimits.Udp, hex);
                Assert.True(transport != DnsTransport.Udp || rcode != DnsRcode.Refused || length <= query.Length, hex);
                lock (rcodes)
                {
                    rcodes.Add(rcode);
                }
            }
        });
        Assert.Superset(
            new HashSet<DnsRcode>
            {
                DnsRcode.NoError, DnsRcode.FormErr, DnsRcode.NxDomain, DnsRcode.NotImp, DnsRcode.Refused, DnsRcode.BadVers,
            },
            rcodes);
        Assert.InRange(lengths.Sum(), Inputs / 2, Inputs);
    }

    private static byte[] Mutate(Random random)
    {
        var query = DnsCorpus.Queries[random.Next(DnsCorpus.Queries.Length)].ToArray();
        for (var m = random.Next(1, 5); m > 0 && query.Length > 0; m--)
        {
            var at = random.Next(query.Length);
            switch (random.Next(6))
            {
                case 0:
                    query[at] = (byte)random.Next(256);
                    break;
                case 1:
                    query[at] ^= (byte)(1 << random.Next(8));
                    break;
                case 2:
                    query = query[..at];
                    break;
                case 3:
                    query = [.. query[..at], .. query[random.Next(query.Length)..]];
                    break;
                case 4:
                    var other = DnsCorpus.Queries[random.Next(DnsCorpus.Queries.Length)];
                    query = [.. query[..at], .. other[random.Next(other.Length)..]];
                    break;
                default:
                    query[at] = (byte)(0xC0 | random.Next(2));
                    break;
            }
        }

        return query;
    }
}
