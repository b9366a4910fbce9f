using System.Buffers.Binary;
using Fabric.Gateway.Links;
using Fabric.Gateway.Tests.Control;
using Fabric.Protocol.Proto;
using Fabric.Testing;
using Google.Protobuf;

namespace Fabric.Gateway.Tests.Links;

public sealed class IntroductionExchangeTests
{
    private static readonly Introduction Mine = With(1);
    private static readonly Introduction Theirs = With(2);

    [Fact]
    public async Task Both_sides_learn_of_each_other()
    {
        var (near, far) = DuplexStream.Pair();
        Introduction? heard = null;
        var answering = IntroductionExchange.AnswerAsync(far, theirs =>
        {
            heard = theirs;
            return Theirs;
        }, default);

        Assert.Equal(Theirs, await IntroductionExchange.ProposeAsync(near, Mine, default).WaitAsync(Wait.Limit));
        await answering.WaitAsync(Wait.Limit);
        Assert.Equal(Mine, heard);
    }

    [Fact]
    public async Task Refusal_says_why()
    {
        var refusal = await ProposeToAsync<IOException>(Frame(new Introduction { Link = "vpn", Refusal = "no such link" }.ToByteArray()));

        Assert.Contains("takes no part in link vpn: no such link", refusal.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(31)]
    [InlineData(33)]
    public async Task Key_of_another_length_is_refused(int length)
    {
        var reply = new Introduction { Link = "vpn", WireguardKey = ByteString.CopyFrom(new byte[length]) };

        Assert.Contains($"the peer's has {length}",
            (await ProposeToAsync<InvalidDataException>(Frame(reply.ToByteArray()))).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(4097u)]
    [InlineData(0x80000000u)]
    [InlineData(0xffffffffu)]
    public async Task Length_above_the_limit_is_refused_before_the_body_comes(uint length)
    {
        var prefix = new byte[4];
        BinaryPrimitives.WriteUInt32BigEndian(prefix, length);

        Assert.Contains($"announces {length}", (await ProposeToAsync<InvalidDataException>(prefix)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Message_that_is_cut_short_is_the_end_of_the_stream() =>
        await ProposeToAsync<EndOfStreamException>(Frame(Theirs.ToByteArray())[..^1], thenClose: true);

    [Fact]
    public async Task Whatever_comes_is_read_or_refused_in_the_declared_ways()
    {
        var random = new Random(20);
        var good = Frame(Theirs.ToByteArray());
        for (var i = 0; i < 2_000; i++)
        {
            byte[] bytes;
            if (i % 2 == 0)
            {
                bytes = Frame(new byte[random.Next(200)].Also(random.NextBytes));
            }
            else
            {
                bytes = [.. good];
                bytes[random.Next(bytes.Length)] ^= (byte)(1 << random.Next(8));
            }

            var (near, far) = DuplexStream.Pair();
            await near.WriteAsync(bytes);
            near.Dispose();
            try
            {
                await IntroductionExchange.AnswerAsync(far, theirs => Assert.IsType<Introduction>(theirs), default).WaitAsync(Wait.Limit);
            }
            catch (Exception e) when (e is InvalidDataException or IOException)
            {
                // As its summary says.
            }
        }
    }

    [Fact]
    public async Task Waiting_for_a_silent_peer_can_be_cancelled()
    {
        using var stop = new CancellationTokenSource();
        var answering = IntroductionExchange.AnswerAsync(DuplexStream.Pair().Far, theirs => theirs, stop.Token);
        Assert.False(answering.IsCompleted);
        await stop.CancelAsync();

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => answering.WaitAsync(Wait.Limit));
    }

    private static Introduction With(byte key) => new()
    {
        Link = "vpn",
        WireguardKey = ByteString.CopyFrom(Enumerable.Repeat(key, 32).ToArray()),
        WireguardPort = 51820,
    };

    private static byte[] Frame(byte[] body)
    {
        var frame = new byte[4 + body.Length];
        BinaryPrimitives.WriteInt32BigEndian(frame, body.Length);
        body.CopyTo(frame, 4);
        return frame;
    }

    private static async Task<T> ProposeToAsync<T>(byte[] reply, bool thenClose = false)
        where T : Exception
    {
        var (near, far) = DuplexStream.Pair();
        var proposing = IntroductionExchange.ProposeAsync(near, Mine, default);
        await far.WriteAsync(reply);
        if (thenClose)
        {
            far.Dispose();
        }

        return await Assert.ThrowsAsync<T>(() => proposing.WaitAsync(Wait.Limit));
    }
}

internal static class BytesExtensions
{
    public static byte[] Also(this byte[] bytes, Action<byte[]> change)
    {
        change(bytes);
        return bytes;
    }
}
