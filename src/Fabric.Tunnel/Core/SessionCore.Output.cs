using Fabric.Protocol.Tunnel;

namespace Fabric.Tunnel.Core;

internal sealed partial class SessionCore
{
    /// <summary>What one stream may send per round.</summary>
    private const int Quantum = FrameHeader.MaxFrame;

    /// <summary>
    /// The same on a lane for bulk, which nobody with a small message waits for: all that may wait of a stream, so that its application is
    /// read next by as much in one call.
    /// </summary>
    public const int BulkQuantum = 2 * FrameHeader.MaxFrame;

    /// <summary>Streams with no more than this to send go before those with more.</summary>
    private const int FewBytes = 8 * 1024;

    private static readonly TimeSpan _memoryRetry = TimeSpan.FromMilliseconds(20);

    private readonly OutputPath _main = new(isCopy: false);
    private readonly OutputPath _copy = new(isCopy: true);
    private readonly List<StreamCore> _delayedAcks = [];
    private readonly Queue<(uint Stream, long Received)> _goneAcks = new();
    private TimeSpan? _acksDue;

    private OutputPath[] Paths => _pathArray ??= [_main, _copy];

    private OutputPath[]? _pathArray;

    /// <summary>Puts the stream where the next <see cref="Produce"/> finds it, when it has something to send.</summary>
    public void Schedule(StreamCore stream, TimeSpan now)
    {
        if (stream.IsGone)
        {
            return;
        }

        Schedule(stream, _main);
        if (stream.IsCopying)
        {
            Schedule(stream, _copy);
        }
    }

    private void Schedule(StreamCore stream, OutputPath path)
    {
        ref var own = ref stream.Path(path);
        if (!own.InControl && stream.ControlDue(path))
        {
            own.InControl = true;
            path.Control.Enqueue(stream);
        }

        if (!own.InData && stream.DataDue(path))
        {
            own.InData = true;
            path.QueueOf(stream, FewBytes).Enqueue(stream);
        }

        if (own.InControl && path.Shared is { } shared)
        {
            Driver.OutputReady(shared);
        }

        if (own.InData && path.LaneOf(stream) is { } lane)
        {
            Driver.OutputReady(lane);
        }
    }

    public void AckNeeded(StreamCore stream, AckNeed need, TimeSpan now)
    {
        if (need == AckNeed.Now)
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
        if (lane == Active)
        {
            while (!batch.IsFull && batch.Bytes < budget && _goneAcks.TryDequeue(out var gone))
            {
                batch.AddAck(gone.Stream, gone.Received, 0);
            }
        }

        foreach (var path in Paths)
        {
            if (lane == path.Shared)
            {
                ProduceShared(path, batch, lane, budget, now);
            }
            else if (lane == path.Bulk)
            {
                ProduceData(path.BulkData, path, batch, lane, budget, now, BulkQuantum);
            }
        }
    }

    private void ProduceShared(OutputPath path, FrameBatch batch, LaneCore lane, int budget, TimeSpan now)
    {
        // A stream's events are at most four frames.
        while (batch.Count < FrameBatch.MostFrames && batch.Bytes < budget && path.Control.TryDequeue(out var stream))
        {
            stream.Path(path).InControl = false;
            if (!stream.IsGone && (!path.IsCopy || stream.IsCopying))
            {
                stream.WriteControl(batch, path, lane, now);
            }
        }

        var more = path.Large.Count > 0 || (path.Bulk is null && path.BulkData.Count > 0);
        ProduceDatagrams(path, batch, more || path.Few.Count > 0 ? budget * 3 / 4 : budget);
        ProduceData(path.Few, path, batch, lane, more ? budget * 3 / 4 : budget, now);
        ProduceData(path.Large, path, batch, lane, budget, now);
        if (path.Bulk is null)
        {
            ProduceData(path.BulkData, path, batch, lane, budget, now);
        }

        ProduceData(path.Few, path, batch, lane, budget, now);
    }

    private void ProduceLane(LaneCore lane, FrameBatch batch, TimeSpan now)
    {
        while (batch.Count < FrameBatch.MostFrames && lane.Fences.TryDequeue(out var epoch))
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

        if (Wishes(lane) is var wishes && wishes != lane.Said)
        {
            lane.Said = wishes;
            batch.Add(new FrameHeader(FrameType.GoAway, 0, 0, (long)wishes));
        }
    }

    private void ProduceData(
        Queue<StreamCore> queue, OutputPath path, FrameBatch batch, LaneCore lane, int budget, TimeSpan now, int quantum = Quantum)
    {
        while (batch.Count < FrameBatch.MostFrames && batch.Bytes < budget && queue.TryDequeue(out var stream))
        {
            stream.Path(path).InData = false;
            if (!IsSending(stream, path))
            {
                continue;
            }

            stream.WriteData(batch, path, lane, quantum, now);
            if (IsSending(stream, path))
            {
                stream.Path(path).InData = true;
                path.QueueOf(stream, FewBytes).Enqueue(stream);
                if (path.LaneOf(stream) is { } other && other != lane)
                {
                    Driver.OutputReady(other);
                }
            }
        }
    }

    private static bool IsSending(StreamCore stream, OutputPath path) =>
        !stream.IsGone && (!path.IsCopy || stream.IsCopying) && stream.DataDue(path);

    /// <summary>Whether <see cref="Produce"/> has anything for the lane.</summary>
    public bool HasOutput(LaneCore lane) => lane.IsLive
        && (lane.Fences.Count > 0 || lane.PongDue is not null || lane.PingDue || Wishes(lane) != lane.Said
            || (lane == Active && _goneAcks.Count > 0) || _main.HasOutput(lane) || _copy.HasOutput(lane));

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

            due = SuspicionDue(due);
            due = _starved ? Min(due, _starvedUntil) : due;
            due = Alone is { } alone ? Min(due, alone + Grace) : due;
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
                if (!stream.IsGone)
                {
                    stream.AckOverdue(now);
                }
            }

            _delayedAcks.Clear();
        }

        foreach (var lane in _lanes)
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

        AdvanceSuspicion(now);
        if (_starved && _starvedUntil <= now)
        {
            _starvedUntil = now + _memoryRetry;
            _starved = false;
            foreach (var stream in _streams.Values)
            {
                Driver.Writable(stream);
            }
        }

        return Alone is not { } alone || now - alone < Grace;
    }

    private TimeSpan _starvedUntil;

    private static TimeSpan Min(TimeSpan a, TimeSpan b) => a < b ? a : b;
}
