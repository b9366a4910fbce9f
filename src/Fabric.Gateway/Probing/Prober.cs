using System.Collections.Immutable;
using System.Net;
using Fabric.Gateway.Hosting;
using Fabric.Protocol.Probes;

namespace Fabric.Gateway.Probing;

/// <summary>What the snapshot's writer asks of probing.</summary>
public interface IProber
{
    /// <inheritdoc cref="Prober.Reconcile"/>
    void Reconcile(ImmutableArray<ProbeTarget> targets);

    /// <inheritdoc cref="Prober.SetActive"/>
    void SetActive(string peer, string link, bool active);

    /// <inheritdoc cref="Prober.SetKeys"/>
    void SetKeys(string peer, ImmutableArray<byte> toPeer, ImmutableArray<byte> fromPeer);

    /// <inheritdoc cref="Prober.Snapshot"/>
    ImmutableArray<LinkHealthSnapshot> Snapshot();
}

/// <summary>
/// Probes links over UDP and judges them, on one thread of its own: a saturated thread pool was measured to delay timers by
/// 14 ms and answers by 200, which reads as a dead link. All members are safe to call from any thread.
/// </summary>
/// <remarks>
/// The thread waits for a packet or for what is due next; reads all that has come, before it judges what is overdue; sends what is
/// due. The lock is held for one step of that, and never while <see cref="Changed"/> is raised.
/// </remarks>
public sealed class Prober : IProber, IDisposable
{
    /// <summary>Longest wait of the thread, when nothing is due.</summary>
    private static readonly TimeSpan Idle = TimeSpan.FromSeconds(1);

    /// <summary>Packets read in a row from one socket before what is due is looked at again.</summary>
    private const int Batch = 64;

    private readonly Lock _lock = new();
    private readonly TimeProvider _time;
    private readonly long _start;
    private readonly ProbeSockets _sockets;
    private readonly ProbeEngine _engine;
    private readonly Thread _thread;
    private volatile bool _stopping;

    /// <summary>Binds the sockets and starts. Throws <see cref="IOException"/> when an address cannot be bound.</summary>
    public Prober(ProberOptions options, TimeProvider time)
    {
        _time = time;
        _start = time.GetTimestamp();
        _sockets = new ProbeSockets(options.Listen);
        _engine = new ProbeEngine(options, _sockets, time.GetUtcNow());
        _thread = new Thread(Loop) { Name = "fabric probes", IsBackground = true };
        _thread.Start();
    }

    /// <summary>
    /// The state of a link changed. Raised on the prober's thread, in order, outside its lock: hand it on and return, since
    /// nothing is probed meanwhile. What a handler throws goes to <see cref="HandlerFailed"/>.
    /// </summary>
    public event Action<LinkHealthSnapshot>? Changed;

    /// <summary>A handler of <see cref="Changed"/> threw.</summary>
    public event Action<Exception>? HandlerFailed;

    /// <summary>The addresses that it is bound to.</summary>
    public ImmutableArray<IPEndPoint> Bound => _sockets.Bound;

    public ProberCounters Counters
    {
        get
        {
            lock (_lock)
            {
                return _engine.Counters;
            }
        }
    }

    /// <summary>Makes the probed links equal to the targets; what stays keeps its verdict. Idempotent.</summary>
    public void Reconcile(ImmutableArray<ProbeTarget> targets) => Do(now => _engine.Reconcile(targets, now));

    /// <summary>Whether a link carries streams: then it is probed every 50 ms, else every second. Idempotent.</summary>
    public void SetActive(string peer, string link, bool active) => Do(now => _engine.SetActive(peer, link, active, now));

    /// <summary>
    /// The keys of a peer, as <c>SessionStatus</c> has them; empty: not known. Idempotent. A peer without a target is ignored,
    /// so call it after <see cref="Reconcile"/>.
    /// </summary>
    public void SetKeys(string peer, ImmutableArray<byte> toPeer, ImmutableArray<byte> fromPeer) =>
        Do(now => _engine.SetKeys(peer, toPeer.AsSpan(), fromPeer.AsSpan(), now));

    /// <summary>A lane over the link was reset or closed by the other side: a hint that counts at once.</summary>
    public void LaneClosed(string peer, string link, string reason) => Do(now => _engine.LaneClosed(peer, link, reason, now));

    /// <summary>What is observed now, by peer and link.</summary>
    public ImmutableArray<LinkHealthSnapshot> Snapshot()
    {
        lock (_lock)
        {
            return _engine.Snapshot(Now);
        }
    }

    /// <summary>Stops the thread and closes the sockets.</summary>
    public void Dispose()
    {
        if (_stopping)
        {
            return;
        }

        _stopping = true;
        _sockets.Wake();
        if (Thread.CurrentThread != _thread)
        {
            _thread.Join();
        }

        _sockets.Dispose();
    }

    private TimeSpan Now => _time.GetElapsedTime(_start);

    private void Do(Action<TimeSpan> change)
    {
        lock (_lock)
        {
            change(Now);
        }

        _sockets.Wake();
    }

    private void Loop()
    {
        ThreadNice.Set(ThreadNice.Judges);
        // One byte more than the largest probe, so that a larger datagram is seen to be one.
        var buffer = GC.AllocateArray<byte>(ProbeCodec.MaxLength + 1, pinned: true);
        var from = Enumerable.Range(0, _sockets.Count).Select(i => new SocketAddress(_sockets.Family(i))).ToArray();
        while (!_stopping)
        {
            _sockets.Wait(UntilDue());
            for (var socket = 0; socket < from.Length; socket++)
            {
                int length;
                for (var i = 0; i < Batch && (length = _sockets.Receive(socket, buffer, from[socket])) >= 0; i++)
                {
                    lock (_lock)
                    {
                        _engine.Received(buffer.AsSpan(0, length), socket, from[socket], Now);
                    }
                }
            }

            ImmutableArray<LinkHealthSnapshot> changes;
            lock (_lock)
            {
                _engine.Run(Now);
                changes = _engine.TakeChanges(Now);
            }

            Raise(changes);
        }
    }

    private TimeSpan UntilDue()
    {
        lock (_lock)
        {
            return (_engine.NextDue - Now) is { } wait && wait < Idle ? wait : Idle;
        }
    }

    private void Raise(ImmutableArray<LinkHealthSnapshot> changes)
    {
        foreach (var change in changes)
        {
            try
            {
                Changed?.Invoke(change);
            }
            catch (Exception e)
            {
                HandlerFailed?.Invoke(e);
            }
        }
    }
}
