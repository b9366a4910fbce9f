using System.Globalization;
using System.Text.RegularExpressions;

using Fabric.Lab.Networks;
using Fabric.Lab.Processes;
using Fabric.Testing;
using Fabric.Testing.Links;

namespace Fabric.Lab;

/// <summary>The emulated link: its decisions on virtual time, and real packets through it.</summary>
public sealed partial class LinkEmulatorTests
{
    private static readonly TimeSpan Ms = TimeSpan.FromMilliseconds(1);

    [Fact]
    public void A_packet_takes_the_delay_and_jitter_never_reorders()
    {
        var line = new Line(seed: 1) { Conditions = new() { Delay = 10 * Ms, Jitter = 5 * Ms } };
        var arrivals = Enumerable.Range(0, 1000).Select(i => (Sent: i * Ms, At: Sent(line, i * Ms).Single())).ToArray();
        Assert.All(arrivals, a => Assert.InRange(a.At - a.Sent, 10 * Ms, 15 * Ms));
        Assert.Equal(arrivals.OrderBy(a => a.At), arrivals);
        Assert.True(arrivals.Select(a => a.At - a.Sent).Distinct().Count() > 100, "jitter spreads");
    }

    [Fact]
    public void Shares_of_loss_duplicates_and_overtaken_packets_are_as_asked_and_the_same_for_a_seed()
    {
        static (int[] Copies, TimeSpan[] At) Run(int seed)
        {
            var line = new Line(seed) { Conditions = new() { Delay = 10 * Ms, Loss = 0.1, Duplicate = 0.05, Reorder = 0.02 } };
            var fates = Enumerable.Range(0, 20_000).Select(i => Sent(line, i * Ms)).ToArray();
            return ([.. fates.Select(f => f.Length)], [.. fates.Where(f => f.Length > 0).Select(f => f[0])]);
        }

        var (copies, at) = Run(seed: 7);
        Assert.InRange(copies.Count(c => c == 0) / 20_000.0, 0.09, 0.11);
        Assert.InRange(copies.Count(c => c == 2) / 18_000.0, 0.04, 0.06);
        Assert.InRange(at.Zip(at.Skip(1)).Count(p => p.First > p.Second) / 18_000.0, 0.01, 0.03);
        Assert.Equal(copies, Run(seed: 7).Copies);
        Assert.NotEqual(copies, Run(seed: 8).Copies);
    }

    [Fact]
    public void Bandwidth_spaces_packets_and_its_queue_is_bounded()
    {
        // 1,000 bytes take 1 ms.
        var line = new Line(seed: 1) { Conditions = new() { BitsPerSecond = 8_000_000, QueueBytes = 10_000 } };
        var fates = Enumerable.Range(0, 15).Select(_ => Sent(line, TimeSpan.Zero)).ToArray();
        Assert.Equal(Enumerable.Range(1, 10).Select(i => i * Ms), fates.SelectMany(f => f));
        Assert.Equal(new LineCounters(Sent: 15, 0, 0, 0, Overflowed: 5, 0), line.Counters);
        // It has emptied by then.
        Assert.Equal([21 * Ms], Sent(line, 20 * Ms));
    }

    [Fact]
    public void A_cut_takes_what_is_sent_and_what_is_on_the_way()
    {
        var line = new Line(seed: 1);
        Assert.Single(Sent(line, TimeSpan.Zero));
        line.Cut();
        Assert.False(line.Passes());
        Assert.Empty(Sent(line, Ms));
        line.Cut(false);
        Assert.True(line.Passes());
        Assert.Equal(2, line.Counters.Cut);
    }

    [Fact]
    public void What_no_link_can_be_is_refused()
    {
        var line = new Line(seed: 1);
        Assert.Equal(1.5, Assert.Throws<ArgumentOutOfRangeException>(() => line.Conditions = new() { Loss = 1.5 }).ActualValue);
        Assert.Throws<ArgumentOutOfRangeException>(() => line.Conditions = new() { Delay = -Ms });
        Assert.Throws<ArgumentOutOfRangeException>(() => line.Conditions = new() { BitsPerSecond = -1 });
    }

    [Fact]
    public void The_queue_gives_packets_in_order_of_arrival_and_refuses_what_it_has_no_memory_for()
    {
        var queue = new DelayQueue(memory: 4096);
        Assert.True(queue.Add(0, [1], 2 * Ms));
        Assert.True(queue.Add(1, [2, 2], 1 * Ms));
        Assert.False(queue.Add(0, [3], Ms));
        Assert.Equal(1 * Ms, queue.NextAt);
        Assert.False(queue.TryTake(TimeSpan.Zero, out _));
        Assert.True(queue.TryTake(2 * Ms, out var first));
        Assert.Equal(1, first.Line);
        Assert.Equal([2, 2], first.Bytes.ToArray());
        queue.Return(first);
        // What was returned is used again.
        Assert.True(queue.Add(0, [4], 2 * Ms));
        Assert.True(queue.TryTake(2 * Ms, out var second));
        Assert.True(queue.TryTake(2 * Ms, out var third));
        Assert.Equal((1, 4), (second.Bytes[0], third.Bytes[0]));
        Assert.Null(queue.NextAt);
    }

    [RequiresTheory("root", "ip", "ping")]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Ping_sees_the_delay_the_loss_and_the_cut(bool segmentsTogether)
    {
        var (a, b) = ($"fabric-emu-{Environment.ProcessId}-a", $"fabric-emu-{Environment.ProcessId}-b");
        try
        {
            await Namespaces.Add(a, b);
            using var emulator = new LinkEmulator([("emu-a", "emu-b")], segmentsTogether);
            await Namespaces.MoveIn(a, "emu-a", "10.98.0.1/30", mtu: 1500);
            await Namespaces.MoveIn(b, "emu-b", "10.98.0.2/30", mtu: 1500);
            var link = emulator.Links[0];

            link.Conditions = new() { Delay = 10 * Ms };
            var (loss, fastest) = await Ping(a, count: 20);
            Assert.Equal(0, loss);
            // The least of twenty: what the machine does besides only adds to the others.
            Assert.InRange(fastest, 20, 22);

            link.AToB.Conditions = new() { Loss = 0.5 };
            Assert.InRange((await Ping(a, count: 200)).Loss, 25, 75);

            link.Conditions = new();
            link.BToA.Cut();
            Assert.Equal(100, (await Ping(a, count: 10)).Loss);
            // The kernel says a word of its own now and then.
            Assert.InRange(link.BToA.Counters.Cut, 10, 20);
            Assert.Equal(0, link.AToB.Counters.Cut);
            link.Cut(false);
            Assert.Equal(0, (await Ping(a, count: 10)).Loss);
            Assert.Null(emulator.Failure);
        }
        finally
        {
            await Namespaces.Remove(a, b);
        }
    }

    private static TimeSpan[] Sent(Line line, TimeSpan now) => line.Send(1000, now, out var first, out var second) switch
    {
        0 => [],
        1 => [first],
        _ => [first, second],
    };

    /// <summary>Per cent lost, and the least round trip in ms.</summary>
    private static async Task<(double Loss, double Fastest)> Ping(string from, int count)
    {
        var result = await Command.Run(["ip", "netns", "exec", from, "ping", "-q", "-i", "0.01", "-W", "1", "-c", $"{count}", "10.98.0.2"]);
        var times = Times().Match(result.Output);
        return (double.Parse(Lost().Match(result.Output).Groups[1].Value, CultureInfo.InvariantCulture),
            times.Success ? double.Parse(times.Groups[1].Value, CultureInfo.InvariantCulture) : double.NaN);
    }

    [GeneratedRegex(@"([\d.]+)% packet loss")]
    private static partial Regex Lost();

    [GeneratedRegex(@"rtt min/avg/max/mdev = ([\d.]+)/")]
    private static partial Regex Times();
}
