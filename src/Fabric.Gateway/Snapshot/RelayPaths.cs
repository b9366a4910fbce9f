using System.Collections.Immutable;
using System.Globalization;
using Fabric.Gateway.Catalog;
using Fabric.Gateway.Telemetry;
using Fabric.Routing.Health;
using Fabric.Routing.Paths;
using Fabric.Tunnel;
using Microsoft.Extensions.Logging;

namespace Fabric.Gateway.Snapshot;

/// <summary>
/// Lanes through other gateways: which are kept up, and what is known of each. Whoever dials chooses, by the legs that both ends of
/// the relay have measured; the other end takes what comes through any gateway that the topology allows. The state loop's alone.
/// </summary>
internal sealed class RelayPaths(string gateway, ICatalogs catalogs, TimeProvider time, ILogger log)
{
    /// <summary>What a relay said is believed as long as what a site exports.</summary>
    private static readonly TimeSpan _staleAfter = CatalogPublisher.Heartbeat * 5;

    private static readonly PathChoice _scores = new();

    // In order, so that the same happenings have the same consequences in every process.
    private readonly SortedDictionary<string, RelayChoice> _choices = new(StringComparer.Ordinal);
    private readonly SortedDictionary<string, RelayDecision> _decisions = new(StringComparer.Ordinal);
    private ImmutableDictionary<string, Neighbour> _direct = ImmutableDictionary<string, Neighbour>.Empty;
    private GatewayPlan? _plan;
    private ImmutableArray<LanePlan> _lanes = [];

    /// <summary>What the tunnel should be: what the topology asks for, and lanes through relays.</summary>
    public TunnelPlan Tunnel => _plan!.Tunnel with { Lanes = _plan.Tunnel.Lanes.AddRange(_lanes) };

    /// <summary>A new plan; lanes through relays that it still allows stay.</summary>
    public void Reconcile(GatewayPlan plan)
    {
        _plan = plan;
        foreach (var gone in _choices.Keys.Where(p => !plan.Relays.ContainsKey(p)).ToList())
        {
            _choices.Remove(gone);
            _decisions.Remove(gone);
        }

        foreach (var peer in plan.Relays.Keys.Where(p => GatewayPlan.DialsThroughRelay(gateway, p)))
        {
            _choices.TryAdd(peer, new RelayChoice());
        }

        _lanes = Lanes();
    }

    /// <summary>Decides anew for every peer. True when the tunnel's plan is another one.</summary>
    /// <param name="links">The declared links to each peer.</param>
    /// <param name="tunnel">What is up.</param>
    /// <param name="now">The loop's instant.</param>
    public bool Decide(IReadOnlyDictionary<string, List<PathCandidate>> links, TunnelStatus tunnel, TimeSpan now)
    {
        _direct = links.Select(l => Nearest(l.Key, l.Value)).OfType<Neighbour>().ToImmutableDictionary(n => n.Gateway, StringComparer.Ordinal);
        foreach (var (peer, choice) in _choices)
        {
            var lanes = tunnel.Sessions.FirstOrDefault(s => s.Peer == peer)?.Lanes ?? [];
            var up = links.GetValueOrDefault(peer)?.Count(l => l is { HasLane: true, Drained: null } && l.State != LinkState.Down) ?? 0;
            var decision = choice.Decide(up, [.. _plan!.Relays[peer].Order(StringComparer.Ordinal).Select(r => Candidate(r, peer, lanes))], now);
            _decisions[peer] = decision;
            if (decision.Changed)
            {
                Log.RelayChosen(log, peer, decision.Relay ?? "nobody", decision.Reason);
            }
        }

        var before = _lanes;
        _lanes = Lanes();
        return !_lanes.SequenceEqual(before);
    }

    /// <summary>What others may reach through this gateway: its direct neighbours, unless its site does not relay or it is draining.</summary>
    public IEnumerable<Neighbour> Offered(FabricSnapshot now, bool draining) =>
        draining || now.Topology.Sites.FirstOrDefault(s => s.Name == now.Self.Site) is not { Relay: true } ? [] : _direct.Values;

    /// <summary>The lanes to a peer through relays, as links among its links.</summary>
    public IEnumerable<PathCandidate> Links(string peer, ImmutableArray<LaneStatus> lanes) =>
        lanes.Where(l => RelayNames.RelayOf(l.Link) is not null).Select(lane =>
        {
            var (rtt, score) = Legs(RelayNames.RelayOf(lane.Link)!, peer);
            var measured = Measured(rtt, lane);
            return new PathCandidate(lane.Link, lane.State == LaneState.Up ? LinkState.Up : LinkState.Unknown)
            {
                Relayed = true,
                HasLane = lane.State == LaneState.Up,
                Rtt = measured,
                // What the legs count for beyond their latency.
                Cost = score is { } s && measured is { } m ? (int)Math.Max(0, Math.Round(s - m.TotalMilliseconds)) : 0,
                StateReason = Why(peer, lane.Link),
            };
        });

    /// <summary>Why a peer without a path is not reached through a relay either.</summary>
    public string WhyNot(string peer) => !_plan!.Relays.ContainsKey(peer) ? ""
        : _decisions.GetValueOrDefault(peer) is { } decision ? decision.Relay is { } relay ? $"; a lane through {relay} is being dialled" : $"; {decision.Reason}"
        : "; it has dialled no lane through another gateway";

    /// <summary>For <c>status</c>: lanes through relays, up or not.</summary>
    public ImmutableArray<RelayView> View(TunnelStatus tunnel) =>
    [
        .. tunnel.Sessions.SelectMany(s => s.Lanes.Where(l => RelayNames.RelayOf(l.Link) is not null).Select(l =>
        {
            var (rtt, score) = Legs(RelayNames.RelayOf(l.Link)!, s.Peer);
            return new RelayView(s.Peer, RelayNames.RelayOf(l.Link)!, l, Measured(rtt, l), score, Why(s.Peer, l.Link));
        })),
    ];

    private string Why(string peer, string link) => _decisions.GetValueOrDefault(peer) switch
    {
        { Relay: { } relay } decision when RelayNames.Link(relay) == link => decision.Reason,
        null => $"chosen by {peer}, which dials",
        _ => "kept until its successor is up",
    };

    private ImmutableArray<LanePlan> Lanes() =>
    [
        .. _decisions.SelectMany(d => d.Value.Keep.Where(r => _plan!.Relays[d.Key].Contains(r))
            .Select(r => new LanePlan(d.Key, RelayNames.Link(r), null) { Relay = r })),
    ];

    private RelayCandidate Candidate(string relay, string peer, ImmutableArray<LaneStatus> lanes)
    {
        var (rtt, score) = Legs(relay, peer);
        var lane = lanes.FirstOrDefault(l => l.Link == RelayNames.Link(relay));
        return new RelayCandidate(relay)
        {
            Unusable = Fault(relay, peer),
            Rtt = rtt,
            Score = score,
            HasLane = lane?.State == LaneState.Up,
            LaneError = lane is { State: LaneState.Down } ? lane.LastError ?? "" : "",
        };
    }

    private string Fault(string relay, string peer)
    {
        var catalog = catalogs.Of(relay);
        return !_direct.ContainsKey(relay) ? "no direct link to it is up"
            : catalog is null ? "nothing is known from it yet"
            : time.GetElapsedTime(catalog.Heard) is var age && age > _staleAfter
                ? string.Create(CultureInfo.InvariantCulture, $"what it said is {age.TotalSeconds:0.#} s old")
            : catalog.Draining ? "it is draining"
            : !catalog.Neighbours.ContainsKey(peer) ? $"it has no direct link to {peer} up, or does not relay" : "";
    }

    /// <summary>Both legs together, as each is measured by the gateway that it begins at.</summary>
    private (TimeSpan? Rtt, double? Score) Legs(string relay, string peer) =>
        _direct.GetValueOrDefault(relay) is { } near && catalogs.Of(relay)?.Neighbours.GetValueOrDefault(peer) is { } far
            ? (near.Rtt + far.Rtt, near.Score + far.Score) : (null, null);

    /// <summary>The sum of both legs, or what the lane itself takes when they are not known.</summary>
    private static TimeSpan? Measured(TimeSpan? legs, LaneStatus lane) => legs ?? (lane.RoundTrip > TimeSpan.Zero ? lane.RoundTrip : null);

    private static Neighbour? Nearest(string peer, List<PathCandidate> links)
    {
        var best = links.Where(l => l is { HasLane: true, Drained: null, State: LinkState.Up or LinkState.Suspect })
            .OrderBy(l => _scores.Score(l) ?? double.PositiveInfinity).FirstOrDefault();
        return best is null ? null : new Neighbour(peer, best.Rtt, _scores.Score(best));
    }
}

/// <summary>A lane through another gateway, for <c>status</c>.</summary>
internal sealed record RelayView(string Peer, string Relay, LaneStatus Lane, TimeSpan? Rtt, double? Score, string Reason);
