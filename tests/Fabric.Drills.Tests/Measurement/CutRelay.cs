using System.Diagnostics;
using System.Net;
using System.Net.Sockets;

namespace Fabric.Drills.Tests.Measurement;

/// <summary>
/// A TCP relay on loopback that can go dark: it keeps its connections and passes nothing on. It notes when it passed bytes on to callers,
/// by its own clock: another measurement of the pause that they see.
/// </summary>
internal sealed class CutRelay : IDisposable
{
    private readonly Socket _listener;
    private readonly IPEndPoint _target;
    private readonly ManualResetEventSlim _open = new(true);
    private readonly List<Socket> _sockets = [];
    private readonly Lock _lock = new();
    private long _last;
    private (long From, long To) _longest;
    private volatile bool _stopping;

    public CutRelay(IPEndPoint target)
    {
        _target = target;
        _listener = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        _listener.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        _listener.Listen(64);
        Start(Accept);
    }

    public IPEndPoint Address => (IPEndPoint)_listener.LocalEndPoint!;

    /// <summary>The longest time in which no caller was passed a byte, in timestamps of <see cref="Stopwatch"/>.</summary>
    public (long From, long To) Longest
    {
        get
        {
            lock (_lock)
            {
                return _longest;
            }
        }
    }

    public void Cut() => _open.Reset();

    public void Heal() => _open.Set();

    /// <summary>Resets all connections.</summary>
    public void Reset()
    {
        lock (_lock)
        {
            foreach (var socket in _sockets)
            {
                socket.LingerState = new LingerOption(true, 0);
                socket.Dispose();
            }

            _sockets.Clear();
        }
    }

    public void Dispose()
    {
        _stopping = true;
        _open.Set();
        _listener.Dispose();
        Reset();
    }

    private static void Start(Action run) => new Thread(() => run()) { IsBackground = true }.Start();

    private void Accept()
    {
        while (!_stopping)
        {
            try
            {
                var caller = _listener.Accept();
                var server = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
                caller.NoDelay = true;
                server.Connect(_target);
                lock (_lock)
                {
                    _sockets.AddRange([caller, server]);
                }

                Start(() => Pump(caller, server, noted: false));
                Start(() => Pump(server, caller, noted: true));
            }
            catch (Exception e) when (e is SocketException or ObjectDisposedException)
            {
                // Disposed, or the target is gone: the next caller finds out.
            }
        }
    }

    private void Pump(Socket from, Socket to, bool noted)
    {
        var buffer = new byte[64 * 1024];
        try
        {
            for (int count; (count = from.Receive(buffer)) > 0;)
            {
                _open.Wait();
                if (noted)
                {
                    Note(Stopwatch.GetTimestamp());
                }

                to.Send(buffer.AsSpan(0, count));
            }

            to.Shutdown(SocketShutdown.Send);
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // One side is gone.
        }
    }

    private void Note(long now)
    {
        lock (_lock)
        {
            if (_last > 0 && now - _last > _longest.To - _longest.From)
            {
                _longest = (_last, now);
            }

            _last = now;
        }
    }
}
