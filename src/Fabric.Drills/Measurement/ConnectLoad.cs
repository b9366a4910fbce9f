using System.Net;
using System.Net.Sockets;
using Fabric.Drills.Definition;

namespace Fabric.Drills.Measurement;

/// <summary>
/// New connections. A gateway answers a SYN itself, so a connection that stands shows nothing of the service behind it: each says that it
/// has nothing to say (FIN), and is good when the service closes it in order, or says something. A reset is a failure.
/// </summary>
internal sealed class ConnectLoad(ProbePlan plan, IPEndPoint target, SteadyTime time, OpenSocket open) : OpenLoop(plan, time)
{
    /// <summary>Connections whose end is not known yet; what would be more is not sent.</summary>
    public const int MaxOnTheirWay = 512;

    // A queue by age: each has the same time.
    private readonly LinkedList<Attempt> _attempts = [];
    private readonly Dictionary<Socket, LinkedListNode<Attempt>> _bySocket = [];
    private readonly byte[] _buffer = new byte[4096];

    protected override int OnTheirWay => _attempts.Count;

    protected override void Send(long number, long now)
    {
        if (_attempts.Count >= MaxOnTheirWay)
        {
            Unsent(0, now, $"not sent: {MaxOnTheirWay} connections are not answered");
            return;
        }

        try
        {
            var socket = ProbeSockets.Begin(open, target);
            _bySocket[socket] = _attempts.AddLast(new Attempt(socket, now));
        }
        catch (SocketException e)
        {
            Say(0, now, Time.GetTimestamp(), 0, ProbeSockets.Name(e.SocketErrorCode));
        }
    }

    protected override void Look(long now, bool ending)
    {
        while (_attempts.First is { } first && now - first.Value.Began >= Timeout)
        {
            var late = first.Value.Stands ? "connected, and no answer" : "no connection";
            Finish(first, first.Value.Began + Timeout, 0, ProbeSockets.Late(late, Plan.Timeout));
        }
    }

    protected override void Wanted(List<Socket> readable, List<Socket> writable)
    {
        foreach (var attempt in _attempts)
        {
            (attempt.Stands ? readable : writable).Add(attempt.Socket);
        }
    }

    protected override void Writable(Socket socket)
    {
        var attempt = _bySocket[socket];
        var error = ProbeSockets.Finished(socket);
        if (error.Length == 0)
        {
            try
            {
                socket.Shutdown(SocketShutdown.Send);
                attempt.Value.Stands = true;
                return;
            }
            catch (SocketException e)
            {
                error = ProbeSockets.Name(e.SocketErrorCode);
            }
        }

        Finish(attempt, Time.GetTimestamp(), 0, error);
    }

    protected override void Readable(Socket socket)
    {
        var now = Time.GetTimestamp();
        try
        {
            Finish(_bySocket[socket], now, socket.Receive(_buffer), "");
        }
        catch (SocketException e) when (e.SocketErrorCode != SocketError.WouldBlock)
        {
            Finish(_bySocket[socket], now, 0, ProbeSockets.Name(e.SocketErrorCode));
        }
        catch (SocketException)
        {
            // It was readable and is not: the next turn sees it again.
        }
    }

    protected override void End(long now)
    {
        while (_attempts.First is { } first)
        {
            Finish(first, now, 0, ProbeSockets.Late("no answer", Plan.Timeout));
        }
    }

    private void Finish(LinkedListNode<Attempt> attempt, long now, long bytes, string error)
    {
        var (socket, began) = (attempt.Value.Socket, attempt.Value.Began);
        _attempts.Remove(attempt);
        _bySocket.Remove(socket);
        socket.Dispose();
        Say(0, began, now, bytes, error);
    }

    private sealed class Attempt(Socket socket, long began)
    {
        public Socket Socket { get; } = socket;
        public long Began { get; } = began;
        public bool Stands { get; set; }
    }
}
