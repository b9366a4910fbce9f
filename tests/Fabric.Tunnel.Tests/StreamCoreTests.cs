using System.Buffers.Binary;
using Fabric.Protocol.Tunnel;
using Fabric.Tunnel.Core;

namespace Fabric.Tunnel.Tests;

/// <summary>How far a stream's application may be ahead of its lane, and which lane that is.</summary>
public sealed class StreamCoreTests
{
    private static readonly StreamOpen _open = new("web.shop", 80, "spiffe://test.example/ns/a/sa/b");

    private readonly SlabPool _pool = new(64 * 1024 * 1024);

    [Fact]
    public void What_waits_for_a_lane_is_bounded_and_asked_for_again_when_half_of_it_has_left()
    {
        var ends = new SessionEnds(_pool);
        var lane = ends.Lane("one");
        var (stream, _) = ends.Open(lane, _open);
        Assert.Equal(StreamCore.MaxUnsent, stream.Room);

        Write(stream, StreamCore.MaxUnsent);
        Assert.Equal(0, stream.Room);
        ends.LeftNotes.Writable.Clear();

        var frames = SessionEnds.Produce(ends.Left, lane.Left, StreamCore.MaxUnsent / 4);
        Assert.Equal((0L, 0), (stream.Room, ends.LeftNotes.Writable.Count));

        frames.AddRange(SessionEnds.Produce(ends.Left, lane.Left, StreamCore.MaxUnsent / 2));
        Assert.Equal([stream], ends.LeftNotes.Writable);
        Assert.InRange(stream.Room, StreamCore.MaxUnsent / 2, StreamCore.MaxUnsent);

        // What is on the lane, and not yet acknowledged, is bounded by the window alone.
        frames.AddRange(SessionEnds.Produce(ends.Left, lane.Left));
        Assert.Equal((StreamCore.MaxUnsent, StreamCore.MaxUnsent), (stream.Room, stream.Send.Retained));
        ends.Deliver(ends.Right, lane.Right, frames);
        Assert.Equal(StreamCore.MaxUnsent, Assert.Single(ends.RightNotes.Opened).Receive.ReadyBytes);
    }

    [Fact]
    public void Application_that_is_ahead_is_asked_again_when_its_bytes_leave_on_the_next_lane()
    {
        var ends = new SessionEnds(_pool);
        var lane = ends.Lane("one");
        var (stream, _) = ends.Open(lane, _open);
        Write(stream, StreamCore.MaxUnsent);
        SessionEnds.Produce(ends.Left, lane.Left);
        Write(stream, 64 * 1024);
        ends.Left.EndLane(lane.Left, "cut", TimeSpan.Zero);
        ends.Right.EndLane(lane.Right, "cut", TimeSpan.Zero);
        ends.LeftNotes.Writable.Clear();
        Assert.Equal(0, stream.Room);

        ends.Exchange(ends.Lane("two"));

        Assert.Contains(stream, ends.LeftNotes.Writable);
        Assert.Equal(StreamCore.MaxUnsent + 64 * 1024, Assert.Single(ends.RightNotes.Opened).Receive.ReadyBytes);
    }

    [Fact]
    public void Bulk_that_pauses_goes_on_as_bulk_until_it_has_sent_little_in_a_row()
    {
        var ends = new SessionEnds(_pool);
        var lane = ends.Lane("one");
        var (stream, _) = ends.Open(lane, _open);
        Write(stream, StreamCore.MaxUnsent);
        Produce();
        Assert.False(stream.IsBulk);
        Write(stream, 1);
        Assert.True(stream.IsBulk);

        AllAcknowledged();
        Write(stream, 1);
        Assert.True(stream.IsBulk);

        AllAcknowledged();
        Write(stream, 1);
        Assert.False(stream.IsBulk);

        void Produce() => ends.Deliver(ends.Right, lane.Right, SessionEnds.Produce(ends.Left, lane.Left));

        void AllAcknowledged()
        {
            Produce();
            ends.Right.Advance(TimeSpan.FromSeconds(1));
            ends.Exchange(lane);
            Assert.Equal(0, stream.Send.Retained);
        }
    }

    [Fact]
    public void Bulk_leaves_by_all_that_may_wait_of_one_stream_and_everything_else_by_a_frame()
    {
        const int Both = 2 * FrameHeader.MaxData;
        var ends = new SessionEnds(_pool);
        var shared = ends.Lane("one");
        var bulk = ends.Lane("one", channel: 1);
        StreamCore[] streams = [ends.Open(shared, _open).Left, ends.Open(shared, _open).Left];
        Array.ForEach(streams, s => Write(s, Both, FrameHeader.MaxData));
        Assert.Equal([(streams[0].Id, FrameHeader.MaxData)], Turn(shared.Left));
        Assert.Equal([(streams[1].Id, FrameHeader.MaxData)], Turn(shared.Left));
        SessionEnds.Produce(ends.Left, shared.Left);

        Array.ForEach(streams, s => Write(s, Both, FrameHeader.MaxData));
        Assert.All(streams, s => Assert.True(s.IsBulk));
        Assert.Equal([(streams[0].Id, Both)], Turn(bulk.Left));
        Assert.Equal([(streams[1].Id, Both)], Turn(bulk.Left));

        // The least budget: as much as one stream may send in a row.
        IEnumerable<(uint, int)> Turn(LaneCore lane) => SessionEnds.Produce(ends.Left, lane, budget: 1)
            .Where(f => (FrameType)f[0] == FrameType.Data)
            .GroupBy(f => BinaryPrimitives.ReadUInt32LittleEndian(f.AsSpan(4)), f => f.Length - FrameHeader.Size, (id, lengths) => (id, lengths.Sum()));
    }

    private void Write(StreamCore stream, int bytes, int atOnce = 32 * 1024)
    {
        for (; bytes > 0; bytes -= atOnce)
        {
            var slab = _pool.Rent(SlabPool.LargeSize);
            stream.Write(new Segment(slab, FrameHeader.Size, Math.Min(bytes, atOnce)), TimeSpan.Zero);
            slab.Release();
        }
    }
}
