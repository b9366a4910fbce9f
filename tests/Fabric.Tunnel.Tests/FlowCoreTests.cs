using System.Buffers.Binary;
using Fabric.Protocol.Tunnel;
using Fabric.Tunnel.Core;

namespace Fabric.Tunnel.Tests;

/// <summary>Datagrams in the core: what waits, what goes first, what is dropped and counted, what a peer may not do.</summary>
public sealed class FlowCoreTests
{
    private static readonly StreamOpen _flow = new("dns.shop", 53, "spiffe://test.example/ns/a/sa/b") { Datagrams = true };

    private readonly SlabPool _pool = new(64 * 1024 * 1024);

    private static List<string> Taken(SessionCore session, StreamCore flow)
    {
        var taken = new List<string>();
        while (session.TryTakeDatagram(flow, out var datagram))
        {
            taken.Add(System.Text.Encoding.ASCII.GetString(datagram.Span));
            datagram.Release();
        }

        return taken;
    }

    private static FrameType TypeOf(byte[] frame) => (FrameType)frame[0];

    [Fact]
    public void A_queue_drops_its_oldest_by_count_and_by_bytes_and_holds_nothing_when_empty()
    {
        var queue = new DatagramQueue(_pool, most: 3, mostBytes: 100_000);
        Assert.Equal([0, 0, 0, 1], Enumerable.Range(0, 4).Select(i => queue.Add([(byte)i])));
        Assert.Equal([1, 3, 0], new[] { 65_507, 65_000, 0 }.Select(size => queue.Add(new byte[size])));
        Assert.Equal((2, 65_000), (queue.Count, queue.Bytes));
        while (queue.TryTake(out var datagram))
        {
            datagram.Release();
        }

        Assert.Equal((0, 0, 0), (queue.Count, queue.Bytes, _pool.Rented));
        for (var i = 0; i < 10_000; i++)
        {
            queue.Add(BitConverter.GetBytes(i));
        }

        Assert.InRange(_pool.Rented, 1, 2 * SlabPool.SmallSize);
        Assert.True(queue.TryTake(out var oldest));
        Assert.Equal(9_997, BitConverter.ToInt32(oldest.Span));
        oldest.Release();
        queue.Clear();
        Assert.Equal(0, _pool.Rented);
    }

    [Fact]
    public void Each_number_passes_once_in_any_order_within_the_window()
    {
        var random = new Random(7);
        var window = new SequenceWindow();
        var seen = new HashSet<long>();
        var greatest = 0L;
        for (var round = 0; round < 200_000; round++)
        {
            var number = Math.Max(1, greatest + random.Next(-1_500, random.Next(20) == 0 ? 3_000 : 3));
            var expected = number <= greatest - SequenceWindow.Width ? Sequence.TooOld : seen.Contains(number) ? Sequence.Seen : Sequence.New;
            Assert.Equal(expected, window.See(number));
            greatest = Math.Max(greatest, number);
            seen.Add(number);
        }

        Assert.Equal(Sequence.New, window.See(1L << 62));
        Assert.Equal(Sequence.Seen, window.See(1L << 62));
        Assert.Equal(Sequence.New, window.See((1L << 62) - 1));
    }

    [Fact]
    public void Datagrams_keep_their_edges_and_a_flow_ends_in_order()
    {
        var ends = new SessionEnds(_pool);
        var lane = ends.Lane("one");
        var (left, right) = ends.Open(lane, _flow);
        ends.Left.SendDatagram(left, "one"u8);
        ends.Left.SendDatagram(left, ""u8);
        ends.Left.SendDatagram(left, "three"u8);
        left.CompleteWrites(TimeSpan.Zero);
        ends.Exchange(lane);
        Assert.Equal(["one", "", "three"], Taken(ends.Right, right));
        ends.Right.SendDatagram(right, "back"u8);
        right.CompleteWrites(TimeSpan.Zero);
        ends.Exchange(lane);
        Assert.Equal(["back"], Taken(ends.Left, left));
        Assert.Equal((0, 0, 0L, 0L), (ends.Left.StreamCount, ends.Right.StreamCount, ends.Left.QueuedDatagrams, ends.Right.QueuedDatagrams));
        Assert.Equal((StreamCode.Ok, 0L), (ends.RightNotes.Ended.Single().Code, _pool.Rented));
    }

    [Fact]
    public void Datagrams_go_before_the_bytes_of_streams_and_leave_them_a_quarter()
    {
        var ends = new SessionEnds(_pool);
        var lane = ends.Lane("one");
        var (flow, _) = ends.Open(lane, _flow);
        var (bulk, _) = ends.Open(lane, _flow with { Datagrams = false });
        bulk.WriteCopy(new byte[200_000], TimeSpan.Zero);
        ends.Left.SendDatagram(flow, "small"u8);
        var turn = SessionEnds.Produce(ends.Left, lane.Left, 64 * 1024);
        Assert.Equal([FrameType.Datagram, FrameType.Data], turn.Select(TypeOf).Where(t => t != FrameType.Ack).Distinct());

        for (var i = 0; i < DatagramQueue.Most; i++)
        {
            ends.Left.SendDatagram(flow, new byte[4_000]);
        }

        turn = SessionEnds.Produce(ends.Left, lane.Left, 64 * 1024);
        Assert.InRange(turn.Where(f => TypeOf(f) == FrameType.Datagram).Sum(f => f.Length), 44_000, 54_000);
        Assert.InRange(turn.Where(f => TypeOf(f) == FrameType.Data).Sum(f => f.Length), 8_000, 80_000);
    }

    [Fact]
    public void Flows_take_turns()
    {
        var ends = new SessionEnds(_pool);
        var lane = ends.Lane("one");
        var flows = Enumerable.Range(0, 4).Select(_ => ends.Open(lane, _flow).Left).ToArray();
        foreach (var flow in flows)
        {
            for (var i = 0; i < 10; i++)
            {
                ends.Left.SendDatagram(flow, new byte[1_000]);
            }
        }

        var turn = SessionEnds.Produce(ends.Left, lane.Left, 8 * 1_016).Select(f => BinaryPrimitives.ReadUInt32LittleEndian(f.AsSpan(4)));
        Assert.Equal(flows.Concat(flows).Select(f => f.Id), turn);
    }

    [Fact]
    public void A_flow_outlives_its_lane_and_what_was_on_it_is_not_sent_again()
    {
        var ends = new SessionEnds(_pool);
        var lane = ends.Lane("one");
        var other = ends.Lane("two");
        var (left, right) = ends.Open(lane, _flow);
        ends.Left.SendDatagram(left, "lost"u8);
        Assert.Single(SessionEnds.Produce(ends.Left, lane.Left), f => TypeOf(f) == FrameType.Datagram);
        ends.Left.EndLane(lane.Left, "cut", TimeSpan.Zero);
        ends.Right.EndLane(lane.Right, "cut", TimeSpan.Zero);
        ends.Left.SendDatagram(left, "kept"u8);
        ends.Right.SendDatagram(right, "too"u8);
        ends.Exchange(other);
        Assert.Equal(["kept"], Taken(ends.Right, right));
        Assert.Equal(["too"], Taken(ends.Left, left));
        Assert.Equal(0, ends.Left.BytesResent);
    }

    [Fact]
    public void The_same_datagram_on_two_lanes_is_handed_on_once_and_an_overtaken_one_passes()
    {
        var ends = new SessionEnds(_pool);
        var lane = ends.Lane("one");
        var other = ends.Lane("two");
        var (left, right) = ends.Open(lane, _flow);
        ends.Left.SendDatagram(left, "first"u8);
        var first = SessionEnds.Produce(ends.Left, lane.Left);
        ends.Left.SendDatagram(left, "second"u8);
        var second = SessionEnds.Produce(ends.Left, lane.Left);
        ends.Deliver(ends.Right, other.Right, second);
        ends.Deliver(ends.Right, lane.Right, first);
        ends.Deliver(ends.Right, lane.Right, second);
        Assert.Equal(["second", "first"], Taken(ends.Right, right));
        Assert.Equal(1, ends.Right.Datagrams.Dropped(DatagramDrop.Duplicate));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Mirrored_or_on_a_suspect_link_a_datagram_leaves_on_both_links(bool mirrored)
    {
        var ends = new SessionEnds(_pool);
        var lane = ends.Lane("one");
        var other = ends.Lane("two");
        var (left, right) = ends.Open(lane, _flow with { Mirrored = mirrored });
        ends.Left.SetPaths(new LinkPaths(["one", "two"], mirrored ? [] : ["one"], []), TimeSpan.Zero);
        ends.Left.SendDatagram(left, "twice"u8);
        ends.Deliver(ends.Right, other.Right, SessionEnds.Produce(ends.Left, other.Left));
        Assert.Equal(["twice"], Taken(ends.Right, right));
        ends.Exchange(lane);
        ends.Exchange(other);
        Assert.Empty(Taken(ends.Right, right));
        Assert.Equal(1, ends.Right.Datagrams.Dropped(DatagramDrop.Duplicate));
        Assert.Equal((5L, 5L), (ends.Left.BytesSent, mirrored ? ends.Left.BytesMirrored : ends.Left.BytesCopied));
        ends.Left.SetPaths(new LinkPaths(["two"], [], ["one"]), TimeSpan.Zero);
        ends.Left.SendDatagram(left, "once"u8);
        ends.Exchange(other);
        Assert.Equal(["once"], Taken(ends.Right, right));
        Assert.Equal(0, ends.Left.QueuedDatagrams);
    }

    [Fact]
    public void What_waits_is_bounded_per_flow_and_per_session_and_counted()
    {
        var ends = new SessionEnds(_pool, new TunnelLimits { DatagramMemory = 300_000 });
        var lane = ends.Lane("one");
        var (a, _) = ends.Open(lane, _flow);
        var (b, _) = ends.Open(lane, _flow);
        for (var i = 0; i < 100; i++)
        {
            ends.Left.SendDatagram(a, new byte[1_000]);
        }

        Assert.Equal((36L, 64_000L), (ends.Left.Datagrams.Dropped(DatagramDrop.QueueFull), ends.Left.QueuedDatagrams));
        for (var i = 0; i < 5; i++)
        {
            ends.Left.SendDatagram(b, new byte[60_000]);
        }

        Assert.Equal((2L, 244_000L), (ends.Left.Datagrams.Dropped(DatagramDrop.Memory), ends.Left.QueuedDatagrams));
        ends.Left.Abort(StreamCode.SessionLost, "over", TimeSpan.Zero);
        ends.Right.Abort(StreamCode.SessionLost, "over", TimeSpan.Zero);
        Assert.Equal((0L, 0L), (ends.Left.QueuedDatagrams, _pool.Rented));
    }

    [Fact]
    public void A_flow_takes_no_credit_from_streams()
    {
        var ends = new SessionEnds(_pool);
        var lane = ends.Lane("one");
        ends.Open(lane, _flow);
        Assert.Equal((0L, 0L), (ends.Left.Promised, ends.Right.Promised));
    }

    [Fact]
    public void Flows_take_at_most_half_of_the_streams()
    {
        var ends = new SessionEnds(_pool);
        var lane = ends.Lane("one");
        var flows = Enumerable.Range(0, 50).Select(_ => ends.Left.Open(_flow, null, TimeSpan.Zero)).ToArray();
        Assert.Equal(StreamCode.LimitReached, Assert.Throws<StreamRefusedException>(() => ends.Left.Open(_flow, null, TimeSpan.Zero)).Code);
        ends.Left.Open(_flow with { Datagrams = false }, null, TimeSpan.Zero);
        flows[0].Reset(StreamCode.ApplicationReset, "enough", TimeSpan.Zero);
        ends.Exchange(lane);
        ends.Left.Open(_flow, null, TimeSpan.Zero);
    }

    [Theory]
    [InlineData(true, FrameType.Data, "")]
    [InlineData(false, FrameType.Datagram, "which carries bytes")]
    public void Bytes_on_a_flow_and_datagrams_on_a_stream_break_the_protocol(bool isFlow, FrameType type, string reason)
    {
        var ends = new SessionEnds(_pool);
        var lane = ends.Lane("one");
        var (left, _) = ends.Open(lane, _flow with { Datagrams = isFlow });
        var frame = new byte[FrameHeader.Size + 1];
        new FrameHeader(type, 1, left.Id, type == FrameType.Data ? 0 : 1).Write(frame);
        Assert.Contains(reason, Assert.Throws<FrameException>(() => ends.Deliver(ends.Right, lane.Right, [frame])).Message);
    }

    [Fact]
    public void A_datagram_of_a_flow_that_never_was_breaks_the_protocol_and_of_one_that_is_gone_is_ignored()
    {
        var ends = new SessionEnds(_pool);
        var lane = ends.Lane("one");
        var (left, _) = ends.Open(lane, _flow);
        left.Reset(StreamCode.ApplicationReset, "enough", TimeSpan.Zero);
        ends.Exchange(lane);
        var frame = new byte[FrameHeader.Size];
        new FrameHeader(FrameType.Datagram, 0, left.Id, 1).Write(frame);
        ends.Deliver(ends.Right, lane.Right, [frame]);
        Assert.Equal(1, ends.Right.Datagrams.Dropped(DatagramDrop.Late));
        new FrameHeader(FrameType.Datagram, 0, left.Id + 2, 1).Write(frame);
        Assert.Throws<FrameException>(() => ends.Deliver(ends.Right, lane.Right, [frame]));
    }
}
