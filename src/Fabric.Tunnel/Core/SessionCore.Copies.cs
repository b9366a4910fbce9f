using Fabric.Protocol.Tunnel;

namespace Fabric.Tunnel.Core;

/// <content>
/// Suspicion before verdict: while the active lane owes an answer, what interactive streams have not acknowledged leaves on the
/// second-best lane as well, and so does what mirrored streams send at any time. Offsets make the copies harmless.
/// </content>
internal sealed partial class SessionCore
{
    /// <summary>How long the peer's suspicion counts after a copy of it came.</summary>
    private static readonly TimeSpan _peerSuspicion = TimeSpan.FromMilliseconds(300);

    private TimeSpan _peerSuspectsUntil;
    private LaneCore? _peerTrusts;
    private long _mayCopy = limits.CopyBurst;
    private TimeSpan _mayCopySince;

    /// <summary>Whether the active lane owes an answer, as far as routing, the peer or this side can tell.</summary>
    public bool IsSuspecting { get; private set; }

    /// <summary>
    /// It is this side that suspects, and not the peer alone: only then copies say so. Else two ends would go on to tell each other.
    /// </summary>
    public bool SuspectsItself { get; private set; }

    /// <summary>The lane that copies go out on, when there are any; null when there is no second link.</summary>
    public LaneCore? Second => _copy.Shared;

    /// <summary>The peer has that stream up to there: for the timing of lanes.</summary>
    public void Answered(StreamCore stream, long received, TimeSpan now)
    {
        foreach (var lane in _lanes)
        {
            lane.Timing.Answered(stream.Id, received, now);
        }
    }

    /// <summary>Lanes are as they are now: who is copied, and where to.</summary>
    private void ChooseCopies(TimeSpan now)
    {
        var second = Active is { } active ? Best(active.Link) : null;
        if (second != _copy.Shared)
        {
            foreach (var stream in _streams.Values)
            {
                if (stream.IsCopying)
                {
                    stream.StopCopying();
                }
            }

            _copy.Shared = second;
        }

        _copy.Bulk = BulkLane(second);
        SuspectsItself = Active is { } own && (own.LateSince is not null || _links.Suspect.Contains(own.Link));
        var suspecting = SuspectsItself || (now < _peerSuspectsUntil && Active is not null && _peerTrusts != Active);
        if (suspecting && !IsSuspecting)
        {
            Suspicions++;
            foreach (var other in _lanes)
            {
                other.Timing.Forget();
            }
        }

        IsSuspecting = suspecting;
        foreach (var stream in _streams.Values)
        {
            UpdateCopy(stream, now);
        }

        Wake(_copy);
    }

    /// <summary>How often the active lane became suspect.</summary>
    public long Suspicions { get; private set; }

    /// <summary>Starts or ends the copies of a stream, as it needs them.</summary>
    public void UpdateCopy(StreamCore stream, TimeSpan now)
    {
        var wanted = _copy.Shared is { } lane && !(lane.IsRelayed && stream.Request.IsRelay)
            && (stream.Request.Mirrored || (IsSuspecting && !stream.IsBulk && MayCopy(now)));
        if (wanted == stream.IsCopying)
        {
            return;
        }

        if (wanted)
        {
            stream.StartCopying(now);
        }
        else
        {
            stream.StopCopying();
        }
    }

    /// <summary>Copies for suspicion have used up what they may.</summary>
    public bool CopiesAreSpent => _mayCopy <= 0;

    private bool MayCopy(TimeSpan now)
    {
        var earned = (now - _mayCopySince).TotalSeconds * Limits.CopyRate;
        _mayCopy = (long)Math.Min(Limits.CopyBurst, _mayCopy + earned);
        _mayCopySince = now;
        return _mayCopy > 0;
    }

    /// <summary>A copy of a stream that is not mirrored came: the peer does not trust its main lane, which may be ours.</summary>
    private void PeerSuspects(LaneCore cameOn, TimeSpan now)
    {
        var news = now >= _peerSuspectsUntil || _peerTrusts != cameOn;
        _peerSuspectsUntil = now + _peerSuspicion;
        _peerTrusts = cameOn;
        if (news)
        {
            ChooseCopies(now);
        }
    }

    private void OnPong(LaneCore lane, TimeSpan asked, TimeSpan now)
    {
        lane.RoundTrip = now - asked;
        lane.Timing.Add(asked, now, counts: lane.Channel == 0);
        if (lane.LateSince <= asked)
        {
            lane.LateSince = null;
            ChooseCopies(now);
        }
    }

    /// <summary>Lets time pass for what is owed: a late answer makes a lane suspect, and one that never comes ends it.</summary>
    private void AdvanceSuspicion(TimeSpan now)
    {
        var changed = false;
        foreach (var lane in _lanes)
        {
            if (lane.Timing.LateAt <= now)
            {
                var isThere = _streams.TryGetValue(lane.Timing.Stream, out var stream) && !stream.IsReset;
                if (isThere && lane.Channel > 0)
                {
                    // Bulk waits behind bulk: late is not lost. What arrives of it still shows that the link carries.
                    continue;
                }

                lane.Timing.Forget();
                if (isThere && lane.LateSince is null)
                {
                    lane.LateSince = now;
                    lane.PingDue = true;
                    Driver.OutputReady(lane);
                    changed = true;
                }
            }

            if (lane.IsLive && lane.LateSince + Limits.LateLimit <= now && HasOtherLink(lane))
            {
                foreach (var one in _lanes.Where(l => l.Link == lane.Link))
                {
                    EndLane(one, $"an answer is overdue for {Limits.LateLimit.TotalSeconds:0.#} s", now);
                }
            }
        }

        if (_peerTrusts is not null && _peerSuspectsUntil <= now)
        {
            _peerTrusts = null;
            changed = true;
        }

        if (changed)
        {
            ChooseCopies(now);
        }
    }

    private bool HasOtherLink(LaneCore lane) => _lanes.Any(l => l.Link != lane.Link);

    private TimeSpan SuspicionDue(TimeSpan due)
    {
        foreach (var lane in _lanes)
        {
            due = lane.Channel == 0 && lane.Timing.LateAt is { } at ? Min(due, at) : due;
            due = lane.LateSince is { } late && HasOtherLink(lane) ? Min(due, late + Limits.LateLimit) : due;
        }

        return _peerTrusts is null ? due : Min(due, _peerSuspectsUntil);
    }
}
