using Fabric.Gateway.Snapshot;
using Fabric.Gateway.Trust;
using Fabric.Identity.Trust;
using Fabric.Overlay;
using Fabric.Overlay.Keys;
using Fabric.Topology.Model;

namespace Fabric.Gateway.Tests.Trust;

/// <summary>The topology without whom the mesh evicted, and what follows from it.</summary>
public sealed class TrustedTopologyTests
{
    private static readonly FabricTopology _declared = Samples.Accept("""
        fabric: 1
        trustDomain: acme.example
        sites:
          - { name: paris, gateways: [ { name: paris-1 } ] }
          - { name: rome, gateways: [ { name: rome-1 }, { name: rome-2 } ] }
          - { name: oslo, gateways: [ { name: oslo-1 } ] }
        links:
          - name: vpn
            type: vpn
            ends: [ { gateway: paris-1, address: 192.0.2.1 }, { gateway: rome-1, address: 192.0.2.2 }, { gateway: rome-2, address: 192.0.2.3 }, { gateway: oslo-1, address: 192.0.2.4 } ]
        services:
          - { name: web, namespace: shop, ports: [ { port: 80 } ], exports: [ { site: rome, endpoints: [ "10.0.0.1:80" ] }, { site: oslo, endpoints: [ "10.0.0.2:80" ] } ] }
          - { name: db, namespace: shop, ports: [ { port: 81 } ], exports: [ { site: rome, endpoints: [ "10.0.0.1:81" ] } ] }
        workloads:
          - { name: shop, site: rome, addresses: [ 127.0.0.1/32 ] }

        """);

    [Fact]
    public void Nobody_is_missed_where_nobody_was_evicted()
    {
        Assert.Same(_declared, _declared.Without(null, "paris-1"));
        Assert.Same(_declared, _declared.Without(Evicting(), "paris-1"));
    }

    [Fact]
    public void An_evicted_site_is_gone_with_its_links_relays_exports_and_services()
    {
        var left = _declared.Without(Evicting("rome"), "paris-1");

        Assert.Equal(["paris", "oslo"], left.Sites.Select(s => s.Name));
        Assert.All(left.Links, l => Assert.False(l.Touches("rome-1") || l.Touches("rome-2")));
        Assert.Equal(["web.shop"], left.Services.Select(s => s.FullName));
        Assert.Equal(["oslo"], left.Services[0].Exports.Select(e => e.Site));
        Assert.Empty(left.Workloads);
        var plan = new GatewayPlan(left, left.FindGateway("paris-1")!, new Dictionary<string, System.Net.IPAddress>());
        Assert.Equal(["oslo-1"], plan.Peers);
        Assert.All(plan.Relays, r => Assert.DoesNotContain(r.Value, g => g.StartsWith("rome", StringComparison.Ordinal)));
    }

    [Fact]
    public void Of_a_site_with_two_gateways_one_may_go()
    {
        var left = _declared.Without(Evicting("rome/rome-2"), "paris-1");

        Assert.Equal(["rome-1"], left.Sites[1].Gateways.Select(g => g.Name));
        Assert.Equal(["rome", "oslo"], left.Services[0].Exports.Select(e => e.Site));
        Assert.Equal(2, left.Services.Length);
    }

    [Fact]
    public void A_site_whose_gateways_are_all_evicted_exports_nothing()
    {
        var left = _declared.Without(Evicting("rome/rome-1", "rome/rome-2"), "paris-1");

        Assert.Equal(["web.shop"], left.Services.Select(s => s.FullName));
    }

    [Fact]
    public void WireGuard_peers_of_the_evicted_are_in_no_plan()
    {
        using var key = WireGuardKey.Generate();
        using var other = WireGuardKey.Generate();
        var keys = new[] { "rome-1", "rome-2", "oslo-1" }.ToDictionary(g => g, _ => other.PublicKey);
        OverlayInterface Plan(params string[] evicted) => Assert.Single(
            OverlayPlan.For(_declared.Without(Evicting(evicted), "paris-1"), "paris-1", key, keys, new OverlayOptions { Owner = "paris-1" }).Interfaces);

        Assert.Equal(["oslo-1", "rome-1", "rome-2"], Plan().Peers.Select(p => p.Gateway));
        Assert.Equal(["oslo-1", "rome-1"], Plan("rome/rome-2").Peers.Select(p => p.Gateway));
        Assert.Equal(["oslo-1"], Plan("rome").Peers.Select(p => p.Gateway));
    }

    [Fact]
    public void The_evicted_itself_goes_on_and_is_refused_by_the_others()
    {
        var left = _declared.Without(Evicting("rome"), "rome-1");

        Assert.NotNull(left.FindGateway("rome-1"));
        Assert.Null(left.FindGateway("rome-2"));
        Assert.Equal(["oslo-1", "paris-1"], left.Links.Where(l => l.Touches("rome-1")).Select(l => l.PeerOf("rome-1").Gateway).Order());
    }

    private static TrustDocument Evicting(params string[] names) => new() { TrustDomain = "acme.example", Version = 1, Evicted = [.. names] };
}
