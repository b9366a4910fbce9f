using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using Fabric.Protocol.Tunnel;
using Fabric.Tunnel.Core;

namespace Fabric.Tunnel.Portable;

/// <summary>One lane's connection: HELLO, then a loop that reads and a loop that writes, until either ends.</summary>
internal sealed class PortableLane(PortableTunnel tunnel, LaneTransport transport, SslStream tls)
{
    /// <summary>Bytes of one turn of output. With it and one frame more, the staging buffer is 256 KiB.</summary>
    private const int TurnBytes = 3 * 64 * 1024;

    /// <summary>Least room in the slab that is worth a read: one TLS record.</summary>
    private const int LeastRead = 16 * 1024;

    /// <summary>How long the last words may take.</summary>
    private static readonly TimeSpan _farewellLimit = TimeSpan.FromSeconds(1);

    private readonly FrameReader _reader = new();
    private readonly AsyncSignal _output = new();
    private readonly CancellationTokenSource _stop = new();
    private Slab? _slab;
    private int _parsed;
    private int _filled;
    private readonly TaskCompletionSource _closed = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private volatile byte[]? _farewell;

    public SessionCore? Session { get; private set; }

    public LaneCore? Core { get; private set; }

    public IPEndPoint? Remote { get; } = transport.Remote;

    /// <summary>Ends with the connection.</summary>
    public Task Closed => _closed.Task;

    /// <summary>Why it ended.</summary>
    public string EndReason { get; private set; } = "";

    // ---- HELLO

    public async Task SendHelloAsync(HelloFrame hello, CancellationToken cancellationToken)
    {
        var payload = hello.ToPayload();
        await SendAsync(new FrameHeader(FrameType.Hello, payload.Length, 0, 0), payload, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>The peer's HELLO. Throws <see cref="IOException"/> with the peer's words when it refuses the lane instead.</summary>
    public async Task<HelloFrame> ReceiveHelloAsync(CancellationToken cancellationToken)
    {
        _slab = tunnel.Pool.Rent(SlabPool.LargeSize);
        while (true)
        {
            if (TryParseHello() is { } hello)
            {
                return hello;
            }

            var read = await tls.ReadAsync(_slab.Bytes.AsMemory(_filled), cancellationToken).ConfigureAwait(false);
            if (read == 0)
            {
                throw new IOException("the peer closed the connection instead of answering HELLO");
            }

            _filled += read;
        }
    }

    private HelloFrame? TryParseHello()
    {
        var whole = _reader.TryRead(_slab!.Bytes.AsSpan(_parsed, _filled - _parsed), out var consumed, out var frame);
        _parsed += consumed;
        if (!whole)
        {
            return null;
        }

        if (frame.Header.Type == FrameType.Close)
        {
            throw new IOException($"refused by the peer: {ReasonFrame.Parse(frame.Payload).Reason}");
        }

        return frame.Header.Type == FrameType.Hello ? HelloFrame.Parse(frame.Payload)
            : throw new FrameException($"{frame.Header.Type} before HELLO");
    }

    /// <summary>Tells the peer why there will be no lane.</summary>
    public Task RefuseAsync(StreamCode code, string reason, CancellationToken cancellationToken)
    {
        var payload = new ReasonFrame((byte)code, reason).ToPayload();
        return SendAsync(new FrameHeader(FrameType.Close, payload.Length, 0, 0), payload, cancellationToken);
    }

    private async Task SendAsync(FrameHeader header, byte[] payload, CancellationToken cancellationToken)
    {
        var bytes = new byte[FrameHeader.Size + payload.Length];
        header.Write(bytes);
        payload.CopyTo(bytes, FrameHeader.Size);
        await tls.WriteAsync(bytes, cancellationToken).ConfigureAwait(false);
        await tls.FlushAsync(cancellationToken).ConfigureAwait(false);
    }

    /// <summary>The session took the lane in.</summary>
    public void Attach(SessionCore session, LaneCore core)
    {
        Session = session;
        Core = core;
    }

    // ---- the life of it

    /// <summary>Carries frames until the lane ends; then closes the connection. Ends without an exception.</summary>
    public async Task RunAsync(PeerSession session)
    {
        await using var watch = new WriteWatch(this, session);
        var reading = ReadAsync(session);
        var writing = WriteAsync(session);
        await reading.ConfigureAwait(false);
        _output.Set();
        await Task.WhenAny(SayFarewellAsync(writing), Task.Delay(_farewellLimit, session.Time)).ConfigureAwait(false);
        await _stop.CancelAsync().ConfigureAwait(false);
        await writing.ConfigureAwait(false);
        await CloseAsync().ConfigureAwait(false);
    }

    public async Task CloseAsync()
    {
        await _stop.CancelAsync().ConfigureAwait(false);
        if (_farewell is null && Core is not null)
        {
            // What the kernel still holds for a lane that is over is not worth carrying.
            transport.Abandon();
        }

        await tls.DisposeAsync().ConfigureAwait(false);
        await transport.DisposeAsync().ConfigureAwait(false);
        _slab?.Release();
        _slab = null;
        _closed.TrySetResult();
    }

    /// <summary>
    /// After the last words: what the peer still sends is read and dropped until it has closed too, for a socket that is closed with
    /// bytes unread takes them back.
    /// </summary>
    private async Task SayFarewellAsync(Task writing)
    {
        await writing.ConfigureAwait(false);
        if (_farewell is null)
        {
            return;
        }

        try
        {
            transport.EndWrites();
            while (await transport.ReadAsync(_slab!.Bytes, _stop.Token).ConfigureAwait(false) > 0)
            {
                // Not even decrypted.
            }
        }
        catch (Exception error) when (error is IOException or SocketException or OperationCanceledException or ObjectDisposedException)
        {
            // It is over, one way or another.
        }
    }

    private async Task ReadAsync(PeerSession session)
    {
        var reason = "the peer closed the connection";
        try
        {
            // What came right behind HELLO is read already.
            while (Take(session))
            {
                MakeRoom();
                var read = await tls.ReadAsync(_slab!.Bytes.AsMemory(_filled), _stop.Token).ConfigureAwait(false);
                if (read == 0)
                {
                    break;
                }

                _filled += read;
            }
        }
        catch (Exception error) when (error is FrameException or LaneFloodException)
        {
            var isFlood = error is LaneFloodException;
            reason = isFlood ? error.Message : $"protocol error: {error.Message}";
            _farewell = new ReasonFrame((byte)(isFlood ? StreamCode.LimitReached : StreamCode.ProtocolError), error.Message).ToPayload();
            tunnel.Refusals.Add(isFlood ? Refusal.Flood : Refusal.ProtocolError);
            tunnel.Log.Write($"lane {Core!.Epoch} to {session.Peer} over {Core.Link}: {reason}");
            session.Broke(reason);
        }
        catch (Exception error) when (error is IOException or SocketException or OperationCanceledException or ObjectDisposedException)
        {
            reason = error.Message;
        }
        catch (Exception error)
        {
            reason = error.Message;
            tunnel.Options.Log($"lane to {session.Peer}: unexpected {error}");
        }

        session.EndLane(this, reason);
    }

    /// <summary>Gives the session all frames that are there. False when the lane is over.</summary>
    private bool Take(PeerSession session)
    {
        lock (session.Gate)
        {
            var now = session.Now;
            while (_reader.TryRead(_slab!.Bytes.AsSpan(_parsed, _filled - _parsed), out var consumed, out var frame))
            {
                var piece = frame.PayloadStart < 0 ? default
                    : new Segment(_slab, _parsed + frame.PayloadStart, frame.Payload.Length);
                _parsed += consumed;
                Session!.Receive(Core!, frame, piece, now);
            }

            _parsed = _filled;
            session.Rearm();
            return Core!.IsLive;
        }
    }

    private void MakeRoom()
    {
        if (_slab!.IsExclusive)
        {
            _parsed = _filled = 0;
        }
        else if (_slab.Size - _filled < LeastRead)
        {
            _slab.Release();
            _slab = tunnel.Pool.Rent(SlabPool.LargeSize);
            _parsed = _filled = 0;
        }
    }

    private async Task WriteAsync(PeerSession session)
    {
        var batch = new FrameBatch();
        var staging = GC.AllocateUninitializedArray<byte>(TurnBytes + FrameBatch.Slack, pinned: true);
        try
        {
            while (true)
            {
                lock (session.Gate)
                {
                    if (!Core!.IsLive)
                    {
                        break;
                    }

                    Session!.Produce(Core, batch, TurnBytes, session.Now);
                    session.Rearm();
                }

                if (batch.Count == 0)
                {
                    await _output.WaitAsync().ConfigureAwait(false);
                    continue;
                }

                var bytes = batch.Bytes;
                batch.CopyTo(staging);
                batch.Clear();
                await tls.WriteAsync(staging.AsMemory(0, bytes), _stop.Token).ConfigureAwait(false);
                await tls.FlushAsync(_stop.Token).ConfigureAwait(false);
            }

            if (_farewell is { } farewell)
            {
                await SendAsync(new FrameHeader(FrameType.Close, farewell.Length, 0, 0), farewell, _stop.Token).ConfigureAwait(false);
            }
        }
        catch (Exception error) when (error is IOException or SocketException or OperationCanceledException or ObjectDisposedException)
        {
            session.EndLane(this, error.Message);
        }
        catch (Exception error)
        {
            // Never a lane that only seems to live.
            tunnel.Options.Log($"lane to {session.Peer}: unexpected {error}");
            session.EndLane(this, error.Message);
        }
        finally
        {
            batch.Clear();
        }
    }

    public void OutputReady() => _output.Set();

    /// <summary>What the peer is told when the session lets go of the lane, which follows; in its lock.</summary>
    public void SayGoodbye(StreamCode code, string reason) => _farewell = new ReasonFrame((byte)code, reason).ToPayload();

    /// <summary>The session let go of the lane; in its lock. Both loops end.</summary>
    public void Ended(string reason)
    {
        EndReason = reason;
        _output.Set();
        if (_farewell is null)
        {
            // Elsewhere: cancelling runs what waits for it.
            ThreadPool.UnsafeQueueUserWorkItem(static lane => lane._stop.Cancel(), this, preferLocal: false);
        }
        else
        {
            _stop.CancelAfter(_farewellLimit);
        }
    }

    /// <summary>
    /// Ends the lane of a peer that reads nothing, so that its streams go on on another. A lane that takes less than 128 KiB in
    /// the time counts as one that takes nothing.
    /// </summary>
    private sealed class WriteWatch : IAsyncDisposable
    {
        private readonly PortableLane _lane;
        private readonly LaneTransport _transport;
        private readonly PeerSession _session;
        private readonly ITimer _timer;
        private long _progress = -1;
        private TimeSpan _since;

        public WriteWatch(PortableLane lane, PeerSession session)
        {
            (_lane, _transport, _session) = (lane, lane.Transport, session);
            var period = lane.Limits.LaneTimeout / 8;
            _timer = session.Time.CreateTimer(static s => ((WriteWatch)s!).Look(), this, period, period);
        }

        private void Look()
        {
            var (progress, now) = (_transport.SendProgress, _session.Now);
            if (!_transport.IsSending || progress != _progress)
            {
                (_progress, _since) = (progress, now);
            }
            else if (now - _since >= _lane.Limits.LaneTimeout)
            {
                _since = now;
                _lane.Counts.Add(Refusal.StalledLane);
                _session.EndLane(_lane, $"the peer read nothing for {_lane.Limits.LaneTimeout.TotalSeconds:0.#} s");
            }
        }

        public ValueTask DisposeAsync() => _timer.DisposeAsync();
    }

    private LaneTransport Transport => transport;

    private TunnelLimits Limits => tunnel.Options.Limits;

    private RefusalCounts Counts => tunnel.Refusals;
}
