using Fabric.Tunnel.Core;

namespace Fabric.Tunnel.Drivers;

/// <summary>
/// A stream of a session as a <see cref="Stream"/>. One read and one write may be under way at once. A read returns 0 when the
/// peer completed its writes. Writes complete when the bytes are within the peer's credit and kept for resumption, so there
/// is nothing to flush. Disposing without <see cref="CompleteWrites"/> resets the stream; after it, what was written is
/// still delivered, and what still comes is discarded.
/// </summary>
public sealed class TunnelStream : AsyncStream, IStreamOwner
{
    private static readonly TimeSpan _lingering = TimeSpan.FromSeconds(30);

    private readonly PeerSession _session;
    private readonly AsyncSignal _readable = new();
    private readonly AsyncSignal _writable = new();
    private readonly TaskCompletionSource _opened = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly TaskCompletionSource _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private StreamCore _core = null!;
    private bool _discards;
    private int _disposed;

    internal TunnelStream(PeerSession session)
    {
        _session = session;
    }

    /// <summary>For a stream that the peer opened; in the session's lock.</summary>
    internal static TunnelStream Of(PeerSession session, StreamCore core)
    {
        var stream = new TunnelStream(session);
        ((IStreamOwner)stream).Bind(core);
        return stream;
    }

    /// <summary>How the stream introduced itself.</summary>
    public StreamOpen Request => _core.Request;

    /// <summary>Name of the gateway at the other end.</summary>
    public string Peer => _session.Peer;

    /// <summary>Bytes written, and bytes read, by this end.</summary>
    public long BytesWritten { get; private set; }

    public long BytesRead { get; private set; }

    /// <summary>Ends with the stream: both directions done and acknowledged, or reset.</summary>
    public Task Ended => _ended.Task;

    /// <summary>How it ended; <see cref="StreamCode.Ok"/> while it has not.</summary>
    public StreamCode Code => _core.Code;

    public string Reason => _core.Reason;

    internal bool IsReset => _core.IsReset;

    Task IStreamOwner.Opened => _opened.Task;

    void IStreamOwner.Bind(StreamCore core)
    {
        core.Owner = this;
        _core = core;
        if (core.IsReset || core.IsGone)
        {
            ((IStreamEvents)this).OnEnded();
        }
    }

    // ---- what the core tells; in the session's lock

    void IStreamEvents.OnOpened() => _opened.TrySetResult();

    /// <summary>The opening has failed; who opens resets the stream.</summary>
    void IStreamEvents.OnOpenFailed(StreamCode code, string reason)
    {
        _opened.TrySetException(new StreamRefusedException(code, reason));
        _ = _opened.Task.Exception;
    }

    void IStreamEvents.OnWritable() => _writable.Set();

    void IStreamEvents.OnReadable()
    {
        if (_discards)
        {
            Discard();
        }

        _readable.Set();
    }

    void IStreamEvents.OnEnded()
    {
        if (_core.IsReset)
        {
            ((IStreamEvents)this).OnOpenFailed(_core.Code, _core.Reason);
        }

        _ended.TrySetResult();
        _readable.Set();
        _writable.Set();
    }

    // ---- opening

    internal void Accept()
    {
        lock (_session.Gate)
        {
            if (!_core.IsReset)
            {
                _core.Accept(_session.Now);
            }
        }
    }

    /// <inheritdoc cref="StreamCore.Decided"/>
    internal void Decided()
    {
        lock (_session.Gate)
        {
            _core.Decided();
        }
    }

    /// <summary>Ends both directions at once: the peer's application sees a reset with the code and the reason.</summary>
    public void Reset(StreamCode code, string reason)
    {
        lock (_session.Gate)
        {
            _core.Reset(code, reason, _session.Now);
        }
    }

    // ---- application to peer

    /// <summary>Waits until there is room; returns how much, or 0 when the stream was reset.</summary>
    internal async ValueTask<int> WaitRoomAsync(CancellationToken cancellationToken = default)
    {
        while (true)
        {
            lock (_session.Gate)
            {
                if (_core.IsReset || _core.IsGone)
                {
                    return 0;
                }

                var room = _core.Room;
                if (room > 0)
                {
                    return (int)Math.Min(room, int.MaxValue);
                }

                _session.Rearm();
            }

            cancellationToken.ThrowIfCancellationRequested();
            await _writable.WaitAsync().ConfigureAwait(false);
        }
    }

    /// <summary>Writes a segment by reference, within the room. False when the stream was reset meanwhile.</summary>
    internal bool TryWrite(Segment segment)
    {
        lock (_session.Gate)
        {
            if (_core.IsReset || _core.IsGone)
            {
                return false;
            }

            BytesWritten += segment.Length;
            _core.Write(segment, _session.Now);
            return true;
        }
    }

    public override async ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
    {
        ObjectDisposedException.ThrowIf(_disposed != 0, this);
        if (_core.WritesCompleted)
        {
            throw new InvalidOperationException("the writes of this stream were completed");
        }

        using var wake = cancellationToken.UnsafeRegister(static s => ((TunnelStream)s!)._writable.Set(), this);
        while (buffer.Length > 0)
        {
            var room = await WaitRoomAsync(cancellationToken).ConfigureAwait(false);
            lock (_session.Gate)
            {
                ThrowIfReset();
                var take = (int)Math.Min(Math.Min(buffer.Length, room), _core.Room);
                if (take == 0)
                {
                    continue;
                }

                BytesWritten += take;
                _core.WriteCopy(buffer.Span[..take], _session.Now);
                buffer = buffer[take..];
            }
        }
    }

    /// <summary>Ends this direction after everything written; reading goes on.</summary>
    public void CompleteWrites()
    {
        lock (_session.Gate)
        {
            if (!_core.IsReset && !_core.IsGone && !_core.WritesCompleted)
            {
                _core.CompleteWrites(_session.Now);
            }
        }
    }

    // ---- peer to application

    /// <summary>Waits for bytes. Returns false at the end, in either way: then <see cref="IsReset"/> tells which.</summary>
    internal async ValueTask<bool> WaitReadableAsync(CancellationToken cancellationToken = default)
    {
        while (true)
        {
            lock (_session.Gate)
            {
                if (_core.IsReset)
                {
                    return false;
                }

                if (_core.Receive.ReadyBytes > 0)
                {
                    return true;
                }

                if (_core.Receive.IsComplete)
                {
                    return false;
                }
            }

            cancellationToken.ThrowIfCancellationRequested();
            await _readable.WaitAsync().ConfigureAwait(false);
        }
    }

    /// <summary>Retains segments that are ready, without taking them; <see cref="Taken"/> takes.</summary>
    internal int PeekReady(Span<Segment> segments)
    {
        lock (_session.Gate)
        {
            var count = Math.Min(segments.Length, _core.Receive.ReadySegments);
            for (var i = 0; i < count; i++)
            {
                segments[i] = _core.Receive.Ready(i);
                segments[i].Retain();
            }

            return count;
        }
    }

    internal void Taken(int bytes)
    {
        lock (_session.Gate)
        {
            BytesRead += bytes;
            if (!_core.IsReset)
            {
                _core.Consume(bytes, _session.Now);
            }
        }
    }

    public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        ObjectDisposedException.ThrowIf(_disposed != 0, this);
        using var wake = cancellationToken.UnsafeRegister(static s => ((TunnelStream)s!)._readable.Set(), this);
        while (true)
        {
            if (!await WaitReadableAsync(cancellationToken).ConfigureAwait(false))
            {
                ThrowIfReset();
                return 0;
            }

            if (buffer.Length == 0)
            {
                return 0;
            }

            lock (_session.Gate)
            {
                var taken = 0;
                while (taken < buffer.Length && _core.Receive.ReadySegments > 0)
                {
                    var head = _core.Receive.Ready(0);
                    var take = Math.Min(head.Length, buffer.Length - taken);
                    head.Span[..take].CopyTo(buffer.Span[taken..]);
                    _core.Consume(take, _session.Now);
                    taken += take;
                }

                if (taken > 0)
                {
                    BytesRead += taken;
                    return taken;
                }
            }
        }
    }

    private void ThrowIfReset()
    {
        if (_core.IsReset)
        {
            throw new IOException($"the stream was reset ({_core.Code}): {_core.Reason}");
        }

        ObjectDisposedException.ThrowIf(_disposed != 0, this);
    }

    private void Discard()
    {
        while (_core.Receive.ReadyBytes > 0)
        {
            _core.Consume((int)Math.Min(_core.Receive.ReadyBytes, int.MaxValue), _session.Now);
        }
    }

    protected override void Dispose(bool disposing)
    {
        if (disposing && Interlocked.Exchange(ref _disposed, 1) == 0)
        {
            lock (_session.Gate)
            {
                if (!_core.WritesCompleted)
                {
                    _core.Reset(StreamCode.ApplicationReset, "closed before its writes were completed", _session.Now);
                }

                _discards = true;
                Discard();
                _readable.Set();
                _writable.Set();
            }

            if (!_ended.Task.IsCompleted)
            {
                _ = LingerAsync();
            }
        }

        base.Dispose(disposing);
    }

    private async Task LingerAsync()
    {
        try
        {
            await _ended.Task.WaitAsync(_lingering, _session.Time).ConfigureAwait(false);
        }
        catch (TimeoutException)
        {
            Reset(StreamCode.TimedOut, "the peer did not end a stream that was closed here");
        }
    }
}
