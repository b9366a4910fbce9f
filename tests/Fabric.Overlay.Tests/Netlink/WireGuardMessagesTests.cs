using System.Collections.Immutable;
using System.Net;
using Fabric.Overlay.Devices;
using Fabric.Overlay.Kernel;
using Fabric.Overlay.Keys;
using Fabric.Overlay.Netlink;

namespace Fabric.Overlay.Tests.Netlink;

public sealed class WireGuardMessagesTests
{
    private const ushort Family = 30;
    private static readonly WireGuardPublicKey _peer = WireGuardPublicKey.FromBytes(Enumerable.Repeat((byte)0xaa, 32).ToArray());

    [Fact]
    public void A_peer_is_added_with_endpoint_keepalive_and_range()
    {
        var change = new DeviceChange(null, 51820, [new(_peer)
        {
            Add = true,
            ReplaceAllowedIps = true,
            Endpoint = IPEndPoint.Parse("192.0.2.1:51820"),
            Keepalive = TimeSpan.FromSeconds(25),
            AllowedIps = [IPNetwork.Parse("fd00::2/128")],
        }]);
        Assert.Equal(
            "a0000000 1e00 0500 07000000 09000000 01010000" // WG_CMD_SET_DEVICE, version 1
            + "0800 0200 66616200" // WGDEVICE_A_IFNAME "fab"
            + "0600 0600 6cca 0000" // WGDEVICE_A_LISTEN_PORT
            + "7c00 0880" // WGDEVICE_A_PEERS
            + "7800 0080" // the peer
            + "2400 0100" + new string('a', 64) // WGPEER_A_PUBLIC_KEY
            + "0800 0300 02000000" // WGPEER_A_FLAGS REPLACE_ALLOWEDIPS
            + "1400 0400 0200 ca6c c0000201 0000000000000000" // WGPEER_A_ENDPOINT sockaddr_in
            + "0600 0500 1900 0000" // WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL
            + "2c00 0980 2800 0080" // WGPEER_A_ALLOWEDIPS { one
            + "0600 0100 0a00 0000 1400 0200 fd000000000000000000000000000002 0500 0300 80 000000",
            NetlinkTests.Hex(Assert.Single(WireGuardMessages.Set(Family, "fab", change))), NetlinkTests.Spaceless);
    }

    [Fact]
    public void A_known_peer_is_only_updated_and_a_gone_one_removed()
    {
        var change = new DeviceChange(null, null, [new(_peer) { Remove = true }, new(_peer) { Keepalive = TimeSpan.Zero }]);
        var hex = NetlinkTests.Hex(Assert.Single(WireGuardMessages.Set(Family, "fab", change)));
        Assert.Contains("0800030001000000", hex); // REMOVE_ME
        Assert.Contains("0800030004000000" + "0600050000000000", hex); // UPDATE_ONLY, keepalive 0
    }

    [Fact]
    public void A_large_change_goes_out_in_pieces_that_together_are_the_change()
    {
        var ranges = Enumerable.Range(0, 1500).Select(i => IPNetwork.Parse($"10.{i / 250}.{i % 250}.0/24")).ToImmutableArray();
        var many = Enumerable.Range(1, 300)
            .Select(i => new PeerChange(KeyOf(i)) { Add = true, AllowedIps = [IPNetwork.Parse($"fd00::{i:x}/128")] });
        using var key = WireGuardKey.Generate();
        var change = new DeviceChange(key, 1,
            [new(_peer) { Add = true, ReplaceAllowedIps = true, AllowedIps = ranges }, .. many]);
        var messages = WireGuardMessages.Set(Family, "fab", change).Select(NetlinkTests.Finish).ToArray();
        Assert.All(messages, m => Assert.InRange(m.Length, 1, WireGuardMessages.MaxMessage + 512));
        Assert.True(messages.Length > 3);

        var status = WireGuardMessages.ParseDevice("kernel", "fab", messages.SelectMany(m => NetlinkReader.Frames(m)));
        Assert.Equal(301, status.Peers.Length);
        Assert.Equal(ranges.Select(r => r.ToString()), status.Peers[0].AllowedIps.Select(r => r.ToString()));
        var secret = Convert.ToHexStringLower(key.Secret);
        Assert.Single(messages, m => Convert.ToHexStringLower(m).Contains(secret, StringComparison.Ordinal));
        Assert.Single(messages, m => Convert.ToHexStringLower(m)
            .Contains("0800030002000000", StringComparison.Ordinal)); // replaced once
    }

    [Fact]
    public void A_peer_split_across_frames_is_one_peer()
    {
        var frames = NetlinkReader.Frames(Dump(peers: 2, rangesPerPeer: 3).Concat(Dump(peers: 1, rangesPerPeer: 4, first: 2))
            .ToArray());
        var status = WireGuardMessages.ParseDevice("kernel", "fab", frames);
        Assert.Equal([(KeyOf(1), 3), (KeyOf(2), 7)], status.Peers.Select(p => (p.PublicKey, p.AllowedIps.Length)));
        Assert.Equal(51820, status.ListenPort);
        var peer = status.Peers[1];
        Assert.Equal("[2001:db8::7]:51820", peer.Endpoint!.ToString());
        Assert.Equal(new DateTimeOffset(2026, 1, 2, 3, 4, 5, 678, TimeSpan.Zero), peer.LastHandshake);
        Assert.Equal((1000, 2000), (peer.ReceivedBytes, peer.SentBytes));
        Assert.Null(peer.Keepalive);
    }

    [Fact]
    public void Socket_addresses_survive_both_ways()
    {
        foreach (var text in (string[])["192.0.2.1:1", "[2001:db8::1]:65535", "[fe80::1%3]:51820"])
        {
            var endpoint = IPEndPoint.Parse(text);
            Assert.Equal(endpoint, WireGuardMessages.ParseSocketAddress(WireGuardMessages.WriteSocketAddress(endpoint)));
        }

        var mapped = new IPEndPoint(IPAddress.Parse("::ffff:192.0.2.1"), 7);
        Assert.Equal("192.0.2.1:7", WireGuardMessages.ParseSocketAddress(WireGuardMessages.WriteSocketAddress(mapped))!.ToString());
    }

    internal static WireGuardPublicKey KeyOf(int number) =>
        WireGuardPublicKey.FromBytes([.. BitConverter.GetBytes(number), .. new byte[28]]);

    /// <summary>A frame as the kernel writes it for a dump.</summary>
    internal static byte[] Dump(int peers, int rangesPerPeer, int first = 1)
    {
        var handshake = new DateTimeOffset(2026, 1, 2, 3, 4, 5, TimeSpan.Zero).ToUnixTimeSeconds();
        var message = new NetlinkMessage(Family, 2).Body([0, 1, 0, 0]).Text(2, "fab").Attribute(6, (ushort)51820)
            .Nested(8, m =>
            {
                for (var peer = first; peer < first + peers; peer++)
                {
                    m.Nested(0, n => n
                        .Attribute(1, KeyOf(peer).Bytes)
                        .Attribute(4, WireGuardMessages.WriteSocketAddress(IPEndPoint.Parse("[2001:db8::7]:51820")))
                        .Attribute(5, (ushort)0)
                        .Attribute(6, [.. BitConverter.GetBytes(handshake), .. BitConverter.GetBytes(678_000_000L)])
                        .Attribute(7, 1000L)
                        .Attribute(8, 2000L)
                        .Nested(9, o =>
                        {
                            for (var range = 0; range < rangesPerPeer; range++)
                            {
                                o.Nested(0, p => p.Attribute(1, (ushort)2).Attribute(2, [10, (byte)peer, (byte)range, 0])
                                    .Attribute(3, (byte)24));
                            }
                        }));
                }
            });
        return NetlinkTests.Finish(message);
    }
}
