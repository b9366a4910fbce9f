using System.Runtime.CompilerServices;
using Fabric.Tunnel.Core;

namespace Fabric.Tunnel.Drivers;

/// <summary>What the driver keeps for a stream of the core: told in the session's lock.</summary>
internal interface IStreamEvents
{
    void OnOpened();

    /// <summary>The opening has failed; who opens resets the stream.</summary>
    void OnOpenFailed(StreamCode code, string reason);

    void OnReadable();

    void OnWritable();

    void OnEnded();
}

/// <summary>A stream that tasks wait for.</summary>
internal interface IStreamOwner : IStreamEvents, IAsyncDisposable
{
    /// <summary>Completes when the peer accepted; fails with <see cref="StreamRefusedException"/> when it did not.</summary>
    Task Opened { get; }

    void Bind(StreamCore core);

    void Reset(StreamCode code, string reason);
}

/// <summary>A flow of a session: datagrams to the peer, datagrams from it, and its end. One waiter at a time.</summary>
internal sealed class TunnelFlow(PeerSession session) : IStreamOwner, IDatagramSink
{
    private static readonly TimeSpan _lingering = TimeSpan.FromSeconds(30);

    private readonly AsyncSignal _readable = new();
    private readonly TaskCompletionSource _opened = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly TaskCompletionSource _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private StreamCore _core = null!;
    private bool _discards;

    public StreamOpen Request => _core.Request;

    public string Peer => session.Peer;

    public StreamCode Code => _core.Code;

    public string Reason => _core.Reason;

    public bool IsReset => _core.IsReset;

    public Task Opened => _opened.Task;

    public void Bind(StreamCore core)
    {
        core.Owner = this;
        _core = core;
    }

    void IStreamEvents.OnOpened() => _opened.TrySetResult();

    void IStreamEvents.OnOpenFailed(StreamCode code, string reason)
    {
        _opened.TrySetException(new StreamRefusedException(code, reason));
        _ = _opened.Task.Exception;
    }

    void IStreamEvents.OnReadable()
    {
        if (_discards)
        {
            _core.Session.DropDatagrams(_core, incoming: true);
        }

        _readable.Set();
    }

    void IStreamEvents.OnWritable()
    {
    }

    void IStreamEvents.OnEnded()
    {
        if (_core.IsReset)
        {
            _opened.TrySetException(new StreamRefusedException(_core.Code, _core.Reason));
            _ = _opened.Task.Exception;
        }

        _ended.TrySetResult();
        _readable.Set();
    }

    public void Accept()
    {
        lock (session.Gate)
        {
            if (!_core.IsReset)
            {
                _core.Accept(session.Now);
            }
        }
    }

    /// <inheritdoc cref="StreamCore.Decided"/>
    public void Decided()
    {
        lock (session.Gate)
        {
            _core.Decided();
        }
    }

    /// <summary>Puts a copy on its way to the peer; dropped when the flow is over.</summary>
    public void Send(ReadOnlySpan<byte> datagram)
    {
        lock (session.Gate)
        {
            _core.Session.SendDatagram(_core, datagram);
        }
    }

    /// <summary>Waits for a datagram from the peer. False when none will come: the peer ended the flow, or either side reset it.</summary>
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    public async ValueTask<bool> WaitAsync()
    {
        while (true)
        {
            lock (session.Gate)
            {
                if (_core.Flow!.In.Count > 0)
                {
                    return true;
                }

                if (_core.IsReset || _core.Receive.IsComplete || _discards)
                {
                    return false;
                }
            }

            await _readable.WaitAsync().ConfigureAwait(false);
        }
    }

    /// <summary>The next datagram from the peer; the caller releases it.</summary>
    public bool TryTake(out Segment datagram)
    {
        lock (session.Gate)
        {
            return _core.Session.TryTakeDatagram(_core, out datagram);
        }
    }

    /// <summary>Ends this direction, in order: the peer ends its own, within 30 s, or is reset.</summary>
    public void Close()
    {
        lock (session.Gate)
        {
            if (_core.IsReset || _core.IsGone || _core.WritesCompleted)
            {
                return;
            }

            _core.CompleteWrites(session.Now);
        }

        _ = LingerAsync();
    }

    public void Reset(StreamCode code, string reason)
    {
        lock (session.Gate)
        {
            _core.Reset(code, reason, session.Now);
        }
    }

    /// <summary>Ends what is still open, and lets go of what was not taken.</summary>
    public ValueTask DisposeAsync()
    {
        Close();
        lock (session.Gate)
        {
            _discards = true;
            _core.Session.DropDatagrams(_core, incoming: true);
            _readable.Set();
        }

        return ValueTask.CompletedTask;
    }

    private async Task LingerAsync()
    {
        try
        {
            await _ended.Task.WaitAsync(_lingering, session.Time).ConfigureAwait(false);
        }
        catch (TimeoutException)
        {
            Reset(StreamCode.TimedOut, "the peer did not end a flow that was closed here");
        }
    }
}
