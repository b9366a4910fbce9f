using Fabric.Protocol.Tunnel;
using Fabric.Tunnel.Core;
using Fabric.Tunnel.Drivers;

namespace Fabric.Tunnel.Linux;

/// <summary>
/// A lane on the loop of its session. Its input is a turn like that of every socket; its output goes last, so that what a turn of the loop
/// produced for it leaves together.
/// </summary>
internal sealed class LinuxLane(GatewayTunnel tunnel, LinuxConnection connection) : Lane(tunnel, connection)
{
    /// <summary>Bytes that one lane reads, or writes, before others have their turn.</summary>
    public const int Budget = 256 * 1024;

    /// <summary>After it, the room for ciphertext is given back.</summary>
    private static readonly TimeSpan _idle = TimeSpan.FromSeconds(1);

    private readonly TlsSession _tls = connection.Tls;
    private readonly TlsSink _sink = new(connection.Tls);
    private readonly TaskCompletionSource _done = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private PeerSession _session = null!;
    private LaneInput? _input;
    private LaneOutput? _output;
    private LoopTimeout? _farewellEnds;
    private TimeSpan _wroteAt;
    private bool _saidFarewell;
    private bool _shut;
    private bool _closed;
    private (long Bytes, long Calls) _counted = Moved(connection.Tls);

    protected override long SendProgress => _tls.BytesSent;

    protected override bool IsSending => _tls.OutputLength > 0;

    public override async Task RunAsync(PeerSession session)
    {
        _session = session;
        var loop = LinuxDriver.LoopOf(session);
        await using var watch = new WriteWatch(this, session);
        _input = new LaneInput(this, loop);
        _output = new LaneOutput(this, loop);
        connection.FaultsChanged = Nudge;
        connection.Socket.HandOver(_input);
        await _done.Task.ConfigureAwait(false);
        IsClosed();
    }

    public override async Task CloseAsync()
    {
        if (Farewell is null && Core is not null)
        {
            connection.Socket.Abandon();
        }

        await connection.DisposeAsync().ConfigureAwait(false);
        IsClosed();
    }

    public override void OutputReady() => _output?.Loop.Schedule(_output);

    private void InputReady() => _input?.Loop.Schedule(_input);

    public override void Ended(string reason)
    {
        EndReason = reason;
        InputReady();
    }

    private void Nudge()
    {
        OutputReady();
        InputReady();
    }

    public void OnEvents(uint events)
    {
        if ((events & Libc.EpollOut) != 0)
        {
            OutputReady();
        }

        _tls.HungUp |= Libc.IsHangUp(events);
        if ((events & ~Libc.EpollOut) != 0)
        {
            InputReady();
        }
    }

    // ---- in

    public void Read()
    {
        if (_input!.Slot < 0)
        {
            // Not handed over yet, or closed. What is ready is told when the loop begins to watch.
            return;
        }

        try
        {
            // What came right behind HELLO is read already.
            if (Core!.IsLive && Take(_session) && TakeWhatCame() is { } reason)
            {
                _session.EndLane(this, reason);
            }
        }
        catch (Exception error) when (error is FrameException or LaneFloodException)
        {
            _session.EndLane(this, Broke(_session, error));
        }

        if (!Core!.IsLive)
        {
            lock (_session.Gate)
            {
                // Whoever lets go of it, in the lock, has said all its last words.
            }

            End();
        }
    }

    /// <summary>Null when there is no more now, or it has used its turn; else why the lane ends.</summary>
    private string? TakeWhatCame()
    {
        for (var left = Budget; left > 0;)
        {
            var read = _tls.Read(MakeRoom().Span, out var status);
            Filled(read);
            left -= read;
            if (read > 0 && !Take(_session))
            {
                return null;
            }

            if (status != TlsStatus.Done)
            {
                if (_tls.OutputLength > 0)
                {
                    // An answer of TLS itself, to a change of keys.
                    OutputReady();
                }

                return status switch
                {
                    TlsStatus.Failed or TlsStatus.Truncated => _tls.Error,
                    TlsStatus.Closed => "the peer closed the connection",
                    _ => null,
                };
            }
        }

        InputReady();
        return null;
    }

    // ---- out

    public void Write()
    {
        if (_input!.Slot < 0 || !Core!.IsLive || (_tls.OutputLength > 0 && !Send()))
        {
            return;
        }

        var loop = _output!.Loop;
        var now = _session.Now;
        if (now - _wroteAt > _idle)
        {
            // PINGs come this way as well: a lane that is idle holds next to nothing.
            _tls.Trim();
        }

        _wroteAt = now;
        for (var left = Budget; left > 0;)
        {
            lock (_session.Gate)
            {
                Session!.Produce(Core, loop.Batch, TurnBytes, _session.Now);
                _session.Rearm();
            }

            var (bytes, isLast) = (loop.Batch.Bytes, loop.Batch.Bytes < TurnBytes && !loop.Batch.IsNearlyFull);
            if (bytes == 0)
            {
                return;
            }

            loop.Batch.WriteTo(_sink, loop.Staging);
            loop.Batch.Clear();
            left -= bytes;
            if (!Send() || isLast)
            {
                return;
            }
        }

        OutputReady();
    }

    /// <summary>False when the socket takes no more now, or never.</summary>
    private bool Send()
    {
        var sent = _tls.Flush();
        if (sent == TlsStatus.Failed)
        {
            _session.EndLane(this, _tls.Error!);
            return false;
        }

        return sent == TlsStatus.Done;
    }

    /// <summary>Frames into TLS; there is always room for one turn, because the one before has left.</summary>
    private sealed class TlsSink(TlsSession tls) : IFrameSink
    {
        /// <summary>Ciphertext that is sent at once: what a core's own cache holds beside its plaintext, so that it is copied from there.</summary>
        private const int AtOnce = 128 * 1024;

        public void Write(ReadOnlySpan<byte> bytes)
        {
            if (tls.OutputLength >= AtOnce)
            {
                tls.Flush(moreFollows: true);
            }

            // When it fails, what is flushed next says so.
            for (int written; bytes.Length > 0 && (written = tls.Write(bytes, out _)) > 0; bytes = bytes[written..])
            {
            }
        }
    }

    // ---- the end

    /// <summary>
    /// After last words, what the peer still sends is dropped until it has closed too, for a socket that is closed with bytes unread
    /// takes them back.
    /// </summary>
    private void End()
    {
        if (_closed)
        {
            return;
        }

        if (Farewell is not { } farewell)
        {
            connection.Socket.Abandon();
            Close();
            return;
        }

        if (!_saidFarewell)
        {
            _saidFarewell = true;
            _tls.Write(Frame(FrameType.Close, farewell), out _);
            _tls.SendCloseNotify();
            _farewellEnds = new LoopTimeout(Close);
            _input!.Loop.Timers.Add(_farewellEnds, FarewellLimit);
        }

        var sent = _tls.Flush();
        if (sent == TlsStatus.Done && !_shut)
        {
            _shut = true;
            _ = Libc.Shutdown(connection.Socket.Descriptor, Libc.ShutdownWrite);
        }

        if (sent == TlsStatus.Failed || !DropInput())
        {
            Close();
        }
    }

    /// <summary>Not even decrypted. False when the other side has closed.</summary>
    private unsafe bool DropInput()
    {
        fixed (byte* bytes = _input!.Loop.Staging)
        {
            for (var times = 0; times < 64; times++)
            {
                var read = Libc.Receive(connection.Socket.Descriptor, bytes, (nuint)_input.Loop.Staging.Length, Libc.DontWait);
                if (read <= 0)
                {
                    return read < 0 && Libc.Errno == Libc.EAGAIN;
                }
            }
        }

        InputReady();
        return true;
    }

    public void Close()
    {
        if (_closed)
        {
            return;
        }

        _closed = true;
        if (_farewellEnds is not null)
        {
            _input!.Loop.Timers.Remove(_farewellEnds);
        }

        _input!.Loop.Unwatch(_input);
        connection.Closed();
        connection.Socket.CloseHere();
        _tls.Dispose();
        _done.TrySetResult();
    }

    /// <summary>What its socket moved since the last time, to the loop's account.</summary>
    private void Count(EventLoop loop)
    {
        var now = Moved(_tls);
        loop.Bytes += now.Bytes - _counted.Bytes;
        loop.SystemCalls += now.Calls - _counted.Calls;
        _counted = now;
    }

    private static (long Bytes, long Calls) Moved(TlsSession tls) => (tls.BytesReceived + tls.BytesSent, tls.Receives + tls.Sends);

    private bool IsForBulk => Core!.Channel > 0;

    /// <summary>What the loop watches for the lane.</summary>
    private sealed class LaneInput(LinuxLane lane, EventLoop loop) : LoopItem(loop)
    {
        public override LoopPhase Phase => lane.IsForBulk ? LoopPhase.Bulk : LoopPhase.Ready;

        public override void OnEvents(uint events) => lane.OnEvents(events);

        public override void Run()
        {
            lane.Read();
            lane.Count(Loop);
        }

        public override void Stop() => lane.Close();
    }

    /// <summary>The lane when it has something to send.</summary>
    private sealed class LaneOutput(LinuxLane lane, EventLoop loop) : LoopItem(loop)
    {
        public override LoopPhase Phase => lane.IsForBulk ? LoopPhase.Bulk : LoopPhase.Output;

        public override void Run()
        {
            lane.Write();
            lane.Count(Loop);
        }
    }
}
