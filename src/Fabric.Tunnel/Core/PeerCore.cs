using System.Collections.Immutable;
using System.Net;
using Fabric.Protocol.Tunnel;
using Fabric.Routing.Peers;

namespace Fabric.Tunnel.Core;

/// <summary>
/// The session with one peer through all incarnations of both processes: the agreement in HELLO on which session it is, the
/// epochs of lanes, and what outlives a session. Like <see cref="SessionCore"/> without I/O, clock or locks: one driver at a
/// time may call it.
/// </summary>
/// <param name="self">Name of this gateway.</param>
/// <param name="peer">Name of the other.</param>
/// <param name="process">Random id of this process; its first 12 bytes are used.</param>
/// <param name="keyFromPeer">Key (32 bytes) with which the peer signs its probes.</param>
/// <param name="driver">Told what happens in each session.</param>
/// <param name="limits">What a session may use.</param>
/// <param name="pool">Where bytes are kept.</param>
internal sealed class PeerCore(
    string self, string peer, Guid process, ImmutableArray<byte> keyFromPeer, ISessionDriver driver, TunnelLimits limits, SlabPool pool)
{
    private readonly bool _odd = string.CompareOrdinal(self, peer) < 0;
    private ImmutableArray<byte> _keyToPeer = [];
    private LinkPaths _paths = LinkPaths.None;
    private Guid _remote;
    private uint _generation = 1;
    private uint _lastEpoch;
    private SessionCounters _before;
    private long _opensRefused;
    private string _site = "";
    private bool _draining;
    private bool _stopped;

    /// <summary>What speaks for the peer's death when no lane is left; the driver tells it how connections to its port go.</summary>
    public PeerLoss Loss { get; } = new(new PeerLossOptions { Grace = limits.Grace, GraceWithSiblings = limits.GraceWithSiblings });

    /// <summary>The session as it is now; null before the first lane, and after one was given up.</summary>
    public SessionCore? Session { get; private set; }

    /// <summary>A mistake that a test planted.</summary>
    public Mistake Planted { get; init; }

    /// <summary>What became of datagrams; of the whole tunnel.</summary>
    public DatagramCounters Datagrams { get; init; } = new();

    /// <summary>Who this side is, in the session as it is now.</summary>
    private Guid Local => SessionIds.WithGeneration(process, _generation);

    /// <summary>The HELLO with which to dial: its epoch is greater than any before.</summary>
    public HelloFrame NewHello(string link, int channel, TimeSpan now)
    {
        GiveUpUnheard(now);
        _lastEpoch = Math.Max(_lastEpoch, Session?.LastEpoch ?? 0);
        _lastEpoch += (_lastEpoch & 1) == (_odd ? 1u : 0u) ? 2u : 1u;
        return Hello(_lastEpoch, link, channel);
    }

    private HelloFrame Hello(uint epoch, string link, int channel) =>
        new(Local, epoch, link, keyFromPeer, limits.MaxStreams, (byte)channel);

    /// <summary>
    /// HELLO went both ways: the lane joins the session. When the peer gave the session up, this side's streams of it are reset, and the
    /// lane is the first of the next. When the peer is another process than before, this side gives the session up as well: the
    /// generation counts on, so that a pair of ids stands for one session only; the side that has dialled then lets go of the lane, and
    /// dials again. Returns this side's HELLO (for the acceptor to answer
    /// with), or null with the reason.
    /// </summary>
    /// <param name="owner">The driver's connection.</param>
    /// <param name="site">Site of the peer, from its certificate.</param>
    /// <param name="remote">The peer's HELLO.</param>
    /// <param name="sent">The HELLO that this side sent before; null when it has sent none.</param>
    /// <param name="now">The instant.</param>
    /// <param name="lane">The lane, in <see cref="Session"/>.</param>
    /// <param name="reason">Why not.</param>
    public HelloFrame? Join(
        object owner, string site, HelloFrame remote, HelloFrame? sent, TimeSpan now, out LaneCore? lane, out string reason)
    {
        lane = null;
        GiveUpUnheard(now);
        reason = Refusal(remote, sent);
        if (reason.Length > 0)
        {
            return null;
        }

        if (SessionIds.IsSuccessor(remote.Session, of: _remote))
        {
            // Between this side's id and that one there was no session yet, so that there is one now, whoever greeted first.
            Forget(StreamCode.SessionLost, "the peer gave the session up", now);
        }
        else if (Session is not null && remote.Session != _remote)
        {
            GiveUp("the peer began a new session", now);
            if (sent is not null)
            {
                // The peer was greeted as of the session that is over: it would take this one for that.
                reason = "the peer began a new session: it is dialled again, in one of this side's";
                return null;
            }
        }

        if (Session is null)
        {
            _remote = remote.Session;
            Session = new SessionCore(_odd, driver, limits, pool, remote.MaxStreams) { Planted = Planted, Datagrams = Datagrams };
            Session.SetPaths(_paths, now);
            if (_draining)
            {
                Session.Drain(true);
            }
        }

        Loss.Reached(remote.Link);
        _site = site;
        _keyToPeer = remote.ProbeKey;
        lane = Session.AttachLane(remote.Epoch, remote.Link, remote.Channel, owner, now, out reason);
        return lane is null ? null : Hello(remote.Epoch, remote.Link, remote.Channel);
    }

    private string Refusal(HelloFrame remote, HelloFrame? sent)
    {
        if (_stopped)
        {
            return "the gateway is stopping";
        }

        if (sent is not null && sent.Session != Local)
        {
            return "this side gave the session up while the lane was dialled";
        }

        return SessionIds.IsSuccessor(_remote, of: remote.Session) ? "the lane belongs to a session that the peer gave up" : "";
    }

    /// <summary>Ends the lanes over links that are no longer planned, and all of a peer whose certificate said another site.</summary>
    /// <param name="isPlanned">Whether a link still is.</param>
    /// <param name="site">The peer's site; null where that is not known.</param>
    /// <param name="now">The instant.</param>
    public void EndUnplanned(Func<string, bool> isPlanned, string? site, TimeSpan now)
    {
        var moved = site is not null && _site.Length > 0 && _site != site;
        foreach (var lane in Session?.Lanes.Where(l => moved || !isPlanned(l.Link)) ?? [])
        {
            Session!.EndLane(lane, moved ? $"the gateway is of site {site} now, and its certificate says {_site}" : "no longer planned", now);
        }
    }

    /// <summary>When the newest bytes left on a lane over the link of which it is known that they arrived; null when that is not known.</summary>
    /// <param name="link">The link.</param>
    /// <param name="bulk">Of the lane for bulk alone: its packets are of full size.</param>
    public TimeSpan? Carried(string link, bool bulk) => Latest(link, bulk, static l => l.Timing.Carried);

    /// <summary>When anything last came on a lane over the link; null when there is none.</summary>
    public TimeSpan? Heard(string link) => Latest(link, bulk: false, static l => l.LastHeard);

    /// <summary>Over the lanes of a link. Asked for at each missed probe: it allocates nothing.</summary>
    private TimeSpan? Latest(string link, bool bulk, Func<LaneCore, TimeSpan?> when)
    {
        TimeSpan? latest = null;
        foreach (var lane in Session?.Lanes ?? [])
        {
            if (lane.Link == link && (!bulk || lane.Channel > 0) && when(lane) is { } one && !(one <= latest))
            {
                latest = one;
            }
        }

        return latest;
    }

    public bool HasLane(string link, int channel) => Session?.Lanes.Any(l => l.Link == link && l.Channel == channel) == true;

    /// <inheritdoc cref="SessionCore.SetPaths"/>
    public void SetPaths(LinkPaths paths, TimeSpan now)
    {
        _paths = paths;
        Loss.SiteReachable = paths.SiteReachable;
        Session?.SetPaths(paths, now);
    }

    /// <summary>Opens a stream. Throws as <see cref="SessionCore.Open"/> does.</summary>
    public StreamCore Open(StreamOpen open, object? owner, TimeSpan now) => Session is { } session ? session.Open(open, owner, now)
        : throw new StreamRefusedException(StreamCode.NoLane, $"no lane to {peer} is up");

    /// <summary>Whether new streams are refused from now on, in this session and in later ones. Idempotent.</summary>
    public void Drain(bool draining)
    {
        if (_draining != draining)
        {
            _draining = draining;
            Session?.Drain(draining);
        }
    }

    /// <summary>When <see cref="Advance"/> has something to do; null when never.</summary>
    public TimeSpan? NextDue
    {
        get
        {
            if (_stopped || Session is not { } session)
            {
                return null;
            }

            if (session.Alone is { } alone)
            {
                Loss.SaidGoodbye |= session.PeerStopped;
                session.Grace = Loss.Decide(alone).Keep;
            }

            return session.NextDue;
        }
    }

    /// <summary>Lets time pass. Returns true when the session was given up: no lane came back within the grace.</summary>
    public bool Advance(TimeSpan now)
    {
        if (Session is not { } session || session.Advance(now))
        {
            return false;
        }

        GiveUp(Loss.Decide(session.Alone ?? now).Reason, now);
        return true;
    }

    /// <summary>
    /// A session that has no lane any more and never had a frame on one: the peer may not have taken it for one at all. Kept, it would
    /// be greeted with what the peer has given up, and each would go on to give up what the other has just begun.
    /// </summary>
    private void GiveUpUnheard(TimeSpan now)
    {
        if (Session is { HasHeard: false, Lanes.Length: 0 })
        {
            GiveUp("the peer never said anything in it", now);
        }
    }

    /// <summary>
    /// Whatever the reason: the next session has another id. Else a peer that still has the old one, because a late HELLO of its dead
    /// predecessor came in between, would go on with streams that are gone here.
    /// </summary>
    private void GiveUp(string reason, TimeSpan now)
    {
        _generation++;
        Forget(StreamCode.SessionLost, reason, now);
    }

    /// <summary>The peer may be none any more: this session with it ends now, and what waits for it is told so.</summary>
    public void Dismiss(string reason, TimeSpan now)
    {
        if (Session is not null)
        {
            GiveUp(reason, now);
        }
    }

    /// <summary>Ends the session and every later one.</summary>
    public void Stop(TimeSpan now)
    {
        _stopped = true;
        Forget(StreamCode.Draining, "the gateway stopped", now);
    }

    private void Forget(StreamCode code, string reason, TimeSpan now)
    {
        if (Session is not { } session)
        {
            return;
        }

        var streams = session.ServiceStreams;
        session.Abort(code, reason, now);
        driver.SessionEnded(reason, streams);
        _before += session.Counters;
        _opensRefused += session.OpensRefused;
        _lastEpoch = Math.Max(_lastEpoch, session.LastEpoch);
        Session = null;
    }

    /// <summary>Streams of services: those that a drain waits for.</summary>
    public int ServiceStreams => Session?.ServiceStreams ?? 0;

    /// <summary>Of all sessions of this process with the peer.</summary>
    public SessionCounters Counters => Session is { } session ? _before + session.Counters : _before;

    /// <summary>OPENs of the peer that were reset because of a limit, or a drain.</summary>
    public long OpensRefused => _opensRefused + (Session?.OpensRefused ?? 0);

    /// <summary>Streams of services, by service and direction.</summary>
    public ImmutableArray<StreamGroup> Groups =>
    [
        .. (Session?.Streams ?? []).Where(s => !s.Request.IsReserved && !s.IsReset).GroupBy(s => (s.Request.Service, s.IsOurs))
            .Select(g => new StreamGroup(g.Key.Service, peer, g.Key.IsOurs, Session!.Active?.Link, g.Count())),
    ];

    /// <param name="planned">The lanes that should be; those that are replace them.</param>
    /// <param name="remote">Where a lane's connection goes.</param>
    public SessionStatus Status(ImmutableArray<LaneStatus> planned, Func<LaneCore, IPEndPoint?> remote)
    {
        var session = Session;
        LaneStatus Up(LaneCore lane) => new(
            lane.Link, LaneState.Up, lane.Epoch, remote(lane), null, lane == session!.Active ? session.ServiceStreams : 0)
        {
            Channel = lane.Channel,
            RoundTrip = lane.Timing.Smoothed,
            PeerDrains = lane.PeerSaid.HasFlag(GoAway.LinkDrained),
            PeerIsQuiet = lane.PeerSaid.HasFlag(GoAway.Quiet),
        };

        // Those that a relay handed over are nobody's plan by name.
        var lanes = planned.Select(p => session?.Lanes.FirstOrDefault(l => l.Link == p.Link && l.Channel == p.Channel) is { } lane ? Up(lane)
                : p with { LastError = p.LastError ?? session?.WhyEnded(p.Link, p.Channel) })
            .Concat(session?.Lanes.Where(l => planned.All(p => p.Link != l.Link)).Select(Up) ?? []);
        return new SessionStatus(
            peer, _site, session is null ? Guid.Empty : SessionIds.Common(Local, _remote), [.. lanes], session?.Active?.Link, ServiceStreams,
            Counters, _keyToPeer, keyFromPeer)
        {
            CopiesTo = session is { IsSuspecting: true } ? session.Second?.Link : null,
        };
    }
}
