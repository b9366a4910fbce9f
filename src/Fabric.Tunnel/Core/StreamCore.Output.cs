using Fabric.Protocol.Tunnel;

namespace Fabric.Tunnel.Core;

/// <content>What goes out on lanes, and what goes out again when a lane ends.</content>
internal sealed partial class StreamCore
{
    /// <summary>What went out on that lane and is not acknowledged may be lost: send it again. And tell the peer where we are.</summary>
    public void LaneDied(int slot, TimeSpan now)
    {
        var used = _slot == slot || (_oldLanes >> slot & 1) != 0;
        _slot = _slot == slot ? -1 : _slot;
        if (used)
        {
            _oldLanes = 0;
            _openSent = false;
            OpenedDue |= !IsOurs && IsAccepted && !_openedConfirmed;
            if (!IsReset)
            {
                Send.Rewind(session.Planted == Mistake.ResumeSkipsAByte ? 1 : 0);
            }
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
        _resetSent = false;
        _finSent = _finAcked || (_finSent && session.Planted == Mistake.FinIsNotResent);
        session.Schedule(this, now);
    }

    public void WriteControl(FrameBatch batch, int slot)
    {
        if (OpenDue)
        {
            var payload = ToFrame(Request).ToPayload();
            Touch(slot);
            _openSent = true;
            batch.Add(new FrameHeader(FrameType.Open, payload.Length, Id, CreditGiven), payload);
        }

        if (OpenedDue)
        {
            Touch(slot);
            OpenedDue = false;
            batch.Add(new FrameHeader(FrameType.Opened, 0, Id, CreditGiven));
        }

        if (ResetDue)
        {
            var payload = new ReasonFrame((byte)Code, Reason).ToPayload();
            Touch(slot);
            _resetSent = true;
            _resetEverSent = true;
            batch.Add(new FrameHeader(FrameType.Reset, payload.Length, Id, _resetAt), payload);
        }

        WriteAck(batch);
    }

    /// <summary>Writes data, in frames of at most <paramref name="quantum"/> bytes together, and FIN after the last.</summary>
    public void WriteData(FrameBatch batch, int slot, int quantum)
    {
        Touch(slot);
        if (Ack == AckNeed.Later)
        {
            WriteAck(batch);
        }

        while (!batch.IsFull)
        {
            var offset = Send.Next;
            var known = Send.MaxSent - offset;
            if (!Send.TryTake(Math.Min(quantum - FrameHeader.Size, FrameHeader.MaxData), out var piece))
            {
                break;
            }

            session.CountSent(piece.Length, known);
            batch.Add(new FrameHeader(FrameType.Data, piece.Length, Id, offset), piece);
            quantum -= FrameHeader.Size + piece.Length;
        }

        if (Send.Unsent == 0 && _finQueued && !_finSent && !batch.IsFull)
        {
            _finSent = true;
            _finEverSent = true;
            batch.Add(new FrameHeader(FrameType.Fin, 0, Id, Send.End));
        }
    }

    private void WriteAck(FrameBatch batch)
    {
        if (Ack == AckNeed.None || !IsAccepted || batch.IsFull)
        {
            return;
        }

        Ack = AckNeed.None;
        _ackedReceived = Receive.Received;
        var mistake = session.Planted == Mistake.AckIsOneTooMany && Receive.Received > 0 && !Receive.IsComplete ? 1 : 0;
        batch.AddAck(Id, Receive.Received + mistake, CreditGiven);
    }

    private void Touch(int slot)
    {
        if (_slot != slot && _slot >= 0)
        {
            _oldLanes |= 1u << _slot;
            _oldEnd = Send.MaxSent;
        }

        _slot = slot;
    }
}
