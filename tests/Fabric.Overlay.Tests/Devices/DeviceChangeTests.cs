using System.Collections.Immutable;
using System.Net;
using Fabric.Overlay.Devices;
using Fabric.Overlay.Keys;

namespace Fabric.Overlay.Tests.Devices;

public sealed class DeviceChangeTests
{
    private static readonly WireGuardKey _key = WireGuardKey.Generate();
    private static readonly WireGuardPublicKey _one = WireGuardKey.Generate().PublicKey;
    private static readonly WireGuardPublicKey _two = WireGuardKey.Generate().PublicKey;
    private static readonly IPEndPoint _configured = IPEndPoint.Parse("192.0.2.1:51820");
    private static readonly IPEndPoint _learned = IPEndPoint.Parse("198.51.100.7:4242");

    [Fact]
    public void Nothing_changes_when_all_is_as_it_should_be()
    {
        Assert.True(Between(Config(Peer(_one, _configured)), null, Status(Present(_one, _configured))).IsEmpty);
        Assert.True(Between(Config(Peer(_one, null)), null, Status(Present(_one, _learned))).IsEmpty);
        var mapped = new IPEndPoint(_configured.Address.MapToIPv6(), _configured.Port);
        Assert.True(Between(Config(Peer(_one, mapped)), null, Status(Present(_one, _configured))).IsEmpty);
    }

    [Fact]
    public void A_learned_endpoint_stays_until_the_configured_one_changes()
    {
        var before = Config(Peer(_one, _configured));
        var now = Status(Present(_one, _learned));
        Assert.True(Between(before, before, now).IsEmpty);
        var moved = Config(Peer(_one, IPEndPoint.Parse("192.0.2.2:51820")));
        Assert.Equal("192.0.2.2:51820", Assert.Single(Between(moved, before, now).Peers).Endpoint!.ToString());
        // After an adoption nobody knows what was configured before: the configuration counts.
        Assert.Equal(_configured, Assert.Single(Between(before, null, now).Peers).Endpoint);
    }

    [Fact]
    public void A_new_peer_and_a_gone_one_leave_the_others_alone()
    {
        var change = Between(Config(Peer(_two, _configured)), null, Status(Present(_one, _learned)));
        Assert.Equal([(_one, true, false), (_two, false, true)], change.Peers.Select(p => (p.PublicKey, p.Remove, p.Add)));
        Assert.Null(change.PrivateKey);
        Assert.Null(change.ListenPort);
        Assert.Equal(_two, Assert.Single(Between(Config(Peer(_one, null), Peer(_two, null, "fd00::2/128")), null,
            Status(Present(_one, _learned))).Peers).PublicKey);
    }

    [Fact]
    public void Ranges_are_added_alone_and_replaced_only_when_one_goes()
    {
        var now = Status(Present(_one, null));
        var more = Assert.Single(Between(Config(Peer(_one, null, "fd00::1/128", "fd00::9/128")), null, now).Peers);
        Assert.False(more.ReplaceAllowedIps);
        Assert.Equal("fd00::9/128", Assert.Single(more.AllowedIps).ToString());
        var other = Assert.Single(Between(Config(Peer(_one, null, "fd00::9/128")), null, now).Peers);
        Assert.True(other.ReplaceAllowedIps);
        Assert.Equal("fd00::9/128", Assert.Single(other.AllowedIps).ToString());
    }

    [Fact]
    public void Key_port_and_keepalive_are_set_when_they_differ()
    {
        var fresh = Between(Config(), null, new() { Interface = "x", Driver = "d" });
        Assert.Same(_key, fresh.PrivateKey);
        Assert.Equal(51820, fresh.ListenPort);
        Assert.Null(Between(Config() with { ListenPort = 0 }, null, Status()).ListenPort);
        var peer = Peer(_one, null) with { Keepalive = TimeSpan.FromSeconds(25) };
        Assert.Equal(TimeSpan.FromSeconds(25),
            Assert.Single(Between(Config(peer), null, Status(Present(_one, null))).Peers).Keepalive);
        var kept = Present(_one, null) with { Keepalive = TimeSpan.FromSeconds(25) };
        Assert.True(Between(Config(peer), null, Status(kept)).IsEmpty);
        Assert.Equal(TimeSpan.Zero, Assert.Single(Between(Config(Peer(_one, null)), null, Status(kept)).Peers).Keepalive);
    }

    [Fact]
    public void What_wireguard_would_take_silently_is_refused()
    {
        Refused("named twice", Config(Peer(_one, null, "fd00::1/128"), Peer(_one, null, "fd00::2/128")));
        Refused("own key", Config(Peer(_key.PublicKey, null)));
        Refused("belongs to peer", Config(Peer(_one, null), Peer(_two, null)));
        Refused("MTU 1279 must be", Config() with { Mtu = 1279 });
        Refused("listen port 65536", Config() with { ListenPort = 65536 });
        Refused("keepalive", Config(Peer(_one, null) with { Keepalive = TimeSpan.FromMilliseconds(10) }));
        Refused("port 0", Config(Peer(_one, new(IPAddress.Loopback, 0))));

        static void Refused(string rule, DeviceConfig config) =>
            Assert.Contains(rule, Assert.Throws<OverlayException>(() => DeviceConfigRules.Check("fab-x", config)).Message);
    }

    private static DeviceChange Between(DeviceConfig desired, DeviceConfig? applied, DeviceStatus actual) =>
        DeviceChange.Between(desired, applied, actual);

    private static DeviceConfig Config(params WireGuardPeer[] peers) =>
        new() { PrivateKey = _key, ListenPort = 51820, Peers = [.. peers] };

    private static WireGuardPeer Peer(WireGuardPublicKey key, IPEndPoint? endpoint, params string[] ranges) =>
        new(key, endpoint, Ranges(ranges));

    private static DeviceStatus Status(params PeerStatus[] peers) =>
        new() { Interface = "x", Driver = "d", PublicKey = _key.PublicKey, ListenPort = 51820, Peers = [.. peers] };

    private static PeerStatus Present(WireGuardPublicKey key, IPEndPoint? endpoint) =>
        new() { PublicKey = key, Endpoint = endpoint, AllowedIps = Ranges() };

    private static ImmutableArray<IPNetwork> Ranges(params string[] ranges) =>
        [.. (ranges.Length == 0 ? ["fd00::1/128"] : ranges).Select(IPNetwork.Parse)];
}
