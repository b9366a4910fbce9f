using System.Collections.Immutable;
using Fabric.Protocol.Tunnel;

namespace Fabric.Tunnel.Core;

internal sealed partial class SessionCore
{
    /// <summary>Ended lanes that are remembered, to tell them on new lanes and to refuse late ones.</summary>
    private const int RememberedEpochs = 64;

    /// <summary>Another array at each change, so that whoever walks through it may change it.</summary>
    private ImmutableArray<LaneCore> _lanes = [];
    private readonly Queue<uint> _endedEpochs = new();
    private LinkPaths _links = LinkPaths.None;

    /// <summary>Lanes that live, in the order in which they came up.</summary>
    public ImmutableArray<LaneCore> Lanes => _lanes;

    /// <summary>The lane that this side's events, acknowledgements and small streams go out on; null when there is none.</summary>
    public LaneCore? Active => _main.Shared;

    /// <summary>The lane that this side's bulk goes out on; null when it shares the active one.</summary>
    public LaneCore? ActiveBulk => _main.Bulk;

    /// <summary>Smoothed time to an answer on the active lane; zero while unknown.</summary>
    public TimeSpan RoundTrip => Active?.Timing.Smoothed ?? TimeSpan.Zero;

    /// <summary>Since when there is no lane; null while there is one.</summary>
    public TimeSpan? Alone { get; private set; }

    /// <summary>Greatest epoch that either side has used.</summary>
    public uint LastEpoch { get; private set; }

    public bool IsDraining { get; private set; }

    /// <summary>How long the session is kept without a lane. Default <see cref="TunnelLimits.Grace"/>.</summary>
    public TimeSpan Grace { get; set; } = limits.Grace;

    /// <summary>
    /// A lane came up. Returns null with the reason when it is late or one too many. An older lane over the same link and channel is
    /// fenced.
    /// </summary>
    public LaneCore? AttachLane(uint epoch, string link, int channel, object? owner, TimeSpan now, out string reason)
    {
        LastEpoch = Math.Max(LastEpoch, epoch);
        var older = _lanes.FirstOrDefault(l => l.Link == link && l.Channel == channel);
        reason = _endedEpochs.Contains(epoch) || _lanes.Any(l => l.Epoch == epoch) ? $"lane {epoch} is over"
            : older?.Epoch > epoch ? $"lane {older.Epoch} over {link} is newer than lane {epoch}"
            : _lanes.Length >= Math.Min(Limits.MaxLanes, TunnelLimits.MostLanes) && older is null ? $"{_lanes.Length} lanes are up: at most {Limits.MaxLanes}"
            : "";
        if (reason.Length > 0)
        {
            return null;
        }

        var slot = Enumerable.Range(0, TunnelLimits.MostLanes + 1).First(s => _lanes.All(l => l.Slot != s));
        var lane = new LaneCore(slot, epoch, link, channel, owner, now);
        foreach (var ended in _endedEpochs)
        {
            lane.Fences.Enqueue(ended);
        }

        _lanes = _lanes.Add(lane);
        _whyEnded.Remove((link, channel));
        if (older is not null)
        {
            EndLane(older, $"lane {epoch} replaces it", now);
        }

        Choose(now);
        SayWishes();
        Driver.OutputReady(lane);
        return lane;
    }

    /// <summary>
    /// The lane is over, as far as this side is concerned: nothing that still arrives on it counts, the other lanes carry the
    /// fence that tells the peer, and the streams go on on another lane from what is acknowledged. Idempotent.
    /// </summary>
    public void EndLane(LaneCore lane, string reason, TimeSpan now)
    {
        if (!lane.IsLive)
        {
            return;
        }

        _died = lane == Active ? lane : _died;
        lane.IsLive = false;
        lane.EndReason = reason;
        _lanes = _lanes.Remove(lane);
        RememberEnded(lane.Epoch);
        if (_lanes.All(l => l.Link != lane.Link || l.Channel != lane.Channel))
        {
            _whyEnded[(lane.Link, lane.Channel)] = reason;
        }

        foreach (var other in _lanes)
        {
            other.Fences.Enqueue(lane.Epoch);
            Driver.OutputReady(other);
        }

        foreach (var path in Paths)
        {
            path.Shared = path.Shared == lane ? null : path.Shared;
            path.Bulk = path.Bulk == lane ? null : path.Bulk;
        }

        foreach (var stream in _streams.Values)
        {
            stream.LaneDied(lane.Slot, now);
        }

        Choose(now);
        Driver.LaneEnded(lane, reason);
    }

    /// <summary>Why the last lane over that link and channel ended, while none has taken its place; null: there was none, or there is one.</summary>
    public string? WhyEnded(string link, int channel) => _whyEnded.GetValueOrDefault((link, channel));

    private void RememberEnded(uint epoch)
    {
        if (_endedEpochs.Count == RememberedEpochs)
        {
            _endedEpochs.Dequeue();
        }

        _endedEpochs.Enqueue(epoch);
    }

    private void OnFence(long epoch, TimeSpan now)
    {
        if (epoch is <= 0 or > uint.MaxValue)
        {
            throw new FrameException($"FENCE of lane {epoch}: epochs are 1 to 2^32-1");
        }

        if (_lanes.FirstOrDefault(l => l.Epoch == epoch) is { } lane)
        {
            EndLane(lane, "fenced by the peer", now);
        }
        else
        {
            // It may never have come up here, and yet have carried what the peer said.
            if (!_endedEpochs.Contains((uint)epoch))
            {
                RememberEnded((uint)epoch);
            }

            foreach (var stream in _streams.Values)
            {
                stream.AnswersMayBeLost(now);
            }
        }
    }

    /// <summary>
    /// What routing knows. Lanes over a link that was not down before end now; one that comes up over a down link later is kept
    /// as the last resort.
    /// </summary>
    public void SetPaths(LinkPaths paths, TimeSpan now)
    {
        var before = _links;
        _links = paths;

        // The one that carries the streams first: after another one of its link, the rest would be a move like any other, and no failover.
        foreach (var lane in _lanes.Where(l => paths.Down.Contains(l.Link) && !before.Down.Contains(l.Link)).OrderBy(l => l != Active))
        {
            EndLane(lane, "its link is down", now);
        }

        Choose(now);
        SayWishes();
    }

    private void Choose(TimeSpan now)
    {
        var best = Best(null);
        Alone = best is null ? Alone ?? now : null;
        if (best != Active)
        {
            if (best is not null)
            {
                Moves += _chosenBefore ? _streams.Count : 0;
                _chosenBefore = true;
                TellMove(best, now);
            }

            _main.Shared = best;
        }

        _main.Bulk = BulkLane(best);
        if (best is null || best.IsRelayed)
        {
            ResetRelays(now);
        }

        Wake(_main);
        ChooseCopies(now);
        SayWishes();
    }

    /// <summary>A failover, and not a move to what is better: of the streams on a lane that died or whose link is suspect, until they go on.</summary>
    private void TellMove(LaneCore to, TimeSpan now)
    {
        var suspect = Active is { } active && _links.Suspect.Contains(active.Link) ? active : null;
        if ((_died ?? suspect) is { } from && _streams.Count > 0)
        {
            var pause = now - from.LastHeard;
            foreach (var stream in _streams.Values)
            {
                StreamSpans.Moved(stream.Request, from, to, pause);
            }

            Driver.Moved(from, to, _streams.Count, pause);
        }

        _died = null;
    }

    /// <summary>The best shared lane over another link than that.</summary>
    private LaneCore? Best(string? butNot)
    {
        var lanes = _lanes.Where(l => l.Link != butNot).OrderBy(l => l.Channel).ThenBy(l => l.IsRelayed).ToArray();
        // A drained link only when nothing else is left, and never for copies.
        return First(lanes.Where(l => !IsDrained(l))) ?? (butNot is null ? First(lanes) ?? lanes.FirstOrDefault() : null);
    }

    private LaneCore? First(IEnumerable<LaneCore> lanes) =>
        _links.Preferred.Select(link => lanes.FirstOrDefault(l => l.Link == link)).FirstOrDefault(l => l is not null)
            ?? lanes.FirstOrDefault(l => !_links.Down.Contains(l.Link));

    private LaneCore? BulkLane(LaneCore? shared) =>
        shared is null ? null : _lanes.FirstOrDefault(l => l.Link == shared.Link && l.Channel > 0 && l != shared);

    private void Wake(OutputPath path)
    {
        if (path.Shared is { } shared && HasOutput(shared))
        {
            Driver.OutputReady(shared);
        }

        if (path.Bulk is { } bulk && HasOutput(bulk))
        {
            Driver.OutputReady(bulk);
        }
    }

    /// <summary>A relay never runs through a relay: what carries lanes of others ends with the last direct lane.</summary>
    private void ResetRelays(TimeSpan now)
    {
        foreach (var stream in _streams.Values.Where(s => s.Request.IsRelay).ToArray())
        {
            stream.Reset(StreamCode.NoLane, "no direct lane is left", now);
        }
    }

    /// <summary>Of links that were up once: as many as there are names of links in the topology, which peers do not make up.</summary>
    private readonly Dictionary<(string Link, int Channel), string> _whyEnded = [];

    private bool _chosenBefore;

    /// <summary>The lane that carried the streams and is over, until another one does.</summary>
    private LaneCore? _died;

    /// <summary>Whether new streams are refused from now on; the peer is told.</summary>
    public void Drain(bool draining)
    {
        IsDraining = draining;
        SayWishes();
    }

    /// <summary>Resets the streams of services; the peer hears of each. Returns how many.</summary>
    public int Cut(StreamCode code, string reason, TimeSpan now)
    {
        var streams = _streams.Values.Where(s => !s.Request.IsReserved && !s.IsReset).ToArray();
        foreach (var stream in streams)
        {
            stream.Reset(code, reason, now);
        }

        return streams.Length;
    }

    /// <summary>Whether either side drains the link of the lane.</summary>
    public bool IsDrained(LaneCore lane) => lane.PeerSaid.HasFlag(GoAway.LinkDrained) || _links.Drained.Contains(lane.Link);

    private GoAway Wishes(LaneCore lane) =>
        (IsDraining ? GoAway.NoStreams : 0)
        | (_links.Drained.Contains(lane.Link) ? GoAway.LinkDrained : 0)
        | (IsDrained(lane) && !_main.Takes(lane) && !_copy.Takes(lane) ? GoAway.Quiet : 0);

    private void SayWishes()
    {
        foreach (var lane in _lanes)
        {
            if (Wishes(lane) != lane.Said)
            {
                Driver.OutputReady(lane);
            }
        }
    }

    private void OnGoAway(LaneCore lane, long wishes, TimeSpan now)
    {
        if (wishes > (long)GoAway.All)
        {
            throw new FrameException($"GOAWAY of {wishes}: 0 to {(long)GoAway.All} are known");
        }

        if (lane.PeerSaid != (GoAway)wishes)
        {
            lane.PeerSaid = (GoAway)wishes;
            Choose(now);
            SayWishes();
            Driver.PeerWishes();
        }
    }
}
