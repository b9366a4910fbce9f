using System.Diagnostics;
using System.Net;
using System.Runtime.InteropServices;

using Fabric.Lab.Processes;

namespace Fabric.Lab.TunnelBench;

/// <summary>
/// Small requests in a closed loop, from one thread: each connection has one request on its way, and sends the next when the response
/// is there. With fresh connections, each is closed after its response in the ordinary way (FIN), and the latency is from its connect.
/// </summary>
internal sealed class RequestLoad : IDisposable
{
    private readonly byte[] _address;
    private readonly bool _fresh;
    private readonly Thread _thread;
    private readonly List<int> _open = [];
    private readonly long[] _since = new long[1 << 16];
    private readonly int[] _received = new int[1 << 16];
    private Histogram _latencies = new();
    private long _taken;
    private volatile bool _stopping;
    private volatile Exception? _failure;

    public RequestLoad(IPEndPoint address, int connections, bool fresh = false)
    {
        (_address, _fresh) = (Libc.Native(address), fresh);
        _thread = new Thread(() => Run(connections)) { Name = "request load", IsBackground = true };
        _thread.Start();
    }

    /// <summary>What was seen since the last time.</summary>
    public Histogram Take()
    {
        if (_failure is { } failure)
        {
            throw new LabException($"requests: {failure.Message}");
        }

        var latencies = Interlocked.Exchange(ref _latencies, new Histogram());
        // A request that has waited all the time is no less late for having no response yet.
        foreach (var since in _since.Where(s => s > 0 && s < _taken))
        {
            latencies.Add(Stopwatch.GetElapsedTime(since).TotalMicroseconds);
        }

        _taken = Stopwatch.GetTimestamp();
        return latencies;
    }

    public void Dispose()
    {
        _stopping = true;
        _thread.Join();
    }

    /// <summary>One request and its response on a connection that blocks.</summary>
    public static bool Exchange(int fd)
    {
        var buffer = new byte[LoadServer.ResponseBytes];
        if (!Libc.Send(fd, LoadServer.Request(bulk: false)))
        {
            return false;
        }

        for (var filled = 0; filled < buffer.Length;)
        {
            var count = Libc.Receive(fd, buffer.AsSpan(filled), 0);
            if (count <= 0)
            {
                return false;
            }

            filled += count;
        }

        return true;
    }

    private void Run(int connections)
    {
        using var epoll = new Epoll();
        try
        {
            var request = LoadServer.Request(bulk: false);
            var buffer = new byte[4096];
            for (var i = 0; i < connections; i++)
            {
                Open(epoll, request);
            }

            while (!_stopping)
            {
                foreach (var fd in epoll.Wait())
                {
                    if (!Answered(fd, buffer))
                    {
                        continue;
                    }

                    if (_fresh)
                    {
                        _open.Remove(fd);
                        _since[fd] = 0;
                        Libc.close(fd);
                        Open(epoll, request);
                    }
                    else
                    {
                        Ask(fd, request);
                    }
                }
            }
        }
        catch (LabException e)
        {
            _failure = e;
        }
        finally
        {
            _open.ForEach(fd => Libc.close(fd));
        }
    }

    private void Open(Epoll epoll, byte[] request)
    {
        var began = Stopwatch.GetTimestamp();
        var fd = Libc.Connect(_address);
        _open.Add(fd);
        epoll.Add(fd);
        Ask(fd, request);
        _since[fd] = began;
    }

    private void Ask(int fd, byte[] request)
    {
        _received[fd] = 0;
        _since[fd] = Stopwatch.GetTimestamp();
        if (!Libc.Send(fd, request))
        {
            throw Libc.Failure("send");
        }
    }

    /// <summary>Whether the response is there, whole.</summary>
    private bool Answered(int fd, byte[] buffer)
    {
        var count = Libc.Receive(fd, buffer, Libc.MSG_DONTWAIT);
        if (count < 0 && Marshal.GetLastPInvokeError() == Libc.EAGAIN)
        {
            return false;
        }

        if (count <= 0)
        {
            throw count == 0 ? new LabException("a connection ended before its response") : Libc.Failure("recv");
        }

        _received[fd] += count;
        if (_received[fd] < LoadServer.ResponseBytes)
        {
            return false;
        }

        Volatile.Read(ref _latencies).Add(Stopwatch.GetElapsedTime(_since[fd]).TotalMicroseconds);
        return true;
    }
}
