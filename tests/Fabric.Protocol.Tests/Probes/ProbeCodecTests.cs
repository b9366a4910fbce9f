using Fabric.Protocol.Probes;

namespace Fabric.Protocol.Tests.Probes;

public class ProbeCodecTests
{
    private static readonly ProbeKey Key = new([.. Enumerable.Range(0, 32).Select(i => (byte)i)]);
    private static readonly ProbeKey OtherKey = new([.. Enumerable.Range(1, 32).Select(i => (byte)i)]);

    [Theory]
    [InlineData(ProbeKind.Request, false, ProbeCodec.MinLength)]
    [InlineData(ProbeKind.Reply, true, 1392)]
    [InlineData(ProbeKind.Request, true, ProbeCodec.MaxLength)]
    public void What_is_written_is_read_back(ProbeKind kind, bool fullSize, int length)
    {
        var packet = new ProbePacket(kind, fullSize, 0x0123456789abcdef, ulong.MaxValue - 1, -5, 77);
        var bytes = new byte[length];
        ProbeCodec.Write(bytes, packet, Key);

        Assert.True(ProbeCodec.TryReadUnverified(bytes, out var read));
        Assert.Equal(packet, read);
        Assert.True(ProbeCodec.Verify(bytes, Key));
        Assert.False(ProbeCodec.Verify(bytes, OtherKey));
    }

    [Fact]
    public void The_bytes_are_those_of_the_documented_layout()
    {
        var bytes = new byte[ProbeCodec.MinLength];
        ProbeCodec.Write(bytes, new ProbePacket(ProbeKind.Reply, true, 1, 2, 3, 4), Key);
        Assert.Equal(
            "0102010000000000" + "0000000000000001" + "0000000000000002" + "0000000000000003" + "0000000000000004",
            Convert.ToHexString(bytes[..40]));

        // Made with another implementation of HMAC-SHA256 (Python's hmac), with the two derivation steps of ProbeKey.
        Assert.Equal("0cccad74804c0a4f3bcbd4eb25687298", Convert.ToHexStringLower(bytes[40..]));
    }

    [Fact]
    public void A_request_does_not_pass_for_a_reply_though_its_kind_is_changed()
    {
        var bytes = new byte[64];
        ProbeCodec.Write(bytes, new ProbePacket(ProbeKind.Request, false, 1, 2, 3, 0), Key);
        var reply = new byte[64];
        ProbeCodec.Write(reply, new ProbePacket(ProbeKind.Reply, false, 1, 2, 3, 0), Key);
        Assert.NotEqual(bytes[^16..], reply[^16..]);
        bytes[1] = (byte)ProbeKind.Reply;
        Assert.False(ProbeCodec.Verify(bytes, Key));
    }

    [Fact]
    public void No_bit_can_be_changed()
    {
        var bytes = new byte[80];
        ProbeCodec.Write(bytes, new ProbePacket(ProbeKind.Request, true, 1, 2, 3, 0), Key);
        for (var bit = 0; bit < bytes.Length * 8; bit++)
        {
            bytes[bit / 8] ^= (byte)(1 << bit % 8);
            Assert.False(ProbeCodec.TryReadUnverified(bytes, out _) && ProbeCodec.Verify(bytes, Key), $"bit {bit}");
            bytes[bit / 8] ^= (byte)(1 << bit % 8);
        }

        Assert.True(ProbeCodec.Verify(bytes, Key));
    }

    [Fact]
    public void Random_and_cut_input_is_refused_without_an_exception()
    {
        var random = new Random(7443);
        var valid = new byte[128];
        ProbeCodec.Write(valid, new ProbePacket(ProbeKind.Reply, false, 1, 2, 3, 4), Key);
        for (var i = 0; i < 20_000; i++)
        {
            var bytes = new byte[random.Next(0, 200)];
            random.NextBytes(bytes);
            if (i % 2 == 0)
            {
                // A valid beginning, cut or grown, so that the deeper checks are reached.
                valid.AsSpan(0, Math.Min(valid.Length, bytes.Length)).CopyTo(bytes);
            }

            var genuine = bytes.AsSpan().SequenceEqual(valid);
            var accepted = ProbeCodec.TryReadUnverified(bytes, out _) && ProbeCodec.Verify(bytes, Key);
            Assert.Equal(genuine, accepted);
        }
    }

    [Fact]
    public void The_link_id_is_the_same_at_both_ends_and_differs_by_link()
    {
        Assert.Equal(ProbeCodec.LinkId("dx", "gw-a", "gw-b"), ProbeCodec.LinkId("dx", "gw-b", "gw-a"));
        Assert.NotEqual(ProbeCodec.LinkId("dx", "gw-a", "gw-b"), ProbeCodec.LinkId("vpn", "gw-a", "gw-b"));
        Assert.NotEqual(ProbeCodec.LinkId("dx", "gw-a", "gw-b"), ProbeCodec.LinkId("dx", "gw-a", "gw-c"));
    }

    [Theory]
    [InlineData(1420, false, 1392)]
    [InlineData(1420, true, 1372)]
    [InlineData(9216, false, ProbeCodec.MaxLength)]
    public void A_full_size_probe_makes_a_packet_of_the_mtu(int mtu, bool ipv6, int length) =>
        Assert.Equal(length, ProbeCodec.FullSizeLength(mtu, ipv6));

    [Fact]
    public void Bad_lengths_are_refused_with_the_rule()
    {
        Assert.Contains("56 to 9188", Assert.Throws<ArgumentException>(() => ProbeCodec.Write(new byte[55], default, Key)).Message);
        Assert.Contains("32 bytes, not 31", Assert.Throws<ArgumentException>(() => new ProbeKey(new byte[31])).Message);
    }

    [Fact]
    public void Signing_and_verifying_allocate_nothing()
    {
        var bytes = new byte[1392];
        void Round()
        {
            ProbeCodec.Write(bytes, new ProbePacket(ProbeKind.Request, true, 1, 2, 3, 0), Key);
            Assert.True(ProbeCodec.Verify(bytes, Key));
        }

        Round();
        var before = GC.GetAllocatedBytesForCurrentThread();
        for (var i = 0; i < 100; i++)
        {
            Round();
        }

        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
    }

    [Fact]
    public void A_key_does_not_show_itself() => Assert.DoesNotContain("00", Key.ToString());
}
