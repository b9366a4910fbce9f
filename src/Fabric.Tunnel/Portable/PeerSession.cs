using System.Collections.Immutable;
using System.Security.Cryptography;
using Fabric.Identity;
using Fabric.Protocol.Tunnel;
using Fabric.Tunnel.Core;

namespace Fabric.Tunnel.Portable;

/// <summary>
/// The session with one peer, through all incarnations of both processes: the lock around its <see cref="SessionCore"/>, its
/// timer, and the agreement in HELLO on which session it is.
/// </summary>
internal sealed class PeerSession : ISessionDriver, IDisposable
{
    private readonly PortableTunnel _tunnel;
    private readonly ITimer _timer;
    private readonly ImmutableArray<byte> _keyFromPeer = RandomNumberGenerator.GetBytes(HelloFrame.ProbeKeySize).ToImmutableArray();
    private ImmutableArray<byte> _keyToPeer = [];
    private LinkPaths _paths = LinkPaths.None;
    private TimeSpan _armed = TimeSpan.MaxValue;
    private Guid _remote;
    private uint _generation = 1;
    private uint _lastEpoch;
    private SessionCore? _core;
    private SessionCounters _before;
    private string _site = "";
    private bool _disposed;

    public PeerSession(PortableTunnel tunnel, string peer)
    {
        _tunnel = tunnel;
        Peer = peer;
        _timer = tunnel.Options.Time.CreateTimer(static s => ((PeerSession)s!).Tick(), this, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
    }

    public string Peer { get; }

    /// <summary>Held for every call of the core.</summary>
    public Lock Gate { get; } = new();

    public TimeProvider Time => _tunnel.Options.Time;

    public TimeSpan Now => _tunnel.Now;

    private bool IsOdd => string.CompareOrdinal(_tunnel.Options.Identity.Id.Gateway, Peer) < 0;

    /// <summary>Who this side is, in the session as it is now.</summary>
    private Guid Local => WithGeneration(_tunnel.ProcessId, _generation);

    // ---- lanes

    /// <summary>The HELLO with which to dial: its epoch is greater than any before.</summary>
    public HelloFrame NewHello(string link, int channel)
    {
        lock (Gate)
        {
            _lastEpoch = Math.Max(_lastEpoch, _core?.LastEpoch ?? 0);
            _lastEpoch += (_lastEpoch & 1) == (IsOdd ? 1u : 0u) ? 2u : 1u;
            return Hello(_lastEpoch, link, channel);
        }
    }

    private HelloFrame Hello(uint epoch, string link, int channel) =>
        new(Local, epoch, link, _keyFromPeer, _tunnel.Options.Limits.MaxStreams, (byte)channel);

    /// <summary>
    /// HELLO went both ways: the lane joins the session. When the peer is another process than before, or gave the session up,
    /// the old session's streams are reset first. Returns this side's HELLO (for the acceptor to answer with), or null with the
    /// reason.
    /// </summary>
    /// <param name="lane">The connection.</param>
    /// <param name="peer">Who the peer's certificate says it is.</param>
    /// <param name="remote">The peer's HELLO.</param>
    /// <param name="sent">The HELLO that this side sent before; null when it has sent none.</param>
    /// <param name="reason">Why not.</param>
    public HelloFrame? Join(PortableLane lane, GatewayId peer, HelloFrame remote, HelloFrame? sent, out string reason)
    {
        HelloFrame? hello = null;
        lock (Gate)
        {
            reason = Refusal(remote, sent);
            if (reason.Length > 0)
            {
                return null;
            }

            if (_core is null || remote.Session != _remote)
            {
                Forget(StreamCode.SessionLost, "the peer began a new session");
                _remote = remote.Session;
                _core = new SessionCore(IsOdd, this, _tunnel.Options.Limits, _tunnel.Pool, remote.MaxStreams) { Datagrams = _tunnel.Datagrams };
                _core.SetPaths(_paths, Now);
                if (_tunnel.IsDraining)
                {
                    _core.Drain();
                }
            }

            _site = peer.Site;
            _keyToPeer = remote.ProbeKey;
            hello = Hello(remote.Epoch, remote.Link, remote.Channel);
            var core = _core.AttachLane(remote.Epoch, remote.Link, remote.Channel, lane, Now, out reason);
            if (core is null)
            {
                return null;
            }

            lane.Attach(_core, core);
            Rearm();
        }

        _tunnel.RaiseChanged(Peer);
        return hello;
    }

    private string Refusal(HelloFrame remote, HelloFrame? sent)
    {
        if (_disposed)
        {
            return "the gateway is stopping";
        }

        if (sent is not null && sent.Session != Local)
        {
            return "this side gave the session up while the lane was dialled";
        }

        return _core is not null && SameProcess(remote.Session, _remote) && Generation(remote.Session) < Generation(_remote)
            ? "the lane belongs to a session that the peer gave up" : "";
    }

    /// <summary>The lane's connection is gone, or must go.</summary>
    public void EndLane(PortableLane lane, string reason)
    {
        lock (Gate)
        {
            if (lane.Core is { } core)
            {
                lane.Session!.EndLane(core, reason, Now);
                Rearm();
            }
        }
    }

    /// <summary>Ends the lanes over links that are no longer planned.</summary>
    public void EndUnplanned(Func<string, bool> isPlanned)
    {
        lock (Gate)
        {
            foreach (var lane in _core?.Lanes.Where(l => !isPlanned(l.Link)).ToArray() ?? [])
            {
                _core!.EndLane(lane, "no longer planned", Now);
            }

            Rearm();
        }
    }

    public bool HasLane(string link, int channel)
    {
        lock (Gate)
        {
            return _core?.Lanes.Any(l => l.Link == link && l.Channel == channel) == true;
        }
    }

    public void SetPaths(LinkPaths paths)
    {
        lock (Gate)
        {
            _paths = paths;
            _core?.SetPaths(paths, Now);
            Rearm();
        }
    }

    // ---- streams

    public Task<TunnelStream> OpenAsync(StreamOpen open, CancellationToken cancellationToken) =>
        OpenAsync(new TunnelStream(this), open, cancellationToken);

    public Task<TunnelFlow> OpenFlowAsync(StreamOpen open, CancellationToken cancellationToken) =>
        OpenAsync(new TunnelFlow(this), open, cancellationToken);

    private async Task<T> OpenAsync<T>(T stream, StreamOpen open, CancellationToken cancellationToken)
        where T : IStreamOwner
    {
        lock (Gate)
        {
            if (_core is null)
            {
                throw new StreamRefusedException(StreamCode.NoLane, $"no lane to {Peer} is up");
            }

            stream.Bind(_core.Open(open, stream, Now));
        }

        try
        {
            await stream.Opened.WaitAsync(_tunnel.Options.Limits.OpenTimeout, Time, cancellationToken).ConfigureAwait(false);
            return stream;
        }
        catch (Exception error)
        {
            var timedOut = error is TimeoutException;
            stream.Reset(timedOut ? StreamCode.TimedOut : StreamCode.ApplicationReset, timedOut ? "no answer to OPEN" : "given up");
            await stream.DisposeAsync().ConfigureAwait(false);
            throw timedOut ? new StreamRefusedException(StreamCode.TimedOut, $"{Peer} did not answer in time") : error;
        }
    }

    public void Drain()
    {
        lock (Gate)
        {
            _core?.Drain();
        }
    }

    // ---- time

    /// <summary>Arms the timer when something falls due before it fires. In the lock.</summary>
    public void Rearm()
    {
        if (_core?.NextDue is { } due && due < _armed && !_disposed)
        {
            _armed = due;
            _timer.Change(due > Now ? due - Now : TimeSpan.Zero, Timeout.InfiniteTimeSpan);
        }
    }

    private void Tick()
    {
        var lost = false;
        lock (Gate)
        {
            _armed = TimeSpan.MaxValue;
            if (_core is { } core && !core.Advance(Now))
            {
                lost = true;
                _generation++;
                Forget(StreamCode.SessionLost, $"no lane for {_tunnel.Options.Limits.Grace.TotalSeconds:0.#} s");
            }

            Rearm();
        }

        if (lost)
        {
            _tunnel.RaiseChanged(Peer);
        }
    }

    private void Forget(StreamCode code, string reason)
    {
        if (_core is not { } core)
        {
            return;
        }

        core.Abort(code, reason, Now);
        _before += core.Counters;
        _lastEpoch = Math.Max(_lastEpoch, core.LastEpoch);
        _core = null;
    }

    // ---- what the core tells; in the lock

    void ISessionDriver.OutputReady(LaneCore lane) => ((PortableLane)lane.Owner!).OutputReady();

    void ISessionDriver.LaneEnded(LaneCore lane, string reason)
    {
        ((PortableLane)lane.Owner!).Ended(reason);
        _tunnel.LaneEnded(Peer, lane.Link, lane.Channel, reason);
    }

    void ISessionDriver.OpenRequested(StreamCore stream)
    {
        if (stream.Request.Datagrams)
        {
            var flow = new TunnelFlow(this);
            flow.Bind(stream);
            _tunnel.Serve(flow);
            return;
        }

        var tunnelStream = new TunnelStream(this);
        ((IStreamOwner)tunnelStream).Bind(stream);
        _tunnel.Serve(tunnelStream);
    }

    void ISessionDriver.Opened(StreamCore stream) => ((IStreamOwner)stream.Owner!).OnOpened();

    void ISessionDriver.Readable(StreamCore stream) => ((IStreamOwner)stream.Owner!).OnReadable();

    void ISessionDriver.Writable(StreamCore stream) => ((IStreamOwner?)stream.Owner)?.OnWritable();

    void ISessionDriver.Ended(StreamCore stream) => ((IStreamOwner?)stream.Owner)?.OnEnded();

    public int StreamCount
    {
        get
        {
            lock (Gate)
            {
                return _core?.ServiceStreams ?? 0;
            }
        }
    }

    public SessionStatus Status(ImmutableArray<LaneStatus> planned)
    {
        lock (Gate)
        {
            var core = _core;
            var lanes = planned.Select(p => core?.Lanes.FirstOrDefault(l => l.Link == p.Link && l.Channel == p.Channel) is { } lane
                ? p with
                {
                    State = LaneState.Up,
                    Epoch = lane.Epoch,
                    Remote = ((PortableLane)lane.Owner!).Remote,
                    LastError = null,
                    Streams = lane == core.Active ? core.ServiceStreams : 0,
                    RoundTrip = lane.Timing.Smoothed,
                }
                : p);
            return new SessionStatus(
                Peer, _site, _core is null ? Guid.Empty : Common(Local, _remote), [.. lanes], core?.Active?.Link, core?.ServiceStreams ?? 0,
                core is null ? _before : _before + core.Counters, _keyToPeer, _keyFromPeer)
            {
                CopiesTo = core is { IsSuspecting: true } ? core.Second?.Link : null,
            };
        }
    }

    public void Dispose()
    {
        lock (Gate)
        {
            _disposed = true;
            Forget(StreamCode.Draining, "the gateway stopped");
        }

        _timer.Dispose();
    }

    // ---- session ids: 12 bytes of the process, then the generation

    private static Guid WithGeneration(Guid process, uint generation)
    {
        Span<byte> bytes = stackalloc byte[16];
        process.TryWriteBytes(bytes, bigEndian: true, out _);
        System.Buffers.Binary.BinaryPrimitives.WriteUInt32BigEndian(bytes[12..], generation);
        return new Guid(bytes, bigEndian: true);
    }

    private static uint Generation(Guid session)
    {
        Span<byte> bytes = stackalloc byte[16];
        session.TryWriteBytes(bytes, bigEndian: true, out _);
        return System.Buffers.Binary.BinaryPrimitives.ReadUInt32BigEndian(bytes[12..]);
    }

    private static bool SameProcess(Guid a, Guid b) => WithGeneration(a, 0) == WithGeneration(b, 0);

    /// <summary>One id that both ends derive from theirs, for logs.</summary>
    private static Guid Common(Guid a, Guid b)
    {
        Span<byte> bytes = stackalloc byte[32];
        a.TryWriteBytes(bytes, bigEndian: true, out _);
        b.TryWriteBytes(bytes[16..], bigEndian: true, out _);
        for (var i = 0; i < 16; i++)
        {
            bytes[i] ^= bytes[16 + i];
        }

        return new Guid(bytes[..16], bigEndian: true);
    }
}
