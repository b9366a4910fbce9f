using System.Collections.Concurrent;
using Fabric.Gateway.Probing;
using Fabric.Protocol.Proto;
using Fabric.Routing.Health;
using Fabric.Tunnel;

namespace Fabric.Gateway.Faults;

/// <summary>Makes events of what probes and sessions say: what changed, and not what was said again.</summary>
internal sealed class EventFeed(GatewayEvents events)
{
    private readonly ConcurrentDictionary<(string Peer, string Link), bool> _links = new();
    private readonly ConcurrentDictionary<(string Peer, string Link), bool> _lanes = new();

    /// <summary>Only up and down: suspicion is no event.</summary>
    public void Link(LinkHealthSnapshot link)
    {
        var up = link.State == LinkState.Up;
        if (up || link.State == LinkState.Down)
        {
            Changed(_links, link.Peer, link.Link, up, () => new GatewayEvent
            {
                Kind = up ? "link-up" : "link-down",
                DetectionMs = up ? 0 : Math.Round(link.Health.Detected.TotalMilliseconds, 1),
                Text = link.Health.Reason,
            });
        }
    }

    /// <summary>Lanes that came and went. Not concurrently.</summary>
    public void Session(string peer, TunnelStatus tunnel)
    {
        var lanes = tunnel.Sessions.FirstOrDefault(s => s.Peer == peer)?.Lanes.Where(l => l.Channel == 0).ToList() ?? [];
        foreach (var lane in lanes)
        {
            var up = lane.State == LaneState.Up;
            Changed(_lanes, peer, lane.Link, up, () => new GatewayEvent { Kind = up ? "lane-up" : "lane-down", Text = lane.LastError ?? "" });
        }

        foreach (var gone in _lanes.Keys.Where(k => k.Peer == peer && lanes.All(l => l.Link != k.Link)).ToList())
        {
            Changed(_lanes, peer, gone.Link, false, () => new GatewayEvent { Kind = "lane-down", Text = "no longer planned" });
            _lanes.TryRemove(gone, out _);
        }
    }

    private void Changed(ConcurrentDictionary<(string Peer, string Link), bool> known, string peer, string link, bool up, Func<GatewayEvent> say)
    {
        // Of what was never up, nothing went down.
        if (known.TryGetValue((peer, link), out var before) ? before == up : !up)
        {
            known[(peer, link)] = up;
            return;
        }

        known[(peer, link)] = up;
        var happened = say();
        (happened.Peer, happened.Link) = (peer, link);
        events.Add(happened);
    }
}
