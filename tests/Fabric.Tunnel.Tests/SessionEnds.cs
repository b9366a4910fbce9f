using System.Buffers.Binary;
using Fabric.Protocol.Tunnel;
using Fabric.Tunnel.Core;

namespace Fabric.Tunnel.Tests;

/// <summary>Two ends, and lanes by the same name at both; frames travel only when a test carries them.</summary>
internal sealed class SessionEnds
{
    private uint _epoch;

    public SessionEnds(SlabPool pool, TunnelLimits? limits = null)
    {
        Left = new SessionCore(true, LeftNotes, limits ?? new TunnelLimits(), pool, 100);
        Right = new SessionCore(false, RightNotes, limits ?? new TunnelLimits(), pool, 100);
    }

    public SessionNotes LeftNotes { get; } = new();

    public SessionNotes RightNotes { get; } = new();

    public SessionCore Left { get; }

    public SessionCore Right { get; }

    public (LaneCore Left, LaneCore Right) Lane(string link, int channel = 0)
    {
        _epoch += 2;
        return (Left.AttachLane(_epoch, link, channel, null, TimeSpan.Zero, out _)!, Right.AttachLane(_epoch, link, channel, null, TimeSpan.Zero, out _)!);
    }

    /// <summary>Frames that are due on a lane of one end, as bytes each.</summary>
    public static List<byte[]> Produce(SessionCore from, LaneCore lane, int budget = 1 << 20)
    {
        var batch = new FrameBatch();
        from.Produce(lane, batch, budget, TimeSpan.Zero);
        var bytes = new byte[batch.Bytes];
        batch.CopyTo(bytes);
        batch.Clear();
        var frames = new List<byte[]>();
        for (var at = 0; at < bytes.Length;)
        {
            var length = FrameHeader.Size + BinaryPrimitives.ReadUInt16LittleEndian(bytes.AsSpan(at + 2));
            frames.Add(bytes[at..(at + length)]);
            at += length;
        }

        return frames;
    }

    public void Deliver(SessionCore to, LaneCore lane, IEnumerable<byte[]> frames)
    {
        foreach (var bytes in frames)
        {
            var slab = to.Pool.Rent(SlabPool.LargeSize);
            bytes.CopyTo(slab.Bytes, 0);
            var reader = new FrameReader();
            Assert.True(reader.TryRead(slab.Bytes.AsSpan(0, bytes.Length), out _, out var frame));
            var piece = frame.PayloadStart < 0 ? default : new Segment(slab, frame.PayloadStart, frame.Payload.Length);
            try
            {
                to.Receive(lane, frame, piece, TimeSpan.Zero);
            }
            finally
            {
                slab.Release();
            }
        }
    }

    public void Exchange((LaneCore Left, LaneCore Right) lane)
    {
        for (var quiet = false; !quiet;)
        {
            var right = Produce(Left, lane.Left);
            Deliver(Right, lane.Right, right);
            var left = Produce(Right, lane.Right);
            Deliver(Left, lane.Left, left);
            quiet = right.Count + left.Count == 0;
        }
    }

    /// <summary>A stream or flow that both ends have opened.</summary>
    public (StreamCore Left, StreamCore Right) Open((LaneCore Left, LaneCore Right) lane, StreamOpen open)
    {
        var left = Left.Open(open, null, TimeSpan.Zero);
        Exchange(lane);
        var right = RightNotes.Opened[^1];
        right.Accept(TimeSpan.Zero);
        Exchange(lane);
        Assert.True(left.IsAccepted);
        return (left, right);
    }
}
