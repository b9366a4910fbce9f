using System.Net;
using System.Runtime.InteropServices;

namespace Fabric.Lab.TunnelBench;

/// <summary>
/// The server behind every contestant. To a request it sends a small response, from one thread that waits for all connections; to a
/// request for bulk it sends without end, from a thread of its own and without copying.
/// </summary>
internal sealed class LoadServer : IDisposable
{
    public const int RequestBytes = 100;
    public const int ResponseBytes = 200;

    private const int FileBytes = 1 << 20;
    private const byte Bulk = (byte)'B';

    private readonly int _listener;
    private readonly int _file = Libc.File(Content);
    private readonly int[] _received = new int[1 << 16];
    private readonly byte[] _kind = new byte[1 << 16];
    private readonly Dictionary<int, Thread> _bulk = [];
    private readonly Thread _thread;
    private volatile bool _stopping;

    /// <summary>What is to come of a connection.</summary>
    private enum Next
    {
        Request,
        Bulk,
        Close,
    }

    public LoadServer(IPEndPoint address)
    {
        _listener = Libc.Listen(Libc.Native(address));
        _thread = new Thread(Serve) { Name = "load server", IsBackground = true };
        _thread.Start();
    }

    public static byte[] Request(bool bulk)
    {
        var request = new byte[RequestBytes];
        request[0] = bulk ? Bulk : (byte)'R';
        return request;
    }

    /// <summary>Of a bulk stream, the byte at each offset.</summary>
    public static byte At(long offset) => Content[(int)(offset % FileBytes)];

    public void Dispose()
    {
        _stopping = true;
        _thread.Join();
        Thread[] senders;
        lock (_bulk)
        {
            foreach (var fd in _bulk.Keys)
            {
                Libc.Shutdown(fd);
            }

            senders = [.. _bulk.Values];
        }

        // Not under the lock: each takes it when it ends.
        foreach (var sender in senders)
        {
            sender.Join();
        }

        Libc.close(_listener);
        Libc.close(_file);
    }

    private static byte[] Content { get; } = Drawn();

    private static byte[] Drawn()
    {
        var bytes = new byte[FileBytes];
        new Random(7).NextBytes(bytes);
        return bytes;
    }

    private void Serve()
    {
        using var epoll = new Epoll();
        epoll.Add(_listener);
        var open = new HashSet<int>();
        var buffer = new byte[4096];
        var response = new byte[ResponseBytes];
        while (!_stopping)
        {
            foreach (var fd in epoll.Wait())
            {
                if (fd == _listener)
                {
                    for (int accepted; (accepted = Libc.Accept(_listener)) >= 0;)
                    {
                        _received[accepted] = 0;
                        open.Add(accepted);
                        epoll.Add(accepted);
                    }
                }
                else if (Answer(fd, buffer, response) is not Next.Request and var next)
                {
                    open.Remove(fd);
                    epoll.Remove(fd);
                    if (next == Next.Bulk)
                    {
                        StartBulk(fd);
                    }
                    else
                    {
                        Libc.close(fd);
                    }
                }
            }
        }

        foreach (var fd in open)
        {
            Libc.close(fd);
        }
    }

    private Next Answer(int fd, Span<byte> buffer, byte[] response)
    {
        var count = Libc.Receive(fd, buffer, Libc.MSG_DONTWAIT);
        if (count <= 0)
        {
            return count < 0 && Marshal.GetLastPInvokeError() == Libc.EAGAIN ? Next.Request : Next.Close;
        }

        if (_received[fd] == 0)
        {
            _kind[fd] = buffer[0];
        }

        // A caller waits for the response before it sends the next request: what comes is of one request.
        _received[fd] += count;
        if (_received[fd] < RequestBytes)
        {
            return Next.Request;
        }

        _received[fd] = 0;
        return _kind[fd] == Bulk ? Next.Bulk : Libc.Send(fd, response) ? Next.Request : Next.Close;
    }

    private void StartBulk(int fd)
    {
        var sender = new Thread(() => SendBulk(fd)) { Name = "bulk server", IsBackground = true };
        lock (_bulk)
        {
            _bulk.Add(fd, sender);
        }

        sender.Start();
    }

    private void SendBulk(int fd)
    {
        for (long offset = 0, sent = 1; sent > 0; offset = (offset + sent) % FileBytes)
        {
            sent = Libc.SendFile(fd, _file, offset, FileBytes - offset);
        }

        lock (_bulk)
        {
            _bulk.Remove(fd);
            Libc.close(fd);
        }
    }
}
