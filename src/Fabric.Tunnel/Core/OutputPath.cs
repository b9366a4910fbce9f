namespace Fabric.Tunnel.Core;

/// <summary>
/// One way that frames of streams take: the main one, or the one that copies take while the main one is suspect and for mirrored
/// streams. It has the lane that small things share and the lane for bulk over the same link, and what waits for each.
/// </summary>
internal sealed class OutputPath(bool isCopy)
{
    /// <summary>It carries what the main path carries as well.</summary>
    public bool IsCopy { get; } = isCopy;

    /// <summary>The lane that events, acknowledgements and streams that are not bulk take; null when there is none.</summary>
    public LaneCore? Shared { get; set; }

    /// <summary>The lane that bulk takes; null when the shared one has to.</summary>
    public LaneCore? Bulk { get; set; }

    /// <summary>Streams with events or acknowledgements to tell.</summary>
    public Queue<StreamCore> Control { get; } = new();

    /// <summary>Flows with datagrams to send.</summary>
    public Queue<StreamCore> Flows { get; } = new();

    /// <summary>Streams with little to send.</summary>
    public Queue<StreamCore> Few { get; } = new();

    /// <summary>Streams with more.</summary>
    public Queue<StreamCore> Large { get; } = new();

    /// <summary>Streams that are bulk.</summary>
    public Queue<StreamCore> BulkData { get; } = new();

    /// <summary>Whether frames of streams leave on the lane.</summary>
    public bool Takes(LaneCore lane) => lane == Shared || lane == Bulk;

    public LaneCore? LaneOf(StreamCore stream) => stream.IsBulk ? Bulk ?? Shared : Shared;

    /// <summary>Where the data of a stream waits: what is no more than that goes first.</summary>
    public Queue<StreamCore> QueueOf(StreamCore stream, int fewBytes) =>
        stream.IsBulk ? BulkData : stream.Send.End - stream.Cursor(this).Next <= fewBytes ? Few : Large;

    /// <summary>Whether the lane has anything of this path to send.</summary>
    public bool HasOutput(LaneCore lane) =>
        (lane == Shared && (Control.Count > 0 || Flows.Count > 0 || Few.Count > 0 || Large.Count > 0 || (Bulk is null && BulkData.Count > 0)))
        || (lane == Bulk && BulkData.Count > 0);
}

/// <summary>How far one stream has got on one path.</summary>
internal struct StreamPath
{
    private int _slotPlusOne;
    private ulong _oldLanes;
    private long _oldEnd;

    public bool InControl;
    public bool InData;
    public bool OpenSent;
    public bool OpenedDue;
    public bool FinSent;
    public bool ResetSent;
    public AckNeed Ack;

    /// <summary>Something of the stream leaves on that lane.</summary>
    public void Touch(int slot, long sent)
    {
        if (_slotPlusOne != slot + 1 && _slotPlusOne > 0)
        {
            _oldLanes |= 1ul << (_slotPlusOne - 1);
            _oldEnd = sent;
        }

        _slotPlusOne = slot + 1;
        _oldLanes &= ~(1ul << slot);
    }

    /// <summary>Whether something that is not acknowledged may have left on that lane.</summary>
    public readonly bool Used(int slot) => _slotPlusOne == slot + 1 || (_oldLanes >> slot & 1) != 0;

    /// <summary>Everything before that offset is acknowledged: lanes that carried no more than that are of no interest.</summary>
    public void Acknowledged(long offset)
    {
        if (offset >= _oldEnd)
        {
            _oldLanes = 0;
        }
    }

    /// <summary>Nothing has left; what waits in queues still waits.</summary>
    public void Restart() => this = new StreamPath { InControl = InControl, InData = InData };

    /// <summary>Becomes as far as the other, but for the queues.</summary>
    public void Adopt(in StreamPath other) => this = other with { InControl = InControl, InData = InData };
}
