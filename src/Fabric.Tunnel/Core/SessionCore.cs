using Fabric.Protocol.Tunnel;

namespace Fabric.Tunnel.Core;

/// <summary>
/// All streams between two gateway processes, whatever lanes there are: a state machine without I/O, clock or locks. A driver
/// gives it frames and instants and asks it for frames; <see cref="ISessionDriver"/> is told what became of it. One driver at a
/// time may call it. This file: streams and frames in; <c>SessionCore.Lanes.cs</c>: lanes; <c>SessionCore.Output.cs</c>: frames out;
/// <c>SessionCore.Datagrams.cs</c>: flows.
/// </summary>
/// <param name="odd">This gateway's streams have odd ids: its name sorts first (ordinal).</param>
/// <param name="driver">Told what happens.</param>
/// <param name="limits">What it may use.</param>
/// <param name="pool">Where bytes are kept.</param>
/// <param name="peerMaxStreams">How many streams the peer takes, from its HELLO.</param>
internal sealed partial class SessionCore(
    bool odd, ISessionDriver driver, TunnelLimits limits, SlabPool pool, int peerMaxStreams)
{
    private const int LeastWindow = 16 * 1024;

    private readonly Dictionary<uint, StreamCore> _streams = [];
    private readonly MemoryShare _memory = new(pool.Budget);
    private readonly PeerIds _peerIds = new(!odd, limits.MaxStreams * 2);
    private uint _nextId = odd ? 1u : 2u;
    private int _ours;
    private int _ourFlows;
    private bool _starved;
    private StreamOpen? _lastRequest;

    public ISessionDriver Driver { get; } = driver;

    public TunnelLimits Limits { get; } = limits;

    public SlabPool Pool { get; } = pool;

    /// <summary>A mistake that a test planted.</summary>
    public Mistake Planted { get; init; }

    /// <inheritdoc cref="MemoryBudget.Retained"/>
    public long Retained
    {
        get => _memory.Retained;
        set => _memory.Retained = value;
    }

    /// <inheritdoc cref="MemoryBudget.Promised"/>
    public long Promised
    {
        get => _memory.Promised;
        set => _memory.Promised = value;
    }

    /// <summary>OPENs of the peer on which the driver has not decided yet, be the stream reset meanwhile or not.</summary>
    public int Deciding { get; set; }

    /// <summary>Bytes of applications put on a lane for the first time.</summary>
    public long BytesSent { get; private set; }

    public long BytesReceived { get; private set; }

    /// <summary>Bytes of applications put on a lane again.</summary>
    public long BytesResent { get; private set; }

    /// <summary>Bytes of applications that left on a second lane as well because the first was suspect.</summary>
    public long BytesCopied { get; private set; }

    /// <summary>Bytes of mirrored streams that left on a second lane as well.</summary>
    public long BytesMirrored { get; private set; }

    /// <summary>Streams that went on on another lane.</summary>
    public long Moves { get; private set; }

    public SessionCounters Counters => new()
    {
        Sent = BytesSent,
        Received = BytesReceived,
        Resent = BytesResent,
        Copied = BytesCopied,
        Mirrored = BytesMirrored,
        Moves = Moves,
        Suspicions = Suspicions,
    };

    /// <summary>Frames that came on a fenced lane.</summary>
    public long Discarded { get; private set; }

    /// <summary>OPENs of the peer that were reset because of a limit, or a drain.</summary>
    public long OpensRefused { get; private set; }

    /// <summary>A frame has come: the peer has this session, too.</summary>
    public bool HasHeard { get; private set; }

    /// <summary>The peer asked for no new streams.</summary>
    public bool PeerIsDraining => _lanes.Any(l => l.PeerSaid.HasFlag(GoAway.NoStreams));

    /// <summary>The peer said that it stops: it will not resume anything.</summary>
    public bool PeerStopped { get; private set; }

    public int StreamCount => _streams.Count;

    /// <summary>Streams of services: those that a drain waits for.</summary>
    public int ServiceStreams => _streams.Values.Count(s => !s.Request.IsReserved);

    public IEnumerable<StreamCore> Streams => _streams.Values;

    /// <summary>Whether applications may be read; <see cref="MemoryFreed"/> when they may again.</summary>
    public bool MayRetain
    {
        get
        {
            var may = _memory.MayRetain();
            _starved |= !may;
            return may;
        }
    }

    /// <summary>Whether windows may grow.</summary>
    public bool MayGrow => _memory.MayGrow;

    /// <inheritdoc cref="MemoryShare.MustGiveWay"/>
    public bool MustGiveWay(TimeSpan behind) => _memory.MustGiveWay(behind);

    public void CountOverflow() => Pool.Budget.CountOverflow();

    /// <summary>The driver heard <see cref="MemoryBudget.Freed"/>: applications that were not read may be.</summary>
    public void MemoryFreed()
    {
        if (_starved)
        {
            _starved = false;
            foreach (var stream in _streams.Values)
            {
                Driver.Writable(stream);
            }
        }
    }

    /// <summary>
    /// Opens a stream. Throws <see cref="StreamRefusedException"/> when no lane is up, the peer is draining, or it has as many
    /// of our streams as it takes.
    /// </summary>
    public StreamCore Open(StreamOpen request, object? owner, TimeSpan now)
    {
        if (Active is null)
        {
            throw new StreamRefusedException(StreamCode.NoLane, "no lane to the peer is up");
        }

        if (PeerIsDraining && (!request.IsReserved || request.IsRelay))
        {
            throw new StreamRefusedException(StreamCode.Draining, "the peer is draining");
        }

        if (request.IsRelay && Active.IsRelayed)
        {
            throw new StreamRefusedException(StreamCode.NoLane, "no direct lane to the peer is up, and a relay never runs through a relay");
        }

        if (_ours >= peerMaxStreams || _nextId > uint.MaxValue - 2)
        {
            throw new StreamRefusedException(StreamCode.LimitReached, $"{_ours} streams are open to the peer: it takes {peerMaxStreams}");
        }

        if (request.Datagrams && _ourFlows >= (peerMaxStreams + 1) / 2)
        {
            // Whoever floods a UDP service with addresses must not keep connections out.
            throw new StreamRefusedException(StreamCode.LimitReached, $"{_ourFlows} flows are open to the peer: half of the {peerMaxStreams} streams that it takes");
        }

        var stream = new StreamCore(this, _nextId, true, request) { Owner = owner };
        _nextId += 2;
        _ours++;
        _ourFlows += request.Datagrams ? 1 : 0;
        stream.Begin(FirstWindow(request));
        _streams.Add(stream.Id, stream);
        StreamSpans.Opened(request, Active);
        UpdateCopy(stream, now);
        Schedule(stream, now);
        return stream;
    }

    /// <summary>
    /// Takes in one frame, or one piece of DATA. For DATA, <paramref name="piece"/> is the payload, which the caller keeps its
    /// own reference to. Throws <see cref="FrameException"/> when the peer broke the protocol,
    /// and <see cref="LaneFloodException"/> when it sends too many frames: the caller then ends the lane.
    /// </summary>
    public void Receive(LaneCore lane, in Frame frame, Segment piece, TimeSpan now)
    {
        if (!lane.IsLive && Planted != Mistake.FencedLaneIsHeard)
        {
            Discarded++;
            return;
        }

        lane.LastHeard = now;
        HasHeard = true;
        var header = frame.Header;
        lane.Meter.Count(header, now);
        if (header.IsCopy)
        {
            PeerSuspects(lane, now);
        }

        switch (header.Type)
        {
            case FrameType.Open:
                OnOpen(header, OpenFrame.Parse(frame.Payload), now);
                break;
            case FrameType.Opened:
                Find(lane, header, now)?.OnOpened(header.Offset, now);
                break;
            case FrameType.Data:
                BytesReceived += header.Length;
                Find(lane, header, now)?.OnData(header.Offset, piece, header.IsCopy, now);
                break;
            case FrameType.Datagram:
                OnDatagram(lane, header, frame.Payload, now);
                break;
            case FrameType.Fin when Find(lane, header, now) is { } stream:
                stream.OnFin(header.Offset, now);
                break;
            case FrameType.Fin:
                AcknowledgeGone(header.Stream, header.Offset + 1, now);
                break;
            case FrameType.Reset:
                OnReset(lane, header, ReasonFrame.Parse(frame.Payload), now);
                break;
            case FrameType.Ack:
                Find(lane, header, now)?.OnAck(header.Offset, System.Buffers.Binary.BinaryPrimitives.ReadInt64LittleEndian(frame.Payload), now);
                break;
            case FrameType.Fence:
                OnFence(header.Offset, now);
                break;
            case FrameType.Ping:
                lane.PongDue = header.Offset;
                Driver.OutputReady(lane);
                break;
            case FrameType.Pong:
                OnPong(lane, TimeSpan.FromTicks(Math.Min(header.Offset, now.Ticks)), now);
                break;
            case FrameType.GoAway:
                OnGoAway(lane, header.Offset, now);
                break;
            case FrameType.Close:
                var close = ReasonFrame.Parse(frame.Payload);
                PeerStopped |= close.Code == (byte)StreamCode.Draining;
                EndLane(lane, $"closed by the peer ({(StreamCode)close.Code}): {close.Reason}", now);
                break;
            default:
                throw new FrameException($"{header.Type} after the handshake of the lane");
        }
    }

    private void OnOpen(FrameHeader header, OpenFrame open, TimeSpan now)
    {
        if (!_peerIds.AreTheirs(header.Stream))
        {
            throw new FrameException($"OPEN of stream {header.Stream}: those ids are this side's");
        }

        if (!_peerIds.See(header.Stream))
        {
            return;
        }

        // Callers ask for the same again and again: thousands of streams share its words. Not the request itself, which keeps what was decided on it.
        _lastRequest = StreamCore.ToRequest(open, _lastRequest);
        var stream = new StreamCore(this, header.Stream, false, _lastRequest);
        _streams.Add(stream.Id, stream);
        stream.Send.Allow(header.Offset);
        stream.Begin(FirstWindow(stream.Request));
        UpdateCopy(stream, now);
        var theirs = _streams.Count - _ours;
        if (theirs > Limits.MaxStreams * 2L)
        {
            throw new FrameException($"{theirs} streams open: at most {Limits.MaxStreams} were allowed");
        }

        var isDrained = IsDraining && (!stream.Request.IsReserved || stream.Request.IsRelay);
        var refusal = isDrained ? "the gateway is draining"
            : theirs > Limits.MaxStreams ? $"at most {Limits.MaxStreams} streams"
            : Deciding >= Limits.MaxPendingOpens ? $"{Deciding} opens wait for their decision: at most {Limits.MaxPendingOpens}"
            : _memory.MustGiveWay(TimeSpan.MaxValue) ? "the gateway has no memory left" : null;
        if (refusal is not null)
        {
            OpensRefused++;
            stream.Reset(isDrained ? StreamCode.Draining : StreamCode.LimitReached, refusal, now);
            return;
        }

        if (stream.Request.IsRelay && Active is not { IsRelayed: false })
        {
            stream.Reset(StreamCode.NoLane, "no direct lane between the two is up, and a relay never runs through a relay", now);
            return;
        }

        Deciding++;
        stream.IsDeciding = true;
        Driver.OpenRequested(stream);
    }

    private void OnReset(LaneCore lane, FrameHeader header, ReasonFrame reason, TimeSpan now)
    {
        if (_peerIds.AreTheirs(header.Stream))
        {
            // Opened and given up before the OPEN got through: the id counts as seen.
            _peerIds.See(header.Stream);
        }

        if (Find(lane, header, now) is { } stream)
        {
            stream.OnReset(header.Offset, reason, now);
        }
        else
        {
            AcknowledgeGone(header.Stream, header.Offset + 1, now);
        }
    }

    /// <summary>The stream of a frame; null when it is gone. Throws when it never was.</summary>
    private StreamCore? Find(LaneCore lane, FrameHeader header, TimeSpan now)
    {
        if (_streams.TryGetValue(header.Stream, out var stream))
        {
            return stream;
        }

        var was = _peerIds.AreTheirs(header.Stream) ? _peerIds.WasSeen(header.Stream) : header.Stream < _nextId;
        if (!was)
        {
            throw new FrameException($"{header.Type} for stream {header.Stream}, which was never opened");
        }

        lane.Meter.CountStray(now);
        return null;
    }

    /// <summary>A flow has no credit: DATA on it is past it.</summary>
    private int FirstWindow(StreamOpen request) =>
        request.Datagrams ? 0 : _memory.FirstWindow(LeastWindow, Limits.InitialWindow);

    /// <summary>Bytes of a stream left, of which so many had left before on either path.</summary>
    public void CountSent(StreamCore stream, OutputPath path, int length, long known)
    {
        var again = Math.Clamp(known, 0, length);
        BytesSent += length - again;
        if (!path.IsCopy && !stream.IsCopying)
        {
            BytesResent += again;
        }
        else if (stream.Request.Mirrored)
        {
            BytesMirrored += again;
        }
        else
        {
            BytesCopied += again;
            _mayCopy -= again;
        }
    }

    /// <summary>Forgets a stream that both ends are done with.</summary>
    public void RemoveIf(bool done, StreamCore stream, TimeSpan now)
    {
        if (!done || stream.IsGone)
        {
            return;
        }

        stream.IsGone = true;
        DropDatagrams(stream, incoming: false);
        stream.CountPromise();
        _streams.Remove(stream.Id);
        _ours -= stream.IsOurs ? 1 : 0;
        _ourFlows -= stream.IsOurs && stream.Request.Datagrams ? 1 : 0;
        if (!stream.IsReset)
        {
            if (stream.Ack != AckNeed.None)
            {
                AcknowledgeGone(stream.Id, stream.Receive.Received, now);
            }

            Driver.Ended(stream);
        }
    }

    /// <summary>Ends every stream, for good. The session is over; its lanes are closed.</summary>
    public void Abort(StreamCode code, string reason, TimeSpan now)
    {
        foreach (var lane in _lanes)
        {
            EndLane(lane, reason, now);
        }

        foreach (var stream in _streams.Values.ToArray())
        {
            stream.IsGone = true;
            _streams.Remove(stream.Id);
            if (!stream.IsReset)
            {
                stream.End(code, reason);
            }
        }

        _ours = 0;
        _ourFlows = 0;
        _memory.Leave();
    }

    /// <summary>A number that changes with anything that a frame can change; for tests.</summary>
    internal long StateDigest()
    {
        var digest = new HashCode();
        foreach (var s in _streams.Values.OrderBy(s => s.Id))
        {
            digest.Add((s.Id, s.Receive.Received, s.Receive.StashedBytes, s.Send.Base, s.Send.Limit, s.IsAccepted, s.Receive.Fin));
        }

        digest.Add((_nextId, BytesReceived, PeerIsDraining, _goneAcks.Count, Lanes.Length));
        return digest.ToHashCode();
    }
}
