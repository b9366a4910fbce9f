using System.Buffers.Binary;
using System.Diagnostics;
using System.Net;
using System.Net.Sockets;

using Fabric.Testing.Links;

namespace Fabric.Lab.Failover;

/// <summary>One message and its echo, on the clock of <see cref="Stopwatch"/>; <paramref name="ReceivedAt"/> is 0 while none came.</summary>
public readonly record struct Echo(int Connection, long SentAt, long ReceivedAt)
{
    public double Ms => Stopwatch.GetElapsedTime(SentAt, ReceivedAt).TotalMilliseconds;
}

/// <summary>Gives every byte back as it came. One thread, before all ordinary ones: it stands for a server that answers at once.</summary>
public sealed class EchoServer : IDisposable
{
    private readonly Socket _listener;
    private readonly Thread _thread;
    private volatile bool _stopping;

    public EchoServer(string networkNamespace, IPEndPoint address)
    {
        _listener = NetworkNamespace.Inside(networkNamespace, () => Listen(address));
        _thread = new Thread(Serve) { Name = "echo server", IsBackground = true };
        _thread.Start();
    }

    public void Dispose()
    {
        _stopping = true;
        _thread.Join();
        _listener.Dispose();
    }

    internal static Socket Listen(IPEndPoint address)
    {
        var listener = new Socket(address.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
        listener.Bind(address);
        listener.Listen(256);
        return listener;
    }

    private void Serve()
    {
        RealTime.Raise();
        var buffer = new byte[16 * 1024];
        var open = new List<Socket>();
        var ready = new List<Socket>();
        while (!_stopping)
        {
            ready.Clear();
            ready.AddRange(open);
            ready.Add(_listener);
            Socket.Select(ready, null, null, 100_000);
            foreach (var socket in ready)
            {
                if (socket == _listener)
                {
                    var accepted = _listener.Accept();
                    accepted.NoDelay = true;
                    open.Add(accepted);
                }
                else if (!Echo(socket, buffer))
                {
                    open.Remove(socket);
                    socket.Dispose();
                }
            }
        }

        open.ForEach(s => s.Dispose());
    }

    private static bool Echo(Socket socket, byte[] buffer)
    {
        try
        {
            var count = socket.Receive(buffer);
            return count > 0 && socket.Send(buffer.AsSpan(0, count)) == count;
        }
        catch (SocketException)
        {
            return false;
        }
    }
}

/// <summary>
/// Live connections that each send a small numbered message at a steady rate and check what comes back: every message once, in
/// order, byte for byte. One thread, before all ordinary ones, so that its own lateness is not taken for the network's.
/// </summary>
public sealed class EchoLoad : IDisposable
{
    /// <summary>Bytes of one.</summary>
    public const int Message = 64;

    private sealed class Connection(Socket socket)
    {
        public readonly Socket Socket = socket;
        public readonly byte[] Received = new byte[Message];
        public int Filled;
        public uint Answered;
        public bool Broken;
        public readonly List<(long SentAt, long ReceivedAt)> Messages = [];
    }

    private readonly Lock _lock = new();
    private readonly Connection[] _connections;
    private readonly TimeSpan _interval;
    private readonly Thread _thread;
    private volatile bool _quiet;
    private volatile bool _stopping;
    private long _wrong;

    /// <param name="perSecond">Messages a second, of all connections together.</param>
    public EchoLoad(string networkNamespace, IPEndPoint address, int connections, int perSecond)
    {
        _interval = TimeSpan.FromSeconds(1.0 / perSecond);
        _connections = NetworkNamespace.Inside(networkNamespace, () => Enumerable.Range(0, connections).Select(_ =>
        {
            var socket = new Socket(address.AddressFamily, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
            socket.Connect(address);
            return new Connection(socket);
        }).ToArray());
        _thread = new Thread(Run) { Name = "echo load", IsBackground = true };
        _thread.Start();
    }

    /// <summary>Connections that ended, and bytes that never came back or came back wrong; final after <see cref="Finish"/>.</summary>
    public (int Dropped, long BytesLost) Losses
    {
        get
        {
            lock (_lock)
            {
                var unanswered = _connections.Sum(c => c.Messages.Count - c.Answered);
                return (_connections.Count(c => c.Broken), _wrong + unanswered * Message);
            }
        }
    }

    /// <summary>All messages until now.</summary>
    public IReadOnlyList<Echo> Messages()
    {
        lock (_lock)
        {
            return [.. _connections.SelectMany((c, i) => c.Messages.Select(m => new Echo(i, m.SentAt, m.ReceivedAt)))];
        }
    }

    /// <summary>Sends no more, and waits up to the limit for what is still to come back.</summary>
    public async Task<(int Dropped, long BytesLost)> Finish(TimeSpan limit)
    {
        _quiet = true;
        for (var since = Stopwatch.StartNew(); since.Elapsed < limit && Losses.BytesLost > 0; await Task.Delay(20))
        {
        }

        return Losses;
    }

    public void Dispose()
    {
        _stopping = true;
        _thread.Join();
        foreach (var connection in _connections)
        {
            connection.Socket.Dispose();
        }
    }

    private void Run()
    {
        RealTime.Raise();
        var ready = new List<Socket>();
        var owners = _connections.ToDictionary(c => c.Socket);
        var message = new byte[Message];
        var next = Stopwatch.GetTimestamp();
        var step = (long)(_interval.TotalSeconds * Stopwatch.Frequency);
        for (var turn = 0; !_stopping;)
        {
            var wait = Stopwatch.GetElapsedTime(Stopwatch.GetTimestamp(), next);
            if (wait <= TimeSpan.Zero && !_quiet)
            {
                Send(_connections[turn % _connections.Length], turn % _connections.Length, message);
                turn++;
                next += step;
                continue;
            }

            ready.Clear();
            ready.AddRange(_connections.Where(c => !c.Broken).Select(c => c.Socket));
            if (ready.Count == 0)
            {
                return;
            }

            Socket.Select(ready, null, null, _quiet ? 20_000 : (int)Math.Ceiling(wait.TotalMicroseconds));
            foreach (var socket in ready)
            {
                Receive(owners[socket], Array.IndexOf(_connections, owners[socket]), message);
            }
        }
    }

    private void Send(Connection connection, int index, byte[] message)
    {
        if (connection.Broken)
        {
            return;
        }

        Write(message, index, (uint)connection.Messages.Count);
        lock (_lock)
        {
            connection.Messages.Add((Stopwatch.GetTimestamp(), 0));
        }

        try
        {
            connection.Socket.Send(message);
        }
        catch (SocketException)
        {
            connection.Broken = true;
        }
    }

    private void Receive(Connection connection, int index, byte[] expected)
    {
        try
        {
            var count = connection.Socket.Receive(connection.Received.AsSpan(connection.Filled));
            connection.Broken |= count == 0;
            connection.Filled += count;
        }
        catch (SocketException)
        {
            connection.Broken = true;
        }

        if (connection.Filled < Message)
        {
            return;
        }

        connection.Filled = 0;
        Write(expected, index, connection.Answered);
        lock (_lock)
        {
            _wrong += connection.Received.AsSpan().SequenceEqual(expected) ? 0 : Message;
            if (connection.Answered < connection.Messages.Count)
            {
                var number = (int)connection.Answered++;
                connection.Messages[number] = connection.Messages[number] with { ReceivedAt = Stopwatch.GetTimestamp() };
            }
        }
    }

    /// <summary>Whose message it is, which one, and bytes that follow from both.</summary>
    private static void Write(byte[] message, int connection, uint number)
    {
        BinaryPrimitives.WriteInt32LittleEndian(message, connection);
        BinaryPrimitives.WriteUInt32LittleEndian(message.AsSpan(4), number);
        for (var i = 8; i < message.Length; i++)
        {
            message[i] = (byte)(connection * 31 + number * 7 + i);
        }
    }
}
