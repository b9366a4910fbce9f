using System.Globalization;

namespace Fabric.Routing.Health;

/// <summary>
/// The verdict on one link, from probes sent, answers and time: Unknown → Up ⇄ Suspect → Down → (hold-down) → Up.
/// Not safe for concurrent use.
/// </summary>
/// <remarks>
/// BFD's detection (RFC 5880: multiplier × interval) does not serve as it is: it sends small packets, so a link that has lost its MTU stays
/// up; it takes its own late timer for the peer's silence; and its first sign of trouble is its verdict, where one late answer is
/// reason enough to send on a second lane as well.
/// A probe counts as missed in a row only when no later one was answered: one lost packet is loss, not silence.
/// <code>
///   Unknown  first full-size answer ─► Up          Misses missed ─► Down
///   Up       one answer overdue and none since, or its lane closed ─► Suspect
///   Suspect  answered ─► Up                        Misses missed (one, after its lane closed) ─► Down
///   Down     HoldDown of answers, never Misses missed in a row, one of full size, and not damped ─► Up
/// </code>
/// At most 256 probes are remembered; an answer to an older one is ignored. Methods return whether the state changed.
/// </remarks>
/// <param name="now">Instant of its making.</param>
/// <param name="firstSequence">Number of the first probe, at least 1; a later instance for the same peer should begin higher.</param>
public sealed class LinkHealth(LinkHealthOptions options, TimeSpan now, ulong firstSequence = 1)
{
    private const int Remembered = 256;

    /// <summary>Answers after which the smoothed figures have forgotten the first of them (RFC 6298's 1/8: under 12 % of it is left).</summary>
    private const int Settling = 16;

    private enum Fate : byte
    {
        None,
        Waiting,
        Answered,
        Missed,
    }

    private record struct Probe(ulong Sequence, TimeSpan SentAt, TimeSpan Due, bool FullSize, bool Excused, Fate Fate);

    private readonly Probe[] _probes = new Probe[Remembered];
    private readonly RttEstimator _rtt = new();
    private readonly LossWindow _loss = new();
    private readonly OneWayLoss _oneWay = new();
    private readonly ProbeWindows _windows = new(now);
    private readonly FlapDamping _damping = new(options.Damping);

    private ulong _sent = firstSequence - 1;
    private ulong _settled = firstSequence - 1;
    private ulong _newestAnswered;
    private ulong _newestFullSizeAnswered;
    private bool _lastWasFullSize;
    private TimeSpan? _lastFullSizeSent;
    private TimeSpan? _lastAnswer;
    private TimeSpan? _lastFullSizeAnswer;
    private TimeSpan? _lastPeerProbe;
    private int _misses;
    private int _fullSizeMisses;
    private TimeSpan _firstMissSent;
    private TimeSpan _firstFullSizeMissSent;
    private bool _smallAnsweredSince;
    private TimeSpan _carried = TimeSpan.MinValue;
    private TimeSpan _carriedFullSize = TimeSpan.MinValue;
    private string? _refusal;
    private string? _laneClosed;
    private TimeSpan _laneClosedAt;
    private bool _everUp;
    private int _falls;
    private TimeSpan? _answeringSince;
    private int _settling;
    private bool _fullSizeAnsweredSince;
    private string _cause = "not probed yet";
    private TimeSpan _detected;

    public LinkState State { get; private set; } = LinkState.Unknown;

    public TimeSpan Since { get; private set; } = now;

    /// <summary>
    /// Whether the next probe should go out at the active interval: the verdict is open, or the link has just come up and its
    /// figures still rest on the first answers, which a starting process makes late. An idle link would show those for long.
    /// </summary>
    public bool Urgent => State is LinkState.Unknown or LinkState.Suspect || _settling > 0 && State == LinkState.Up
        || _answeringSince is not null && State == LinkState.Down;

    /// <summary>Time after which a probe sent now is overdue: max(2·RTT + 4·jitter, floor), at most the maximum.</summary>
    public TimeSpan Timeout => !_rtt.HasSample ? options.FirstTimeout
        : _rtt.Timeout < options.SuspectFloor ? options.SuspectFloor
        : _rtt.Timeout > options.MaxTimeout ? options.MaxTimeout : _rtt.Timeout;

    /// <summary>When <see cref="Tick"/> is wanted next; null while no answer is awaited.</summary>
    public TimeSpan? NextDue
    {
        get
        {
            TimeSpan? due = null;
            for (var sequence = _settled + 1; sequence <= _sent; sequence++)
            {
                ref var probe = ref _probes[sequence % Remembered];
                if (probe.Fate == Fate.Waiting && (due is null || probe.Due < due))
                {
                    due = probe.Due;
                }
            }

            return due;
        }
    }

    /// <summary>
    /// Whether the next probe should be of full size: the first, the first after each change of state, one each
    /// <see cref="LinkHealthOptions.FullSizeEvery"/>, and every other one while there is trouble, so that both sizes are known.
    /// </summary>
    public bool WantsFullSize(TimeSpan now) => State != LinkState.Up || _fullSizeMisses > 0
        ? !_lastWasFullSize
        : _lastFullSizeSent is null || now - _lastFullSizeSent >= options.FullSizeEvery;

    /// <summary>1. A probe goes out. Returns its sequence number.</summary>
    public ulong ProbeSent(bool fullSize, TimeSpan now)
    {
        var sequence = ++_sent;
        if (_sent - _settled > Remembered)
        {
            _settled = _sent - Remembered;
        }

        _probes[sequence % Remembered] = new Probe(sequence, now, now + Timeout, fullSize, false, Fate.Waiting);
        _lastWasFullSize = fullSize;
        _lastFullSizeSent = fullSize ? now : _lastFullSizeSent;
        return sequence;
    }

    /// <summary>2a. The kernel refused to send it: missed at once. <paramref name="tooBig"/>: EMSGSIZE, which says nothing of small ones.</summary>
    public bool Refused(ulong sequence, bool tooBig, string reason, TimeSpan now)
    {
        ref var probe = ref _probes[sequence % Remembered];
        if (probe.Sequence != sequence || probe.Fate != Fate.Waiting)
        {
            return false;
        }

        _refusal = tooBig ? _refusal : reason;
        Miss(ref probe, counts: !tooBig);
        return Judge(now);
    }

    /// <summary>2b. An authenticated answer came. Ignored when no such probe is awaited: replayed, invented or too old.</summary>
    /// <param name="received">How many probes of this link the peer has received.</param>
    /// <param name="late">How late the local thread read it; late ones prove life and are no sample of the round trip.</param>
    public bool Answered(ulong sequence, ulong received, TimeSpan now, TimeSpan late, out bool accepted)
    {
        ref var probe = ref _probes[sequence % Remembered];
        accepted = probe.Sequence == sequence && probe.Fate is Fate.Waiting or Fate.Missed;
        if (!accepted)
        {
            return false;
        }

        var inTime = probe.Fate == Fate.Waiting;
        probe.Fate = Fate.Answered;
        if (late <= options.LateTolerance && _rtt.Sample(now - probe.SentAt, options.SuspectFloor) is { } distance)
        {
            _windows.Record(distance);
        }

        if (inTime)
        {
            _loss.Record(lost: false);
            _windows.Record(lost: false);
        }

        _oneWay.Record(sequence, received);
        _settling = Math.Max(0, _settling - 1);
        (_lastAnswer, _misses, _refusal) = (now, 0, null);
        _newestAnswered = Math.Max(_newestAnswered, sequence);
        if (probe.FullSize)
        {
            _newestFullSizeAnswered = Math.Max(_newestFullSizeAnswered, sequence);
            (_lastFullSizeAnswer, _fullSizeMisses) = (now, 0);
        }
        else
        {
            _smallAnsweredSince = true;
        }

        if (probe.SentAt >= _laneClosedAt)
        {
            _laneClosed = null;
        }

        if (inTime && State == LinkState.Down)
        {
            _answeringSince ??= probe.SentAt;
            _fullSizeAnsweredSince |= probe.FullSize;
        }

        return Judge(now);
    }

    /// <summary>Whether <see cref="Carried"/> could prevent a verdict that is near.</summary>
    public bool WantsWitness => State == LinkState.Suspect && Math.Max(_misses, _fullSizeMisses) >= options.Misses - 1 && _laneClosed is null;

    /// <summary>
    /// 2c. Bytes of a lane that left at that instant have arrived: probes that left before it were late or lost under load, and are no
    /// silence. A probe shares the queue of what the link carries, and is the first that is dropped there. That they arrived may be known
    /// over another link; so the way back has to speak for itself: by something that came on a lane over the link, or the peer's probes.
    /// </summary>
    /// <param name="sent">When the bytes left.</param>
    /// <param name="heard">When something last came on a lane over the link.</param>
    /// <param name="fullSize">They were bulk, and so in packets of full size.</param>
    /// <param name="now">The instant.</param>
    public bool Carried(TimeSpan sent, TimeSpan heard, bool fullSize, TimeSpan now)
    {
        if (State is not (LinkState.Up or LinkState.Suspect))
        {
            return false;
        }

        heard = _lastPeerProbe > heard ? _lastPeerProbe.Value : heard;
        if (_misses > 0 && sent > _firstMissSent && heard > AnswerDue(_firstMissSent))
        {
            (_carried, _misses) = (sent, 0);
        }

        if (fullSize && _fullSizeMisses > 0 && sent > _firstFullSizeMissSent && heard > AnswerDue(_firstFullSizeMissSent))
        {
            (_carriedFullSize, _fullSizeMisses) = (sent, 0);
        }

        return Judge(now);
    }

    /// <summary>When the answer to a probe comes as a rule: what comes later was not on its way already when the way back went dark.</summary>
    private TimeSpan AnswerDue(TimeSpan sent) => sent + (_rtt.HasSample ? _rtt.Smoothed : TimeSpan.Zero);

    /// <summary>3. Time passed: what was due and is not answered is missed, unless the local timer was late.</summary>
    /// <param name="late">How late this call is, against when it was wanted.</param>
    public bool Tick(TimeSpan now, TimeSpan late)
    {
        for (var sequence = _settled + 1; sequence <= _sent; sequence++)
        {
            ref var probe = ref _probes[sequence % Remembered];
            if (probe.Fate == Fate.Waiting && probe.Due <= now)
            {
                // Once for each probe: a host that is always late takes twice as long to find a dead link, and finds it.
                if (late > options.LateTolerance && !probe.Excused)
                {
                    (probe.Excused, probe.Due) = (true, now + Timeout);
                }
                else
                {
                    Miss(ref probe, counts: true);
                }
            }

            if (sequence == _settled + 1 && probe.Fate != Fate.Waiting)
            {
                _settled = sequence;
            }
        }

        return Judge(now);
    }

    /// <summary>For who keeps statistics: whether a window of <see cref="ProbeWindows.Length"/> has ended, which is told once.</summary>
    public bool TryTakeWindow(TimeSpan now, out ProbeWindow window) => _windows.TryTake(State is LinkState.Up or LinkState.Suspect, now, out window);

    /// <summary>A lane over the link was reset or closed: suspect at once, and one missed probe is enough for down.</summary>
    public bool LaneClosed(string reason, TimeSpan now)
    {
        if (State is not (LinkState.Up or LinkState.Suspect))
        {
            return false;
        }

        (_laneClosed, _laneClosedAt) = (reason, now);
        return Judge(now);
    }

    /// <summary>The peer's own probe came in: it tells which way a silent link is broken.</summary>
    public void PeerProbed(TimeSpan now) => _lastPeerProbe = now;

    /// <summary>The verdict and what it rests on.</summary>
    public LinkReport Report(TimeSpan now) => new(
        State,
        Reason(now),
        Since,
        State == LinkState.Down && _answeringSince is not null && _fullSizeAnsweredSince && _fullSizeMisses == 0,
        _rtt.HasSample ? _rtt.Smoothed : null,
        _rtt.Jitter,
        _loss.Ratio,
        _oneWay.Out,
        _oneWay.Back,
        _detected,
        _lastFullSizeAnswer is not null && _fullSizeMisses == 0);

    private void Miss(ref Probe probe, bool counts)
    {
        probe.Fate = Fate.Missed;
        _loss.Record(lost: true);
        _windows.Record(lost: true);
        // In a row means: after the newest that was answered. One that is lost among answered ones is loss, and no silence.
        if (counts && probe.Sequence > _newestAnswered && probe.SentAt > _carried && ++_misses == 1)
        {
            _firstMissSent = probe.SentAt;
        }

        if (probe.FullSize && probe.Sequence > _newestFullSizeAnswered && probe.SentAt > _carriedFullSize && ++_fullSizeMisses == 1)
        {
            (_firstFullSizeMissSent, _smallAnsweredSince) = (probe.SentAt, false);
        }

        // What would not have brought it down does not keep it there: else a link that loses one probe in twenty is away for a minute.
        if (Math.Max(_misses, _fullSizeMisses) >= options.Misses)
        {
            (_answeringSince, _fullSizeAnsweredSince) = (null, false);
        }
    }

    private bool Judge(TimeSpan now)
    {
        var before = State;
        if (State == LinkState.Down)
        {
            JudgeReturn(now);
        }
        else if (_misses >= (_laneClosed is null ? options.Misses : 1))
        {
            Fall(Silence(now), _lastAnswer ?? _firstMissSent, now);
        }
        else if (_fullSizeMisses >= options.Misses && _smallAnsweredSince)
        {
            Fall(Blocked, _lastFullSizeAnswer ?? _firstFullSizeMissSent, now);
        }
        else if (State == LinkState.Up && (_misses > 0 || _fullSizeMisses > 0 || _laneClosed is not null))
        {
            Become(LinkState.Suspect, "", now);
        }
        else if (State == LinkState.Suspect && _misses == 0 && _fullSizeMisses == 0 && _laneClosed is null
            || State == LinkState.Unknown && _lastFullSizeAnswer is not null)
        {
            Rise(now);
        }

        return State != before;
    }

    private void JudgeReturn(TimeSpan now)
    {
        // Why it is down may change while it is: silence first, then only small packets pass.
        if (_fullSizeMisses >= options.Misses && _smallAnsweredSince)
        {
            _cause = Blocked;
        }

        var trusted = !_everUp || _answeringSince is { } since && now - since >= options.HoldDown
            && _damping.HoldFor(now) == TimeSpan.Zero;
        if (_answeringSince is not null && _fullSizeAnsweredSince && _misses == 0 && _fullSizeMisses == 0 && trusted)
        {
            Rise(now);
        }
    }

    private void Rise(TimeSpan now)
    {
        if (State == LinkState.Down)
        {
            // What an outage lost says nothing of the link as it is now; how often it falls is the damping's to remember. Without this, an
            // idle link that is back would look lossy for a hundred probes, which are as many seconds.
            _loss.Clear();
            _oneWay.Clear();
        }

        _settling = State == LinkState.Suspect ? _settling : Settling;
        (_everUp, _answeringSince, _laneClosed) = (true, null, null);
        Become(LinkState.Up, "", now);
    }

    private void Fall(string cause, TimeSpan lastGood, TimeSpan now)
    {
        if (_everUp)
        {
            _falls++;
            _damping.Fell(now);
        }

        (_detected, _answeringSince, _fullSizeAnsweredSince, _laneClosed) = (now - lastGood, null, false, null);
        Become(LinkState.Down, cause, now);
    }

    private void Become(LinkState state, string cause, TimeSpan now)
    {
        (State, _cause, Since, _lastFullSizeSent, _lastWasFullSize) = (state, cause, now, null, false);
    }

    private string Blocked => $"full-size packets do not pass (mtu {options.Mtu})";

    private string Silence(TimeSpan now)
    {
        var what = _refusal is not null ? $"probes cannot be sent: {_refusal}"
            : _laneClosed is not null ? $"its lane was closed ({_laneClosed}) and {Count(_misses)} after it"
            : _lastAnswer is null ? $"no probe was ever answered, {_misses} sent in the last {Ms(now - _firstMissSent)}"
            : Count(_misses);
        // Later than an answer would have been: an earlier one may have left before the break.
        return _lastPeerProbe > _firstMissSent + Timeout && _refusal is null
            ? $"{what}; the peer's probes arrive, so packets to it are lost"
            : what;
    }

    private string Reason(TimeSpan now) => State switch
    {
        LinkState.Unknown => _sent == firstSequence - 1 ? "not probed yet" : "no full-size probe is answered yet",
        LinkState.Up => $"full-size packets pass (mtu {options.Mtu}), answers take {Ms(_rtt.Smoothed)}",
        LinkState.Suspect => _misses > 0 ? $"{Count(_misses)} for {Ms(now - _firstMissSent)}"
            : _fullSizeMisses > 0 ? $"a full-size probe (mtu {options.Mtu}) is unanswered for {Ms(now - _firstFullSizeMissSent)}"
            : $"its lane was closed ({_laneClosed})",
        _ => _answeringSince is not { } since || _fullSizeMisses > 0 ? _cause
            : _damping.HoldFor(now) is var hold && hold > TimeSpan.Zero
                ? $"{_cause}; it answers again, and is held for {Seconds(hold)} because it fell {_falls} times"
                : $"{_cause}; it answers again, and is used after {Seconds(options.HoldDown)} of that ({Seconds(now - since)} so far)",
    };

    private static string Count(int misses) => misses == 1 ? "1 probe unanswered" : $"{misses} probes unanswered";

    private static string Ms(TimeSpan span) => string.Create(CultureInfo.InvariantCulture, $"{span.TotalMilliseconds:0.#} ms");

    private static string Seconds(TimeSpan span) => string.Create(CultureInfo.InvariantCulture, $"{span.TotalSeconds:0.0} s");
}
