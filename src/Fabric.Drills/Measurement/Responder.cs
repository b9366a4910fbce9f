using System.Net;
using System.Net.Sockets;

namespace Fabric.Drills.Measurement;

/// <summary>
/// Stands where no service can echo, for the probes <c>live</c> and <c>bulk</c>: numbered messages come back as they are, and a stream is
/// sent by its seed. A connection speaks one or the other, by its first four bytes (<see cref="LiveMessage"/>, <see cref="SeededStream"/>);
/// whatever else it says closes it. Nobody is asked who they are: it gives away nothing but bytes, and belongs behind a gateway.
/// </summary>
/// <remarks>
/// Each connection has a thread of its own, that answers at once, and at most 200 KiB. Beyond <see cref="MaxConnections"/> a new one is
/// reset. One that says nothing, or takes nothing, for <see cref="Silence"/> is closed: longer than any drill lets a link be dark.
/// </remarks>
public sealed class Responder : IDisposable
{
    /// <summary>Bytes of one stream: 1 TiB.</summary>
    public const long MaxStream = 1L << 40;

    public const int DefaultConnections = 256;

    /// <summary>10 minutes.</summary>
    public static readonly TimeSpan Silence = TimeSpan.FromMinutes(10);

    private readonly Socket _listener;
    private readonly HashSet<Socket> _open = [];
    private readonly int _maxConnections;
    private readonly TimeSpan _silence;
    private readonly Thread _accepting;
    private bool _stopping;

    /// <summary>Listens; throws <see cref="SocketException"/> when it cannot.</summary>
    /// <param name="address">Port 0: one that is free.</param>
    /// <param name="maxConnections">1 to 4,096.</param>
    public Responder(IPEndPoint address, int maxConnections = DefaultConnections, TimeSpan? silence = null, OpenSocket? open = null)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(maxConnections, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(maxConnections, 4096);
        (_maxConnections, _silence) = (maxConnections, silence ?? Silence);
        _listener = open?.Invoke(address.AddressFamily, SocketType.Stream, ProtocolType.Tcp)
            ?? new Socket(address.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
        try
        {
            _listener.Bind(address);
            _listener.Listen(256);
        }
        catch
        {
            _listener.Dispose();
            throw;
        }

        Address = (IPEndPoint)_listener.LocalEndPoint!;
        _accepting = new Thread(Accept) { IsBackground = true, Name = "responder" };
        _accepting.Start();
    }

    /// <summary>Where it listens.</summary>
    public IPEndPoint Address { get; }

    /// <summary>Connections that are open now.</summary>
    public int Connections
    {
        get
        {
            lock (_open)
            {
                return _open.Count;
            }
        }
    }

    /// <summary>Resets all connections, and closes the port.</summary>
    public void Dispose()
    {
        lock (_open)
        {
            _stopping = true;
            foreach (var socket in _open)
            {
                Reset(socket);
            }
        }

        // A thread that waits in accept is not woken by a close everywhere: it looks every turn.
        _accepting.Join();
        _listener.Dispose();
    }

    private void Accept()
    {
        while (true)
        {
            Socket socket;
            try
            {
                if (!_listener.Poll(ProbeSockets.Turn, SelectMode.SelectRead))
                {
                    lock (_open)
                    {
                        if (_stopping)
                        {
                            return;
                        }
                    }

                    continue;
                }

                socket = _listener.Accept();
            }
            catch (SocketException)
            {
                // That caller was gone before it was accepted, or there are no descriptors left: others will come.
                continue;
            }

            Take(socket);
        }
    }

    private void Take(Socket socket)
    {
        lock (_open)
        {
            if (_stopping || _open.Count >= _maxConnections)
            {
                Reset(socket);
                return;
            }

            _open.Add(socket);
        }

        new Thread(() => Serve(socket), maxStackSize: 256 * 1024) { IsBackground = true, Name = "responder connection" }.Start();
    }

    private static void Reset(Socket socket)
    {
        try
        {
            socket.LingerState = new LingerOption(true, 0);
        }
        catch (SocketException)
        {
            // It is closed all the same.
        }

        socket.Dispose();
    }

    private void Serve(Socket socket)
    {
        try
        {
            socket.NoDelay = true;
            socket.ReceiveTimeout = socket.SendTimeout = (int)_silence.TotalMilliseconds;
            Span<byte> first = stackalloc byte[4];
            if (Fill(socket, first))
            {
                if (first.SequenceEqual(LiveMessage.Magic))
                {
                    Echo(socket);
                }
                else if (first.SequenceEqual(SeededStream.Magic))
                {
                    Stream(socket);
                }
            }
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // The caller knows what it did not get.
        }
        finally
        {
            lock (_open)
            {
                _open.Remove(socket);
            }

            socket.Dispose();
        }
    }

    private static void Echo(Socket socket)
    {
        Promptness.Raise(Promptness.Few);
        var buffer = new byte[16 * 1024];
        LiveMessage.Magic.CopyTo(buffer);
        // Whole messages are echoed, with their first bytes looked at: this is no echo for everybody.
        for (var filled = 4; ;)
        {
            var count = socket.Receive(buffer.AsSpan(filled));
            if (count == 0)
            {
                return;
            }

            filled += count;
            var whole = filled / LiveMessage.Size * LiveMessage.Size;
            for (var at = 0; at < whole; at += LiveMessage.Size)
            {
                if (!buffer.AsSpan(at).StartsWith(LiveMessage.Magic))
                {
                    return;
                }
            }

            Send(socket, buffer.AsSpan(0, whole));
            buffer.AsSpan(whole, filled - whole).CopyTo(buffer);
            filled -= whole;
        }
    }

    private static void Stream(Socket socket)
    {
        Span<byte> request = stackalloc byte[SeededStream.RequestSize];
        SeededStream.Magic.CopyTo(request);
        for (var known = SeededStream.Magic.Length; Fill(socket, request[known..]); known = 0)
        {
            if (!SeededStream.TryReadRequest(request, out var seed, out var length))
            {
                return;
            }

            using var stream = new SeededStream(seed, length);
            for (long place = 0; place < length;)
            {
                var part = stream.At(place);
                stream.Hash(part);
                Send(socket, part);
                place += part.Length;
            }

            Send(socket, stream.Finish());
        }
    }

    /// <summary>False when the caller ended before.</summary>
    private static bool Fill(Socket socket, Span<byte> buffer)
    {
        for (var filled = 0; filled < buffer.Length;)
        {
            var count = socket.Receive(buffer[filled..]);
            if (count == 0)
            {
                return false;
            }

            filled += count;
        }

        return true;
    }

    private static void Send(Socket socket, ReadOnlySpan<byte> bytes)
    {
        for (var sent = 0; sent < bytes.Length;)
        {
            sent += socket.Send(bytes[sent..]);
        }
    }
}
