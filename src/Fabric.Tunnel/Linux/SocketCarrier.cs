using Fabric.Protocol.Tunnel;
using Fabric.Tunnel.Core;
using Fabric.Tunnel.Drivers;

namespace Fabric.Tunnel.Linux;

/// <summary>
/// Joins an application's socket to a stream, on the loop of the stream's session: bytes, half-close and reset go through, each way on
/// its own. A side that does not read stops the other by closing its window, and nothing else. An idle connection holds no buffer.
/// </summary>
internal abstract unsafe class SocketCarrier(EventLoop loop, GatewayTunnel tunnel) : LoopItem(loop), IStreamEvents
{
    /// <summary>Bytes that one socket reads, and takes, before others have their turn.</summary>
    private const int Budget = 256 * 1024;

    private const int PiecesAtOnce = 16;

    /// <summary>Bytes for the socket that are more than a message.</summary>
    private const int MuchReady = 64 * 1024;

    /// <summary>Bytes that the socket took, after which it is worth two system calls to ask how far away its other end is.</summary>
    private const int MuchWritten = 256 * 1024;

    private bool _isCarrying;
    private bool _readable;
    private bool _writable;
    private bool _peerClosed;
    private bool _readsDone;
    private bool _writesDone;
    private bool _hasEnded;

    public override LoopPhase Phase =>
        _isCarrying && Core is { } core && (core.IsBulk || core.Receive.ReadyBytes > MuchReady) ? LoopPhase.Bulk : LoopPhase.Ready;

    protected GatewayTunnel Tunnel => tunnel;

    protected int Descriptor { get; set; } = -1;

    protected PeerSession? Session { get; set; }

    protected StreamCore? Core { get; set; }

    /// <summary>Bytes from the socket to the stream, and back.</summary>
    protected long BytesUp { get; private set; }

    protected long BytesDown { get; private set; }

    /// <summary>From now on bytes move. The socket is connected, and watched or not yet.</summary>
    protected void Carry()
    {
        _isCarrying = true;
        if (Slot < 0)
        {
            // What is ready is told at once.
            Loop.Watch(Descriptor, this);
        }
        else
        {
            // What was ready has been told.
            Loop.Schedule(this);
        }
    }

    // ---- what is told

    public override void OnEvents(uint events)
    {
        _readable |= (events & ~Libc.EpollOut) != 0;
        _writable |= (events & Libc.EpollOut) != 0;
        _peerClosed |= Libc.IsHangUp(events);
        if ((events & Libc.EpollError) != 0 && _isCarrying && Libc.PendingError(Descriptor) is var error and not 0)
        {
            Fail(error);
        }

        Loop.Schedule(this);
    }

    public virtual void OnOpened()
    {
    }

    public virtual void OnOpenFailed(StreamCode code, string reason)
    {
    }

    public void OnReadable() => Loop.Schedule(this);

    public void OnWritable()
    {
        if (_readable)
        {
            Loop.Schedule(this);
        }
    }

    public void OnEnded() => Loop.Schedule(this);

    // ---- turns

    public sealed override void Run()
    {
        if (_hasEnded)
        {
            return;
        }

        if (!_isCarrying)
        {
            Prepare();
            return;
        }

        var core = Core!;
        lock (Session!.Gate)
        {
            if (!core.IsReset)
            {
                var now = Session.Now;
                Down(core, now);
                Up(core, now);
                Session.Rearm();
            }
        }

        if (core.IsReset)
        {
            CloseSocket(abort: true);
            Over();
        }
        else if (_readsDone && _writesDone)
        {
            // The stream may wait for acknowledgements; the socket is over.
            CloseSocket(abort: false);
            if (core.IsGone)
            {
                Over();
            }
        }
    }

    /// <summary>A turn before bytes move.</summary>
    protected abstract void Prepare();

    /// <summary>From the stream to the socket.</summary>
    private void Down(StreamCore core, TimeSpan now)
    {
        var pieces = stackalloc Libc.Piece[PiecesAtOnce];
        for (var left = Budget; _writable && core.Receive.ReadySegments is var ready and > 0;)
        {
            if (left <= 0)
            {
                Loop.Schedule(this);
                return;
            }

            var count = Math.Min(ready, PiecesAtOnce);
            long whole = 0;
            for (var i = 0; i < count; i++)
            {
                var segment = core.Receive.Ready(i);
                // Slabs are pinned.
                pieces[i] = new Libc.Piece { Base = segment.Address, Length = (nuint)segment.Length };
                whole += segment.Length;
            }

            var written = Libc.WritePieces(Descriptor, pieces, count);
            Loop.SystemCalls++;
            if (written < 0)
            {
                _writable = false;
                if (Libc.Errno is var errno and not Libc.EAGAIN)
                {
                    Fail(errno);
                    return;
                }

                break;
            }

            if (BytesDown < MuchWritten && BytesDown + written >= MuchWritten)
            {
                Libc.PreferCubic(Descriptor);
            }

            BytesDown += written;
            Loop.Bytes += written;
            left -= (int)written;
            core.Consume((int)written, now);
            _writable = written == whole;
        }

        if (core.AtEnd && !_writesDone)
        {
            _writesDone = true;
            if (!_readsDone)
            {
                // Else it is closed at once, which says the same.
                _ = Libc.Shutdown(Descriptor, Libc.ShutdownWrite);
            }
        }
    }

    /// <summary>From the socket to the stream.</summary>
    private void Up(StreamCore core, TimeSpan now)
    {
        var pieces = stackalloc Libc.Piece[EventLoop.ScratchSlabs];
        for (var left = Budget; _readable && !_readsDone;)
        {
            var room = core.Room;
            if (room <= 0)
            {
                return;
            }

            if (left <= 0)
            {
                Loop.Schedule(this);
                return;
            }

            var count = core.IsBulk && room > FrameHeader.MaxData ? EventLoop.ScratchSlabs : 1;
            var most = 0;
            for (var i = 0; i < count; i++)
            {
                var length = (int)Math.Min(room - most, FrameHeader.MaxData);
                pieces[i] = new Libc.Piece { Base = Loop.Scratch(i).Address + FrameHeader.Size, Length = (nuint)length };
                most += length;
            }

            var read = count == 1
                ? Libc.Receive(Descriptor, pieces[0].Base, pieces[0].Length, Libc.DontWait)
                : Libc.ReadPieces(Descriptor, pieces, count);
            Loop.SystemCalls++;
            if (read > 0)
            {
                BytesUp += read;
                Loop.Bytes += read;
                left -= (int)read;
                for (var (i, rest) = (0, (int)read); rest > 0; rest -= FrameHeader.MaxData)
                {
                    core.Write(new Segment(Loop.Scratch(i++), FrameHeader.Size, Math.Min(rest, FrameHeader.MaxData)), now);
                }

                // Less than asked for: there is no more, unless it is the end that comes next.
                _readable = read == most || _peerClosed;
            }
            else if (read == 0)
            {
                _readsDone = true;
                core.CompleteWrites(now);
            }
            else
            {
                _readable = false;
                if (Libc.Errno is var errno and not Libc.EAGAIN)
                {
                    Fail(errno);
                }
            }
        }
    }

    private void Fail(int errno)
    {
        lock (Session!.Gate)
        {
            Core!.Reset(StreamCode.ApplicationReset, Libc.Explain(errno), Session.Now);
        }
    }

    // ---- the end

    /// <summary>It is over: the socket is closed, or was never there.</summary>
    protected void Over()
    {
        if (!_hasEnded)
        {
            _hasEnded = true;
            Ended();
        }
    }

    /// <summary>How it ended is told. Outside all locks.</summary>
    protected abstract void Ended();

    protected void CloseSocket(bool abort)
    {
        Loop.Unwatch(this);
        if (Descriptor < 0)
        {
            return;
        }

        if (abort)
        {
            Libc.Abort(Descriptor);
        }
        else
        {
            _ = Libc.Close(Descriptor);
        }

        Descriptor = -1;
    }

    public override void Stop() => CloseSocket(abort: true);
}
