using System.IO.Pipelines;
using Fabric.Gateway.Control.Transport;

namespace Fabric.Gateway.Tests.Control;

public sealed class TransportWriterTests
{
    [Fact]
    public async Task What_is_written_arrives()
    {
        var (near, far) = DuplexStream.Pair();
        var writer = new TransportWriter(far);

        Assert.False((await writer.WriteAsync("hello"u8.ToArray())).IsCompleted);

        var buffer = new byte[5];
        await near.ReadExactlyAsync(buffer);
        Assert.Equal("hello"u8.ToArray(), buffer);
        await writer.CompleteAsync();
    }

    [Fact]
    public async Task A_stream_that_is_gone_is_a_result_and_no_exception()
    {
        var (_, far) = DuplexStream.Pair();
        var writer = new TransportWriter(far);
        far.Break();

        var first = await FlushAsync(writer);
        var second = await FlushAsync(writer);

        Assert.True(first.IsCompleted);
        Assert.True(second.IsCompleted);
        await writer.CompleteAsync();
    }

    private static async Task<FlushResult> FlushAsync(PipeWriter writer)
    {
        writer.GetSpan(5)[..5].Fill(1);
        writer.Advance(5);
        return await writer.FlushAsync();
    }
}
