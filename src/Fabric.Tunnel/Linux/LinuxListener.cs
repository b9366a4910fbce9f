using System.Net;
using Fabric.Tunnel.Drivers;

namespace Fabric.Tunnel.Linux;

/// <summary>A socket that listens, on a loop. What it accepts is given away at once.</summary>
/// <param name="loop">Where it accepts.</param>
/// <param name="address">Where it listens.</param>
/// <param name="name">What it is called in status and log.</param>
/// <param name="accepted">Given each connection, with its address; on the loop's thread.</param>
/// <param name="log">For failures.</param>
internal sealed class LinuxListener(EventLoop loop, IPEndPoint address, string name, Action<int, IPEndPoint> accepted, QuietLog log)
    : LoopItem(loop), IListener
{
    /// <summary>Connections that one turn accepts.</summary>
    private const int AtOnce = 64;

    /// <summary>Descriptors do not come back by asking at once.</summary>
    private static readonly TimeSpan _acceptRetry = TimeSpan.FromMilliseconds(100);

    private readonly ListeningSocket _listening = new(address, name);
    private readonly TaskCompletionSource _closed = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private LoopTimeout? _retry;
    private bool _stopped;

    public ListenerStatus Status => _listening.Status;

    public void TryOpen()
    {
        if (!_listening.TryOpen())
        {
            return;
        }

        var descriptor = (int)_listening.Socket!.Handle;
        Libc.NoBlocking(descriptor);
        Loop.Post(() =>
        {
            if (!_stopped)
            {
                Loop.Watch(descriptor, this);
            }
        });
    }

    public override void OnEvents(uint events) => Loop.Schedule(this);

    public override void Run()
    {
        for (var i = 0; i < AtOnce; i++)
        {
            if (_stopped)
            {
                return;
            }

            var descriptor = Libc.Accept((int)_listening.Socket!.Handle, out var remote);
            Loop.SystemCalls++;
            if (descriptor >= 0)
            {
                accepted(descriptor, remote);
                continue;
            }

            var errno = Libc.Errno;
            if (errno == Libc.EAGAIN)
            {
                return;
            }

            // A client that was gone before it was accepted; or no descriptors left.
            log.Write($"{name} on {_listening.Address}: accept failed: {Libc.Explain(errno)}");
            if (errno is Libc.EMFILE or Libc.ENFILE)
            {
                _retry ??= new LoopTimeout(() => Loop.Schedule(this));
                Loop.Timers.Remove(_retry);
                Loop.Timers.Add(_retry, _acceptRetry);
                return;
            }
        }

        Loop.Schedule(this);
    }

    public override void Stop()
    {
        _stopped = true;
        Loop.Unwatch(this);
        if (_retry is not null)
        {
            Loop.Timers.Remove(_retry);
        }

        _listening.Socket?.Dispose();
        _closed.TrySetResult();
    }

    public Task CloseAsync()
    {
        Loop.Post(Stop);
        return _closed.Task;
    }
}
