using Fabric.Protocol.Tunnel;

namespace Fabric.Tunnel.Core;

/// <summary>The datagrams of one flow, at this end: those that go to the peer, and those that came from it.</summary>
internal sealed class FlowCore(SlabPool pool)
{
    private SequenceWindow _window;

    public DatagramQueue Out { get; } = new(pool);

    public DatagramQueue In { get; } = new(pool);

    /// <summary>Number of the last datagram that went out.</summary>
    public long Sent { get; set; }

    /// <summary>It waits for its turn to send.</summary>
    public bool IsQueued { get; set; }

    public Sequence See(long number) => _window.See(number);
}

/// <content>
/// Datagrams: never retained once they are on a lane, never waited for. They go before the bytes of streams, and leave them a quarter
/// of the turn.
/// </content>
internal sealed partial class SessionCore
{
    private readonly Queue<StreamCore> _flows = new();

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
        else if (Queue(flow.Flow!.Out, datagram) && flow.IsAccepted)
        {
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
            Clear(flow.Out);
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

    private bool Queue(DatagramQueue queue, ReadOnlySpan<byte> datagram)
    {
        if (QueuedDatagrams + datagram.Length > Limits.DatagramMemory || Pool.IsFull)
        {
            Datagrams.Drop(DatagramDrop.Memory);
            return false;
        }

        QueuedDatagrams -= queue.Bytes;
        Datagrams.Drop(DatagramDrop.QueueFull, queue.Add(datagram));
        QueuedDatagrams += queue.Bytes;
        return true;
    }

    /// <summary>Its turn to send comes, when it has something to send.</summary>
    public void ScheduleFlow(StreamCore stream)
    {
        if (stream.Flow is { IsQueued: false, Out.Count: > 0 } flow)
        {
            flow.IsQueued = true;
            _flows.Enqueue(stream);
            if (Active is { } lane)
            {
                Driver.OutputReady(lane);
            }
        }
    }

    private void OnDatagram(FrameHeader header, ReadOnlySpan<byte> payload)
    {
        BytesReceived += header.Length;
        if (Find(header) is not { } stream)
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
    private void ProduceDatagrams(FrameBatch batch, int budget)
    {
        while (batch.Count < 500 && batch.Bytes < budget && _flows.TryDequeue(out var stream))
        {
            var flow = stream.Flow!;
            flow.IsQueued = false;
            var queued = flow.Out.Bytes;
            if (flow.Out.TryTake(out var datagram))
            {
                QueuedDatagrams -= queued - flow.Out.Bytes;
                CountSent(datagram.Length, 0);
                batch.Add(new FrameHeader(FrameType.Datagram, datagram.Length, stream.Id, ++flow.Sent), datagram);
            }

            if (flow.Out.Count > 0)
            {
                flow.IsQueued = true;
                _flows.Enqueue(stream);
            }
        }
    }
}
