using Fabric.Protocol.Proto;

namespace Fabric.Gateway.Telemetry.Metrics;

/// <summary>What <c>status</c> shows of links, peers, relays and services. Attributes are names of the topology, which bounds them.</summary>
internal static class LinkInstruments
{
    public static void Create(GatewayMeter meter)
    {
        Links(meter);
        Peers(meter);
        string[] relay = ["peer", "relay"];
        static IEnumerable<RelayStatus> Relays(Reading now) => now.Status.Relays.Where(r => r.Role.Length > 0);
        meter.Gauge("fabric.relay.active", "{relay}", "1 when streams to the peer run through that other gateway, 0 while a lane stands by.", relay, Relays,
            r => r.Role == "active" ? 1 : 0, r => [r.Peer, r.Relay]);
        meter.Gauge("fabric.relay.rtt", "s", "Round-trip time of both legs together.", relay, Relays, r => r.RttMs / 1000, r => [r.Peer, r.Relay]);

        string[] export = ["service", "site"];
        static IEnumerable<(string Service, ServiceSiteStatus Site)> Exports(Reading now) =>
            now.Status.Services.SelectMany(s => s.Sites.Select(x => (s.Name, x)));
        meter.Gauge("fabric.service.healthy_endpoints", "{endpoint}", "Endpoints that answer, as the exporting site sees them.", export, Exports,
            e => e.Site.Healthy, e => [e.Service, e.Site.Site]);
        meter.Gauge("fabric.service.endpoints", "{endpoint}", "Endpoints that the exporting site has.", export, Exports,
            e => e.Site.Endpoints, e => [e.Service, e.Site.Site]);
        meter.Gauge("fabric.service.chosen", "{site}", "1 for the site that new connections from here go to.", export, now => now.Status.Services
                .SelectMany(s => s.Sites.Select(x => (Service: s.Name, x.Site, Chosen: s.ChosenSite == x.Site))),
            c => c.Chosen ? 1 : 0, c => [c.Service, c.Site]);
    }

    private static void Links(GatewayMeter meter)
    {
        string[] link = ["link", "peer", "kind"];
        static IEnumerable<LinkStatus> All(Reading now) => now.Status.Links;
        static IEnumerable<LinkStatus> Measured(Reading now) => now.Status.Links.Where(l => l.RttMs > 0);
        static string[] Labels(LinkStatus l) => [l.Name, l.Peer, l.Kind];
        meter.Gauge("fabric.link.up", "{link}", "1 when full-size packets pass over the link.", link, All, l => l.State is "up" or "suspect" ? 1 : 0, Labels);
        meter.Gauge("fabric.link.active", "{link}", "1 when streams to the peer take the link.", link, All, l => l.Role == "active" ? 1 : 0, Labels);
        meter.Gauge("fabric.link.rtt", "s", "Smoothed round-trip time; absent until one was measured.", link, Measured, l => l.RttMs / 1000, Labels);
        meter.Gauge("fabric.link.jitter", "s", "Smoothed mean deviation of the round-trip time.", link, Measured, l => l.JitterMs / 1000, Labels);
        meter.Gauge("fabric.link.loss", "1", "Share of the last 100 probes that was lost.", link, All, l => l.LossRatio, Labels);
        meter.Gauge("fabric.link.mtu", "By", "Largest IP packet that is known to pass; absent while unknown.", link,
            now => now.Status.Links.Where(l => l.Mtu > 0), l => l.Mtu, Labels);
        meter.Gauge("fabric.link.capacity", "bit/s", "Capacity that the topology declares.", ["link", "peer"],
            now => now.Counters.Capacities, c => c.Bits, c => [c.Link, c.Peer]);
    }

    private static void Peers(GatewayMeter meter)
    {
        string[] peer = ["peer_site", "peer"];
        static IEnumerable<(string Site, GatewayStatus Gateway)> All(Reading now) =>
            now.Status.Sites.SelectMany(s => s.Gateways.Where(g => g.State != "self").Select(g => (s.Name, g)));
        static string[] Labels((string Site, GatewayStatus Gateway) p) => [p.Site, p.Gateway.Name];
        void Total(string name, string unit, string help, Func<GatewayStatus, double> value) =>
            meter.Total(name, unit, help, peer, All, p => value(p.Gateway), Labels);
        meter.Gauge("fabric.peer.connected", "{gateway}", "1 when a link carries streams to the peer.", peer, All, p => p.Gateway.State == "connected" ? 1 : 0, Labels);
        meter.Count("fabric.peer.streams", "{stream}", "Streams carried to and from the peer now.", peer, All, p => p.Gateway.Streams, Labels);
        meter.Gauge("fabric.catalog.age", "s", "Time since the peer's catalog was heard; absent while there is none.", peer,
            now => All(now).Where(p => p.Gateway.CatalogAgeSeconds >= 0), p => p.Gateway.CatalogAgeSeconds, Labels);
        Total("fabric.peer.sent", "By", "Bytes of streams sent to the peer.", g => g.BytesSent);
        Total("fabric.peer.received", "By", "Bytes of streams received from the peer.", g => g.BytesReceived);
        Total("fabric.peer.resent", "By", "Bytes sent again after a link failed.", g => g.BytesResent);
        Total("fabric.peer.copied", "By", "Bytes sent on a second link as well because the first was suspect.", g => g.BytesCopied);
        Total("fabric.peer.mirrored", "By", "Bytes of mirrored services sent on a second link as well.", g => g.BytesMirrored);
        Total("fabric.peer.suspicions", "{suspicion}", "How often the active link to the peer owed an answer.", g => g.Suspicions);
        Total("fabric.peer.moves", "{stream}", "Streams moved from one link to another.", g => g.Moves);
        meter.Count("fabric.peer.relayed_lanes", "{lane}", "Lanes to others that this gateway carries for the peer now.", peer, All, p => p.Gateway.RelayedLanes, Labels);
        Total("fabric.peer.relayed", "By", "Bytes carried for the peer to and from others.", g => g.RelayedBytes);
    }
}
