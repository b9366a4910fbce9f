using System.Diagnostics;
using System.Net;
using Fabric.Identity;
using Fabric.Protocol.Tunnel;
using Fabric.Tunnel.Core;

namespace Fabric.Tunnel.Drivers;

/// <summary>
/// One lane's connection: HELLO over the connection's stream, then frames, moved by the driver until either end ends it. This half
/// is the same for all drivers.
/// </summary>
internal abstract class Lane(GatewayTunnel tunnel, GatewayConnection connection)
{
    /// <summary>Bytes of one turn of output.</summary>
    protected const int TurnBytes = 3 * 64 * 1024;

    /// <summary>Least room in the slab that is worth a read: one TLS record.</summary>
    private const int LeastRead = 16 * 1024;

    /// <summary>How long the last words may take.</summary>
    protected static readonly TimeSpan FarewellLimit = TimeSpan.FromSeconds(1);

    private readonly FrameReader _reader = new();
    private readonly TaskCompletionSource _closed = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private Slab? _slab;
    private int _parsed;
    private int _filled;

    protected GatewayTunnel Tunnel => tunnel;

    public SessionCore? Session { get; private set; }

    public LaneCore? Core { get; private set; }

    public IPEndPoint? Remote => connection.Remote;

    /// <summary>Whom the peer's certificate named; set when the session takes it in.</summary>
    public GatewayId Peer { get; set; }

    /// <inheritdoc cref="GatewayConnection.PeerRoot"/>
    public string PeerRoot => connection.PeerRoot;

    /// <summary>Whether either end showed a certificate under another root than that; false where that is not known.</summary>
    public bool IsOld(string root) => (connection.PeerRoot.Length > 0 && connection.PeerRoot != root)
        || (connection.OwnRoot.Length > 0 && connection.OwnRoot != root);

    /// <summary>Ends with the connection.</summary>
    public Task Closed => _closed.Task;

    /// <summary>Why it ended.</summary>
    public string EndReason { get; protected set; } = "";

    /// <summary>The last words, a CLOSE frame's payload; null when there are none.</summary>
    protected byte[]? Farewell { get; private set; }

    // ---- HELLO

    public Task SendHelloAsync(HelloFrame hello, CancellationToken cancellationToken) =>
        SendAsync(FrameType.Hello, hello.ToPayload(), cancellationToken);

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

            var read = await connection.Stream.ReadAsync(_slab.Bytes.AsMemory(_filled), cancellationToken).ConfigureAwait(false);
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
    public Task RefuseAsync(StreamCode code, string reason, CancellationToken cancellationToken) =>
        SendAsync(FrameType.Close, new ReasonFrame((byte)code, reason).ToPayload(), cancellationToken);

    protected async Task SendAsync(FrameType type, byte[] payload, CancellationToken cancellationToken)
    {
        await connection.Stream.WriteAsync(Frame(type, payload), cancellationToken).ConfigureAwait(false);
        await connection.Stream.FlushAsync(cancellationToken).ConfigureAwait(false);
    }

    protected static byte[] Frame(FrameType type, byte[] payload)
    {
        var bytes = new byte[FrameHeader.Size + payload.Length];
        new FrameHeader(type, payload.Length, 0, 0).Write(bytes);
        payload.CopyTo(bytes, FrameHeader.Size);
        return bytes;
    }

    /// <inheritdoc cref="LaneCore.Trace"/>
    public ActivityContext Trace { get; init; }

    /// <summary>The session took the lane in.</summary>
    public void Attach(SessionCore session, LaneCore core)
    {
        Session = session;
        Core = core;
        core.Trace = Trace;
    }

    // ---- the life of it

    /// <summary>Carries frames until the lane ends; then closes the connection. Ends without an exception.</summary>
    public abstract Task RunAsync(PeerSession session);

    /// <summary>Closes the connection of a lane that does not run.</summary>
    public abstract Task CloseAsync();

    /// <summary>There is something to send; in the session's lock.</summary>
    public abstract void OutputReady();

    /// <summary>The session let go of the lane: it ends; in its lock.</summary>
    public abstract void Ended(string reason);

    /// <summary>What the peer is told when the session lets go of the lane, which follows; in its lock.</summary>
    public void SayGoodbye(StreamCode code, string reason) => Farewell = new ReasonFrame((byte)code, reason).ToPayload();

    /// <summary>The peer broke the protocol: it is told, counted and logged. Returns the reason with which to end the lane.</summary>
    protected string Broke(PeerSession session, Exception error)
    {
        var isFlood = error is LaneFloodException;
        var reason = isFlood ? error.Message : $"protocol error: {error.Message}";
        SayGoodbye(isFlood ? StreamCode.LimitReached : StreamCode.ProtocolError, error.Message);
        tunnel.Refusals.Add(isFlood ? Refusal.Flood : Refusal.ProtocolError);
        tunnel.Log.Write($"lane {Core!.Epoch} to {session.Peer} over {Core.Link}: {reason}");
        session.Broke(reason);
        return reason;
    }

    /// <summary>Where the next bytes of the peer go; at least one TLS record.</summary>
    protected Memory<byte> MakeRoom()
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

        return _slab.Bytes.AsMemory(_filled);
    }

    /// <summary>So many bytes are there, where <see cref="MakeRoom"/> said.</summary>
    protected void Filled(int bytes) => _filled += bytes;

    /// <summary>Gives the session all frames that are there. False when the lane is over. Throws what breaks the protocol.</summary>
    protected bool Take(PeerSession session)
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

    /// <summary>Grows whenever the connection took what was to be sent.</summary>
    protected abstract long SendProgress { get; }

    /// <summary>Something waits for the connection to take it.</summary>
    protected abstract bool IsSending { get; }

    /// <summary>The connection is closed.</summary>
    protected void IsClosed()
    {
        _slab?.Release();
        _slab = null;
        _closed.TrySetResult();
    }

    /// <summary>
    /// Ends the lane of a peer that reads nothing, so that its streams go on on another. A lane that takes less than 128 KiB in
    /// the time counts as one that takes nothing.
    /// </summary>
    protected sealed class WriteWatch : IAsyncDisposable
    {
        private readonly Lane _lane;
        private readonly PeerSession _session;
        private readonly ITimer _timer;
        private long _progress = -1;
        private TimeSpan _since;

        public WriteWatch(Lane lane, PeerSession session)
        {
            (_lane, _session) = (lane, session);
            var period = Limit / 8;
            _timer = session.Time.CreateTimer(static s => ((WriteWatch)s!).Look(), this, period, period);
        }

        private TimeSpan Limit => _lane.Tunnel.Options.Limits.LaneTimeout;

        private void Look()
        {
            var (progress, now) = (_lane.SendProgress, _session.Now);
            if (!_lane.IsSending || progress != _progress)
            {
                (_progress, _since) = (progress, now);
            }
            else if (now - _since >= Limit)
            {
                _since = now;
                _lane.Tunnel.Refusals.Add(Refusal.StalledLane);
                _session.EndLane(_lane, $"the peer read nothing for {Limit.TotalSeconds:0.#} s");
            }
        }

        public ValueTask DisposeAsync() => _timer.DisposeAsync();
    }
}
