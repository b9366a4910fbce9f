using Fabric.Tunnel.Linux;

namespace Fabric.Tunnel.Tests.Linux;

public sealed class TlsBufferTests
{
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void Bytes_leave_in_the_order_in_which_they_came(int seed)
    {
        const int Bound = 100_000;
        var random = new Random(seed);
        using var output = new TlsBuffer(Bound);
        var model = new Queue<byte>();
        var buffer = new byte[20_000];
        for (var turn = 0; turn < 5_000; turn++)
        {
            var bytes = buffer.AsSpan(0, random.Next(buffer.Length));
            random.NextBytes(bytes);
            var taken = output.TryAppend(bytes);
            Assert.Equal(model.Count + bytes.Length <= Bound, taken);
            if (taken)
            {
                foreach (var one in bytes)
                {
                    model.Enqueue(one);
                }
            }

            var first = output.Waiting[..random.Next(output.Waiting.Length + 1)];
            foreach (var one in first)
            {
                Assert.True(model.Dequeue() == one, $"turn {turn}");
            }

            output.Consume(first.Length);
            Assert.Equal(model.Count, output.Length);
            Assert.Equal(output.Length > 0, output.Waiting.Length > 0);
            Assert.InRange(output.Capacity, output.Length, Bound);
            if (random.Next(100) == 0)
            {
                output.Trim();
            }
        }
    }

    [Fact]
    public void It_grows_as_it_is_needed_and_holds_nothing_when_trimmed()
    {
        using var output = new TlsBuffer(1_000_000);
        Assert.Equal(0, output.Capacity);
        Assert.True(output.TryAppend(new byte[100]));
        Assert.Equal(8 * 1024, output.Capacity);
        Assert.True(output.TryAppend(new byte[900_000]));
        Assert.Equal(1_000_000, output.Capacity);
        Assert.False(output.TryAppend(new byte[100_000]));
        output.Trim();
        Assert.Equal(900_100, output.Length);
        output.Consume(900_100);
        output.Trim();
        Assert.Equal(0, output.Capacity);
    }
}
