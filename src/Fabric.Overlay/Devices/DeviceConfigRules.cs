using System.Net;

namespace Fabric.Overlay.Devices;

/// <summary>What WireGuard would refuse, or worse, take silently.</summary>
internal static class DeviceConfigRules
{
    public const int MaxPeers = 4096, MaxAllowedIps = 4096;

    /// <summary>Throws <see cref="OverlayException"/> for the first rule that is broken; nothing was applied then.</summary>
    public static void Check(string name, DeviceConfig config)
    {
        Rule(config.ListenPort is >= 0 and <= 65535, name, $"listen port {config.ListenPort} must be 0 to 65535");
        Rule(config.Mtu is >= OverlayMtu.Minimum and <= 65535, name,
            $"MTU {config.Mtu} must be {OverlayMtu.Minimum} to 65535: below, IPv6 does not work");
        Rule(config.Peers.Length <= MaxPeers, name,
            $"{config.Peers.Length} peers: at most {MaxPeers} are supported on one interface");
        var keys = new HashSet<Keys.WireGuardPublicKey>();
        var owners = new Dictionary<IPNetwork, Keys.WireGuardPublicKey>();
        foreach (var peer in config.Peers)
        {
            Rule(keys.Add(peer.PublicKey), name, $"peer {peer.PublicKey} is named twice");
            Rule(!peer.PublicKey.Equals(config.PrivateKey.PublicKey), name,
                $"peer {peer.PublicKey} has this gateway's own key; each gateway needs its own");
            Rule(peer.Keepalive is null || (peer.Keepalive >= TimeSpan.FromSeconds(1)
                && peer.Keepalive <= TimeSpan.FromSeconds(65535)), name,
                $"keepalive {peer.Keepalive} of peer {peer.PublicKey} must be 1 to 65535 seconds");
            Rule(peer.Endpoint is null || peer.Endpoint.Port != 0, name,
                $"endpoint {peer.Endpoint} of peer {peer.PublicKey} has port 0");
            Rule(peer.AllowedIps.Length <= MaxAllowedIps, name,
                $"peer {peer.PublicKey} has {peer.AllowedIps.Length} allowed ranges: at most {MaxAllowedIps} are supported");
            foreach (var range in peer.AllowedIps)
            {
                Rule(owners.TryAdd(range, peer.PublicKey), name,
                    $"range {range} of peer {peer.PublicKey} belongs to peer {owners.GetValueOrDefault(range)} already");
            }
        }
    }

    private static void Rule(bool holds, string name, string message)
    {
        if (!holds)
        {
            throw new OverlayException(OverlayStage.Configure, $"{name}: {message}");
        }
    }
}
