using Fabric.Protocol.Tunnel;
using Fabric.Tunnel;
using Fabric.Tunnel.Core;

namespace Fabric.Simulation;

/// <summary>What one side of a stream sends, and how.</summary>
internal readonly record struct SidePlan(int Bytes, int Piece, int ReadPiece, int PauseMs, int ResetAt);

/// <summary>What both sides of a stream will do; it travels in OPEN, so that both ends know what to expect.</summary>
internal sealed record StreamPlan(SidePlan Ours, SidePlan Theirs, bool IsRefused, bool GivesUp)
{
    public static StreamPlan Draw(Random random) => new(Side(random), Side(random), random.Next(20) == 0, random.Next(25) == 0);

    private static SidePlan Side(Random random)
    {
        var bytes = random.Next(6) switch { 0 => 0, < 4 => random.Next(5_000), 4 => random.Next(100_000), _ => random.Next(600_000) };
        return new SidePlan(
            bytes, 1 << (3 + random.Next(14)), 1 << (4 + random.Next(14)), random.Next(3) == 0 ? random.Next(30) : 0,
            random.Next(12) == 0 ? random.Next(bytes + 1) : -1);
    }

    public string ToText() => string.Join(' ',
        new[] { Ours, Theirs }.SelectMany(s => new[] { s.Bytes, s.Piece, s.ReadPiece, s.PauseMs, s.ResetAt })
            .Append(IsRefused ? 1 : 0).Append(GivesUp ? 1 : 0));

    public static StreamPlan Parse(string text)
    {
        var n = text.Split(' ').Select(int.Parse).ToArray();
        return new StreamPlan(new SidePlan(n[0], n[1], n[2], n[3], n[4]), new SidePlan(n[5], n[6], n[7], n[8], n[9]), n[10] == 1, n[11] == 1);
    }
}

/// <summary>The application at one end of a stream: writes what is planned, and checks every byte that it reads.</summary>
internal sealed class SimApp
{
    private readonly World _world;
    private readonly SimEnd _end;
    private readonly SidePlan _mine;
    private readonly SidePlan _other;
    private int _written;
    private int _read;
    private bool _sawEnd;
    private bool _ended;
    private bool _awake;
    private bool _started;

    public SimApp(World world, SimEnd end, StreamCore stream, SidePlan mine, SidePlan other)
    {
        (_world, _end, Stream, _mine, _other) = (world, end, stream, mine, other);
        stream.Owner = this;
    }

    public StreamCore Stream { get; }

    /// <summary>Reset, or done both ways with everything read.</summary>
    public bool IsOver => _ended && (Stream.IsReset || _sawEnd);

    public override string ToString() => $"wrote {_written}/{_mine.Bytes} read {_read}/{_other.Bytes} end={_sawEnd} ended={_ended}";

    public void Answer(bool refuse)
    {
        if (Stream.IsReset || Stream.IsGone)
        {
            return;
        }

        if (refuse)
        {
            Stream.Reset(StreamCode.PolicyDenied, "refused", _world.Now);
        }
        else
        {
            Stream.Accept(_world.Now);
            Start();
        }

        _end.Rearm();
    }

    public void Start()
    {
        _started = true;
        Wake();
    }

    public void Ended()
    {
        _ended = true;
        _world.Note(5, Stream.Id, Stream.IsReset ? (int)Stream.Code + 1 : 0);
        Wake();
    }

    public void Reset()
    {
        Stream.Reset(StreamCode.ApplicationReset, "given up", _world.Now);
        _end.Rearm();
    }

    public void Wake()
    {
        if (!_awake && _started)
        {
            _awake = true;
            // Once all is healed, applications no longer dawdle: only the tunnel can be late.
            var pause = _world.IsHealed ? 0 : _mine.PauseMs;
            _world.AfterMs(pause, pause + 1, Act);
        }
    }

    private void Act()
    {
        _awake = false;
        if (!Stream.IsReset)
        {
            Read();
            Write();
        }

        _end.Rearm();
    }

    private void Write()
    {
        while (!Stream.IsReset && !Stream.IsGone && !Stream.WritesCompleted)
        {
            if (_mine.ResetAt >= 0 && _written >= _mine.ResetAt)
            {
                Reset();
                return;
            }

            if (_written == _mine.Bytes)
            {
                Stream.CompleteWrites(_world.Now);
                return;
            }

            var take = (int)Math.Min(Math.Min(Stream.Room, _world.IsHealed ? int.MaxValue : _mine.Piece), Math.Min(_mine.Bytes - _written, FrameHeader.MaxData));
            if (take <= 0)
            {
                return;
            }

            var slab = _end.Pool.Rent(SlabPool.LargeSize);
            for (var i = 0; i < take; i++)
            {
                slab.Bytes[i] = Content(_written + i, mine: true);
            }

            Stream.Write(new Segment(slab, 0, take), _world.Now);
            slab.Release();
            _written += take;
            if (_world.IsHealed ? false : _mine.PauseMs > 0 || _world.Random.Next(8) == 0)
            {
                Wake();
                return;
            }
        }
    }

    private void Read()
    {
        var budget = _world.IsHealed ? int.MaxValue : _mine.ReadPiece;
        while (budget > 0 && Stream.Receive.ReadySegments > 0)
        {
            var head = Stream.Receive.Ready(0);
            var take = Math.Min(head.Length, budget);
            for (var i = 0; i < take; i++)
            {
                if (head.Span[i] != Content(_read + i, mine: false))
                {
                    _world.Check(false, $"{_end.Name}: stream {Stream.Id}: the byte at {_read + i} is not the one that was sent");
                }
            }

            _read += take;
            budget -= take;
            Stream.Consume(take, _world.Now);
        }

        if (Stream.AtEnd && !_sawEnd)
        {
            _sawEnd = true;
            _world.Check(_read == _other.Bytes, $"{_end.Name}: stream {Stream.Id} ended after {_read} of {_other.Bytes} bytes: cut off in silence");
        }
        else if (Stream.Receive.ReadyBytes > 0)
        {
            Wake();
        }
    }

    private byte Content(int offset, bool mine)
    {
        var x = (uint)offset * 2654435761u + Stream.Id * 40503u + (mine == Stream.IsOurs ? 77u : 0u);
        return (byte)(x ^ (x >> 15));
    }
}
