using Fabric.Protocol.Tunnel;

namespace Fabric.Tunnel.Core;

/// <content>What goes out on lanes, as a copy on a second one, and again when a lane ends.</content>
internal sealed partial class StreamCore
{
    /// <summary>How long ago an acknowledgement may be, to be told again where a copy begins.</summary>
    private static readonly TimeSpan _recently = TimeSpan.FromMilliseconds(500);

    private bool IsFinDue(in StreamPath path) => _finQueued && !_finAcked && !path.FinSent;

    public ref StreamPath Path(OutputPath path) => ref path.IsCopy ? ref _copy : ref _main;

    public ref SendCursor Cursor(OutputPath path) => ref path.IsCopy ? ref Send.Copy : ref Send.Main;

    public bool ControlDue(OutputPath path)
    {
        ref var own = ref Path(path);
        return IsOpenDue(own) || own.OpenedDue || IsResetDue(own) || own.Ack == AckNeed.Now;
    }

    private bool IsOpenDue(in StreamPath path) => IsOurs && !IsAccepted && !path.OpenSent && !IsReset;

    private bool IsResetDue(in StreamPath path) => _resetAt >= 0 && !path.ResetSent;

    public bool DataDue(OutputPath path) =>
        IsAccepted && !IsReset && (Send.End > Cursor(path).Next || IsFinDue(Path(path)));

    /// <summary>From now on everything leaves on the path of copies as well, from the first byte that is not acknowledged.</summary>
    public void StartCopying(TimeSpan now)
    {
        IsCopying = true;
        _copy.Restart();
        _copy.OpenedDue = !IsOurs && IsAccepted && !_openedConfirmed;
        Send.Copy = Send.FromBase();
        if (_ackedAt != TimeSpan.MinValue && now - _ackedAt < _recently && !IsReset)
        {
            // It may be on its way where nothing arrives.
            _copy.Ack = AckNeed.Now;
        }

        session.Schedule(this, now);
    }

    public void StopCopying()
    {
        IsCopying = false;
        _copy.Restart();
    }

    /// <summary>
    /// What went out on that lane and is not acknowledged may be lost: it is sent again, unless a copy of it is under way on a
    /// lane that lives. And the peer is told where this side is.
    /// </summary>
    public void LaneDied(int slot, TimeSpan now)
    {
        if (IsCopying && _copy.Used(slot))
        {
            StopCopying();
        }

        if (_main.Used(slot))
        {
            if (IsCopying)
            {
                _main.Adopt(_copy);
                Send.Main = Send.Copy;
                StopCopying();
            }
            else
            {
                var fin = _main.FinSent;
                _main.Restart();
                _main.FinSent = fin;
                Send.Main = IsReset ? Send.Main : Send.FromBase(session.Planted == Mistake.ResumeSkipsAByte ? 1 : 0);
            }

            _main.OpenedDue |= !IsOurs && IsAccepted && !_openedConfirmed;
        }

        AnswersMayBeLost(now);
        NeedAck(AckNeed.Now, now);
        session.Schedule(this, now);
    }

    /// <summary>
    /// The peer may have acknowledged FIN or RESET on a lane that died, whichever lane they went out on, and have forgotten the
    /// stream since: say them again.
    /// </summary>
    public void AnswersMayBeLost(TimeSpan now)
    {
        _main.ResetSent = _copy.ResetSent = false;
        var keep = session.Planted == Mistake.FinIsNotResent;
        _main.FinSent &= keep;
        _copy.FinSent &= keep;
        session.Schedule(this, now);
    }

    public void WriteControl(FrameBatch batch, OutputPath path, LaneCore lane, TimeSpan now)
    {
        ref var own = ref Path(path);
        if (IsOpenDue(own))
        {
            var payload = ToFrame(Request).ToPayload();
            own.Touch(lane.Slot, Send.MaxSent);
            own.OpenSent = true;
            batch.Add(Header(path, FrameType.Open, payload.Length, CreditGiven), payload);
        }

        if (own.OpenedDue)
        {
            own.Touch(lane.Slot, Send.MaxSent);
            own.OpenedDue = false;
            batch.Add(Header(path, FrameType.Opened, 0, CreditGiven));
        }

        if (IsResetDue(own))
        {
            var payload = new ReasonFrame((byte)Code, Reason).ToPayload();
            own.Touch(lane.Slot, Send.MaxSent);
            own.ResetSent = true;
            _resetEverSent = true;
            batch.Add(Header(path, FrameType.Reset, payload.Length, _resetAt), payload);
        }

        WriteAck(batch, path, now);
    }

    /// <summary>Writes data, in frames of at most <paramref name="quantum"/> bytes together, and FIN after the last.</summary>
    public void WriteData(FrameBatch batch, OutputPath path, LaneCore lane, int quantum, TimeSpan now)
    {
        ref var own = ref Path(path);
        ref var cursor = ref Cursor(path);
        own.Touch(lane.Slot, Send.MaxSent);
        if (own.Ack == AckNeed.Later)
        {
            WriteAck(batch, path, now);
        }

        var wasAhead = IsAhead;
        while (!batch.IsFull)
        {
            var offset = cursor.Next;
            var known = Send.MaxSent - offset;
            if (!Send.TryTake(ref cursor, Math.Min(quantum - FrameHeader.Size, FrameHeader.MaxData), out var piece))
            {
                break;
            }

            session.CountSent(this, path, piece.Length, known);
            batch.Add(Header(path, FrameType.Data, piece.Length, offset), piece);
            quantum -= FrameHeader.Size + piece.Length;
            if (path.IsCopy && !Request.Mirrored && session.CopiesAreSpent)
            {
                StopCopying();
                return;
            }
        }

        if (Send.End == cursor.Next && IsFinDue(own) && !batch.IsFull)
        {
            own.FinSent = true;
            _finEverSent = true;
            batch.Add(Header(path, FrameType.Fin, 0, Send.End));
        }

        if (wasAhead && !IsAhead)
        {
            session.Driver.Writable(this);
        }

        if (!path.IsCopy && !IsCopying && (!IsBulk || lane.Channel > 0))
        {
            lane.Timing.Began(Id, cursor.Next, now);
        }
    }

    public FrameHeader Header(OutputPath path, FrameType type, int length, long offset) =>
        new(type, length, Id, offset) { IsCopy = path.IsCopy && !Request.Mirrored && session.SuspectsItself };

    private void WriteAck(FrameBatch batch, OutputPath path, TimeSpan now)
    {
        ref var own = ref Path(path);
        if (own.Ack == AckNeed.None || !IsAccepted || batch.IsFull)
        {
            return;
        }

        own.Ack = AckNeed.None;
        _ackedReceived = Receive.Received;
        _ackedAt = now;
        var mistake = session.Planted == Mistake.AckIsOneTooMany && Receive.Received > 0 && !Receive.IsComplete ? 1 : 0;
        batch.AddAck(Id, Receive.Received + mistake, CreditGiven);
    }
}
