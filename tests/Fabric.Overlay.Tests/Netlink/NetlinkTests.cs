using System.Net;
using Fabric.Overlay.Kernel;
using Fabric.Overlay.Netlink;

namespace Fabric.Overlay.Tests.Netlink;

/// <summary>Messages byte for byte (little-endian machines), and the parser against every kind of damage.</summary>
public sealed class NetlinkTests
{
    [Fact]
    public void A_link_of_kind_wireguard_is_added()
    {
        Assert.Equal(
            "3c000000 1000 0506 07000000 09000000" // 60 bytes, RTM_NEWLINK, REQUEST|ACK|EXCL|CREATE, sequence 7, port 9
            + "00 00 0000 00000000 00000000 00000000" // ifinfomsg
            + "0800 0300 66616200" // IFLA_IFNAME "fab"
            + "1400 1280 0e00 0100 7769726567756172 6400 0000", // IFLA_LINKINFO { IFLA_INFO_KIND "wireguard" }
            Hex(RtMessages.AddLink("fab", "wireguard")), Spaceless);
    }

    [Fact]
    public void A_route_to_a_peer_bounds_segments_in_both_directions()
    {
        Assert.Equal(
            "54000000 1800 0505 07000000 09000000"
            + "0a 80 00 00 fe 46 00 01 00000000" // AF_INET6 /128, table main, protocol 70, universe, unicast
            + "1400 0100 fd000000000000000000000000000002" // RTA_DST
            + "0800 0f00 fe000000" // RTA_TABLE
            + "0800 0400 03000000" // RTA_OIF
            + "1400 0880 0800 0200 8c050000 0800 0800 50050000", // RTA_METRICS { RTAX_MTU 1420, RTAX_ADVMSS 1360 }
            Hex(RtMessages.ReplacePeerRoute(3, IPNetwork.Parse("fd00::2/128"), 1420)), Spaceless);
    }

    [Fact]
    public void A_range_is_made_local()
    {
        Assert.Equal(
            "34000000 1800 0506 07000000 09000000"
            + "02 10 00 00 ff 46 fe 02 00000000" // AF_INET /16, table local, protocol 70, scope host, local
            + "0800 0100 0a400000 0800 0f00 ff000000 0800 0400 01000000",
            Hex(RtMessages.AddLocalRoute(IPNetwork.Parse("10.64.0.0/16"))), Spaceless);
    }

    [Fact]
    public void Errors_are_read_with_the_kernels_own_text()
    {
        var capped = Frame("24000000 0200 0003 07000000 09000000 ffffffff 34000000 1800 0506 07000000 09000000");
        Assert.Equal(new NetlinkVerdict(1, null), NetlinkReader.Verdict(capped with { Flags = 0x100 }));
        var text = Frame("30000000 0200 0003 07000000 09000000 eaffffff 34000000 1800 0506 07000000 09000000 0a00 0100 6f6f7073 2100 0000");
        Assert.Equal(new NetlinkVerdict(22, "oops!"), NetlinkReader.Verdict(text));
        Assert.Equal(new NetlinkVerdict(0, null), NetlinkReader.Verdict(Frame("14000000 0300 0200 07000000 09000000 00000000")));
    }

    [Theory]
    [InlineData("0f000000 0200 0000 00000000 00000000")] // shorter than a header
    [InlineData("ff000000 0200 0000 00000000 00000000")] // longer than the datagram
    [InlineData("10000000 02")]
    public void A_frame_that_lies_about_its_length_is_refused(string hex) =>
        Assert.Throws<InvalidDataException>(() => NetlinkReader.Frames(Bytes(hex)).ToArray());

    [Fact]
    public void Any_bytes_give_a_result_or_a_format_error()
    {
        var random = new Random(20260101);
        var seeds = new[]
        {
            Finish(RtMessages.ReplacePeerRoute(3, IPNetwork.Parse("fd00::2/128"), 1420)),
            Finish(RtMessages.AddAddress(3, IPAddress.Parse("fd00::2"))),
            Finish(RtMessages.AddLink("fab", "wireguard")),
            Bytes("30000000 0200 0003 07000000 09000000 eaffffff 34000000 1800 0506 07000000 09000000 0a00 0100 6f6f7073 2100 0000"),
            WireGuardMessagesTests.Dump(peers: 3, rangesPerPeer: 2),
        };
        var (parsed, refused) = (0, 0);
        for (var round = 0; round < 40_000; round++)
        {
            var bytes = round % 5 == 4 ? new byte[random.Next(200)] : (byte[])seeds[random.Next(seeds.Length)].Clone();
            if (round % 5 == 4)
            {
                random.NextBytes(bytes);
            }

            for (var damage = random.Next(6); damage > 0 && bytes.Length > 0; damage--)
            {
                bytes[random.Next(bytes.Length)] = (byte)random.Next(256);
            }

            try
            {
                ParseAll(random.Next(4) == 0 ? bytes[..random.Next(bytes.Length + 1)] : bytes);
                parsed++;
            }
            catch (InvalidDataException)
            {
                refused++;
            }
        }

        Assert.True(parsed > 1000 && refused > 1000, $"{parsed} parsed, {refused} refused");
    }

    private static void ParseAll(byte[] bytes)
    {
        var frames = NetlinkReader.Frames(bytes).ToArray();
        foreach (var frame in frames)
        {
            RtMessages.ParseLink(frame);
            RtMessages.ParseAddress(frame);
            RtMessages.ParseRoute(frame);
            WireGuardMessages.ParseFamily(frame);
            if (frame.Type is NetlinkReader.Error or NetlinkReader.Done)
            {
                NetlinkReader.Verdict(frame);
            }
        }

        WireGuardMessages.ParseDevice("kernel", "fab", frames);
    }

    internal static byte[] Finish(NetlinkMessage message) => message.Finish(7, 9, acknowledge: true).ToArray();

    internal static string Hex(NetlinkMessage message) => Convert.ToHexStringLower(Finish(message));

    internal static byte[] Bytes(string hex) => Convert.FromHexString(hex.Replace(" ", "", StringComparison.Ordinal));

    internal static readonly IEqualityComparer<string> Spaceless = EqualityComparer<string>.Create(
        (a, b) => a!.Replace(" ", "", StringComparison.Ordinal) == b!.Replace(" ", "", StringComparison.Ordinal), _ => 0);

    private static NetlinkFrame Frame(string hex) => Assert.Single(NetlinkReader.Frames(Bytes(hex)));
}
