using System.Collections.Immutable;
using Fabric.Protocol.Tunnel;

namespace Fabric.Protocol.Tests.Tunnel;

public sealed class FrameTests
{
    private static readonly HelloFrame _hello = new(
        new Guid("00112233-4455-6677-8899-aabbccddeeff"), 7, "dx", Enumerable.Range(0, 32).Select(i => (byte)i).ToImmutableArray(), 16_384);

    private static readonly OpenFrame _open = new("web.shop", 443, "spiffe://acme.example/ns/shop/sa/cart", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");

    private static byte[] Frame(FrameType type, byte[] payload, uint stream = 0, long offset = 0)
    {
        var bytes = new byte[FrameHeader.Size + payload.Length];
        new FrameHeader(type, payload.Length, stream, offset).Write(bytes);
        payload.CopyTo(bytes, FrameHeader.Size);
        return bytes;
    }

    /// <summary>One frame of every type, as they may follow one another.</summary>
    private static byte[] Everything() =>
    [
        .. Frame(FrameType.Hello, _hello.ToPayload()),
        .. Frame(FrameType.Fence, [], 0, 5),
        .. Frame(FrameType.Open, _open.ToPayload(), 1, 262_144),
        .. Frame(FrameType.Open, (_open with { TraceState = "vendor=1" }).ToPayload(), 3, 262_144),
        .. Frame(FrameType.Opened, [], 1, 262_144),
        .. Frame(FrameType.Data, [.. Enumerable.Range(0, 5_000).Select(i => (byte)i)], 1, 1L << 40),
        .. Frame(FrameType.Ack, [1, 2, 3, 4, 5, 6, 7, 0], 1, 99),
        .. Frame(FrameType.Fin, [], 1, 1234),
        .. Frame(FrameType.Reset, new ReasonFrame(2, "no policy allows it").ToPayload(), 3, 0),
        .. Frame(FrameType.Ping, [], 0, 42),
        .. Frame(FrameType.Pong, [], 0, 42),
        .. Frame(FrameType.GoAway, []),
        .. Frame(FrameType.Datagram, [.. Enumerable.Range(0, 6_000).Select(i => (byte)(i >> 3))], 5, 1),
        .. Frame(FrameType.Datagram, [], 5, 1L << 62),
        .. Frame(FrameType.Close, new ReasonFrame(8, "that was wrong").ToPayload()),
    ];

    /// <summary>What the reader makes of bytes that come in pieces; pieces of one DATA frame are put together again.</summary>
    private static List<(FrameHeader Header, string Payload)> Parse(IEnumerable<byte[]> pieces)
    {
        var reader = new FrameReader();
        var frames = new List<(FrameHeader Header, string Payload)>();
        foreach (var piece in pieces)
        {
            var rest = piece.AsSpan();
            while (reader.TryRead(rest, out var consumed, out var frame))
            {
                rest = rest[consumed..];
                var (header, payload) = (frame.Header, Convert.ToHexString(frame.Payload));
                if (header.Type == FrameType.Data && frames.Count > 0 && frames[^1].Header is { Type: FrameType.Data } last
                    && last.Offset + last.Length == header.Offset)
                {
                    frames[^1] = (last with { Length = last.Length + header.Length }, frames[^1].Payload + payload);
                }
                else
                {
                    frames.Add((header, payload));
                }
            }
        }

        return frames;
    }

    [Fact]
    public void Payloads_round_trip()
    {
        var hello = HelloFrame.Parse(_hello.ToPayload());
        Assert.Equal(_hello with { ProbeKey = hello.ProbeKey }, hello);
        Assert.Equal(_hello.ProbeKey.AsEnumerable(), hello.ProbeKey);
        Assert.Equal(_open, OpenFrame.Parse(_open.ToPayload()));
        var traced = _open with { TraceState = "vendor=1,other=2" };
        Assert.Equal(traced, OpenFrame.Parse(traced.ToPayload()));
        Assert.Equal(_open, OpenFrame.Parse((_open with { TraceState = new string('a', OpenFrame.MaxTraceState + 1) }).ToPayload()));
        Assert.Equal(new ReasonFrame(9, "därför"), ReasonFrame.Parse(new ReasonFrame(9, "därför").ToPayload()));
        Assert.Equal(ReasonFrame.MaxReason, ReasonFrame.Parse(new ReasonFrame(9, new string('x', 5_000)).ToPayload()).Reason.Length);
        Assert.Throws<FrameException>(() => (_open with { Service = new string('s', 256) }).ToPayload());
    }

    [Fact]
    public void The_header_is_sixteen_bytes_little_endian()
    {
        var bytes = new byte[FrameHeader.Size];
        new FrameHeader(FrameType.Data, 0x1234, 0x01020304, 0x0102030405060708).Write(bytes);
        Assert.Equal("04003412040302010807060504030201", Convert.ToHexString(bytes));
        Assert.Equal(new FrameHeader(FrameType.Data, 0x1234, 0x01020304, 0x0102030405060708), FrameHeader.Read(bytes));
    }

    [Fact]
    public void Bytes_may_be_split_anywhere()
    {
        var bytes = Everything();
        var whole = Parse([bytes]);
        Assert.Equal(15, whole.Count);
        Assert.Equal(whole, Parse(bytes.Select(b => new[] { b })));
        for (var at = 1; at < bytes.Length; at++)
        {
            Assert.Equal(whole, Parse([bytes[..at], bytes[at..]]));
        }
    }

    [Fact]
    public void The_largest_datagram_is_handed_on_whole_however_it_arrives()
    {
        var bytes = Frame(FrameType.Datagram, [.. Enumerable.Range(0, FrameHeader.MaxDatagram).Select(i => (byte)(i * 7))], 3, 9);
        var whole = Parse([bytes]);
        Assert.Equal(new FrameHeader(FrameType.Datagram, FrameHeader.MaxDatagram, 3, 9), Assert.Single(whole).Header);
        Assert.Equal(Convert.ToHexString(bytes.AsSpan(FrameHeader.Size)), whole[0].Payload);
        Assert.Equal(whole, Parse([bytes[..20_000], bytes[20_000..]]));
        Assert.Equal([.. whole, .. whole, .. whole], Parse([[.. bytes, .. bytes[..5]], [.. bytes[5..], .. bytes]]));
    }

    [Theory]
    [InlineData("00000000000000000000000000000000", "frame type 0")]
    [InlineData("0E000000000000000000000000000000", "frame type 14")]
    [InlineData("0D00E4FF010000000100000000000000", "payload of 65508 bytes")]
    [InlineData("0D000400000000000100000000000000", "stream 0")]
    [InlineData("0D000400010000000000000000000000", "number 0")]
    [InlineData("07010800010000000000000000000000", "flags 0x01")]
    [InlineData("07000700010000000000000000000000", "payload of 7 bytes")]
    [InlineData("0400F1FF010000000000000000000000", "payload of 65521 bytes")]
    [InlineData("04000000010000000000000000000000", "payload of 0 bytes")]
    [InlineData("03000110010000000000000000000000", "payload of 4097 bytes")]
    [InlineData("05000000000000000000000000000000", "stream 0")]
    [InlineData("09000000050000000000000000000000", "of the lane")]
    [InlineData("05000000010000000100000000000040", "at most 2^62")]
    public void A_bad_header_is_refused_with_its_reason(string hex, string reason)
    {
        var error = Assert.Throws<FrameException>(() => FrameHeader.Read(Convert.FromHexString(hex)));
        Assert.Contains(reason, error.Message);
    }

    [Fact]
    public void Fuzz_mutated_and_random_bytes_are_parsed_or_refused()
    {
        var random = new Random(20_261);
        var good = Everything();
        var refused = 0;
        for (var round = 0; round < 20_000; round++)
        {
            byte[] bytes;
            if (round % 4 == 0)
            {
                bytes = new byte[random.Next(200)];
                random.NextBytes(bytes);
            }
            else
            {
                bytes = [.. good];
                for (var i = random.Next(1, 8); i > 0; i--)
                {
                    bytes[random.Next(bytes.Length)] = (byte)random.Next(256);
                }

                bytes = bytes[..random.Next(bytes.Length + 1)];
            }

            try
            {
                ParseDeep(bytes, random);
            }
            catch (FrameException)
            {
                refused++;
            }
        }

        Assert.InRange(refused, 1_000, 20_000);
    }

    private static void ParseDeep(byte[] bytes, Random random)
    {
        var reader = new FrameReader();
        var total = 0;
        for (var at = 0; at < bytes.Length;)
        {
            var take = Math.Min(bytes.Length - at, 1 + random.Next(3_000));
            var rest = bytes.AsSpan(at, take);
            at += take;
            while (reader.TryRead(rest, out var consumed, out var frame))
            {
                Assert.InRange(consumed, 0, rest.Length);
                total += frame.Payload.Length;
                rest = rest[consumed..];
                _ = frame.Header.Type switch
                {
                    FrameType.Hello => HelloFrame.Parse(frame.Payload) as object,
                    FrameType.Open => OpenFrame.Parse(frame.Payload),
                    FrameType.Reset or FrameType.Close => ReasonFrame.Parse(frame.Payload),
                    _ => null,
                };
            }
        }

        Assert.InRange(total, 0, bytes.Length);
    }
}
