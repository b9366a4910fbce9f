using System.Collections.Immutable;
using System.Net;
using Fabric.Overlay.Keys;
using Fabric.Topology;
using Fabric.Topology.Model;

namespace Fabric.Overlay.Tests;

public sealed class OverlayPlanTests
{
    private static readonly WireGuardKey _key = WireGuardKey.Generate();
    private static readonly WireGuardPublicKey _paris = WireGuardKey.Generate().PublicKey;
    private static readonly WireGuardPublicKey _factory = WireGuardKey.Generate().PublicKey;

    [Fact]
    public void One_interface_per_link_name_with_a_peer_per_other_end()
    {
        var plan = OverlayPlan.For(Topology(), "virginia", _key,
            new Dictionary<string, WireGuardPublicKey> { ["paris"] = _paris, ["factory"] = _factory }, new());
        var planned = Assert.Single(plan.Interfaces);
        Assert.Equal("fab-internet", planned.Interface);
        Assert.Equal(1420, planned.Config.Mtu);
        Assert.Equal(51999, planned.Config.ListenPort);
        Assert.Equal(OverlayAddresses.Of("acme.example", "internet", "virginia"), planned.Config.Address);
        Assert.Equal(["paris 2001:db8::1 51820", "factory none"],
            planned.Peers.Select(p => $"{p.Gateway} {(p.WireGuard.Endpoint is { } e ? $"{e.Address} {e.Port}" : "none")}"));
        Assert.All(planned.Peers, p => Assert.Equal(new IPNetwork(p.Address, 128), Assert.Single(p.WireGuard.AllowedIps)));
        Assert.All(planned.Peers, p => Assert.Null(p.WireGuard.Keepalive));
    }

    [Fact]
    public void An_end_that_cannot_be_dialled_keeps_its_nat_open_and_unknown_peers_wait()
    {
        var plan = OverlayPlan.For(Topology(), "factory", _key,
            new Dictionary<string, WireGuardPublicKey> { ["paris"] = _paris }, new());
        Assert.Equal(TimeSpan.FromSeconds(25), Assert.Single(plan.Interfaces[0].Peers).WireGuard.Keepalive);
        Assert.Empty(OverlayPlan.For(Topology(), "tokyo", _key, new Dictionary<string, WireGuardPublicKey>(), new()).Interfaces);
    }

    [Fact]
    public void A_pinned_key_wins()
    {
        var topology = Topology();
        var pinned = topology with
        {
            Sites = [new() { Name = "paris", ServiceAddresses = IPNetwork.Parse("127.64.0.0/16"), Gateways =
                [new() { Name = "paris", Site = "paris", WireGuardKey = [.. _factory.Bytes] }] }],
        };
        var plan = OverlayPlan.For(pinned, "virginia", _key, new Dictionary<string, WireGuardPublicKey> { ["paris"] = _paris },
            new());
        Assert.Equal(_factory, Assert.Single(plan.Interfaces[0].Peers).WireGuard.PublicKey);
    }

    [Theory]
    [InlineData("internet", "fab-internet")]
    [InlineData("elevenchars", "fab-elevenchars")]
    [InlineData("twelve-chars", "fab-[0-9a-f]{8}")]
    [InlineData("Paris", "fab-[0-9a-f]{8}")]
    [InlineData("", "fab-[0-9a-f]{8}")]
    [InlineData("a/b", "fab-[0-9a-f]{8}")]
    public void Interface_names_fit_the_kernel(string link, string expected)
    {
        var name = InterfaceName.For("fab-", link);
        Assert.Matches($"^{expected}$", name);
        Assert.Equal(name, InterfaceName.For("fab-", link));
        Assert.Equal(name, InterfaceName.Check(name));
    }

    [Theory]
    [InlineData("")]
    [InlineData("nine-char")]
    [InlineData("a/")]
    [InlineData("a b")]
    public void A_bad_prefix_is_refused(string prefix) =>
        Assert.Contains("1 to 8 characters", Assert.Throws<OverlayException>(() => InterfaceName.For(prefix, "x")).Message);

    [Fact]
    public void The_mtu_is_that_of_the_underlay_less_what_wireguard_adds()
    {
        var (v4, v6) = (IPAddress.Parse("192.0.2.1"), IPAddress.Parse("2001:db8::1"));
        Assert.Equal(1440, OverlayMtu.For(1500, v4));
        Assert.Equal(1440, OverlayMtu.For(1500, v4, v4.MapToIPv6()));
        Assert.Equal(1420, OverlayMtu.For(1500, v4, v6));
        Assert.Equal(1420, OverlayMtu.For(1500, v4, null));
        Assert.Equal(1420, OverlayMtu.For(1500));
        Assert.Equal(8921, OverlayMtu.For(9001, v6));
        Assert.Equal(1280, OverlayMtu.For(1280, v6));
        Assert.Equal(1360, OverlayMtu.SegmentSize(1420, v6.AddressFamily));
        Assert.Equal(1380, OverlayMtu.SegmentSize(1420, v4.AddressFamily));
    }

    [Fact]
    public void A_driver_is_chosen_by_name_and_the_choice_explained()
    {
        Assert.Contains("must be auto, kernel or userspace",
            Assert.Throws<OverlayException>(() => WireGuardDrivers.Choose("fast", new(), TimeProvider.System, out _)).Message);
        var missing = new OverlayOptions { UserspaceCommand = "no-such-wireguard" };
        var error = Assert.Throws<OverlayException>(() =>
            WireGuardDrivers.Choose("userspace", missing, TimeProvider.System, out _));
        Assert.Equal(OverlayStage.Driver, error.Stage);
        Assert.Matches("no-such-wireguard' is not installed|CAP_NET_ADMIN|Linux only", error.Message);
    }

    private static FabricTopology Topology()
    {
        var (paris, virginia, factory) = (IPAddress.Parse("2001:db8::1"), IPAddress.Parse("2001:db8::2"), (IPAddress?)null);
        return new()
        {
            TrustDomain = "acme.example",
            Revision = "0",
            Links =
            [
                Vpn(new("paris", paris), new("virginia", virginia) { WireGuardPort = 51999 }),
                Vpn(new("factory", factory), new("paris", paris)),
                Vpn(new("factory", factory), new("virginia", virginia) { WireGuardPort = 51999 }),
                Vpn(new("paris", paris), new("virginia", virginia)) with { Name = "dx", Kind = LinkKind.Interconnect },
            ],
        };
    }

    private static Link Vpn(LinkEnd a, LinkEnd b) => new() { Name = "internet", Kind = LinkKind.Vpn, A = a, B = b };
}
