using Fabric.Protocol.Tunnel;

namespace Fabric.Tunnel.Core;

internal sealed partial class SessionCore
{
    /// <summary>What one stream may send per round.</summary>
    private const int Quantum = FrameHeader.MaxFrame;

    /// <summary>Streams with no more than this to send go before those with more.</summary>
    private const int FewBytes = 8 * 1024;

    private static readonly TimeSpan _memoryRetry = TimeSpan.FromMilliseconds(20);

    private readonly Queue<StreamCore> _control = new();
    private readonly Queue<StreamCore> _few = new();
    private readonly Queue<StreamCore> _bulk = new();
    private readonly List<StreamCore> _delayedAcks = [];
    private readonly Queue<(uint Stream, long Received)> _goneAcks = new();
    private TimeSpan? _acksDue;

    /// <summary>Puts the stream where the next <see cref="Produce"/> finds it, when it has something to send.</summary>
    public void Schedule(StreamCore stream, TimeSpan now)
    {
        if (stream.IsGone)
        {
            return;
        }

        if (stream.ControlDue && !stream.InControl)
        {
            stream.InControl = true;
            _control.Enqueue(stream);
        }

        if (stream.DataDue && !stream.InData)
        {
            stream.InData = true;
            (stream.Send.Unsent <= FewBytes ? _few : _bulk).Enqueue(stream);
        }

        if ((stream.InControl || stream.InData) && Active is { } lane)
        {
            Driver.OutputReady(lane);
        }
    }

    public void AckNeeded(StreamCore stream, TimeSpan now)
    {
        if (stream.Ack == AckNeed.Now)
        {
            Schedule(stream, now);
            return;
        }

        _delayedAcks.Add(stream);
        _acksDue ??= now + Limits.AckDelay;
    }

    /// <summary>A stream that is forgotten still owes the peer an acknowledgement of its end.</summary>
    public void AcknowledgeGone(uint stream, long received, TimeSpan now)
    {
        // At the limit the oldest is dropped: its peer sends the end again when the lane ends, and is answered then.
        if (_goneAcks.Count >= Limits.MaxStreams * 2L)
        {
            _goneAcks.Dequeue();
        }

        _goneAcks.Enqueue((stream, received));
        if (Active is { } lane)
        {
            Driver.OutputReady(lane);
        }
    }

    /// <summary>
    /// Fills <paramref name="batch"/> with what is to be sent on the lane now, in this order: fences, answers of the lane, events
    /// and acknowledgements of streams, streams with few bytes, and bulk, round robin, which has at least a quarter of the turn.
    /// The frames count as sent. Empty when there is nothing to send.
    /// </summary>
    /// <param name="lane">The lane to send on.</param>
    /// <param name="batch">Empty when called.</param>
    /// <param name="budget">Bytes of the turn; it may be passed by <see cref="FrameBatch.Slack"/>.</param>
    /// <param name="now">The instant.</param>
    public void Produce(LaneCore lane, FrameBatch batch, int budget, TimeSpan now)
    {
        if (!lane.IsLive)
        {
            return;
        }

        ProduceLane(lane, batch, now);
        if (lane != Active)
        {
            return;
        }

        while (!batch.IsFull && batch.Bytes < budget && _goneAcks.TryDequeue(out var gone))
        {
            batch.AddAck(gone.Stream, gone.Received, 0);
        }

        // A stream's events are at most four frames.
        while (batch.Count < 500 && batch.Bytes < budget && _control.TryDequeue(out var stream))
        {
            stream.InControl = false;
            if (!stream.IsGone)
            {
                stream.WriteControl(batch, lane.Slot);
            }
        }

        ProduceDatagrams(batch, _few.Count + _bulk.Count > 0 ? budget * 3 / 4 : budget);
        ProduceData(_few, batch, lane.Slot, _bulk.Count > 0 ? budget * 3 / 4 : budget);
        ProduceData(_bulk, batch, lane.Slot, budget);
        ProduceData(_few, batch, lane.Slot, budget);
    }

    private void ProduceLane(LaneCore lane, FrameBatch batch, TimeSpan now)
    {
        while (batch.Count < 500 && lane.Fences.TryDequeue(out var epoch))
        {
            batch.Add(new FrameHeader(FrameType.Fence, 0, 0, epoch));
        }

        if (lane.PongDue is { } token)
        {
            lane.PongDue = null;
            batch.Add(new FrameHeader(FrameType.Pong, 0, 0, token));
        }

        if (lane.PingDue)
        {
            lane.PingDue = false;
            batch.Add(new FrameHeader(FrameType.Ping, 0, 0, now.Ticks));
        }

        if (lane.GoAwayDue)
        {
            lane.GoAwayDue = false;
            batch.Add(new FrameHeader(FrameType.GoAway, 0, 0, 0));
        }
    }

    private void ProduceData(Queue<StreamCore> queue, FrameBatch batch, int slot, int budget)
    {
        while (batch.Count < 500 && batch.Bytes < budget && queue.TryDequeue(out var stream))
        {
            stream.InData = false;
            if (stream.IsGone || !stream.DataDue)
            {
                continue;
            }

            stream.WriteData(batch, slot, Quantum);
            if (stream.DataDue)
            {
                stream.InData = true;
                (stream.Send.Unsent <= FewBytes ? _few : _bulk).Enqueue(stream);
            }
        }
    }

    /// <summary>Whether <see cref="Produce"/> has anything for the lane.</summary>
    public bool HasOutput(LaneCore lane) => lane.IsLive
        && (lane.Fences.Count > 0 || lane.PongDue is not null || lane.PingDue || lane.GoAwayDue
            || (lane == Active && (_goneAcks.Count > 0 || _control.Count > 0 || _flows.Count > 0 || _few.Count > 0 || _bulk.Count > 0)));

    /// <summary>When <see cref="Advance"/> has something to do; null when never.</summary>
    public TimeSpan? NextDue
    {
        get
        {
            var due = _acksDue ?? TimeSpan.MaxValue;
            foreach (var lane in _lanes)
            {
                due = Min(due, Min(lane.NextPing, lane.LastHeard + Limits.LaneTimeout));
            }

            due = _starved ? Min(due, _starvedUntil) : due;
            due = Alone is { } alone ? Min(due, alone + Limits.Grace) : due;
            return due == TimeSpan.MaxValue ? null : due;
        }
    }

    /// <summary>Lets time pass. Returns false when the session is over: no lane came back within the grace.</summary>
    public bool Advance(TimeSpan now)
    {
        if (_acksDue <= now)
        {
            _acksDue = null;
            foreach (var stream in _delayedAcks)
            {
                if (stream.Ack == AckNeed.Later && !stream.IsGone)
                {
                    stream.Ack = AckNeed.Now;
                    Schedule(stream, now);
                }
            }

            _delayedAcks.Clear();
        }

        foreach (var lane in _lanes.ToArray())
        {
            if (now - lane.LastHeard >= Limits.LaneTimeout)
            {
                EndLane(lane, $"nothing arrived for {Limits.LaneTimeout.TotalSeconds:0.#} s", now);
            }
            else if (lane.NextPing <= now)
            {
                lane.NextPing = now + Limits.PingInterval;
                lane.PingDue = true;
                Driver.OutputReady(lane);
            }
        }

        if (_starved && _starvedUntil <= now)
        {
            _starvedUntil = now + _memoryRetry;
            _starved = false;
            foreach (var stream in _streams.Values)
            {
                Driver.Writable(stream);
            }
        }

        return Alone is not { } alone || now - alone < Limits.Grace;
    }

    private TimeSpan _starvedUntil;

    private static TimeSpan Min(TimeSpan a, TimeSpan b) => a < b ? a : b;
}
