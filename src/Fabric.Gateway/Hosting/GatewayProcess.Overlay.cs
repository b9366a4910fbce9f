using System.Net;
using Fabric.Gateway.Catalog;
using Fabric.Gateway.Control;
using Fabric.Gateway.Links;
using Fabric.Gateway.Telemetry;
using Fabric.Overlay;
using Fabric.Topology.Model;
using Fabric.Tunnel.Drivers;

namespace Fabric.Gateway.Hosting;

/// <summary>What the process changes of the machine: WireGuard interfaces, and which addresses are its own.</summary>
internal sealed partial class GatewayProcess
{
    private OverlayLinks? _overlay;
    private string _overlayDriver = "off";
    private string _rangeProblem = "";

    private OverlayLinks? OpenOverlay(SiteGateway self, Func<GatewayTunnel> tunnel, OverlayOptions options)
    {
        if (_options.WireGuard == "off" || !_topology.Links.Any(l => l.Kind == LinkKind.Vpn && l.Touches(self.Name)))
        {
            return null;
        }

        var driver = WireGuardDrivers.Choose(_options.WireGuard, options, _time, out var why);
        Log.OverlayDriver(_log, driver.Name, why);
        _overlayDriver = driver.Name;
        return Own(new OverlayLinks(self.Name, _state, driver, options, _time, _log)
        {
            Dial = (remote, peer, cancellationToken) => tunnel().DialAsync(remote, IntroductionExchange.Alpn, peer, cancellationToken),
            KeyRefused = (peer, reason) => _claims.Refuse(peer, PeerClaim.Key, reason),
            Renewed = (peer, link) => tunnel().Hurry(peer, link, anew: true),
            IsUp = (peer, link) => _loop.Current?.Links.Any(l => l.Peer == peer && l.Link == link
                && l.State is Routing.Health.LinkState.Up or Routing.Health.LinkState.Suspect) == true,
        });
    }

    /// <summary>Service addresses are local to this machine: by nature in 127.0.0.0/8, else by a local route, which needs privilege.</summary>
    private void ServiceRange(OverlayOptions options, IPNetwork range)
    {
        try
        {
            if (!IPAddress.IsLoopback(range.BaseAddress))
            {
                new LocalRoutes(options).AddLocalRangeAsync(range).GetAwaiter().GetResult();
            }

            _rangeProblem = "";
        }
        catch (OverlayException e)
        {
            _rangeProblem = $"service addresses {range} are not local: {e.Message}";
        }
    }
}
