using Fabric.Protocol.Tunnel;

namespace Fabric.Tunnel.Core;

/// <summary>The datagrams of one flow, at this end: those that go to the peer, and those that came from it.</summary>
internal sealed class FlowCore(SlabPool pool)
{
    private SequenceWindow _window;

    /// <summary>What waits to go out on the main path, and on the path of copies.</summary>
    public FlowPath Main { get; } = new(pool);

    public FlowPath Copy { get; } = new(pool);

    public DatagramQueue In { get; } = new(pool);

    /// <summary>Number of the last datagram that the application sent.</summary>
    public long Last { get; set; }

    public FlowPath Path(OutputPath path) => path.IsCopy ? Copy : Main;

    public Sequence See(long number) => _window.See(number);
}

/// <summary>What of a flow waits to go out on one path.</summary>
internal sealed class FlowPath(SlabPool pool)
{
    public DatagramQueue Out { get; } = new(pool);

    /// <summary>It waits for its turn to send.</summary>
    public bool IsQueued { get; set; }
}

/// <content>
/// Datagrams: never retained once they are on a lane, never waited for. They go before the bytes of streams, and leave them a quarter
/// of the turn.
/// </content>
internal sealed partial class SessionCore
{
    /// <summary>What became of them; of the whole tunnel.</summary>
    public DatagramCounters Datagrams { get; init; } = new();

    /// <summary>Bytes of datagrams that wait, both ways.</summary>
    public long QueuedDatagrams { get; private set; }

    /// <summary>Takes a datagram of the application for the peer. It waits until the flow is accepted.</summary>
    public void SendDatagram(StreamCore flow, ReadOnlySpan<byte> datagram)
    {
        if (flow.IsGone || flow.IsReset || flow.WritesCompleted)
        {
            Datagrams.Drop(DatagramDrop.Late);
        }
        else
        {
            var number = ++flow.Flow!.Last;
            Queue(flow.Flow.Main.Out, datagram, number);
            if (flow.IsCopying)
            {
                Queue(flow.Flow.Copy.Out, datagram, number);
            }

            ScheduleFlow(flow);
        }
    }

    /// <summary>The next datagram from the peer; the caller takes over the reference.</summary>
    public bool TryTakeDatagram(StreamCore flow, out Segment datagram)
    {
        var taken = flow.Flow!.In.TryTake(out datagram);
        QueuedDatagrams -= taken ? datagram.Length : 0;
        return taken;
    }

    /// <summary>Lets go of what waits to go out, and of what the application has not taken.</summary>
    public void DropDatagrams(StreamCore stream, bool incoming)
    {
        if (stream.Flow is { } flow)
        {
            Clear(flow.Main.Out);
            Clear(flow.Copy.Out);
            if (incoming)
            {
                Clear(flow.In);
            }
        }
    }

    private void Clear(DatagramQueue queue)
    {
        QueuedDatagrams -= queue.Bytes;
        queue.Clear();
    }

    private bool Queue(DatagramQueue queue, ReadOnlySpan<byte> datagram, long number = 0)
    {
        if (QueuedDatagrams + datagram.Length > Limits.DatagramMemory || Pool.Budget.IsTight)
        {
            Datagrams.Drop(DatagramDrop.Memory);
            return false;
        }

        QueuedDatagrams -= queue.Bytes;
        Datagrams.Drop(DatagramDrop.QueueFull, queue.Add(datagram, number));
        QueuedDatagrams += queue.Bytes;
        return true;
    }

    /// <summary>Its turn to send comes, when it has something to send and the peer has accepted it.</summary>
    public void ScheduleFlow(StreamCore stream)
    {
        if (stream is { Flow: { } flow, IsAccepted: true })
        {
            foreach (var path in Paths)
            {
                Enqueue(stream, flow.Path(path), path);
            }
        }
    }

    private void Enqueue(StreamCore stream, FlowPath own, OutputPath path)
    {
        if (own is { IsQueued: false, Out.Count: > 0 })
        {
            own.IsQueued = true;
            path.Flows.Enqueue(stream);
            if (path.Shared is { } lane)
            {
                Driver.OutputReady(lane);
            }
        }
    }

    private void OnDatagram(LaneCore lane, FrameHeader header, ReadOnlySpan<byte> payload, TimeSpan now)
    {
        BytesReceived += header.Length;
        if (Find(lane, header, now) is not { } stream)
        {
            Datagrams.Drop(DatagramDrop.Late);
            return;
        }

        var flow = stream.Flow ?? throw new FrameException($"DATAGRAM for stream {stream.Id}, which carries bytes");
        var sequence = flow.See(header.Offset);
        if (sequence != Sequence.New || stream.IsReset || stream.Receive.IsComplete)
        {
            Datagrams.Drop(sequence == Sequence.Seen ? DatagramDrop.Duplicate : DatagramDrop.Late);
        }
        else if (Queue(flow.In, payload))
        {
            Driver.Readable(stream);
        }
    }

    /// <summary>One datagram of each flow in turn.</summary>
    private void ProduceDatagrams(OutputPath path, FrameBatch batch, int budget)
    {
        while (batch.Count < FrameBatch.MostFrames && batch.Bytes < budget && path.Flows.TryDequeue(out var stream))
        {
            var own = stream.Flow!.Path(path);
            own.IsQueued = false;
            if (own.Out.TryTake(out var datagram, out var number))
            {
                QueuedDatagrams -= datagram.Length;
                CountSent(stream, path, datagram.Length, path.IsCopy ? datagram.Length : 0);
                batch.Add(stream.Header(path, FrameType.Datagram, datagram.Length, number), datagram);
                Enqueue(stream, own, path);
                if (path.IsCopy && !stream.Request.Mirrored && CopiesAreSpent)
                {
                    stream.StopCopying();
                }
            }
        }
    }
}
