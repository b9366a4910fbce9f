using Fabric.Protocol.Tunnel;

namespace Fabric.Tunnel.Core;

/// <summary>
/// One stream of a session: both directions, and the events OPEN, OPENED, FIN and RESET, each kept until the peer is known to
/// have it. Called by the session and, through it, by the driver; never on its own.
/// </summary>
internal sealed partial class StreamCore(SessionCore session, uint id, bool isOurs, StreamOpen request)
{
    /// <summary>Bytes in a row, none of them waited for, after which a stream is bulk, until less was sent in a row.</summary>
    private const int BulkAfter = 128 * 1024;

    /// <summary>Bytes that wait for their lane at most; the application is asked for more when half of them have left.</summary>
    internal const int MaxUnsent = 128 * 1024;

    private StreamPath _main;
    private StreamPath _copy;
    private CreditWindow _window;
    private long _ackedReceived;
    private TimeSpan _ackedAt = TimeSpan.MinValue;
    private long _burst;
    private bool _finQueued;
    private bool _finEverSent;
    private bool _finAcked;
    private long _resetAt = -1;
    private bool _resetEverSent;
    private bool _openedConfirmed;
    private long _promised;
    private TimeSpan _takenAt;

    public SessionCore Session => session;

    public uint Id { get; } = id;

    /// <summary>This gateway opened it.</summary>
    public bool IsOurs { get; } = isOurs;

    public StreamOpen Request { get; } = request;

    /// <summary>The driver's side of it.</summary>
    public object? Owner { get; set; }

    public SendBuffer Send { get; } = new();

    public ReceiveBuffer Receive { get; } = new();

    /// <summary>Its datagrams, when it is a flow.</summary>
    public FlowCore? Flow { get; } = request.Datagrams ? new FlowCore(session.Pool) : null;

    /// <summary>The driver decides on the peer's OPEN, or dials.</summary>
    public bool IsDeciding { get; set; }

    /// <summary>OPENED was received, or sent.</summary>
    public bool IsAccepted { get; private set; }

    /// <summary>It carries nothing any more for the application: reset by either side, or lost.</summary>
    public bool IsReset { get; private set; }

    /// <summary>The session has forgotten it.</summary>
    public bool IsGone { get; set; }

    public StreamCode Code { get; private set; }

    public string Reason { get; private set; } = "";

    /// <summary>Whether the other side reset it.</summary>
    public bool ResetByPeer { get; private set; }

    /// <summary>Credit limit given to the peer.</summary>
    public long CreditGiven { get; private set; }

    /// <summary>It sends more than it waits for: it takes the lane for bulk, and is not copied on suspicion.</summary>
    public bool IsBulk { get; private set; }

    /// <summary>What leaves on the main path leaves on the path of copies as well.</summary>
    public bool IsCopying { get; private set; }

    /// <summary>The acknowledgement that the main path owes.</summary>
    public AckNeed Ack => _main.Ack;

    public bool AtEnd => Receive.IsComplete && Receive.ReadyBytes == 0;

    public bool WritesCompleted => _finQueued;

    /// <summary>Bytes that the application may write now.</summary>
    /// <remarks>
    /// However much credit the peer gives, one stream keeps no more than a window, and is no further ahead of its lane than
    /// <see cref="MaxUnsent"/>: what waits here is cold when it leaves, and waits better where it comes from.
    /// </remarks>
    public long Room => !IsAccepted || IsReset || _finQueued || IsAhead || !session.MayRetain ? 0
        : Math.Max(0, Math.Min(Math.Min(Send.Room, session.Limits.MaxWindow - Send.Retained), MaxUnsent - Send.Unsent));

    /// <summary>More waits for the lane than the half that the application may fill up.</summary>
    private bool IsAhead => Send.Unsent > MaxUnsent / 2;

    private bool IsDone => _resetAt >= 0 ? false : _finAcked && Receive.IsComplete;

    /// <param name="open">As it came.</param>
    /// <param name="before">The request before it, whose words it shares where they are the same.</param>
    public static StreamOpen ToRequest(OpenFrame open, StreamOpen? before = null)
    {
        var (service, host) = StreamOpen.Split(open.Service, open.Port);
        return new StreamOpen(
            service == before?.Service ? before.Service : service, open.Port, open.Caller == before?.Caller ? before.Caller : open.Caller, open.TraceParent)
        {
            TraceState = open.TraceState,
            Host = host,
            Mirrored = open.Flags.HasFlag(OpenFlags.Mirrored),
            Datagrams = open.Flags.HasFlag(OpenFlags.Datagrams),
        };
    }

    private static OpenFrame ToFrame(StreamOpen open) => new(open.WireService, open.Port, open.Caller, open.TraceParent,
        (open.Mirrored ? OpenFlags.Mirrored : 0) | (open.Datagrams ? OpenFlags.Datagrams : 0))
    {
        TraceState = open.TraceState,
    };

    public void Begin(int window)
    {
        _window = new CreditWindow(window, session.Limits.MaxWindow);
        CreditGiven = window;
        CountPromise();
    }

    /// <summary>Keeps the session's sum of credit that was given and whose bytes the application has not taken.</summary>
    public void CountPromise()
    {
        var ends = IsGone ? Receive.Delivered + Receive.ReadyBytes : Math.Min(CreditGiven, Receive.Fin ?? long.MaxValue);
        var promised = IsReset ? 0 : Math.Max(0, ends - Receive.Delivered);
        session.Promised += promised - _promised;
        _promised = promised;
    }

    // ---- what the application does

    public void Accept(TimeSpan now)
    {
        Decided();
        IsAccepted = true;
        _main.OpenedDue = _copy.OpenedDue = true;
        session.Schedule(this, now);
        session.ScheduleFlow(this);
    }

    /// <summary>
    /// The driver works no more on the peer's OPEN, however that ended and whatever became of the stream meanwhile. Idempotent.
    /// </summary>
    public void Decided()
    {
        session.Deciding -= IsDeciding ? 1 : 0;
        IsDeciding = false;
    }

    public void Write(Segment segment, TimeSpan now)
    {
        CountBurst(segment.Length, now);
        Send.Append(segment, session.Pool);
        session.Retained += segment.Length;
        session.Schedule(this, now);
    }

    public void WriteCopy(ReadOnlySpan<byte> bytes, TimeSpan now)
    {
        CountBurst(bytes.Length, now);
        Send.AppendCopy(bytes, session.Pool);
        session.Retained += bytes.Length;
        session.Schedule(this, now);
    }

    private void CountBurst(int bytes, TimeSpan now)
    {
        var was = IsBulk;
        if (Send.Retained == 0)
        {
            // All before was waited for. Bulk may pause and go on as bulk: its next bytes must not be what small messages wait behind.
            IsBulk = _burst > BulkAfter;
            _burst = 0;
        }

        _burst += bytes;
        IsBulk |= _burst > BulkAfter;
        if (IsBulk != was)
        {
            session.UpdateCopy(this, now);
        }
    }

    /// <summary>Ends this direction, after everything written; the other goes on.</summary>
    public void CompleteWrites(TimeSpan now)
    {
        _finQueued = true;
        session.Schedule(this, now);
    }

    /// <summary>The application took bytes: they become credit.</summary>
    public void Consume(int bytes, TimeSpan now)
    {
        Receive.Consume(bytes);
        _takenAt = now;
        if (IsGone || IsReset || Receive.Fin is not null)
        {
            CountPromise();
            return;
        }

        _window.Taken(Receive.Delivered, session.MayGrow, session.RoundTrip, now);
        var leak = session.Planted == Mistake.CreditLeaks ? Receive.Delivered / 4 : 0;
        var limit = Receive.Delivered + _window.Size - leak;
        if (limit - CreditGiven >= _window.Size / 4)
        {
            CreditGiven = limit;
            NeedAck(AckNeed.Now, now);
        }

        CountPromise();
    }

    /// <summary>Ends both directions at once; the peer is told the code and the reason.</summary>
    public void Reset(StreamCode code, string reason, TimeSpan now)
    {
        if (IsReset || (IsGone && AtEnd))
        {
            return;
        }

        if (IsGone)
        {
            // The peer has done its part; what was not read here is given up, and is never to look like a clean end.
            End(code, reason);
            return;
        }

        _resetAt = Send.MaxSent + (_finEverSent ? 1 : 0);
        End(code, reason);
        session.Schedule(this, now);
    }

    // ---- what the peer sends

    public void OnOpened(long credit, TimeSpan now)
    {
        if (!IsOurs)
        {
            throw new FrameException($"OPENED for stream {Id}, which the peer itself opened");
        }

        if (!IsAccepted && !IsReset)
        {
            IsAccepted = true;
            Send.Allow(credit);
            session.ScheduleFlow(this);
            session.Driver.Opened(this);
        }

        NeedAck(AckNeed.Later, now);
    }

    public void OnData(long offset, Segment piece, bool isCopy, TimeSpan now)
    {
        _openedConfirmed = true;
        if (IsReset)
        {
            return;
        }

        if (Receive.IsEmpty)
        {
            _takenAt = now;
        }
        else if (session.MustGiveWay(now - _takenAt))
        {
            session.CountOverflow();
            Reset(StreamCode.LimitReached, "the gateway has no memory left, and the application is behind", now);
            return;
        }

        if (Receive.Accept(offset, piece, CreditGiven, session.Pool))
        {
            session.Driver.Readable(this);
            NeedAck(Receive.IsComplete || Receive.Received - _ackedReceived >= _window.Size / 4 ? AckNeed.Now : AckNeed.Later, now);
            session.RemoveIf(IsDone, this, now);
        }
        else if (offset + piece.Length <= Receive.Received && !isCopy && !Request.Mirrored)
        {
            // The peer goes back further than it need: tell it where we are.
            NeedAck(AckNeed.Now, now);
        }
    }

    public void OnFin(long offset, TimeSpan now)
    {
        _openedConfirmed = true;
        if (IsReset)
        {
            return;
        }

        NeedAck(AckNeed.Now, now);
        var completes = Receive.AcceptFin(offset);
        CountPromise();
        if (completes)
        {
            session.Driver.Readable(this);
            session.RemoveIf(IsDone, this, now);
        }
    }

    /// <summary>RESET ends the stream whatever is missing. The acknowledgement goes out after the stream is forgotten.</summary>
    public void OnReset(long offset, ReasonFrame reason, TimeSpan now)
    {
        if (_resetAt < 0)
        {
            ResetByPeer = true;
            End((StreamCode)reason.Code, reason.Reason);
            session.RemoveIf(true, this, now);
        }

        session.AcknowledgeGone(Id, offset + 1, now);
    }

    public void OnAck(long received, long credit, TimeSpan now)
    {
        var sent = Math.Max(Send.MaxSent + (_finEverSent ? 1 : 0), _resetEverSent ? _resetAt + 1 : 0);
        if (received > sent && session.Planted != Mistake.AckIsOneTooMany)
        {
            throw new FrameException($"ACK of stream {Id} up to offset {received}: {sent} were sent");
        }

        _openedConfirmed = true;
        session.Answered(this, received, now);
        if (_resetAt >= 0)
        {
            session.RemoveIf(received > _resetAt, this, now);
            return;
        }

        if (IsReset)
        {
            return;
        }

        var freed = Send.Acknowledge(Math.Min(received, Send.End));
        session.Retained -= freed;
        _finAcked |= _finQueued && received > Send.End;
        _main.Acknowledged(Send.Base);
        _copy.Acknowledged(Send.Base);

        if (Send.Allow(credit) | freed > 0)
        {
            session.Driver.Writable(this);
        }

        session.RemoveIf(IsDone, this, now);
        session.Schedule(this, now);
    }

    private void NeedAck(AckNeed need, TimeSpan now)
    {
        if (!IsAccepted || IsReset)
        {
            return;
        }

        var more = need > _main.Ack || (IsCopying && need > _copy.Ack);
        _main.Ack = Max(_main.Ack, need);
        _copy.Ack = IsCopying ? Max(_copy.Ack, need) : AckNeed.None;
        if (more)
        {
            session.AckNeeded(this, need, now);
        }
    }

    /// <summary>The acknowledgement has waited long enough.</summary>
    public void AckOverdue(TimeSpan now)
    {
        _main.Ack = _main.Ack == AckNeed.Later ? AckNeed.Now : _main.Ack;
        _copy.Ack = _copy.Ack == AckNeed.Later ? AckNeed.Now : _copy.Ack;
        session.Schedule(this, now);
    }

    private static AckNeed Max(AckNeed a, AckNeed b) => a > b ? a : b;

    /// <summary>Nothing more for the application, in either direction.</summary>
    public void End(StreamCode code, string reason)
    {
        IsReset = true;
        Code = code;
        Reason = reason;
        session.Retained -= Send.Clear();
        Receive.Clear();
        session.DropDatagrams(this, incoming: true);
        _main.Ack = _copy.Ack = AckNeed.None;
        CountPromise();
        session.Driver.Ended(this);
    }
}

internal enum AckNeed
{
    None,

    /// <summary>With the next data of the stream, or when the delay is over.</summary>
    Later,

    Now,
}
