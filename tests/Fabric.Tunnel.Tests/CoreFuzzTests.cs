using System.Collections.Immutable;
using Fabric.Protocol.Tunnel;
using Fabric.Tunnel.Core;

namespace Fabric.Tunnel.Tests;

/// <summary>
/// A session that is given whatever comes: random frames, frames that mostly make sense, and what an honest peer said with bits of it
/// changed. It takes them or refuses the lane; it never throws anything else, holds no more than it may, and leaks nothing.
/// </summary>
public sealed class CoreFuzzTests
{
    private static readonly TunnelLimits _limits = new()
    {
        MaxStreams = 20,
        MaxPendingOpens = 15,
        InitialWindow = 32 * 1024,
        MaxWindow = 64 * 1024,
        Memory = 2 << 20,
    };

    /// <summary>Notes what is to be served.</summary>
    private sealed class Driver : ISessionDriver
    {
        public List<StreamCore> Opened { get; } = [];

        public void OutputReady(LaneCore lane)
        {
        }

        public void LaneEnded(LaneCore lane, string reason)
        {
        }

        public void OpenRequested(StreamCore stream) => Opened.Add(stream);

        void ISessionDriver.Opened(StreamCore stream)
        {
        }

        public void Readable(StreamCore stream)
        {
        }

        public void Writable(StreamCore stream)
        {
        }

        public void Ended(StreamCore stream)
        {
        }
    }

    private sealed class World
    {
        private readonly Random _random;
        private readonly Driver _driver = new();
        private readonly SlabPool _pool = new(_limits.Memory, keep: 4);
        private readonly SessionCore _core;
        private readonly FrameBatch _batch = new();
        private uint _epoch;
        private TimeSpan _now;
        private LaneCore? _lane;
        private FrameReader _reader = new();

        public World(int seed)
        {
            _random = new Random(seed);
            _core = new SessionCore(true, _driver, _limits, _pool, 50);
        }

        public int Refused { get; private set; }

        public int Taken { get; private set; }

        public void Step()
        {
            _now += TimeSpan.FromMilliseconds(_random.Next(20));
            while (_lane is not { IsLive: true })
            {
                // An epoch that was fenced before it came is refused.
                _lane = _core.AttachLane(++_epoch, _random.Next(2) == 0 ? "one" : "two", _random.Next(2), null, _now, out _);
                _reader = new FrameReader();
            }

            Arrive(Bytes());
            Live();
            _core.Advance(_now);
            _core.Produce(_lane!, _batch, 64 * 1024, _now);
            _batch.Clear();
            Check();
        }

        /// <summary>What the driver and its applications do.</summary>
        private void Live()
        {
            if (_random.Next(4) == 0 && _core.Active is not null && _core.StreamCount < 40)
            {
                _driver.Opened.Add(_core.Open(new StreamOpen("a.b", 1, ""), null, _now));
            }

            foreach (var stream in _driver.Opened.ToArray())
            {
                switch (_random.Next(12))
                {
                    case 0 when !stream.IsOurs && !stream.IsAccepted && !stream.IsReset:
                        stream.Accept(_now);
                        break;
                    case 1 when stream.Room > 0 && !stream.IsGone:
                        stream.WriteCopy(new byte[Math.Min(stream.Room, _random.Next(20_000))], _now);
                        break;
                    case 2 when stream.Receive.ReadyBytes > 0:
                        stream.Consume((int)stream.Receive.ReadyBytes, _now);
                        break;
                    case 3 when stream.IsAccepted && !stream.WritesCompleted && !stream.IsReset && !stream.IsGone && _random.Next(4) == 0:
                        stream.CompleteWrites(_now);
                        break;
                    case 4 when _random.Next(6) == 0:
                        stream.Reset(StreamCode.ApplicationReset, "by chance", _now);
                        break;
                    case 5 when stream.IsReset || stream.IsGone:
                        stream.Decided();
                        stream.Consume((int)stream.Receive.ReadyBytes, _now);
                        _driver.Opened.Remove(stream);
                        break;
                }
            }
        }

        private byte[] Bytes()
        {
            var bytes = new List<byte>();
            for (var i = _random.Next(1, 12); i > 0; i--)
            {
                bytes.AddRange(Frame());
            }

            var raw = bytes.ToArray();
            if (_random.Next(8) == 0)
            {
                for (var i = _random.Next(1, 5); i > 0; i--)
                {
                    raw[_random.Next(raw.Length)] = (byte)_random.Next(256);
                }
            }

            if (_random.Next(50) == 0)
            {
                _random.NextBytes(raw);
            }

            return raw;
        }

        /// <summary>A frame that may well be allowed.</summary>
        private byte[] Frame()
        {
            var ids = _core.Streams.Select(s => s.Id).ToArray();
            var id = ids.Length > 0 && _random.Next(10) > 0 ? ids[_random.Next(ids.Length)] : (uint)_random.Next(1, 200);
            var known = _core.Streams.FirstOrDefault(s => s.Id == id);
            var offset = _random.Next(20) == 0 ? _random.NextInt64(1L << 62) : Math.Max(0, (known?.Receive.Received ?? 0) + _random.Next(-50, 50) * 40);
            var acked = _random.Next(20) == 0 ? _random.NextInt64(1L << 62) : _random.NextInt64((known?.Send.MaxSent ?? 0) + 1);
            var credit = new byte[8];
            _random.NextBytes(credit);
            return _random.Next(20) switch
            {
                < 4 => EvilPeer.Frame(FrameType.Open, (uint)_random.Next(1, 80) * 2, offset, new OpenFrame("a.b", 1, "", "").ToPayload()),
                < 6 => EvilPeer.Frame(FrameType.Opened, id, offset),
                < 12 => EvilPeer.Frame(FrameType.Data, id, offset, new byte[_random.Next(1, _random.Next(4) == 0 ? 20_000 : 100)]),
                12 => EvilPeer.Frame(FrameType.Fin, id, offset),
                13 => EvilPeer.Frame(FrameType.Reset, id, offset, new ReasonFrame(1, "so").ToPayload()),
                < 17 => EvilPeer.Frame(FrameType.Ack, id, acked, _random.Next(3) > 0 ? [0, 0, 1, 0, 0, 0, 0, 0] : credit),
                17 => EvilPeer.Frame(FrameType.Fence, 0, _random.Next(30) == 0 ? 0 : _random.Next(1, 200)),
                18 => EvilPeer.Frame(_random.Next(2) == 0 ? FrameType.Ping : FrameType.Pong, 0, offset),
                _ => _random.Next(60) switch
                {
                    0 => EvilPeer.Frame(FrameType.Close, payload: new ReasonFrame(1, "bye").ToPayload()),
                    1 => EvilPeer.Frame(FrameType.Hello, payload: new HelloFrame(
                        Guid.Empty, 1, "one", new byte[32].ToImmutableArray(), 1).ToPayload()),
                    _ => EvilPeer.Frame(FrameType.Ping, 0, 1),
                },
            };
        }

        private void Arrive(byte[] bytes)
        {
            var slab = _pool.Rent(SlabPool.LargeSize);
            try
            {
                for (var start = 0; start < bytes.Length;)
                {
                    var take = Math.Min(bytes.Length - start, 1 + _random.Next(slab.Size));
                    if (!slab.IsExclusive)
                    {
                        slab.Release();
                        slab = _pool.Rent(SlabPool.LargeSize);
                    }

                    bytes.AsSpan(start, take).CopyTo(slab.Bytes);
                    start += take;
                    var at = 0;
                    while (_reader.TryRead(slab.Bytes.AsSpan(at, take - at), out var consumed, out var frame))
                    {
                        var piece = frame.PayloadStart < 0 ? default : new Segment(slab, at + frame.PayloadStart, frame.Payload.Length);
                        at += consumed;
                        _core.Receive(_lane!, frame, piece, _now);
                        Taken++;
                    }
                }
            }
            catch (Exception error) when (error is FrameException or LaneFloodException)
            {
                Refused++;
                _core.EndLane(_lane!, error.Message, _now);
            }
            finally
            {
                slab.Release();
            }
        }

        private void Check()
        {
            Assert.InRange(_core.StreamCount, 0, 41 + 2 * _limits.MaxStreams);
            Assert.InRange(_core.Deciding, 0, _limits.MaxPendingOpens);
            Assert.Equal(_core.Streams.Sum(s => s.Send.Retained), _core.Retained);
            Assert.Equal((_core.Retained, _core.Promised), (_pool.Budget.Retained, _pool.Budget.Promised));
            Assert.InRange(_core.Promised, 0, long.MaxValue);
            foreach (var stream in _core.Streams)
            {
                Assert.InRange(stream.Send.Retained, 0, _limits.MaxWindow);
                Assert.InRange(stream.Receive.ReadyBytes + stream.Receive.StashedBytes, 0, _limits.MaxWindow);
            }
        }

        public void End()
        {
            _core.Abort(StreamCode.SessionLost, "over", _now);
            foreach (var stream in _driver.Opened)
            {
                stream.Decided();
                stream.Consume((int)stream.Receive.ReadyBytes, _now);
            }

            Assert.Equal((0, 0, 0), (_core.Retained, _core.Promised, _core.Deciding));
            Assert.Equal(0, _pool.Rented);
        }
    }

    [Fact]
    public void A_session_takes_whatever_comes_or_refuses_it()
    {
        var (taken, refused) = (0, 0);
        for (var seed = 1; seed <= 60; seed++)
        {
            var world = new World(seed);
            for (var step = 0; step < 400; step++)
            {
                try
                {
                    world.Step();
                }
                catch (Exception error)
                {
                    throw new InvalidOperationException($"seed {seed}, step {step}: {error.Message}", error);
                }
            }

            world.End();
            taken += world.Taken;
            refused += world.Refused;
        }

        Assert.True(taken > 40_000 && refused > 2_000, $"{taken} frames taken, {refused} lanes refused");
    }
}
