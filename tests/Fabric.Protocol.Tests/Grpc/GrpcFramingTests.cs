using System.Buffers;
using System.IO.Pipelines;
using Fabric.Protocol.Grpc;
using Fabric.Protocol.Proto;

namespace Fabric.Protocol.Tests.Grpc;

public sealed class GrpcFramingTests
{
    [Fact]
    public void Prefix_is_flag_and_length_in_network_order()
    {
        var output = new ArrayBufferWriter<byte>();

        GrpcFraming.Write(output, new SetFaultRequest { Link = new string('x', 300) });

        Assert.Equal([0, 0, 0, 1, 0x2f], output.WrittenSpan[..5].ToArray());
        Assert.Equal(5 + 0x12f, output.WrittenCount);
    }

    [Fact]
    public void Message_is_taken_only_when_it_is_whole()
    {
        byte[] bytes = [0, 0, 0, 0, 2, 8, 1, 0, 0];
        for (var length = 0; length <= bytes.Length; length++)
        {
            var input = new ReadOnlySequence<byte>(bytes, 0, length);
            Assert.Equal(length >= 7, GrpcFraming.TryRead(ref input, 10, out var message));
            Assert.Equal(length >= 7 ? 2 : 0, message.Length);
            Assert.Equal(length >= 7 ? length - 7 : length, input.Length);
        }
    }

    [Theory]
    [InlineData(new byte[] { 1, 0, 0, 0, 0 }, GrpcStatus.Unimplemented)]
    [InlineData(new byte[] { 2, 0, 0, 0, 0 }, GrpcStatus.Internal)]
    [InlineData(new byte[] { 0, 0, 0, 0, 11 }, GrpcStatus.ResourceExhausted)]
    [InlineData(new byte[] { 0, 255, 255, 255, 255 }, GrpcStatus.ResourceExhausted)]
    public void Bad_prefix_is_refused_before_its_message_comes(byte[] prefix, GrpcStatus status)
    {
        var failure = Assert.Throws<GrpcException>(() =>
        {
            var input = new ReadOnlySequence<byte>(prefix);
            GrpcFraming.TryRead(ref input, 10, out _);
        });
        Assert.Equal(status, failure.Status);
    }

    [Fact]
    public void Message_above_the_limit_is_not_written()
    {
        var output = new ArrayBufferWriter<byte>();

        var failure = Assert.Throws<GrpcException>(() => GrpcFraming.Write(output, new SetFaultRequest { Link = "xxxx" }, 5));

        Assert.Equal(GrpcStatus.ResourceExhausted, failure.Status);
        Assert.Equal(0, output.WrittenCount);
    }

    /// <summary>
    /// Whatever comes, in whatever pieces: messages, or one <see cref="GrpcException"/>; never more memory than the limit.
    /// </summary>
    [Fact]
    public async Task Mutated_bodies_in_random_pieces_give_messages_or_a_grpc_failure()
    {
        var random = new Random(20260101);
        var (ended, refused) = (0, 0);
        for (var round = 0; round < 3000; round++)
        {
            var body = new ArrayBufferWriter<byte>();
            var count = random.Next(1, 5);
            for (var i = 0; i < count; i++)
            {
                GrpcFraming.Write(body, new SetFaultRequest { Link = new string('l', random.Next(0, 200)), Fault = "cut" });
            }

            var bytes = body.WrittenSpan.ToArray();
            var mutations = round % 3 == 0 ? 0 : random.Next(1, 4);
            for (var i = 0; i < mutations; i++)
            {
                bytes[random.Next(bytes.Length)] = (byte)random.Next(256);
            }

            bytes = round % 5 == 1 ? bytes[..random.Next(bytes.Length)] : bytes;
            try
            {
                var got = await ReadAllAsync(bytes, random.Next(1, 50));
                ended++;
                Assert.True(
                    mutations > 0 || bytes.Length < body.WrittenCount || got == count, $"{got} of {count} in round {round}");
            }
            catch (GrpcException e)
            {
                refused++;
                Assert.True(mutations > 0 || bytes.Length < body.WrittenCount, $"round {round}: {e}");
            }
        }

        Assert.True(ended > 1000 && refused > 500, $"{ended} ended, {refused} refused: the mutations test neither");
    }

    [Fact]
    public async Task Random_bytes_never_break_the_reader()
    {
        var random = new Random(7);
        var bytes = new byte[64];
        for (var round = 0; round < 5000; round++)
        {
            random.NextBytes(bytes);
            bytes[0] = (byte)random.Next(3);
            bytes[1] = bytes[2] = bytes[3] = 0;
            try
            {
                await ReadAllAsync(bytes[..random.Next(64)], random.Next(1, 64));
            }
            catch (GrpcException)
            {
                // The only way to fail.
            }
        }
    }

    private static async Task<int> ReadAllAsync(byte[] bytes, int piece)
    {
        var reader = PipeReader.Create(new PiecewiseStream(bytes, piece));
        var parser = AdminMethods.SetFault.RequestParser;
        var count = 0;
        while (await GrpcFraming.ReadAsync(reader, parser, 4096, default) is not null)
        {
            count++;
        }

        return count;
    }

    private sealed class PiecewiseStream(byte[] bytes, int piece) : MemoryStream(bytes)
    {
        public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default) =>
            base.ReadAsync(buffer[..Math.Min(piece, buffer.Length)], cancellationToken);
    }
}
