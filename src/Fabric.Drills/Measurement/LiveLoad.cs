using System.Net;
using System.Net.Sockets;
using Fabric.Drills.Definition;

namespace Fabric.Drills.Measurement;

/// <summary>
/// Connections that stay, with numbered messages that the service echoes: every one once, in order, byte for byte. They take turns, so
/// the pause of one is known to within Connections / PerSecond seconds. A connection is never given up, however long it is silent;
/// when it ends, another takes its place, and its pause goes on until that one's first echo.
/// </summary>
internal sealed class LiveLoad(ProbePlan plan, IPEndPoint target, SteadyTime time, OpenSocket open) : OpenLoop(plan, time)
{
    /// <summary>Messages of one connection without an echo; what would be more is not sent.</summary>
    public const int MaxOnTheirWay = 1024;

    private static readonly TimeSpan Again = TimeSpan.FromMilliseconds(100);

    private readonly Connection[] _connections = [.. Enumerable.Range(0, plan.Connections).Select(i => new Connection(i))];
    private readonly Dictionary<Socket, Connection> _bySocket = [];
    private readonly byte[] _buffer = new byte[64 * 1024];
    private readonly byte[] _message = new byte[LiveMessage.Size];
    private readonly byte[] _expected = new byte[LiveMessage.Size];

    // Of one load, and of no other: an echo of somebody else's message is wrong.
    private readonly uint _load = (uint)time.GetTimestamp() ^ (uint)Environment.ProcessId << 20;

    protected override int OnTheirWay => _connections.Sum(c => c.OnTheirWay);

    protected override void Send(long number, long now)
    {
        var connection = _connections[number % _connections.Length];
        if (connection.Socket is null)
        {
            Unsent(connection.Index, now, connection.Why.Length > 0 ? connection.Why : "not sent: not connected yet");
        }
        else if (connection.OnTheirWay >= MaxOnTheirWay)
        {
            Unsent(connection.Index, now, $"not sent: {MaxOnTheirWay} messages are not echoed");
        }
        else
        {
            LiveMessage.Write(_message, _load, connection.Index, connection.Sent);
            connection.SentAt[connection.Sent++ % MaxOnTheirWay] = now;
            _message.CopyTo(connection.Out.AsSpan(connection.OutLength));
            connection.OutLength += _message.Length;
            Flush(connection);
        }
    }

    protected override void Look(long now, bool ending)
    {
        foreach (var connection in _connections)
        {
            if (connection.Socket is null && !ending && now >= connection.ConnectAfter)
            {
                Connect(connection, now);
            }
            else if (connection is { Socket: not null, Stands: false } && now - connection.Began >= Timeout)
            {
                Close(connection, now, ProbeSockets.Late("no connection", Plan.Timeout));
            }

            for (; connection.GivenUp < connection.Sent && now - connection.SentAt[connection.GivenUp % MaxOnTheirWay] is var age && age >= Timeout;
                connection.GivenUp++)
            {
                var sent = connection.SentAt[connection.GivenUp % MaxOnTheirWay];
                Say(connection.Index, sent, sent + Timeout, 0, ProbeSockets.Late("no echo", Plan.Timeout));
            }
        }
    }

    protected override void Wanted(List<Socket> readable, List<Socket> writable)
    {
        foreach (var connection in _connections)
        {
            if (connection.Socket is { } socket)
            {
                if (connection.Stands)
                {
                    readable.Add(socket);
                }

                if (!connection.Stands || connection.OutLength > 0)
                {
                    writable.Add(socket);
                }
            }
        }
    }

    protected override void Writable(Socket socket)
    {
        if (!_bySocket.TryGetValue(socket, out var connection))
        {
            // Closed in this turn.
            return;
        }

        if (!connection.Stands)
        {
            if (ProbeSockets.Finished(socket) is { Length: > 0 } error)
            {
                Close(connection, Time.GetTimestamp(), error);
                return;
            }

            connection.Stands = true;
        }

        Flush(connection);
    }

    protected override void Readable(Socket socket)
    {
        if (!_bySocket.TryGetValue(socket, out var connection))
        {
            return;
        }

        int count;
        try
        {
            count = socket.Receive(_buffer);
        }
        catch (SocketException e) when (e.SocketErrorCode == SocketError.WouldBlock)
        {
            return;
        }
        catch (SocketException e)
        {
            Close(connection, Time.GetTimestamp(), ProbeSockets.Name(e.SocketErrorCode));
            return;
        }

        var now = Time.GetTimestamp();
        if (count == 0)
        {
            Close(connection, now, "connection closed by the service");
            return;
        }

        for (var at = 0; at < count && connection.Socket is not null;)
        {
            var part = Math.Min(LiveMessage.Size - connection.InLength, count - at);
            _buffer.AsSpan(at, part).CopyTo(connection.In.AsSpan(connection.InLength));
            connection.InLength += part;
            at += part;
            if (connection.InLength == LiveMessage.Size)
            {
                connection.InLength = 0;
                Echoed(connection, now);
            }
        }
    }

    protected override void End(long now)
    {
        foreach (var connection in _connections)
        {
            // What was given up before was counted then, and only now is known to be lost.
            var lost = (connection.GivenUp - connection.Echoed) * LiveMessage.Size;
            if (lost > 0)
            {
                Say(connection.Index, now, now, 0, "never echoed", lost: lost, again: true);
            }

            for (; connection.GivenUp < connection.Sent; connection.GivenUp++)
            {
                Say(connection.Index, connection.SentAt[connection.GivenUp % MaxOnTheirWay], now, 0, "no echo before the end", lost: LiveMessage.Size);
            }

            connection.Socket?.Dispose();
            connection.Socket = null;
        }
    }

    private void Echoed(Connection connection, long now)
    {
        if (connection.Echoed == connection.Sent)
        {
            Close(connection, now, "an echo of what was not sent", wrong: true);
            return;
        }

        LiveMessage.Write(_expected, _load, connection.Index, connection.Echoed);
        if (!connection.In.AsSpan().SequenceEqual(_expected))
        {
            // What follows cannot be told apart any more.
            Close(connection, now, "an echo that is not the next message", wrong: true);
            return;
        }

        var isLate = connection.Echoed < connection.GivenUp;
        Say(connection.Index, connection.SentAt[connection.Echoed % MaxOnTheirWay], now, LiveMessage.Size, "", again: isLate);
        connection.Echoed++;
        connection.GivenUp = Math.Max(connection.GivenUp, connection.Echoed);
    }

    private void Connect(Connection connection, long now)
    {
        try
        {
            connection.Socket = ProbeSockets.Begin(open, target);
            connection.Began = now;
            _bySocket[connection.Socket] = connection;
        }
        catch (SocketException e)
        {
            connection.Why = "not sent: " + ProbeSockets.Name(e.SocketErrorCode);
            connection.ConnectAfter = now + Time.Stamps(Again);
        }
    }

    private void Flush(Connection connection)
    {
        if (!connection.Stands || connection.OutLength == 0)
        {
            return;
        }

        try
        {
            var sent = connection.Socket!.Send(connection.Out.AsSpan(0, connection.OutLength));
            connection.OutLength -= sent;
            connection.Out.AsSpan(sent, connection.OutLength).CopyTo(connection.Out);
        }
        catch (SocketException e) when (e.SocketErrorCode == SocketError.WouldBlock)
        {
            // It is told when there is room.
        }
        catch (SocketException e)
        {
            Close(connection, Time.GetTimestamp(), ProbeSockets.Name(e.SocketErrorCode));
        }
    }

    /// <summary>The connection is over: so are its messages. Another is tried.</summary>
    private void Close(Connection connection, long now, string why, bool wrong = false)
    {
        _bySocket.Remove(connection.Socket!);
        connection.Socket!.Dispose();
        // One that never stood cannot drop, and one with a wrong echo is closed from here.
        var dropped = connection.Stands && !wrong;
        var told = false;
        for (; connection.GivenUp < connection.Sent; connection.GivenUp++)
        {
            Say(connection.Index, connection.SentAt[connection.GivenUp % MaxOnTheirWay], now, 0, why, dropped && !told, wrong: wrong && !told);
            told = true;
        }

        if (!told && (dropped || wrong))
        {
            Say(connection.Index, now, now, 0, why, dropped, wrong: wrong);
        }

        connection.Reset();
        connection.Why = "not sent: " + why;
        connection.ConnectAfter = now + Time.Stamps(Again);
    }

    private sealed class Connection(int index)
    {
        public readonly int Index = index;
        public readonly byte[] In = new byte[LiveMessage.Size];
        public readonly byte[] Out = new byte[MaxOnTheirWay * LiveMessage.Size];

        // By number, for those that were sent and not echoed.
        public readonly long[] SentAt = new long[MaxOnTheirWay];
        public Socket? Socket;
        public bool Stands;
        public long Began;
        public long ConnectAfter;
        public string Why = "";
        public int InLength;
        public int OutLength;

        // Numbers of the next message to be sent, to be given up, to be echoed.
        public long Sent;
        public long GivenUp;
        public long Echoed;

        public int OnTheirWay => (int)(Sent - Echoed);

        public void Reset()
        {
            (Socket, Stands, InLength, OutLength) = (null, false, 0, 0);
            (Sent, GivenUp, Echoed) = (0, 0, 0);
        }
    }
}
