using Fabric.Protocol.Dns;

namespace Fabric.Protocol.Tests.Dns;

/// <summary>Whatever comes in: no exception, and what reads as a message writes as one that reads the same.</summary>
public class DnsFuzzTests
{
    [Fact]
    public void Random_bytes_never_throw()
    {
        var random = new Random(1);
        for (var i = 0; i < 50_000; i++)
        {
            var bytes = new byte[random.Next(0, 300)];
            random.NextBytes(bytes);
            if (bytes.Length > 12 && i % 2 == 0)
            {
                // A plausible header, so that the sections are reached.
                (bytes[4], bytes[6], bytes[8], bytes[10]) = (0, 0, 0, 0);
                (bytes[5], bytes[7], bytes[9], bytes[11]) = (1, (byte)(i % 3), (byte)(i % 2), (byte)(i % 4));
            }

            Check(bytes);
        }
    }

    [Fact]
    public void Mutated_messages_never_throw()
    {
        var random = new Random(2);
        var seeds = new[]
        {
            DnsMessageTests.Bytes(DnsMessageTests.Sample()),
            DnsMessageTests.Bytes(DnsMessageTests.Sample() with { Answers = [], Authorities = [], Flags = DnsFlags.None }),
        };
        var readable = 0;
        for (var i = 0; i < 60_000; i++)
        {
            var bytes = seeds[i % 2].ToArray();
            for (var m = random.Next(1, 6); m > 0; m--)
            {
                var at = random.Next(bytes.Length);
                switch (random.Next(4))
                {
                    case 0:
                        bytes[at] = (byte)random.Next(256);
                        break;
                    case 1:
                        bytes[at] ^= (byte)(1 << random.Next(8));
                        break;
                    case 2:
                        bytes[at] = (byte)(0xC0 | random.Next(2));
                        break;
                    default:
                        bytes = bytes[..Math.Max(1, at)];
                        break;
                }
            }

            readable += Check(bytes) ? 1 : 0;
        }

        // Else the mutations are too coarse to reach the records.
        Assert.InRange(readable, 3_000, 57_000);
    }

    [Fact]
    public void The_most_expensive_message_is_read_in_bounded_time()
    {
        // As many records as 64 KiB hold, each named by the longest chain of pointers there is: the data of the first one.
        var root = new DnsQuestion(DnsName.Root, DnsType.A, DnsClass.Internet);
        byte[] question = DnsMessageTests.Bytes(new DnsMessage { Questions = [root] });
        var writer = new List<byte>([.. question, 0, 0xFF, 0, 0, 1, 0, 0, 0, 0, 0, 252]);
        var start = writer.Count;
        for (var i = 0; i < 126; i++)
        {
            var target = i == 0 ? 12 : start + 2 * (i - 1);
            writer.AddRange([(byte)(0xC0 | target >> 8), (byte)target]);
        }

        var last = start + 250;
        var count = 1;
        for (; writer.Count + 12 <= DnsLimits.Tcp; count++)
        {
            writer.AddRange([(byte)(0xC0 | last >> 8), (byte)last, 0xFF, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
        }

        var message = writer.ToArray();
        (message[10], message[11]) = ((byte)(count >> 8), (byte)count);
        // The best of three: a thread may wait for a core.
        var took = new List<TimeSpan>();
        for (var i = 0; i < 3; i++)
        {
            var clock = System.Diagnostics.Stopwatch.StartNew();
            Assert.Equal(DnsVerdict.Answer, DnsQuery.Read(message).Verdict);
            Assert.True(DnsMessage.TryRead(message, out var read));
            Assert.Equal(count, read.Additionals.Length);
            took.Add(clock.Elapsed);
        }

        Assert.InRange(took.Min().TotalMilliseconds, 0, 1_000);
    }

    private static bool Check(byte[] bytes)
    {
        _ = DnsQuery.Read(bytes).Verdict;
        if (!DnsMessage.TryRead(bytes, out var message))
        {
            return false;
        }

        // Two OPT records are legal to read and illegal to write.
        if (message.Additionals.Count(r => r.Type == DnsType.Opt) <= 1)
        {
            Assert.True(DnsMessage.TryRead(DnsMessageTests.Bytes(message), out var again));
            DnsMessageTests.AssertEquivalent(message, again);
        }

        return true;
    }
}
